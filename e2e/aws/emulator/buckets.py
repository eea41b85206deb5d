"""S3 as AWS answers it where moto differs: policies that are malformed or public, defaults of new buckets,
owners, keys refused one by one, and what a caller without ListBucket learns about a missing key.

Access has been decided before; what is refused here is refused to everybody.
"""

import copy
import re
from typing import Callable
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from moto.iam.access_control import PermissionResult
from moto.s3.models import FakeBucket, PublicAccessBlock

from . import world
from .access import Verdict
from .backend import Backend
from .call import Call
from .calls.need import Need
from .calls.s3 import delete_entries, guard_of
from .errors import ApiError
from .http import Response
from .policy import Malformed, refuse_unknown_operators, resource_policy
from .principal import ACCOUNT

_NAME = re.compile(r"(?=.{3,63}$)[a-z0-9][a-z0-9.-]*[a-z0-9]")
# Every bucket made since 2023 has these.
_SSE_S3 = {"Rule": {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}, "BucketKeyEnabled": "false"}}

# moto reads bucket policies itself, and wrongly (no conditions); here they are read before moto is asked.
FakeBucket.get_permission = lambda self, action, resource: PermissionResult.PERMITTED


def is_missing(call: Call) -> bool:
    """Whether the call is about a bucket that does not exist: S3 says so to everybody."""
    return (
        call.service == "s3"
        and call.bucket != ""
        and call.operation != "CreateBucket"
        and world.bucket(call.bucket) is None
    )


def perform(call: Call, backend: Backend, verdict: Verdict, allows: Callable[[Need], bool]) -> Response:
    """Carry out a call that is allowed, at least in part (`verdict`)."""
    _check_owner(call)
    if call.operation == "DeleteObjects" and verdict.refused_parts:
        return _delete_some(call, backend, verdict.refused_parts)
    check = _CHECKS.get(call.operation)
    if check is not None:
        check(call)
    existed = world.bucket(call.bucket) is not None
    response = backend.perform(call)
    if call.operation == "CreateBucket" and response.status == 200 and not existed:
        _set_defaults(world.bucket(call.bucket))
    if call.operation == "GetBucketVersioning":
        # moto calls the answer for a bucket that was never versioned by another name, which strict clients refuse.
        response.body = response.body.replace(b"GetBucketVersioningResponse", b"VersioningConfiguration")
    if call.operation == "DeleteBucketEncryption" and response.status < 300:
        world.bucket(call.bucket).encryption = copy.deepcopy(_SSE_S3)
    if response.status == 404 and call.operation in ("GetObject", "HeadObject") and not is_missing(call):
        # Without ListBucket a missing key looks like a forbidden one.
        if not allows(Need("s3:ListBucket", f"arn:aws:s3:::{call.bucket}", guard=guard_of(call.bucket))):
            raise ApiError("AccessDenied", "Access Denied", 403)
    return response


def _check_owner(call: Call) -> None:
    for header in ("x-amz-expected-bucket-owner", "x-amz-source-expected-bucket-owner"):
        if call.request.header(header, ACCOUNT) != ACCOUNT:
            raise ApiError("AccessDenied", "Access Denied", 403)


def _set_defaults(bucket: FakeBucket) -> None:
    bucket.encryption = copy.deepcopy(_SSE_S3)
    bucket.public_access_block = PublicAccessBlock("true", "true", "true", "true")
    bucket.ownership_rule = bucket.ownership_rule or "BucketOwnerEnforced"


def _create(call: Call) -> None:
    if not _NAME.fullmatch(call.bucket) or ".." in call.bucket or re.fullmatch(r"\d+(\.\d+){3}", call.bucket):
        raise ApiError("InvalidBucketName", "The specified bucket is not valid.")


def _put_policy(call: Call) -> None:
    bucket = world.bucket(call.bucket)
    try:
        text = call.request.body.decode()
        policy = resource_policy(text)
        refuse_unknown_operators(text)
        arn = f"arn:aws:s3:::{call.bucket}"
        for statement in policy.statements:
            for pattern in statement.resources or ():
                if not (pattern.text == arn or pattern.text.startswith((f"{arn}/", f"{arn}*")) or pattern.text == "*"):
                    raise Malformed("Policy has invalid resource")
            if not all(re.match(r"s3:|\*", action.text, re.IGNORECASE) for action in statement.actions):
                raise Malformed("Policy has invalid action")
            for principal in (statement.principals or {}).get("AWS", ()):
                if not world.principal_exists(principal):
                    raise Malformed("Invalid principal in policy")
    except (Malformed, UnicodeDecodeError) as error:
        raise ApiError(
            "MalformedPolicy", str(error) or "Policies must be valid JSON and the first byte must be '{'"
        ) from error
    block = bucket.public_access_block if bucket is not None else None
    if block is not None and block.block_public_policy and policy.is_public():
        raise ApiError(
            "AccessDenied",
            "User is not authorized to perform: s3:PutBucketPolicy because public policies are prevented by the "
            "BlockPublicPolicy setting",
            403,
        )


def _put_lifecycle(call: Call) -> None:
    ids = re.findall(rb"<ID>([^<]*)</ID>", call.request.body)
    if len(ids) != len(set(ids)):
        raise ApiError("InvalidArgument", "Rule ID must be unique. Found same ID for more than one rule")


_CHECKS = {"CreateBucket": _create, "PutBucketPolicy": _put_policy, "PutBucketLifecycleConfiguration": _put_lifecycle}


def _delete_some(call: Call, backend: Backend, refused: list) -> Response:
    """DeleteObjects with some keys taken out: those come back as errors of their own."""
    root, elements = delete_entries(call.request.body)
    kept = 0
    for element in elements:
        texts = {part.tag.rpartition("}")[2]: (part.text or "") for part in element}
        if texts in refused:
            root.remove(element)
        else:
            kept += 1
    errors = "".join(_error(texts) for texts in refused)
    if kept == 0:
        namespace = "http://s3.amazonaws.com/doc/2006-03-01/"
        body = f'<?xml version="1.0" encoding="UTF-8"?>\n<DeleteResult xmlns="{namespace}">{errors}</DeleteResult>'
        return Response(200, [("Content-Type", "application/xml")], body.encode())
    namespace = root.tag.rpartition("}")[0].lstrip("{")
    if namespace:
        ElementTree.register_namespace("", namespace)
    call.request.body = ElementTree.tostring(root)
    response = backend.perform(call)
    response.body = re.sub(rb"</(\w+:)?DeleteResult>", lambda end: errors.encode() + end.group(), response.body)
    return response


def _error(texts: dict) -> str:
    version = f"<VersionId>{escape(texts['VersionId'])}</VersionId>" if texts.get("VersionId") else ""
    key = f"<Key>{escape(texts.get('Key', ''))}</Key>"
    return f"<Error>{key}{version}<Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
