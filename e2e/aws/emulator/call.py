"""A call: which service, which operation, with which parameters. Made once per request, read by everything else.

The service is what the signature names; the operation is found as the service itself finds it (target header,
Action parameter, method and path). What the call needs permission for is in `calls/`.
"""

import json
import re
from dataclasses import dataclass, field
from typing import Optional
from urllib.parse import parse_qsl, unquote

from .errors import ApiError
from .http import Request

SERVICES = {"dynamodb", "dynamodbstreams", "s3", "iam", "sts", "kms", "route53", "ssm"}
_TARGETS = {"DynamoDB": "dynamodb", "DynamoDBStreams": "dynamodbstreams", "TrentService": "kms", "AmazonSSM": "ssm"}
# Services whose signatures carry another name.
SIGNED_AS = {"dynamodbstreams": "dynamodb"}


@dataclass
class Call:
    service: str
    operation: str
    region: str
    request: Request
    # JSON services: the parsed body. Query services: parameters by name. REST services: query parameters.
    params: dict = field(default_factory=dict)
    bucket: str = ""
    key: str = ""
    # The segments of a REST path after its version: Route 53.
    path: tuple = ()

    @property
    def name(self) -> str:
        return f"{self.service}:{self.operation}"

    def replace_params(self) -> None:
        """Write `params`, after a change, back into the body of a JSON service."""
        self.request.body = json.dumps(self.params).encode()


def service_of(request: Request, signed_service: Optional[str]) -> str:
    """The service that is meant, by the signature, else by the shape of an unsigned call."""
    target = request.header("x-amz-target").split(".")[0]
    by_target = _TARGETS.get(re.sub(r"_\d+$", "", target))
    if by_target:
        return by_target
    if signed_service:
        return signed_service
    form = request.header("content-type").startswith("application/x-www-form-urlencoded")
    return "sts" if form and request.method == "POST" else "s3"


def read(request: Request, service: str, region: str) -> Call:
    """The call in a request of a service; ApiError when there is no such operation."""
    if service not in SERVICES:
        raise ApiError("UnknownService", f"This emulator has no service {service}.", 400)
    if service in ("iam", "sts"):
        return _query_call(request, service, region)
    if service == "s3":
        return _s3_call(request, region)
    if service == "route53":
        return _route53_call(request, region)
    operation = request.header("x-amz-target").rpartition(".")[2]
    try:
        params = json.loads(request.body or b"{}")
    except ValueError as error:
        raise ApiError("SerializationException", "The request body is no JSON.") from error
    if not operation or not isinstance(params, dict):
        raise ApiError("UnknownOperationException", "The request has no operation.")
    return Call(service, operation, region, request, params)


def _query_call(request: Request, service: str, region: str) -> Call:
    source = request.raw_query if request.method == "GET" else request.body.decode("utf-8", "replace")
    params = dict(parse_qsl(source, keep_blank_values=True))
    if "Action" not in params:
        raise ApiError("MissingAction", "Could not find an operation in the request.")
    return Call(service, params["Action"], region, request, params)


def members(params: dict, name: str) -> list:
    """The list `name.member.N` of a query request; structures come as dictionaries of their fields."""
    items: dict = {}
    for key, value in params.items():
        found = re.fullmatch(rf"{re.escape(name)}\.member\.(\d+)(?:\.(.+))?", key)
        if found:
            number, inner = int(found.group(1)), found.group(2)
            if inner is None:
                items[number] = value
            else:
                items.setdefault(number, {})[inner] = value
    return [items[number] for number in sorted(items)]


# Bucket subresources: (GET, PUT, DELETE, POST) operations. Found by the query parameter of that name.
_BUCKET = {
    "accelerate": ("GetBucketAccelerateConfiguration", "PutBucketAccelerateConfiguration", None, None),
    "acl": ("GetBucketAcl", "PutBucketAcl", None, None),
    "cors": ("GetBucketCors", "PutBucketCors", "DeleteBucketCors", None),
    "delete": (None, None, None, "DeleteObjects"),
    "encryption": ("GetBucketEncryption", "PutBucketEncryption", "DeleteBucketEncryption", None),
    "lifecycle": ("GetBucketLifecycleConfiguration", "PutBucketLifecycleConfiguration", "DeleteBucketLifecycle", None),
    "location": ("GetBucketLocation", None, None, None),
    "logging": ("GetBucketLogging", "PutBucketLogging", None, None),
    "notification": ("GetBucketNotificationConfiguration", "PutBucketNotificationConfiguration", None, None),
    "object-lock": ("GetObjectLockConfiguration", "PutObjectLockConfiguration", None, None),
    "ownershipControls": (
        "GetBucketOwnershipControls", "PutBucketOwnershipControls", "DeleteBucketOwnershipControls", None,
    ),
    "policy": ("GetBucketPolicy", "PutBucketPolicy", "DeleteBucketPolicy", None),
    "policyStatus": ("GetBucketPolicyStatus", None, None, None),
    "publicAccessBlock": ("GetPublicAccessBlock", "PutPublicAccessBlock", "DeletePublicAccessBlock", None),
    "replication": ("GetBucketReplication", "PutBucketReplication", "DeleteBucketReplication", None),
    "requestPayment": ("GetBucketRequestPayment", "PutBucketRequestPayment", None, None),
    "tagging": ("GetBucketTagging", "PutBucketTagging", "DeleteBucketTagging", None),
    "uploads": ("ListMultipartUploads", None, None, None),
    "versioning": ("GetBucketVersioning", "PutBucketVersioning", None, None),
    "versions": ("ListObjectVersions", None, None, None),
    "website": ("GetBucketWebsite", "PutBucketWebsite", "DeleteBucketWebsite", None),
}  # fmt: skip
_OBJECT = {
    "acl": ("GetObjectAcl", "PutObjectAcl", None, None),
    "attributes": ("GetObjectAttributes", None, None, None),
    "legal-hold": ("GetObjectLegalHold", "PutObjectLegalHold", None, None),
    "restore": (None, None, None, "RestoreObject"),
    "retention": ("GetObjectRetention", "PutObjectRetention", None, None),
    "select": (None, None, None, "SelectObjectContent"),
    "tagging": ("GetObjectTagging", "PutObjectTagging", "DeleteObjectTagging", None),
    "uploadId": ("ListParts", "UploadPart", "AbortMultipartUpload", "CompleteMultipartUpload"),
    "uploads": (None, None, None, "CreateMultipartUpload"),
}  # fmt: skip
# Query parameters that only refine an operation. Any other one would name a subresource that is not in the tables
# above, and must not be taken for the plain operation on bucket or object.
_REFINEMENTS = {
    "bucket-region", "continuation-token", "delimiter", "encoding-type", "fetch-owner", "key-marker", "list-type",
    "marker", "max-buckets", "max-keys", "max-parts", "max-uploads", "part-number-marker", "partNumber", "prefix",
    "select-type", "start-after", "upload-id-marker", "version-id-marker", "versionId", "x-id",
}  # fmt: skip
_METHODS = {"GET": 0, "PUT": 1, "DELETE": 2, "POST": 3}


def _s3_call(request: Request, region: str) -> Call:
    pairs = parse_qsl(request.raw_query, keep_blank_values=True)
    params = dict(pairs)
    bucket, slash, key = request.raw_path.removeprefix("/").partition("/")
    # A second reader of the same request (moto) must come to the same bucket, key and parameters.
    if len(params) != len(pairs) or "%" in bucket or (slash and not bucket):
        raise ApiError("InvalidURI", "Couldn't parse the specified URI.")
    key = unquote(key)
    operation = _s3_operation(request, params, bucket, key)
    return Call("s3", operation, region, request, params, bucket=bucket, key=key)


def _s3_operation(request: Request, params: dict, bucket: str, key: str) -> str:
    method = request.method
    for name in params:
        table = _OBJECT if key else _BUCKET
        if name not in table and name not in _REFINEMENTS and not name.lower().startswith(("x-amz-", "response-")):
            raise ApiError("NotImplemented", f"This emulator has no S3 operation with ?{name}.", 501)
    if not bucket:
        return "ListBuckets" if method == "GET" else _no_s3_operation(method)
    if method == "HEAD":
        return "HeadObject" if key else "HeadBucket"
    if method not in _METHODS:
        return _no_s3_operation(method)
    table = _OBJECT if key else _BUCKET
    for name, operations in table.items():
        if name in params:
            operation = operations[_METHODS[method]]
            if operation is None:
                return _no_s3_operation(f"{method} ?{name}")
            copies = operation == "UploadPart" and request.has_header("x-amz-copy-source")
            return "UploadPartCopy" if copies else operation
    if not key:
        listing = "ListObjectsV2" if params.get("list-type") == "2" else "ListObjects"
        return {"GET": listing, "PUT": "CreateBucket", "DELETE": "DeleteBucket"}.get(method) or _no_s3_operation(method)
    if method == "PUT":
        return "CopyObject" if request.has_header("x-amz-copy-source") else "PutObject"
    return {"GET": "GetObject", "DELETE": "DeleteObject"}.get(method) or _no_s3_operation(method)


def _no_s3_operation(what: str) -> str:
    raise ApiError("MethodNotAllowed", f"The specified method is not allowed against this resource: {what}.", 405)


# Route 53: method and path pattern after "/2013-04-01/".
_ROUTE53 = [
    ("POST", r"hostedzone", "CreateHostedZone"),
    ("GET", r"hostedzone", "ListHostedZones"),
    ("GET", r"hostedzone/[^/]+", "GetHostedZone"),
    ("DELETE", r"hostedzone/[^/]+", "DeleteHostedZone"),
    ("POST", r"hostedzone/[^/]+", "UpdateHostedZoneComment"),
    ("POST", r"hostedzone/[^/]+/rrset", "ChangeResourceRecordSets"),
    ("GET", r"hostedzone/[^/]+/rrset", "ListResourceRecordSets"),
    ("GET", r"hostedzonesbyname", "ListHostedZonesByName"),
    ("GET", r"hostedzonecount", "GetHostedZoneCount"),
    ("GET", r"change/[^/]+", "GetChange"),
    ("GET", r"tags/hostedzone/[^/]+", "ListTagsForResource"),
    ("POST", r"tags/hostedzone/[^/]+", "ChangeTagsForResource"),
    ("POST", r"tags/hostedzone", "ListTagsForResources"),
]


def _route53_call(request: Request, region: str) -> Call:
    path = re.sub(r"^/\d{4}-\d{2}-\d{2}/", "", unquote(request.raw_path)).strip("/")
    for method, pattern, operation in _ROUTE53:
        if request.method == method and re.fullmatch(pattern, path):
            params = dict(parse_qsl(request.raw_query, keep_blank_values=True))
            return Call("route53", operation, region, request, params, path=tuple(path.split("/")))
    raise ApiError("InvalidAction", f"This emulator has no Route 53 operation for {request.method} /{path}.", 400)
