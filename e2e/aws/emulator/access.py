"""The access decision for one call: its needs, the policies of its caller, the verdict and the words for it."""

from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Optional

from . import calls, errors
from .call import Call
from .calls.need import Need
from .context import Context
from .decision import Held, decide
from .identity import Session, held_policies
from .principal import ACCOUNT, Principal


@dataclass(frozen=True)
class Verdict:
    needs: list
    # Needs that are not met: (need, reason). Those of a call that fails in parts do not refuse the whole.
    refused: list

    @property
    def refused_parts(self) -> list:
        parts: list = []
        for need, _ in self.refused:
            if need.part is not None and need.part not in parts:
                parts.append(need.part)
        return parts


def examine(call: Call, principal: Principal, session: Optional[Session], now: datetime) -> Verdict:
    """Hold every need of the call against the policies."""
    needs = calls.needs(call)
    if principal.is_root:
        return Verdict(needs, [])
    held = held_policies(principal, session) if needs else Held()
    context = request_context(call, principal, now)
    refused = []
    for need in needs:
        decision = decide(
            principal, need.action, need.resource, context.with_more(need.keys, need.unknown), held, need.guard
        )
        if not decision.allowed:
            refused.append((need, decision.reason))
            if need.part is None:
                break
    return Verdict(needs, refused)


def allows(call: Call, principal: Principal, session: Optional[Session], need: Need, now: datetime) -> bool:
    """Whether one further permission, apart from those of the call, is there."""
    if principal.is_root:
        return True
    context = request_context(call, principal, now).with_more(need.keys, need.unknown)
    return decide(principal, need.action, need.resource, context, held_policies(principal, session), need.guard).allowed


def request_context(call: Call, principal: Principal, now: datetime, known: tuple = ()) -> Context:
    """The global condition keys of a request."""
    moment = now.astimezone(timezone.utc)
    values = {
        "aws:CurrentTime": moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "aws:EpochTime": int(moment.timestamp()),
        # Loopback is plain HTTP; it stands for TLS unless a test says otherwise.
        "aws:SecureTransport": not call.request.has_header("x-testbed-insecure"),
        "aws:SourceIp": call.request.remote,
        "aws:UserAgent": call.request.header("user-agent") or None,
        "aws:referer": call.request.header("referer") or None,
        "aws:RequestedRegion": "us-east-1" if call.service in ("iam", "route53") else call.region,
        "aws:ResourceAccount": ACCOUNT,
        "aws:ViaAWSService": False,
        "aws:PrincipalIsAWSService": False,
        **principal.context(),
    }
    return Context(values, known=known)


def refusal(call: Call, principal: Principal, need: Need, reason: str) -> errors.ApiError:
    """The error that AWS answers for a need that is not met."""
    if principal.arn is None:
        return errors.ApiError("AccessDenied", "Access Denied", 403)
    if call.service == "s3" and need.resource == "*":
        return errors.denied("s3", f"User: {principal.arn} is not authorized to perform: {need.action} {reason}")
    text = f"User: {principal.arn} is not authorized to perform: {need.action} on resource: {need.resource} {reason}"
    return errors.denied(call.service, text)
