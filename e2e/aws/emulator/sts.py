"""STS: who am I, sessions of roles, sessions by web identity token.

moto gives out credentials for roles that do not exist and to whoever asks, so none of it is used here.
"""

import re
import uuid
from datetime import datetime, timedelta
from typing import Optional
from xml.sax.saxutils import escape

from . import access, world
from .call import Call, members
from .calls.sts import role_needs
from .decision import Held, decide
from .errors import ApiError, denied
from .http import Response
from .identity import Session, Sessions, new_credentials
from .oidc import Issuers
from .policy import Malformed, identity_policy, refuse_unknown_operators
from .principal import ACCOUNT, Principal

_SESSION_NAME = re.compile(r"[\w+=,.@-]{2,64}", re.ASCII)
_MAX_POLICY = 2048


class Sts:
    """The calls of STS over the sessions and identity providers of one emulator."""

    def __init__(self, sessions: Sessions, issuers: Issuers):
        self._sessions = sessions
        self._issuers = issuers

    def answer(self, call: Call, principal: Principal, session: Optional[Session], now: datetime) -> Response:
        """Carry out a call that the access decision has let through."""
        if call.operation == "GetCallerIdentity":
            arn, user_id = escape(principal.arn or ""), escape(principal.user_id)
            return _result(call, f"<Arn>{arn}</Arn><UserId>{user_id}</UserId><Account>{ACCOUNT}</Account>")
        if call.operation == "AssumeRole":
            return self._assume_role(call, principal, session, now)
        if call.operation == "AssumeRoleWithWebIdentity":
            return self._assume_with_token(call, now)
        raise ApiError("InvalidAction", f"Could not find operation {call.operation} for version 2011-06-15")

    def _assume_role(self, call: Call, principal: Principal, session: Optional[Session], now: datetime) -> Response:
        arn = call.params.get("RoleArn", "")
        role = world.role_by_arn(arn)
        if role is None:
            raise denied(
                "sts", f"User: {principal.arn} is not authorized to perform: sts:AssumeRole on resource: {arn}"
            )
        # A session that takes on a role in turn (role chaining) gets an hour at most.
        limit = 3600 if session is not None else None
        made = self._session(
            call, role, now, {tag["Key"]: tag.get("Value", "") for tag in members(call.params, "Tags")}, {}, limit
        )
        return _result(call, _credentials(made))

    def _assume_with_token(self, call: Call, now: datetime) -> Response:
        token = self._issuers.verify(call.params.get("WebIdentityToken", ""))
        caller = Principal(
            arn=None, federated=token.provider_arn, keys={**token.keys, "aws:FederatedProvider": token.provider_arn}
        )
        context = access.request_context(call, caller, now, known=tuple(token.keys))
        role = world.role_by_arn(call.params.get("RoleArn", ""))
        refused = role is None
        for need in role_needs(call):
            refused = (
                refused
                or not decide(
                    caller, need.action, need.resource, context.with_more(need.keys, need.unknown), Held(), need.guard
                ).allowed
            )
        if refused:
            raise denied("sts", "Not authorized to perform sts:AssumeRoleWithWebIdentity")
        made = self._session(call, role, now, {}, {"aws:FederatedProvider": token.provider_arn}, None)
        body = (
            f"{_credentials(made)}<SubjectFromWebIdentityToken>{escape(token.subject)}</SubjectFromWebIdentityToken>"
            f"<Audience>{escape(token.audience)}</Audience><Provider>{escape(token.provider_arn)}</Provider>"
        )
        return _result(call, body)

    def _session(self, call: Call, role, now: datetime, tags: dict, keys: dict, limit: Optional[int]) -> Session:
        params = call.params
        name = params.get("RoleSessionName", "")
        if not _SESSION_NAME.fullmatch(name):
            raise _invalid("roleSessionName", name, r"[\w+=,.@-]{2,64}")
        longest = int(role.max_session_duration or 3600)
        try:
            seconds = int(params.get("DurationSeconds", "3600"))
        except ValueError as error:
            raise _invalid("durationSeconds", params["DurationSeconds"], "an integer") from error
        if seconds < 900:
            raise _invalid("durationSeconds", str(seconds), "greater than or equal to 900")
        if seconds > longest:
            raise ApiError(
                "ValidationError", "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."
            )
        if limit is not None and seconds > limit:
            raise ApiError(
                "ValidationError",
                "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining",
            )
        key, secret, token = new_credentials()
        moment = now.replace(microsecond=0)
        session = Session(
            access_key=key,
            secret=secret,
            token=token,
            expires=moment + timedelta(seconds=seconds),
            role_id=role.id,
            role_name=role.name,
            name=name,
            policies=_session_policies(params),
            tags=tags,
            keys={
                **keys,
                "aws:TokenIssueTime": moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
                "aws:MultiFactorAuthPresent": False,
                "aws:SourceIdentity": params.get("SourceIdentity"),
            },
        )
        self._sessions.add(session, now)
        return session


def _session_policies(params: dict) -> Optional[tuple]:
    """The policies that cut the session down; None when none was passed."""
    documents = []
    if params.get("Policy"):
        if len(params["Policy"]) > _MAX_POLICY:
            raise _invalid("policy", params["Policy"], f"at most {_MAX_POLICY} characters")
        documents.append(params["Policy"])
    for entry in members(params, "PolicyArns"):
        document = world.managed_policy(entry.get("arn", ""))
        if document is None:
            raise ApiError("MalformedPolicyDocument", f"The policy {entry.get('arn')} does not exist.")
        documents.append(document)
    if not documents:
        return None
    try:
        for document in documents:
            identity_policy(document)
            refuse_unknown_operators(document)
        return tuple(identity_policy(document) for document in documents)
    except Malformed as error:
        raise ApiError("MalformedPolicyDocument", str(error)) from error


def _invalid(name: str, value: str, rule: str) -> ApiError:
    text = f"1 validation error detected: Value '{value}' at '{name}' failed to satisfy constraint: {rule}"
    return ApiError("ValidationError", text)


def _credentials(session: Session) -> str:
    user = f"<Arn>{escape(session.arn)}</Arn><AssumedRoleId>{escape(session.user_id)}</AssumedRoleId>"
    return (
        f"<Credentials><AccessKeyId>{session.access_key}</AccessKeyId>"
        f"<SecretAccessKey>{session.secret}</SecretAccessKey><SessionToken>{session.token}</SessionToken>"
        f"<Expiration>{session.expires:%Y-%m-%dT%H:%M:%SZ}</Expiration></Credentials>"
        f"<AssumedRoleUser>{user}</AssumedRoleUser>"
    )


def _result(call: Call, body: str) -> Response:
    name, request_id = call.operation, uuid.uuid4()
    text = (
        f'<{name}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><{name}Result>{body}</{name}Result>'
        f"<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata></{name}Response>"
    )
    return Response(200, [("Content-Type", "text/xml"), ("x-amzn-RequestId", str(request_id))], text.encode())
