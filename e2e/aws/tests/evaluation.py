"""How a row of the evaluator's table is run: a request with its policies against `decide`."""

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from emulator.context import Context  # noqa: E402
from emulator.decision import Guard, Held, decide  # noqa: E402
from emulator.policy import identity_policy, resource_policy, trust_policy  # noqa: E402
from emulator.principal import ACCOUNT, Principal  # noqa: E402

USER = Principal(arn=f"arn:aws:iam::{ACCOUNT}:user/alice", user_id="AIDAALICE", user_name="alice", tags={"team": "red"})
ROLE_ARN = f"arn:aws:iam::{ACCOUNT}:role/worker"
SESSION_ARN = f"arn:aws:sts::{ACCOUNT}:assumed-role/worker/s1"
SESSION = Principal(
    arn=SESSION_ARN, user_id="AROAWORKER:s1", role_arn=ROLE_ARN, role_name="worker", tags={"team": "red"}
)
NOBODY = Principal(arn=None)
OIDC = f"arn:aws:iam::{ACCOUNT}:oidc-provider/idp.example.com"
TOKEN = Principal(
    arn=None,
    federated=OIDC,
    keys={
        "idp.example.com:sub": "system:serviceaccount:ns:auth",
        "idp.example.com:aud": "sts.amazonaws.com",
        "idp.example.com:amr": None,
    },
)

ACTION = "s3:GetObject"
RESOURCE = "arn:aws:s3:::bucket/dir/file.txt"


def statement(effect, **elements):
    """A statement about the default action and resource, unless it says otherwise."""
    raw = {"Effect": effect}
    if not {"Action", "NotAction"} & set(elements):
        raw["Action"] = ACTION
    if not {"Resource", "NotResource"} & set(elements):
        raw["Resource"] = "*"
    return {**raw, **elements}


def allow(**elements):
    return statement("Allow", **elements)


def deny(**elements):
    return statement("Deny", **elements)


def document(*statements, version="2012-10-17"):
    return json.dumps({"Version": version, "Statement": list(statements)})


@dataclass
class Row:
    name: str
    expected: bool
    identity: list = field(default_factory=list)
    boundary: list = None
    session: list = None
    resource_policy: list = None
    trust: list = None
    required: bool = False
    principal: Principal = USER
    action: str = ACTION
    resource: str = RESOURCE
    keys: dict = field(default_factory=dict)
    unknown: tuple = ()
    version: str = "2012-10-17"

    def run(self) -> bool:
        def parse(parser, statements):
            return parser(document(*statements, version=self.version))

        held = Held(
            [parse(identity_policy, self.identity)] if self.identity else [],
            None if self.boundary is None else parse(identity_policy, self.boundary),
            None if self.session is None else [parse(identity_policy, self.session)],
        )
        guard = Guard(required=self.required)
        if self.resource_policy is not None:
            guard = Guard(parse(resource_policy, self.resource_policy), self.required)
        if self.trust is not None:
            guard = Guard(parse(trust_policy, self.trust), True, "role trust policy")
        known = tuple(self.principal.keys) if self.principal.federated else ()
        context = Context({"aws:SecureTransport": True, **self.principal.context(), **self.keys}, self.unknown, known)
        return decide(self.principal, self.action, self.resource, context, held, guard).allowed


def when(name, expected, operator, key, policy_value, given=None, **more):
    """One Allow under one condition, against a request with these keys."""
    return Row(name, expected, identity=[allow(Condition={operator: {key: policy_value}})], keys=given or {}, **more)


def forbidden_when(name, expected, condition, given=None, **more):
    """Everything is allowed but for one Deny under a condition."""
    return Row(name, expected, identity=[allow(), deny(Condition=condition)], keys=given or {}, **more)
