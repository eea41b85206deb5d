"""Two tenants and their buckets: policies on the bucket, presigned URLs, an action for each setting."""

import json
import urllib.error
import urllib.request

import pytest
from conftest import ACCOUNT, allow, deny, policy
from outcomes import outcome

DENIED = ("AccessDenied", "AccessDeniedException")


def test_bucket_policy_that_wants_tls(tenants):
    s3 = tenants.client("s3")
    document = policy(
        {
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3:*",
            "Resource": ["arn:aws:s3:::a-bucket", "arn:aws:s3:::a-bucket/*"],
            "Condition": {"Bool": {"aws:SecureTransport": "false"}},
        }
    )
    s3.put_bucket_policy(Bucket="a-bucket", Policy=json.dumps(document))
    mine = tenants.client("s3", tenants.keys["a"])
    assert outcome(mine.get_object, Bucket="a-bucket", Key="secret") == "ok"
    assert outcome(mine.put_object, Bucket="a-bucket", Key="more", Body=b"1") == "ok"
    mine.meta.events.register(
        "before-send.s3", lambda request, **_: request.headers.__setitem__("X-Testbed-Insecure", "1")
    )
    assert outcome(mine.get_object, Bucket="a-bucket", Key="secret") == "AccessDenied"


def test_bucket_policy_reaches_over_to_another_user(tenants):
    mine = tenants.client("s3", tenants.keys["a"])
    assert outcome(mine.get_object, Bucket="b-bucket", Key="secret") == "AccessDenied"
    document = policy(
        {
            "Effect": "Allow",
            "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:user/a"},
            "Action": "s3:GetObject",
            "Resource": "arn:aws:s3:::b-bucket/*",
        }
    )
    tenants.client("s3").put_bucket_policy(Bucket="b-bucket", Policy=json.dumps(document))
    assert outcome(mine.get_object, Bucket="b-bucket", Key="secret") == "ok"


def test_presigned_urls(tenants):
    s3 = tenants.client("s3", tenants.keys["a"])

    def fetch(url):
        try:
            with urllib.request.urlopen(url, timeout=10) as response:
                return response.read()
        except urllib.error.HTTPError as error:
            return error.code

    sign = lambda bucket, **more: s3.generate_presigned_url(
        "get_object", Params={"Bucket": bucket, "Key": "secret"}, **more
    )  # noqa: E731
    assert fetch(sign("a-bucket")) == b"data"
    assert fetch(sign("b-bucket")) == 403
    assert fetch(sign("a-bucket").replace("secret", "other")) == 403
    assert fetch(f"{tenants.url}/a-bucket/secret") == 403


# The settings of a bucket: each has an action of its own.
SETTINGS = {
    "s3:PutEncryptionConfiguration": lambda s3: s3.put_bucket_encryption(
        Bucket="a-bucket",
        ServerSideEncryptionConfiguration={
            "Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms"}}]
        },
    ),
    "s3:GetEncryptionConfiguration": lambda s3: s3.get_bucket_encryption(Bucket="a-bucket"),
    "s3:PutBucketOwnershipControls": lambda s3: s3.put_bucket_ownership_controls(
        Bucket="a-bucket", OwnershipControls={"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    ),
    "s3:PutBucketPublicAccessBlock": lambda s3: s3.put_public_access_block(
        Bucket="a-bucket",
        PublicAccessBlockConfiguration={
            "BlockPublicAcls": True,
            "IgnorePublicAcls": True,
            "BlockPublicPolicy": True,
            "RestrictPublicBuckets": True,
        },
    ),
    "s3:PutBucketVersioning": lambda s3: s3.put_bucket_versioning(
        Bucket="a-bucket", VersioningConfiguration={"Status": "Enabled"}
    ),
    "s3:PutLifecycleConfiguration": lambda s3: s3.put_bucket_lifecycle_configuration(
        Bucket="a-bucket",
        LifecycleConfiguration={
            "Rules": [{"ID": "x", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 9}}]
        },
    ),
    "s3:PutBucketTagging": lambda s3: s3.put_bucket_tagging(
        Bucket="a-bucket", Tagging={"TagSet": [{"Key": "k", "Value": "v"}]}
    ),
    "s3:PutBucketPolicy": lambda s3: s3.put_bucket_policy(
        Bucket="a-bucket",
        Policy=json.dumps(
            policy(
                {"Effect": "Deny", "Principal": "*", "Action": "s3:DeleteBucket", "Resource": "arn:aws:s3:::a-bucket"}
            )
        ),
    ),
    "s3:GetBucketObjectLockConfiguration": lambda s3: s3.get_object_lock_configuration(Bucket="a-bucket"),
    "s3:GetBucketLocation": lambda s3: s3.get_bucket_location(Bucket="a-bucket"),
    "s3:ListBucketMultipartUploads": lambda s3: s3.list_multipart_uploads(Bucket="a-bucket"),
}


@pytest.mark.parametrize("action", SETTINGS)
def test_each_bucket_setting_has_its_own_action(tenants, action):
    without = tenants.client("s3", tenants.user("without", policy(allow("s3:*"), deny(action))))
    with_it = tenants.client("s3", tenants.user("with", policy(allow(action))))
    assert outcome(SETTINGS[action], without) == "AccessDenied"
    assert outcome(SETTINGS[action], with_it) not in DENIED
