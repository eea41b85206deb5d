"""Signature version 4: what was signed, by which key, and whether the signature is right.

Header and query ("presigned") form. Takes secrets from the caller; knows no users. The chunk signatures of
`STREAMING-AWS4-HMAC-SHA256-PAYLOAD` bodies are not checked, only the seed signature over the headers.
"""

import hashlib
import hmac
import re
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from typing import Optional
from urllib.parse import parse_qsl, quote, unquote_plus

from .http import Request

_HEADER = re.compile(
    r"AWS4-HMAC-SHA256\s+Credential=(?P<credential>[^,\s]+)\s*,\s*"
    r"SignedHeaders=(?P<headers>[^,\s]+)\s*,\s*Signature=(?P<signature>[0-9a-f]+)\s*"
)
_SKEW = timedelta(minutes=15)


class Unreadable(Exception):
    """The call carries a signature that is not one of version 4."""


class TooOld(Exception):
    """Signed too long ago, too far in the future, or a presigned URL after its time."""


@dataclass(frozen=True)
class Signature:
    access_key: str
    date: str
    region: str
    service: str
    signed_headers: tuple
    value: str
    moment: datetime
    token: Optional[str]
    # For presigned URLs: how long they live.
    expires: Optional[timedelta]

    def check_time(self, now: datetime) -> None:
        start, end = self.moment - _SKEW, self.moment + (self.expires if self.expires is not None else _SKEW)
        if not start <= now <= end:
            raise TooOld()


def read(request: Request) -> Optional[Signature]:
    """The signature that a request carries; None for an unsigned one."""
    authorization = request.header("authorization")
    if authorization:
        found = _HEADER.fullmatch(authorization.strip())
        if not found:
            raise Unreadable()
        moment = request.header("x-amz-date")
        return _signature(found, moment, request.header("x-amz-security-token") or None, None)
    query = dict(parse_qsl(request.raw_query, keep_blank_values=True))
    if "X-Amz-Signature" not in query:
        return None
    fields = {
        "credential": query.get("X-Amz-Credential", ""),
        "headers": query.get("X-Amz-SignedHeaders", ""),
        "signature": query["X-Amz-Signature"],
    }
    try:
        expires = timedelta(seconds=int(query.get("X-Amz-Expires", "")))
    except ValueError as error:
        raise Unreadable() from error
    return _signature(fields, query.get("X-Amz-Date", ""), query.get("X-Amz-Security-Token"), expires)


def _signature(fields, moment: str, token: Optional[str], expires: Optional[timedelta]) -> Signature:
    scope = fields["credential"].split("/")
    if len(scope) != 5 or scope[4] != "aws4_request":
        raise Unreadable()
    try:
        signed_at = datetime.strptime(moment, "%Y%m%dT%H%M%SZ").replace(tzinfo=timezone.utc)
    except ValueError as error:
        raise Unreadable() from error
    headers = tuple(fields["headers"].lower().split(";"))
    if "host" not in headers or not moment.startswith(scope[1]):
        raise Unreadable()
    return Signature(
        scope[0], scope[1], scope[2], scope[3].lower(), headers, fields["signature"], signed_at, token, expires
    )


def is_right(request: Request, signature: Signature, secret: str) -> bool:
    """Whether `secret` made this signature over this request, body included."""
    payload = _payload(request, signature)
    if payload is None:
        return False
    canonical = "\n".join(
        (
            request.method,
            _path(request, signature.service),
            _query(request.raw_query),
            "".join(f"{name}:{_trim(request.header(name))}\n" for name in signature.signed_headers),
            ";".join(signature.signed_headers),
            payload,
        )
    )
    scope = f"{signature.date}/{signature.region}/{signature.service}/aws4_request"
    digest = hashlib.sha256(canonical.encode("utf-8", "surrogateescape")).hexdigest()
    text = f"AWS4-HMAC-SHA256\n{signature.moment:%Y%m%dT%H%M%SZ}\n{scope}\n{digest}"
    key = _signing_key(secret, signature.date, signature.region, signature.service)
    return hmac.compare_digest(hmac.new(key, text.encode(), "sha256").hexdigest(), signature.value)


def _payload(request: Request, signature: Signature) -> Optional[str]:
    """The payload line; None if the declared hash is not that of the body."""
    if signature.service != "s3":
        return hashlib.sha256(request.body).hexdigest()
    declared = request.header("x-amz-content-sha256")
    if not declared:
        return "UNSIGNED-PAYLOAD" if signature.expires is not None else None
    if declared == "UNSIGNED-PAYLOAD" or declared.startswith("STREAMING-"):
        return declared
    return declared if declared == hashlib.sha256(request.body).hexdigest() else None


def _path(request: Request, service: str) -> str:
    # S3 signs the path as it was sent, all others encode it a second time.
    path = request.raw_path or "/"
    return path if service == "s3" else quote(path, safe="/-_.~")


def _query(raw: str) -> str:
    pairs = []
    for part in raw.split("&") if raw else ():
        name, _, value = part.partition("=")
        name, value = unquote_plus(name), unquote_plus(value)
        if name != "X-Amz-Signature":
            pairs.append((quote(name, safe="-_.~"), quote(value, safe="-_.~")))
    return "&".join(f"{name}={value}" for name, value in sorted(pairs))


def _trim(value: str) -> str:
    return re.sub(r" +", " ", value.strip())


@lru_cache(maxsize=16384)
def _signing_key(secret: str, date: str, region: str, service: str) -> bytes:
    key = ("AWS4" + secret).encode()
    for part in (date, region, service, "aws4_request"):
        key = hmac.new(key, part.encode(), "sha256").digest()
    return key
