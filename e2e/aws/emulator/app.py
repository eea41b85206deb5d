"""The way of a call: read, authenticate, meet a fault, be allowed, be carried out, be written down.

Whatever a step decides lies in its own module; here is only their order. One lock stands round decision and
effect, so that the call log has the order of the effects and no policy changes between the two.
"""

import json
import threading
import time
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Optional

from . import access, buckets, errors, roles, signature, tables, world
from . import call as calls
from .access import Verdict
from .backend import Backend
from .call import Call
from .control import Control
from .errors import ApiError
from .faults import Fault, Faults
from .http import Cut, Request, Response
from .identity import Session, Sessions, authenticate
from .journal import Journal
from .names import Names
from .oidc import Issuers
from .principal import Principal
from .sts import Sts


@dataclass
class _Trace:
    """What the log will say about a call, as far as it got."""

    service: str = ""
    operation: str = ""
    principal: Optional[str] = None
    actions: tuple = ()
    resources: tuple = ()
    needs: tuple = ()
    outcome: str = "allowed"


class Emulator:
    """All services of one account."""

    def __init__(self, journal: Journal, names: Names):
        self._journal = journal
        self._faults = Faults()
        self._issuers = Issuers()
        self._sessions = Sessions()
        self._backend = Backend()
        self._tables = tables.Tables()
        self._sts = Sts(self._sessions, self._issuers)
        self._lock = threading.Lock()
        self._control = Control(self._faults, self._issuers, self._tables, self._journal, names, self._reset)

    def __call__(self, request: Request) -> Response:
        if request.raw_path.startswith("/testbed/"):
            return self._control.answer(request)
        trace = _Trace()
        try:
            response = self._handle(request, trace)
        except ApiError as error:
            if trace.outcome == "allowed":
                trace.outcome = _outcome(error.code)
            response = errors.render(trace.service or "s3", error, request.raw_path)
            self._write(request, trace)
        return response

    def _handle(self, request: Request, trace: _Trace) -> Response:
        now = datetime.now(timezone.utc)
        try:
            signed = signature.read(request)
        except signature.Unreadable as error:
            trace.service = calls.service_of(request, None)
            raise errors.credentials(trace.service, "unreadable") from error
        trace.service = calls.service_of(request, signed.service if signed else None)
        if signed is not None and signed.service != calls.SIGNED_AS.get(trace.service, trace.service):
            raise errors.credentials(trace.service, "scope")
        region = signed.region if signed else "us-east-1"
        try:
            call = calls.read(request, trace.service, region)
        except ApiError:
            # Who is not known does not learn what is wrong with the request.
            authenticate(request, signed, trace.service, self._sessions, now)
            raise
        trace.operation = call.operation
        if call.name == "sts:AssumeRoleWithWebIdentity":
            principal, session = Principal(arn=None), None
        else:
            principal, session = authenticate(request, signed, call.service, self._sessions, now)
        trace.principal = principal.arn
        return self._with_faults(call, principal, session, now, trace)

    def _with_faults(
        self, call: Call, principal: Principal, session: Optional[Session], now: datetime, trace: _Trace
    ) -> Response:
        with self._lock:
            verdict = self._examine(call, principal, session, now, trace)
            fault = self._faults.take(call.name, principal.arn, trace.resources)
            if fault is None:
                return self._effect(call, principal, session, now, verdict, trace)
        trace.outcome = f"fault:{fault.kind}"
        instead = self._instead(call, principal, fault, trace)
        if instead is not None:
            return instead
        with self._lock:
            # Time has passed under a delay: what counts is what holds at the moment of the effect.
            verdict = self._examine(call, principal, session, now, trace)
            response = self._effect(call, principal, session, now, verdict, trace)
        return Response(0, [], b"", cut=Cut.CLOSE) if fault.kind == "lost" else response

    def _examine(
        self, call: Call, principal: Principal, session: Optional[Session], now: datetime, trace: _Trace
    ) -> Verdict:
        verdict = access.examine(call, principal, session, now)
        trace.actions = tuple(dict.fromkeys(need.action for need in verdict.needs))
        trace.resources = tuple(dict.fromkeys(need.resource for need in verdict.needs))
        trace.needs = tuple(dict.fromkeys((need.action, need.resource) for need in verdict.needs))
        if call.name == "sts:AssumeRoleWithWebIdentity":
            trace.actions, trace.resources = (call.name,), (call.params.get("RoleArn", ""),)
        return verdict

    def _effect(
        self,
        call: Call,
        principal: Principal,
        session: Optional[Session],
        now: datetime,
        verdict: Verdict,
        trace: _Trace,
    ) -> Response:
        try:
            response = self._carry_out(call, principal, session, now, verdict)
            code = _code(call.service, response) if response.status >= 400 else ""
        except ApiError as error:
            response = errors.render(call.service, error, call.request.raw_path)
            code = error.code
        if code and trace.outcome == "allowed":
            trace.outcome = _outcome(code)
        self._write(call.request, trace)
        return response

    def _instead(self, call: Call, principal: Principal, fault: Fault, trace: _Trace) -> Optional[Response]:
        """What happens in place of the call; None if the call goes on."""
        if fault.ms:
            time.sleep(fault.ms / 1000)
        if fault.kind == "throttle":
            raise errors.throttled(call.service)
        if fault.kind == "error":
            raise errors.internal(call.service)
        if fault.kind == "deny":
            resource = trace.resources[0] if trace.resources else "*"
            action = trace.actions[0] if trace.actions else call.name
            raise errors.denied(
                call.service,
                f"User: {principal.arn} is not authorized to perform: {action} on resource: {resource} "
                "with an explicit deny in a service control policy",
            )
        if fault.kind == "reset":
            self._write(call.request, trace)
            return Response(0, [], b"", cut=Cut.RESET)
        return None

    def _carry_out(
        self, call: Call, principal: Principal, session: Optional[Session], now: datetime, verdict: Verdict
    ) -> Response:
        refused = [(need, reason) for need, reason in verdict.refused if need.part is None]
        if refused and not buckets.is_missing(call):
            raise access.refusal(call, principal, *refused[0])
        if call.service == "sts":
            return self._sts.answer(call, principal, session, now)
        if call.service == "s3":
            return buckets.perform(
                call, self._backend, verdict, lambda need: access.allows(call, principal, session, need, now)
            )
        if call.service in ("dynamodb", "dynamodbstreams"):
            return self._tables.perform(call, self._backend)
        if call.service == "iam":
            return roles.perform(call, self._backend)
        if call.service == "kms":
            world.mark_managed_keys(call.region)
        return self._backend.perform(call)

    def _write(self, request: Request, trace: _Trace) -> None:
        self._journal.add(
            {
                "service": trace.service,
                "operation": trace.operation,
                "principal_arn": trace.principal,
                "resources": list(trace.resources),
                "actions": list(trace.actions),
                "needs": [list(need) for need in trace.needs],
                "outcome": trace.outcome,
                "user_agent": request.header("user-agent"),
            }
        )

    def _reset(self) -> None:
        with self._lock:
            world.reset()
            self._tables.reset()
            self._sessions.clear()
            self._issuers.clear()
            self._faults.clear()
            self._journal.reset()


def _outcome(code: str) -> str:
    return "denied" if code.startswith("AccessDenied") else code


def _code(service: str, response: Response) -> str:
    """The error code in an answer of moto's."""
    text = response.body.decode("utf-8", "replace")
    if service in errors.JSON_SERVICES:
        try:
            return str(json.loads(text).get("__type", response.status)).rpartition("#")[2]
        except (ValueError, AttributeError):
            return str(response.status)
    _, found, rest = text.partition("<Code>")
    return rest.partition("</Code>")[0] if found else str(response.status)
