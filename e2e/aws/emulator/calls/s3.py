"""Permissions of S3 calls: the IAM action behind each operation, on bucket or object, under the bucket policy.

An object under a customer's KMS key needs that key too, asked for by S3 in the caller's name.
"""

import re
from typing import Optional
from urllib.parse import parse_qsl, unquote
from xml.etree import ElementTree

from .. import world
from ..call import Call
from ..decision import Guard
from ..errors import ApiError
from ..policy import EMPTY, Malformed, Policy, resource_policy
from ..principal import ACCOUNT
from .need import Need

# Operations on a bucket whose action has another name. Reading and writing a setting need different ones.
_BUCKET_ACTIONS = {
    "DeleteBucketCors": "PutBucketCORS",
    "DeleteBucketEncryption": "PutEncryptionConfiguration",
    "DeleteBucketLifecycle": "PutLifecycleConfiguration",
    "DeleteBucketOwnershipControls": "PutBucketOwnershipControls",
    "DeleteBucketReplication": "PutReplicationConfiguration",
    "DeleteBucketTagging": "PutBucketTagging",
    "DeletePublicAccessBlock": "PutBucketPublicAccessBlock",
    "GetBucketAccelerateConfiguration": "GetAccelerateConfiguration",
    "GetBucketCors": "GetBucketCORS",
    "GetBucketEncryption": "GetEncryptionConfiguration",
    "GetBucketLifecycleConfiguration": "GetLifecycleConfiguration",
    "GetBucketNotificationConfiguration": "GetBucketNotification",
    "GetBucketReplication": "GetReplicationConfiguration",
    "GetObjectLockConfiguration": "GetBucketObjectLockConfiguration",
    "GetPublicAccessBlock": "GetBucketPublicAccessBlock",
    "HeadBucket": "ListBucket",
    "ListMultipartUploads": "ListBucketMultipartUploads",
    "ListObjectVersions": "ListBucketVersions",
    "ListObjects": "ListBucket",
    "ListObjectsV2": "ListBucket",
    "PutBucketAccelerateConfiguration": "PutAccelerateConfiguration",
    "PutBucketCors": "PutBucketCORS",
    "PutBucketEncryption": "PutEncryptionConfiguration",
    "PutBucketLifecycleConfiguration": "PutLifecycleConfiguration",
    "PutBucketNotificationConfiguration": "PutBucketNotification",
    "PutBucketReplication": "PutReplicationConfiguration",
    "PutObjectLockConfiguration": "PutBucketObjectLockConfiguration",
    "PutPublicAccessBlock": "PutBucketPublicAccessBlock",
}
_OBJECT_ACTIONS = {
    "CompleteMultipartUpload": "PutObject",
    "CreateMultipartUpload": "PutObject",
    "HeadObject": "GetObject",
    "ListParts": "ListMultipartUploadParts",
    "SelectObjectContent": "GetObject",
    "UploadPart": "PutObject",
}
# With a versionId these become actions of their own.
_VERSIONED = {
    "GetObject", "DeleteObject", "GetObjectAcl", "PutObjectAcl", "GetObjectTagging", "PutObjectTagging",
    "DeleteObjectTagging", "GetObjectAttributes",
}  # fmt: skip
_WRITES = {"PutObject", "CopyObject", "CreateMultipartUpload", "UploadPart"}
_HEADER_KEYS = (
    "if-match", "if-none-match", "x-amz-acl", "x-amz-content-sha256", "x-amz-copy-source",
    "x-amz-grant-full-control", "x-amz-grant-read", "x-amz-grant-read-acp", "x-amz-grant-write",
    "x-amz-grant-write-acp", "x-amz-metadata-directive", "x-amz-object-ownership", "x-amz-server-side-encryption",
    "x-amz-server-side-encryption-aws-kms-key-id", "x-amz-server-side-encryption-customer-algorithm",
    "x-amz-storage-class",
)  # fmt: skip


def needs(call: Call) -> list:
    if call.operation == "ListBuckets":
        return [Need("s3:ListAllMyBuckets", "*")]
    guard = guard_of(call.bucket)
    bucket = f"arn:aws:s3:::{call.bucket}"
    if call.operation == "CreateBucket":
        return _create(call, bucket)
    if call.operation == "DeleteObjects":
        return _delete_many(call, guard)
    if not call.key:
        action = _BUCKET_ACTIONS.get(call.operation, call.operation)
        return [Need(f"s3:{action}", bucket, _keys(call), guard=guard)]
    return _object(call, f"{bucket}/{call.key}", guard)


def guard_of(bucket: str) -> Guard:
    """The bucket's policy."""
    return Guard(_policy(world.bucket(bucket)))


def _policy(bucket) -> Policy:
    if bucket is None or not bucket.policy:
        return EMPTY
    text = bucket.policy.decode() if isinstance(bucket.policy, bytes) else bucket.policy
    try:
        return resource_policy(text)
    except Malformed:
        return EMPTY  # refused when it was put; only state from elsewhere could hold one


def _keys(call: Call) -> dict:
    request, params = call.request, call.params
    keys: dict = {f"s3:{name}": request.header(name) for name in _HEADER_KEYS if request.has_header(name)}
    for name in ("prefix", "delimiter", "max-keys"):
        if name in params:
            keys[f"s3:{name}"] = params[name]
    keys["s3:VersionId"] = params.get("versionId")
    presigned = "X-Amz-Signature" in params
    signed = presigned or request.has_header("authorization")
    keys["s3:authType"] = "REST-QUERY-STRING" if presigned else "REST-HEADER" if signed else None
    keys["s3:signatureversion"] = "AWS4-HMAC-SHA256" if signed else None
    keys["s3:TlsVersion"] = None if request.has_header("x-testbed-insecure") else "1.3"
    keys["s3:ResourceAccount"] = ACCOUNT
    for name in ("mode", "retain-until-date", "legal-hold"):
        keys[f"s3:object-lock-{name}"] = request.header(f"x-amz-object-lock-{name}") or None
    tags = parse_qsl(request.header("x-amz-tagging"), keep_blank_values=True)
    if tags:
        keys.update({f"s3:RequestObjectTag/{name}": value for name, value in tags})
        keys["s3:RequestObjectTagKeys"] = [name for name, _ in tags]
    return keys


def _create(call: Call, bucket: str) -> list:
    keys = _keys(call)
    found = re.search(rb"<LocationConstraint>([^<]*)</LocationConstraint>", call.request.body)
    keys["s3:locationconstraint"] = found.group(1).decode() if found else None
    actions = ["CreateBucket"]
    if any(
        call.request.has_header(f"x-amz-{name}") for name in ("acl", "grant-read", "grant-write", "grant-full-control")
    ):
        actions.append("PutBucketAcl")
    if call.request.header("x-amz-bucket-object-lock-enabled").lower() == "true":
        actions += ["PutBucketObjectLockConfiguration", "PutBucketVersioning"]
    if call.request.has_header("x-amz-object-ownership"):
        actions.append("PutBucketOwnershipControls")
    if b"<Tag>" in call.request.body:
        actions.append("TagResource")
    return [Need(f"s3:{action}", bucket, keys) for action in actions]


def _object(call: Call, arn: str, guard: Guard) -> list:
    version = call.params.get("versionId")
    item = world.s3_object(call.bucket, call.key, version)
    keys = _keys(call)
    existing = (
        {f"s3:ExistingObjectTag/{name}": value for name, value in world.object_tags(item).items()}
        if item is not None
        else {}
    )

    def need(action: str) -> Need:
        return Need(f"s3:{action}", arn, {**keys, **existing}, guard=guard)

    operation = call.operation
    if operation in ("CopyObject", "UploadPartCopy"):
        return [_copy_source(call), need("PutObject"), *_put_extras(call, need), *_encrypts(call)]
    action = _OBJECT_ACTIONS.get(operation, operation)
    if version and action in _VERSIONED:
        action = action.replace("Object", "ObjectVersion", 1)
    found = [need(action)]
    if operation == "GetObjectAttributes":
        found.append(need("GetObjectVersion" if version else "GetObject"))
    if operation in ("DeleteObject", "PutObjectRetention") and _bypasses(call):
        found.append(need("BypassGovernanceRetention"))
    if operation in _WRITES:
        found += [*_put_extras(call, need), *_encrypts(call)]
    if operation in ("GetObject", "SelectObjectContent"):
        found += _decrypts(call, item)
    return found


def _bypasses(call: Call) -> bool:
    return call.request.header("x-amz-bypass-governance-retention").lower() == "true"


def _put_extras(call: Call, need) -> list:
    found = []
    if call.request.has_header("x-amz-acl") or call.request.has_header("x-amz-grant-full-control"):
        found.append(need("PutObjectAcl"))
    if call.request.has_header("x-amz-tagging"):
        found.append(need("PutObjectTagging"))
    if call.request.has_header("x-amz-object-lock-mode"):
        found.append(need("PutObjectRetention"))
    if call.request.has_header("x-amz-object-lock-legal-hold"):
        found.append(need("PutObjectLegalHold"))
    return found


def _copy_source(call: Call) -> Need:
    source, _, query = call.request.header("x-amz-copy-source").partition("?")
    bucket, _, key = unquote(source).lstrip("/").partition("/")
    version = dict(parse_qsl(query)).get("versionId")
    item = world.s3_object(bucket, key, version)
    tags = world.object_tags(item) if item is not None else {}
    keys = {**{f"s3:ExistingObjectTag/{name}": value for name, value in tags.items()}, "s3:VersionId": version}
    action = "s3:GetObjectVersion" if version else "s3:GetObject"
    return Need(action, f"arn:aws:s3:::{bucket}/{key}", keys, guard=guard_of(bucket))


def _encrypts(call: Call) -> list:
    """The customer's key that new data is written under: named in the call, else the bucket's default."""
    algorithm = call.request.header("x-amz-server-side-encryption")
    reference: Optional[str] = call.request.header("x-amz-server-side-encryption-aws-kms-key-id")
    bucket = world.bucket(call.bucket)
    if not algorithm and bucket is not None and bucket.encryption:
        rule = bucket.encryption.get("Rule", {})
        rule = rule[0] if isinstance(rule, list) else rule
        default = rule.get("ApplyServerSideEncryptionByDefault", {})
        algorithm, reference = default.get("SSEAlgorithm", ""), default.get("KMSMasterKeyID")
    actions = ("kms:GenerateDataKey",) + (("kms:Decrypt",) if call.operation != "PutObject" else ())
    return _key_use(call, actions, reference) if algorithm.startswith("aws:kms") else []


def _decrypts(call: Call, item) -> list:
    if item is None or not str(item.encryption or "").startswith("aws:kms"):
        return []
    return _key_use(call, ("kms:Decrypt",), item.kms_key_id)


def _key_use(call: Call, actions: tuple, reference: Optional[str]) -> list:
    # Without a key id it is the AWS-managed key of S3, which whoever may use the bucket may use.
    if not reference or "alias/aws/s3" in reference or reference == "None":
        return []
    from .kms import key_needs

    bucket = world.bucket(call.bucket)
    region = bucket.region_name if bucket is not None else call.region
    arn = f"arn:aws:s3:::{call.bucket}"
    keys = {
        "kms:ViaService": f"s3.{region}.amazonaws.com",
        "kms:EncryptionContext:aws:s3:arn": f"{arn}/{call.key}",
        "kms:EncryptionContextKeys": ["aws:s3:arn"],
    }
    return key_needs(region, reference, actions, keys)


def _delete_many(call: Call, guard: Guard) -> list:
    """One need per key: each is allowed or refused alone."""
    found = []
    for element in delete_entries(call.request.body)[1]:
        texts = {part.tag.rpartition("}")[2]: (part.text or "") for part in element}
        action = "DeleteObjectVersion" if texts.get("VersionId") else "DeleteObject"
        keys = {**_keys(call), "s3:VersionId": texts.get("VersionId")}
        arn = f"arn:aws:s3:::{call.bucket}/{texts.get('Key', '')}"
        found.append(Need(f"s3:{action}", arn, keys, guard=guard, part=texts))
        if _bypasses(call):
            found.append(Need("s3:BypassGovernanceRetention", arn, keys, guard=guard, part=texts))
    return found


def delete_entries(body: bytes) -> tuple:
    """The root and the Object elements of a DeleteObjects body."""
    try:
        root = ElementTree.fromstring(body)
    except ElementTree.ParseError as error:
        raise ApiError("MalformedXML", "The XML you provided was not well-formed.", 400) from error
    return root, [element for element in root if element.tag.rpartition("}")[2] == "Object"]
