"""Errors in the words and the shape of the service that answers.

One exception for every refusal of the emulator's own, and the bodies that SDKs read: JSON 1.0/1.1, the query
protocol, S3 and Route 53 XML.
"""

import json
import uuid
import zlib
from xml.sax.saxutils import escape

from .http import Response

JSON_SERVICES = {"dynamodb", "dynamodbstreams", "kms", "ssm"}
_NAMESPACES = {
    "iam": "https://iam.amazonaws.com/doc/2010-05-08/",
    "sts": "https://sts.amazonaws.com/doc/2011-06-15/",
    "route53": "https://route53.amazonaws.com/doc/2013-04-01/",
}
_JSON_PREFIX = {
    "dynamodb": "com.amazonaws.dynamodb.v20120810#",
    "dynamodbstreams": "com.amazonaws.dynamodb.v20120810#",
}
# Codes that DynamoDB answers from the layer in front of it.
_CORAL = {
    "AccessDeniedException", "ExpiredTokenException", "IncompleteSignatureException", "InternalServerError",
    "InvalidSignatureException", "MissingAuthenticationTokenException", "ThrottlingException",
    "UnrecognizedClientException", "ValidationException", "UnknownOperationException",
}  # fmt: skip


class ApiError(Exception):
    """A refusal with the code, text and status of AWS."""

    def __init__(self, code: str, message: str, status: int = 400):
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status


def denied(service: str, message: str) -> ApiError:
    """Not authorized, in the code and status of the service."""
    if service in JSON_SERVICES:
        return ApiError("AccessDeniedException", message, 400)
    return ApiError("AccessDenied", message, 403)


# Why credentials are refused: (JSON services, query services and Route 53, S3), each a code and a status.
_CREDENTIALS = {
    "missing": (
        ("MissingAuthenticationTokenException", 400),
        ("MissingAuthenticationToken", 403),
        ("AccessDenied", 403),
        "Request is missing Authentication Token",
    ),
    "unreadable": (
        ("IncompleteSignatureException", 400),
        ("IncompleteSignature", 400),
        ("AuthorizationHeaderMalformed", 400),
        "The request's signature is not a complete signature of version 4",
    ),
    "unknown": (
        ("UnrecognizedClientException", 400),
        ("InvalidClientTokenId", 403),
        ("InvalidAccessKeyId", 403),
        "The security token included in the request is invalid.",
    ),
    "token": (
        ("UnrecognizedClientException", 400),
        ("InvalidClientTokenId", 403),
        ("InvalidToken", 400),
        "The security token included in the request is invalid.",
    ),
    "expired": (
        ("ExpiredTokenException", 400),
        ("ExpiredToken", 403),
        ("ExpiredToken", 400),
        "The security token included in the request is expired",
    ),
    "signature": (
        ("InvalidSignatureException", 400),
        ("SignatureDoesNotMatch", 403),
        ("SignatureDoesNotMatch", 403),
        "The request signature we calculated does not match the signature you provided. "
        "Check your AWS Secret Access Key and signing method.",
    ),
    "scope": (
        ("InvalidSignatureException", 400),
        ("SignatureDoesNotMatch", 403),
        ("AuthorizationHeaderMalformed", 400),
        "Credential should be scoped to the correct service.",
    ),
    "skew": (
        ("InvalidSignatureException", 400),
        ("SignatureDoesNotMatch", 403),
        ("RequestTimeTooSkewed", 403),
        "Signature expired: the request was signed too far from the present time.",
    ),
}


def credentials(service: str, why: str) -> ApiError:
    """A refusal before any policy was read."""
    json_service, query, s3, message = _CREDENTIALS[why]
    code, status = json_service if service in JSON_SERVICES else s3 if service == "s3" else query
    return ApiError(code, message, status)


def throttled(service: str) -> ApiError:
    """The service asks for fewer calls."""
    if service in JSON_SERVICES:
        return ApiError("ThrottlingException", "Rate of requests exceeds the allowed throughput.", 400)
    if service == "s3":
        return ApiError("SlowDown", "Please reduce your request rate.", 503)
    return ApiError("Throttling", "Rate exceeded", 400)


def internal(service: str) -> ApiError:
    """The service failed; the call may be repeated."""
    code = {
        "dynamodb": "InternalServerError",
        "dynamodbstreams": "InternalServerError",
        "kms": "KMSInternalException",
        "ssm": "InternalServerError",
        "s3": "InternalError",
        "iam": "ServiceFailure",
    }.get(service, "InternalFailure")
    return ApiError(code, "The request processing has failed because of an internal error. Please try again.", 500)


def render(service: str, error: ApiError, resource: str = "") -> Response:
    """The answer that an SDK of this service reads as `error`."""
    request_id = str(uuid.uuid4())
    if service in JSON_SERVICES:
        prefix = "com.amazon.coral.service#" if error.code in _CORAL else _JSON_PREFIX.get(service, "")
        # DynamoDB reads "message" in both spellings; the denied one of AWS has a capital.
        name = "Message" if error.code == "AccessDeniedException" else "message"
        body = json.dumps({"__type": prefix + error.code, name: error.message}).encode()
        headers = [
            (
                "Content-Type",
                "application/x-amz-json-1.0" if service.startswith("dynamodb") else "application/x-amz-json-1.1",
            ),
            ("x-amzn-RequestId", request_id),
            ("x-amz-crc32", str(zlib.crc32(body))),
        ]
        return Response(error.status, headers, body)
    code, message = escape(error.code), escape(error.message)
    if service == "s3":
        text = (
            f"<Error><Code>{code}</Code><Message>{message}</Message><Resource>{escape(resource)}</Resource>"
            f"<RequestId>{request_id}</RequestId></Error>"
        )
    else:
        kind = "Sender" if error.status < 500 else "Receiver"
        namespace = _NAMESPACES.get(service, "")
        text = (
            f'<ErrorResponse xmlns="{namespace}"><Error><Type>{kind}</Type><Code>{code}</Code>'
            f"<Message>{message}</Message></Error><RequestId>{request_id}</RequestId></ErrorResponse>"
        )
    headers = [
        ("Content-Type", "application/xml"),
        ("x-amzn-RequestId" if service != "s3" else "x-amz-request-id", request_id),
    ]
    return Response(error.status, headers, f'<?xml version="1.0" encoding="UTF-8"?>\n{text}'.encode())
