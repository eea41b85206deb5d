"""Policy documents: read, refused when malformed, and matched one statement at a time.

Answers what each statement says about a request; which policies count, and how they combine, is
`decision.py`. Parsed documents are cached by their text.
"""

import json
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Optional

from .conditions import Truth, compile_conditions, is_operator
from .context import Context
from .patterns import UnknownVariable, compile_pattern
from .principal import Principal

_TOP = {"Version", "Id", "Statement"}
_ELEMENTS = {
    "Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource", "Condition",
}  # fmt: skip
_ACTION = re.compile(r"\*|[A-Za-z0-9-]+:[A-Za-z0-9*?]+")
_RESOURCE = re.compile(r"\*|arn:[^:]*:[^:]*:[^:]*:[^:]*:.+|arn:.*\*.*", re.DOTALL)
_PRINCIPAL_TYPES = {"AWS", "Federated", "Service", "CanonicalUser"}

# How a resource-based policy names the caller; the stronger, the fewer other policies are needed.
NAMED = "named"
ROLE = "role"
ACCOUNT = "account"


class Malformed(Exception):
    """The document is no policy of the asked kind. The text is what AWS would say, more or less."""


@dataclass(frozen=True)
class Statement:
    sid: str
    allows: bool
    actions: tuple
    not_actions: bool
    resources: Optional[tuple]
    not_resources: bool
    principals: Optional[dict]
    not_principals: bool
    conditions: tuple

    def applies(self, action: str, resource: str, context: Context) -> Truth:
        """Whether the statement, apart from its principal, is about this request."""
        try:
            if any(p.matches(action, context, ignore_case=True) for p in self.actions) == self.not_actions:
                return False
            if self.resources is not None:
                if any(p.matches(resource, context, arn=True) for p in self.resources) == self.not_resources:
                    return False
        except UnknownVariable:
            return None
        # False wins over undecidable: a condition that is surely unmet takes the statement out.
        answers = [condition.holds(context) for condition in self.conditions]
        if False in answers:
            return False
        return None if None in answers else True

    def names(self, principal: Principal) -> Optional[str]:
        """How the Principal element reaches the caller; None if it does not."""
        assert self.principals is not None
        if self.not_principals:
            # Only a caller all of whose identities are listed is exempt. (IAM reference, "NotPrincipal".)
            listed = all(_lists(self.principals, identity) for identity in principal.identities)
            return None if listed else NAMED
        if principal.federated is not None:
            fits = principal.federated in self.principals.get("Federated", ()) or self._is_everyone()
            return NAMED if fits else None
        if self._is_everyone():
            return ROLE if principal.role_arn else NAMED
        if principal.arn and _lists(self.principals, principal.arn):
            return NAMED
        if principal.role_arn and _lists(self.principals, principal.role_arn):
            return ROLE
        return ACCOUNT if principal.arn and _lists(self.principals, principal.account_root) else None

    def _is_everyone(self) -> bool:
        return "*" in self.principals.get("AWS", ()) or "*" in self.principals.get("*", ())


@dataclass(frozen=True)
class Policy:
    statements: tuple

    def is_public(self) -> bool:
        """Whether an Allow reaches everyone without a condition, what BlockPublicPolicy refuses."""
        return any(
            s.allows and s.principals is not None and s._is_everyone() and not s.conditions for s in self.statements
        )


EMPTY = Policy(())


@lru_cache(maxsize=32768)
def identity_policy(text: str) -> Policy:
    """An identity, boundary or session policy: no Principal, a Resource in each statement."""
    return _parse(text, principal=False, resource=True)


@lru_cache(maxsize=8192)
def resource_policy(text: str) -> Policy:
    """A policy on a bucket, key or table."""
    return _parse(text, principal=True, resource=True)


@lru_cache(maxsize=8192)
def trust_policy(text: str) -> Policy:
    """Who may assume a role: a Principal, and no Resource since it is the role itself."""
    policy = _parse(text, principal=True, resource=False)
    for statement in policy.statements:
        prefixes = {pattern.text.split(":")[0].lower() for pattern in statement.actions}
        if not prefixes <= {"sts", "*"}:
            raise Malformed("AssumeRole policy may only specify STS AssumeRole actions.")
    return policy


def _parse(text: str, *, principal: bool, resource: bool) -> Policy:
    try:
        document = json.loads(text)
    except ValueError as error:
        raise Malformed("This policy contains invalid Json") from error
    if not isinstance(document, dict) or set(document) - _TOP or "Statement" not in document:
        raise Malformed("Syntax errors in policy.")
    version = document.get("Version", "2008-10-17")
    if version not in ("2008-10-17", "2012-10-17"):
        raise Malformed("Policy document must be version 2012-10-17 or greater.")
    statements = document["Statement"]
    statements = [statements] if isinstance(statements, dict) else statements
    if not isinstance(statements, list) or not statements:
        raise Malformed("Syntax errors in policy.")
    parsed = tuple(_statement(s, version == "2012-10-17", principal, resource) for s in statements)
    sids = [statement.sid for statement in parsed if statement.sid]
    if len(sids) != len(set(sids)):
        raise Malformed("Statement IDs (SID) in a single policy must be unique.")
    return Policy(parsed)


def _statement(raw: object, variables: bool, principal: bool, resource: bool) -> Statement:
    if not isinstance(raw, dict) or set(raw) - _ELEMENTS or raw.get("Effect") not in ("Allow", "Deny"):
        raise Malformed("Syntax errors in policy.")
    if not isinstance(raw.get("Sid", ""), str):
        raise Malformed("Syntax errors in policy.")
    actions, not_actions = _one_of(raw, "Action", "NotAction", required=True)
    for action in actions:
        if not _ACTION.fullmatch(action):
            raise Malformed(f"Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.: {action}")
    if not resource and ("Resource" in raw or "NotResource" in raw):
        raise Malformed("Has prohibited field Resource")
    resources, not_resources = _one_of(raw, "Resource", "NotResource", required=resource)
    for name in resources or ():
        if not _RESOURCE.fullmatch(name):
            raise Malformed(f'Resource {name} must be in ARN format or "*".')
    if not principal and ("Principal" in raw or "NotPrincipal" in raw):
        raise Malformed("Policy document should not specify a principal.")
    principals, not_principals = _principals(raw, principal)
    conditions = raw.get("Condition", {})
    if not isinstance(conditions, dict) or not all(isinstance(keys, dict) for keys in conditions.values()):
        raise Malformed("Syntax errors in policy.")
    return Statement(
        sid=raw.get("Sid", ""),
        allows=raw["Effect"] == "Allow",
        # Variables have no meaning in Action.
        actions=tuple(compile_pattern(action, False) for action in actions),
        not_actions=not_actions,
        resources=None if resources is None else tuple(compile_pattern(name, variables) for name in resources),
        not_resources=not_resources,
        principals=principals,
        not_principals=not_principals,
        conditions=compile_conditions(conditions, variables),
    )


def refuse_unknown_operators(text: str) -> None:
    """IAM takes no policy with a condition operator it has not; the evaluator would fail closed on it."""
    document = json.loads(text)
    statements = document["Statement"]
    for statement in statements if isinstance(statements, list) else [statements]:
        for name in statement.get("Condition", {}):
            if not is_operator(name):
                raise Malformed(f"Invalid Condition type : {name}.")


def _one_of(raw: dict, element: str, negated: str, *, required: bool) -> tuple:
    if element in raw and negated in raw:
        raise Malformed("Syntax errors in policy.")
    name = element if element in raw else negated
    if name not in raw:
        if required:
            raise Malformed(f"Policy statement must contain {'actions' if element == 'Action' else 'resources'}.")
        return None, False
    values = raw[name] if isinstance(raw[name], list) else [raw[name]]
    if not values or not all(isinstance(value, str) for value in values):
        raise Malformed("Syntax errors in policy.")
    return tuple(values), name == negated


def _principals(raw: dict, required: bool) -> tuple:
    if not required:
        return None, False
    if ("Principal" in raw) == ("NotPrincipal" in raw):
        raise Malformed("Missing required field Principal")
    negated = "NotPrincipal" in raw
    value = raw["NotPrincipal" if negated else "Principal"]
    if value == "*":
        return {"*": ("*",)}, negated
    if not isinstance(value, dict) or not value or set(value) - _PRINCIPAL_TYPES:
        raise Malformed("Invalid principal in policy")
    principals = {}
    for kind, names in value.items():
        listed = names if isinstance(names, list) else [names]
        if not listed or not all(isinstance(name, str) and name for name in listed):
            raise Malformed("Invalid principal in policy")
        if kind == "AWS" and not all(_is_aws_principal(name) for name in listed):
            raise Malformed(f'Invalid principal in policy: "AWS":"{listed[0]}"')
        principals[kind] = frozenset(listed)
    return principals, negated


def _is_aws_principal(name: str) -> bool:
    return name == "*" or bool(re.fullmatch(r"\d{12}|AROA\w+|AIDA\w+|arn:aws:(iam|sts)::\d{12}:[^*?]+", name))


def _lists(principals: dict, arn: str) -> bool:
    listed = principals.get("AWS", ())
    if "*" in listed or "*" in principals:
        return True
    return arn in listed or (arn.endswith(":root") and arn.split(":")[4] in listed)
