"""From credentials to a principal: access keys of users, sessions of roles, the account root.

Owns the sessions that STS gave out. Keys are found by index, never by looking through users.
"""

import secrets
import string
from dataclasses import dataclass, field
from datetime import datetime
from typing import Optional, Sequence

from . import errors, signature, world
from .decision import Held
from .http import Request
from .policy import EMPTY, Malformed, Policy, identity_policy
from .principal import ACCOUNT, ROOT_ARN, Principal
from .signature import Signature

ROOT_KEY = "ROOTROOTROOTROOTROOT"
ROOT_SECRET = "root-secret"
ROOT = Principal(arn=ROOT_ARN, user_id=ACCOUNT, is_root=True)
ANONYMOUS = Principal(arn=None)


@dataclass(frozen=True)
class Session:
    access_key: str
    secret: str
    token: str
    expires: datetime
    # The role as it was: a role made again under the same name does not revive the session.
    role_id: str
    role_name: str
    name: str
    policies: Optional[tuple]
    tags: dict = field(default_factory=dict)
    keys: dict = field(default_factory=dict)

    @property
    def arn(self) -> str:
        return f"arn:aws:sts::{ACCOUNT}:assumed-role/{self.role_name}/{self.name}"

    @property
    def user_id(self) -> str:
        return f"{self.role_id}:{self.name}"


class Sessions:
    """Sessions by access key; expired ones are dropped as new ones come."""

    def __init__(self) -> None:
        self._by_key: dict = {}

    def get(self, access_key: str) -> Optional[Session]:
        return self._by_key.get(access_key)

    def add(self, session: Session, now: datetime) -> None:
        self._by_key[session.access_key] = session
        if len(self._by_key) % 1000 == 0:
            # A day more, so that for a while the answer is "expired" and not "unknown".
            self._by_key = {k: s for k, s in self._by_key.items() if (now - s.expires).total_seconds() < 86400}

    def clear(self) -> None:
        self._by_key.clear()


def new_credentials() -> tuple:
    """A temporary access key, its secret and its session token."""
    letters = string.ascii_uppercase + "234567"
    key = "ASIA" + "".join(secrets.choice(letters) for _ in range(16))
    return key, secrets.token_urlsafe(30), secrets.token_urlsafe(180)


def authenticate(
    request: Request, signed: Optional[Signature], service: str, sessions: Sessions, now: datetime
) -> tuple:
    """The principal and its session, if any; ApiError when the credentials are not good."""
    if signed is None:
        if service != "s3":
            raise errors.credentials(service, "missing")
        return ANONYMOUS, None
    if signed.access_key == ROOT_KEY:
        _check(request, signed, ROOT_SECRET, service, now)
        return ROOT, None
    session = sessions.get(signed.access_key)
    if session is not None:
        return _session_principal(request, signed, service, session, now), session
    key = world.access_key(signed.access_key)
    user = world.user(key.user_name) if key is not None and key.user_name else None
    if user is None or key.status != "Active":
        raise errors.credentials(service, "unknown")
    if signed.token is not None:
        raise errors.credentials(service, "token")
    _check(request, signed, key.secret_access_key, service, now)
    principal = Principal(arn=user.arn, user_id=user.id, user_name=user.name, tags=world.tags_of(user))
    return principal, None


def _session_principal(request: Request, signed: Signature, service: str, session: Session, now: datetime) -> Principal:
    role = world.role(session.role_name)
    if role is None or role.id != session.role_id:
        raise errors.credentials(service, "unknown")
    if signed.token != session.token:
        raise errors.credentials(service, "token")
    _check(request, signed, session.secret, service, now)
    if now >= session.expires:
        raise errors.credentials(service, "expired")
    return Principal(
        arn=session.arn,
        user_id=session.user_id,
        role_arn=role.arn,
        role_name=role.name,
        tags={**world.tags_of(role), **session.tags},
        keys=session.keys,
    )


def _check(request: Request, signed: Signature, secret: str, service: str, now: datetime) -> None:
    if not signature.is_right(request, signed, secret):
        raise errors.credentials(service, "signature")
    try:
        signed.check_time(now)
    except signature.TooOld as error:
        raise errors.credentials(service, "skew") from error


def held_policies(principal: Principal, session: Optional[Session]) -> Held:
    """The policies that the principal carries at this moment."""
    if principal.role_name is not None:
        role = world.role(principal.role_name)
        documents = world.inline_and_attached(role)
        policies = session.policies if session is not None else None
        return Held(_parsed(documents), _boundary(role.permissions_boundary_arn), policies)
    user = world.user(principal.user_name) if principal.user_name else None
    if user is None:
        return Held()
    documents = world.inline_and_attached(user)
    for group in world.groups_of(user):
        documents += world.inline_and_attached(group)
    return Held(_parsed(documents), _boundary(world.user_boundaries.get(user.id)))


def _boundary(arn: Optional[str]) -> Optional[Policy]:
    if arn is None:
        return None
    document = world.managed_policy(arn)
    return _parsed([document])[0] if document is not None else EMPTY


_DENY_ALL = identity_policy('{"Version":"2012-10-17","Statement":{"Effect":"Deny","Action":"*","Resource":"*"}}')


def _parsed(documents: Sequence[str]) -> list:
    found = []
    for document in documents:
        try:
            found.append(identity_policy(document))
        except Malformed:
            # Refused when it is put; should one slip through, it must not widen anything.
            found.append(_DENY_ALL)
    return found
