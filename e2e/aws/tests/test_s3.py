"""S3: what the emulator sets right, and permissions with their condition keys."""

import json
import urllib.error
import urllib.request

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from conftest import ACCOUNT, REGION, allow, deny, policy
from outcomes import outcome

LOCATION = {"CreateBucketConfiguration": {"LocationConstraint": REGION}}
ROOT_TRUST = policy(
    {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}}
)


@pytest.fixture
def s3(instant):
    client = instant.client("s3")
    client.create_bucket(Bucket="box", **LOCATION)
    return client


def test_a_new_bucket_has_the_defaults_of_aws(s3):
    rules = s3.get_bucket_encryption(Bucket="box")["ServerSideEncryptionConfiguration"]["Rules"]
    assert rules[0]["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"
    assert all(s3.get_public_access_block(Bucket="box")["PublicAccessBlockConfiguration"].values())
    assert s3.get_bucket_ownership_controls(Bucket="box")["OwnershipControls"]["Rules"] == [
        {"ObjectOwnership": "BucketOwnerEnforced"}
    ]
    assert s3.put_object(Bucket="box", Key="k", Body=b"1")["ServerSideEncryption"] == "AES256"
    s3.put_bucket_encryption(
        Bucket="box",
        ServerSideEncryptionConfiguration={
            "Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms"}}]
        },
    )
    s3.delete_bucket_encryption(Bucket="box")
    rules = s3.get_bucket_encryption(Bucket="box")["ServerSideEncryptionConfiguration"]["Rules"]
    assert rules[0]["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"


def test_bucket_policies_that_s3_refuses(s3):
    everyone = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::box/*"}
    rows = {
        "no JSON": ("{", "MalformedPolicy"),
        "no principal": (json.dumps(policy(allow("s3:GetObject", "arn:aws:s3:::box/*"))), "MalformedPolicy"),
        "another bucket": (json.dumps(policy({**everyone, "Resource": "arn:aws:s3:::other/*"})), "MalformedPolicy"),
        "another service": (json.dumps(policy({**everyone, "Action": "dynamodb:GetItem"})), "MalformedPolicy"),
        "an operator that is none": (
            json.dumps(policy({**everyone, "Condition": {"StringIs": {"s3:prefix": "x"}}})),
            "MalformedPolicy",
        ),
        "a role that is not there": (
            json.dumps(policy({**everyone, "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:role/none"}})),
            "MalformedPolicy",
        ),
        "public under BlockPublicPolicy": (json.dumps(policy(everyone)), "AccessDenied"),
        "public on a condition": (
            json.dumps(policy({**everyone, "Condition": {"Bool": {"aws:SecureTransport": "true"}}})),
            "ok",
        ),
    }
    found = {name: outcome(s3.put_bucket_policy, Bucket="box", Policy=text) for name, (text, _) in rows.items()}
    assert found == {name: code for name, (_, code) in rows.items()}
    assert outcome(s3.put_object, Bucket="box", Key="k", Body=b"1") == "ok"


def test_names_owners_and_rules(s3):
    assert outcome(s3.create_bucket, Bucket="under_score", **LOCATION) == "InvalidBucketName"
    assert outcome(s3.head_bucket, Bucket="box", ExpectedBucketOwner=ACCOUNT) == "ok"
    assert outcome(s3.head_bucket, Bucket="box", ExpectedBucketOwner="999999999999") == "403"
    rule = {"ID": "x", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 9}}
    assert (
        outcome(s3.put_bucket_lifecycle_configuration, Bucket="box", LifecycleConfiguration={"Rules": [rule, rule]})
        == "InvalidArgument"
    )


def test_multipart_and_versions(instant, s3):
    s3.put_bucket_versioning(Bucket="box", VersioningConfiguration={"Status": "Enabled"})
    keys = instant.user(
        "u", policy(allow(["s3:PutObject", "s3:GetObject", "s3:ListMultipartUploadParts"], "arn:aws:s3:::box/*"))
    )
    mine = instant.client("s3", keys)
    upload = mine.create_multipart_upload(Bucket="box", Key="big")["UploadId"]
    etag = mine.upload_part(Bucket="box", Key="big", UploadId=upload, PartNumber=1, Body=b"x" * 100)["ETag"]
    assert len(mine.list_parts(Bucket="box", Key="big", UploadId=upload)["Parts"]) == 1
    mine.complete_multipart_upload(
        Bucket="box", Key="big", UploadId=upload, MultipartUpload={"Parts": [{"ETag": etag, "PartNumber": 1}]}
    )
    second = mine.create_multipart_upload(Bucket="box", Key="big")["UploadId"]
    assert outcome(mine.abort_multipart_upload, Bucket="box", Key="big", UploadId=second) == "AccessDenied"
    version = s3.list_object_versions(Bucket="box")["Versions"][0]["VersionId"]
    assert outcome(mine.get_object, Bucket="box", Key="big") == "ok"
    assert outcome(mine.get_object, Bucket="box", Key="big", VersionId=version) == "AccessDenied"


def test_prefix_and_encryption_keys(instant, s3):
    document = policy(
        allow("s3:ListBucket", "arn:aws:s3:::box", Condition={"StringLike": {"s3:prefix": "mine/*"}}),
        allow("s3:PutObject", "arn:aws:s3:::box/*"),
        deny(
            "s3:PutObject",
            "arn:aws:s3:::box/*",
            Condition={"StringNotEquals": {"s3:x-amz-server-side-encryption": "aws:kms"}},
        ),
    )
    mine = instant.client("s3", instant.user("u", document))
    assert outcome(mine.list_objects_v2, Bucket="box", Prefix="mine/a") == "ok"
    assert outcome(mine.list_objects_v2, Bucket="box", Prefix="other/") == "AccessDenied"
    assert outcome(mine.list_objects_v2, Bucket="box") == "AccessDenied"
    assert outcome(mine.put_object, Bucket="box", Key="k", Body=b"1", ServerSideEncryption="aws:kms") == "ok"
    assert outcome(mine.put_object, Bucket="box", Key="k", Body=b"1") == "AccessDenied"


def test_an_object_under_a_customer_key_needs_the_key(instant, s3):
    key = instant.client("kms").create_key()["KeyMetadata"]["Arn"]
    objects = allow(["s3:PutObject", "s3:GetObject"], "arn:aws:s3:::box/*")
    without = instant.client("s3", instant.user("without", policy(objects)))
    via = {"StringEquals": {"kms:ViaService": f"s3.{REGION}.amazonaws.com"}}
    with_key = instant.client(
        "s3", instant.user("with", policy(objects, allow(["kms:GenerateDataKey*", "kms:Decrypt"], key, Condition=via)))
    )
    put = {"Bucket": "box", "Key": "k", "Body": b"1", "ServerSideEncryption": "aws:kms", "SSEKMSKeyId": key}
    assert (outcome(without.put_object, **put), outcome(with_key.put_object, **put)) == ("AccessDenied", "ok")
    get = {"Bucket": "box", "Key": "k"}
    assert (outcome(without.get_object, **get), outcome(with_key.get_object, **get)) == ("AccessDenied", "ok")
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key}}
    s3.put_bucket_encryption(Bucket="box", ServerSideEncryptionConfiguration={"Rules": [rule]})
    plain = {"Bucket": "box", "Key": "other", "Body": b"1"}
    assert (outcome(without.put_object, **plain), outcome(with_key.put_object, **plain)) == ("AccessDenied", "ok")


def signed(aws, method, path, body=b"", **headers):
    """A call that no client of boto3 makes; (status, body) of its answer."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    request = AWSRequest(method, f"{aws.url}{path}", data=body, headers=given)
    auth = S3SigV4Auth(Credentials("ROOTROOTROOTROOTROOT", "root-secret"), "s3", REGION)
    if "x-amz-content-sha256" in given:
        auth.payload = lambda _: given["x-amz-content-sha256"]
    auth.add_auth(request)
    prepared = request.prepare()
    sent = urllib.request.Request(prepared.url, data=body or None, headers=dict(prepared.headers), method=method)
    try:
        with urllib.request.urlopen(sent, timeout=10) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_a_body_in_signed_chunks_with_a_checksum_behind_it(instant, s3):
    body = b"5\r\nhello\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n"
    chunked = {
        "x_amz_content_sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        "x_amz_decoded_content_length": "5",
        "x_amz_trailer": "x-amz-checksum-crc32",
        "content_encoding": "aws-chunked",
        "content_type": "application/octet-stream",
    }
    assert signed(instant, "PUT", "/box/streamed", body, **chunked)[0] == 200
    assert s3.get_object(Bucket="box", Key="streamed")["Body"].read() == b"hello"


def test_paths_that_could_be_read_in_two_ways_are_refused(instant, s3):
    for path in ("/box%2Fk", "/box/k?versionId=1&versionId=2"):
        assert signed(instant, "GET", path)[0] == 400, path


def test_a_signature_for_s3_opens_no_table(instant):
    status, body = signed(instant, "POST", "/", b"{}", x_amz_target="DynamoDB_20120810.ListTables")
    assert (status, b"InvalidSignatureException" in body) == (400, True)


def test_an_unknown_subresource_is_not_taken_for_the_bucket(instant, s3):
    for method, path in (("GET", "/box?analytics"), ("PUT", "/box?metrics&id=1"), ("PUT", "/box/key?annotation")):
        status, body = signed(instant, method, path)
        assert (status, b"NotImplemented" in body) == (501, True), path
