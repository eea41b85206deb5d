"""The decision: how identity, boundary, session and resource policies combine within one account.

Pure: everything comes in as arguments. The order is that of "Policy evaluation logic" in the IAM user guide:
an explicit Deny anywhere, then the resource-based policy, then identity policies cut by boundary and session.
"""

from dataclasses import dataclass, field
from typing import Optional, Sequence

from .context import Context
from .policy import ACCOUNT, NAMED, ROLE, Policy
from .principal import Principal


@dataclass(frozen=True)
class Held:
    """The policies that a principal carries."""

    identity: Sequence[Policy] = ()
    # None: no boundary is set. A boundary whose policy is gone is an empty policy, which allows nothing.
    boundary: Optional[Policy] = None
    session: Optional[Sequence[Policy]] = None


@dataclass(frozen=True)
class Guard:
    """The policy on the resource. `required`: without its consent nothing is allowed (trust, KMS key)."""

    policy: Optional[Policy] = None
    required: bool = False
    kind: str = "resource-based policy"


@dataclass(frozen=True)
class Decision:
    allowed: bool
    # As AWS words it at the end of its message.
    reason: str = field(default="")


def decide(principal: Principal, action: str, resource: str, context: Context, held: Held, guard: Guard) -> Decision:
    """Whether `principal` may do `action` on `resource`."""
    session = held.session if held.session is not None else ()
    boundary = (held.boundary,) if held.boundary is not None else ()
    for kind, policies in (
        ("identity-based policy", held.identity),
        ("permissions boundary", boundary),
        ("session policy", session),
    ):
        if any(_denies(policy, action, resource, context) for policy in policies):
            return Decision(False, f"with an explicit deny in {_article(kind)}")
    granted = None
    if guard.policy is not None:
        if _denies(guard.policy, action, resource, context, principal):
            return Decision(False, f"with an explicit deny in {_article(guard.kind)}")
        granted = _grants(guard.policy, action, resource, context, principal)

    if granted == NAMED:
        return Decision(True)
    if principal.arn is None or (guard.required and granted is None):
        return Decision(False, f"because no {guard.kind} allows the {action} action")
    if granted != ROLE and not _any_allows(held.identity, action, resource, context):
        return Decision(False, f"because no identity-based policy allows the {action} action")
    if held.boundary is not None and not _any_allows(boundary, action, resource, context):
        return Decision(False, f"because no permissions boundary allows the {action} action")
    if held.session is not None and not _any_allows(session, action, resource, context):
        return Decision(False, f"because no session policy allows the {action} action")
    return Decision(True)


def _denies(
    policy: Policy, action: str, resource: str, context: Context, principal: Optional[Principal] = None
) -> bool:
    # An undecidable Deny (None) denies: fail closed.
    return any(
        not s.allows
        and s.applies(action, resource, context) is not False
        and (principal is None or s.names(principal) is not None)
        for s in policy.statements
    )


def _any_allows(policies: Sequence[Policy], action: str, resource: str, context: Context) -> bool:
    return any(s.allows and s.applies(action, resource, context) is True for p in policies for s in p.statements)


def _grants(policy: Policy, action: str, resource: str, context: Context, principal: Principal) -> Optional[str]:
    """The strongest way in which a resource-based policy allows the caller."""
    found = {s.names(principal) for s in policy.statements if s.allows and s.applies(action, resource, context) is True}
    return next((way for way in (NAMED, ROLE, ACCOUNT) if way in found), None)


def _article(kind: str) -> str:
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"
