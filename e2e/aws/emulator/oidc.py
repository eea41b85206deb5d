"""Identity providers' keys, and whether a web identity token is good.

Stands in for fetching `…/.well-known/openid-configuration`: keys are registered by the test, per issuer. Whether
the account trusts the issuer is IAM state (the OIDC provider with its client ids).
"""

import json
from dataclasses import dataclass
from typing import Any

import jwt

from . import world
from .errors import ApiError
from .principal import ACCOUNT


@dataclass(frozen=True)
class Token:
    # The issuer without its scheme: the prefix of the condition keys.
    issuer: str
    provider_arn: str
    provider: str
    subject: str
    audience: str
    keys: dict


class Issuers:
    """Verification keys by issuer."""

    def __init__(self) -> None:
        self._keys: dict = {}

    def register(self, issuer: str, jwks: dict) -> None:
        """Later registrations replace earlier ones, as a rotated key set does."""
        if not issuer.startswith("https://"):
            raise ValueError("the issuer must be an https URL")
        self._keys[issuer] = jwt.PyJWKSet.from_dict(jwks)

    def clear(self) -> None:
        self._keys.clear()

    def verify(self, token: str) -> Token:
        """The proven content of a token; ApiError in the words of STS otherwise."""
        try:
            claims = jwt.decode(token, options={"verify_signature": False})
            header = jwt.get_unverified_header(token)
        except jwt.PyJWTError as error:
            raise ApiError(
                "InvalidIdentityToken",
                "The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)",
            ) from error
        issuer = str(claims.get("iss", ""))
        name = issuer.removeprefix("https://")
        arn = f"arn:aws:iam::{ACCOUNT}:oidc-provider/{name}"
        provider = world.oidc_provider(arn)
        if provider is None:
            raise ApiError("InvalidIdentityToken", f"No OpenIDConnect provider found in your account for {issuer}")
        self._check(token, header, issuer)
        subject = claims.get("sub")
        if not isinstance(subject, str) or not subject:
            raise ApiError("InvalidIdentityToken", "Missing a required claim: sub")
        audience = _audience(claims, provider.client_id_list)
        keys = {f"{name}:sub": subject, f"{name}:aud": audience, f"{name}:amr": claims.get("amr")}
        return Token(name, arn, issuer, subject, audience, keys)

    def _check(self, token: str, header: dict, issuer: str) -> None:
        keys = self._keys.get(issuer)
        kid = header.get("kid")
        candidates = [key for key in keys.keys if kid is None or key.key_id == kid] if keys is not None else []
        if not candidates:
            raise ApiError(
                "InvalidIdentityToken",
                "Couldn't retrieve verification key from your identity provider, please reference "
                "AssumeRoleWithWebIdentity documentation for requirements",
            )
        failure: Any = None
        for key in candidates:
            try:
                jwt.decode(
                    token,
                    key,
                    algorithms=["RS256", "ES256"],
                    options={"verify_aud": False, "require": ["exp", "iat"]},
                )
                return
            except jwt.ExpiredSignatureError as error:
                raise ApiError(
                    "ExpiredTokenException", "Token expired: the current time is after its expiration"
                ) from error
            except jwt.PyJWTError as error:
                failure = error
        raise ApiError("InvalidIdentityToken", f"The ID Token provided could not be verified: {failure}") from failure


def _audience(claims: dict, client_ids: list) -> str:
    """The audience that the provider accepts; STS reads `azp` before `aud`."""
    named = claims.get("azp") or claims.get("aud") or []
    listed = named if isinstance(named, list) else [named]
    found = next((audience for audience in listed if audience in client_ids), None)
    if found is None:
        raise ApiError("InvalidIdentityToken", "Incorrect token audience")
    return str(found)


def parse_registration(body: bytes) -> tuple:
    """Issuer and key set of a registration; ValueError when it is none."""
    document = json.loads(body)
    if (
        not isinstance(document, dict)
        or not isinstance(document.get("issuer"), str)
        or not isinstance(document.get("jwks"), dict)
    ):
        raise ValueError('expected {"issuer": "https://…", "jwks": {"keys": […]}}')
    return document["issuer"], document["jwks"]
