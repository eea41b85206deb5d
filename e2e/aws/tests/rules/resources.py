"""Policies on the resource: buckets, tables, keys, and the trust policies of roles."""

from evaluation import NOBODY, OIDC, ROLE_ARN, SESSION, SESSION_ARN, TOKEN, USER, Row, allow, deny

ACCOUNT_ROOT = "arn:aws:iam::123456789012:root"
OTHER = "arn:aws:iam::123456789012:user/bob"


def by(principal, **elements):
    return allow(Principal=principal, **elements)


def not_by(principal, **elements):
    return deny(Principal=principal, **elements)


# Resource-based policies within one account.
RESOURCE_POLICIES = [
    Row("a policy that names the user needs no identity policy", True, resource_policy=[by({"AWS": USER.arn})]),
    Row("a policy that names somebody else does not", False, resource_policy=[by({"AWS": OTHER})]),
    Row("a policy that names the account leaves it to IAM", False, resource_policy=[by({"AWS": ACCOUNT_ROOT})]),
    Row("account and identity policy together allow", True, [allow()], resource_policy=[by({"AWS": ACCOUNT_ROOT})]),
    Row(
        "an account may be named by its number",
        True,
        [allow()],
        resource_policy=[by({"AWS": "123456789012"})],
        required=True,
    ),
    Row(
        "another account does not count", False, [allow()], resource_policy=[by({"AWS": "999999999999"})], required=True
    ),
    Row("everyone includes the user", True, resource_policy=[by("*")]),
    Row("everyone, written as AWS *", True, resource_policy=[by({"AWS": "*"})]),
    Row("everyone includes nobody in particular", True, resource_policy=[by("*")], principal=NOBODY),
    Row("an unsigned call is not of the account", False, resource_policy=[by({"AWS": ACCOUNT_ROOT})], principal=NOBODY),
    Row("an unsigned call without a policy", False, principal=NOBODY),
    Row("an unsigned call is allowed by no identity policy", False, [allow()], principal=NOBODY),
    Row(
        "a deny of the account does not reach unsigned calls",
        True,
        resource_policy=[by("*"), not_by({"AWS": ACCOUNT_ROOT})],
        principal=NOBODY,
    ),
    Row("a resource deny wins over an identity allow", False, [allow()], resource_policy=[not_by("*")]),
    Row("a resource deny of somebody else", True, [allow()], resource_policy=[not_by({"AWS": OTHER})]),
    Row(
        "a resource deny of the account reaches its users",
        False,
        [allow()],
        resource_policy=[not_by({"AWS": ACCOUNT_ROOT})],
    ),
    Row(
        "a resource deny of the role reaches its sessions",
        False,
        [allow()],
        resource_policy=[not_by({"AWS": ROLE_ARN})],
        principal=SESSION,
    ),
    Row("an identity deny wins over a resource allow", False, [deny()], resource_policy=[by({"AWS": USER.arn})]),
    Row(
        "a named user is not cut by the boundary's silence",
        True,
        boundary=[allow(Action="s3:PutObject")],
        resource_policy=[by({"AWS": USER.arn})],
    ),
    Row(
        "a named user is cut by the boundary's deny", False, boundary=[deny()], resource_policy=[by({"AWS": USER.arn})]
    ),
    Row("a named role needs no identity policy", True, resource_policy=[by({"AWS": ROLE_ARN})], principal=SESSION),
    Row(
        "a named role is cut by its boundary",
        False,
        boundary=[allow(Action="s3:Put*")],
        resource_policy=[by({"AWS": ROLE_ARN})],
        principal=SESSION,
    ),
    Row(
        "a named role is cut by the session policy",
        False,
        session=[allow(Action="s3:Put*")],
        resource_policy=[by({"AWS": ROLE_ARN})],
        principal=SESSION,
    ),
    Row(
        "a named session is not cut by the session policy's silence",
        True,
        session=[allow(Action="s3:Put*")],
        resource_policy=[by({"AWS": SESSION_ARN})],
        principal=SESSION,
    ),
    Row(
        "a named session is not cut by the boundary's silence",
        True,
        boundary=[allow(Action="s3:Put*")],
        resource_policy=[by({"AWS": SESSION_ARN})],
        principal=SESSION,
    ),
    Row(
        "everyone, for a role session, is cut by the boundary",
        False,
        boundary=[allow(Action="s3:Put*")],
        resource_policy=[by("*")],
        principal=SESSION,
    ),
    Row("one of several principals", True, resource_policy=[by({"AWS": [OTHER, USER.arn]})]),
    Row("a service is no user", False, resource_policy=[by({"Service": "s3.amazonaws.com"})]),
    Row(
        "NotPrincipal spares a caller listed with all his names",
        True,
        [allow()],
        resource_policy=[deny(NotPrincipal={"AWS": [USER.arn, ACCOUNT_ROOT]})],
    ),
    Row(
        "NotPrincipal without the account denies even the listed user",
        False,
        [allow()],
        resource_policy=[deny(NotPrincipal={"AWS": USER.arn})],
    ),
    Row(
        "NotPrincipal denies who is not listed",
        False,
        [allow()],
        resource_policy=[deny(NotPrincipal={"AWS": [OTHER, ACCOUNT_ROOT]})],
    ),
    Row(
        "NotPrincipal needs role and session",
        False,
        [allow()],
        resource_policy=[deny(NotPrincipal={"AWS": [ROLE_ARN, ACCOUNT_ROOT]})],
        principal=SESSION,
    ),
    Row(
        "NotPrincipal with role, session and account",
        True,
        [allow()],
        resource_policy=[deny(NotPrincipal={"AWS": [ROLE_ARN, SESSION_ARN, ACCOUNT_ROOT]})],
        principal=SESSION,
    ),
    Row(
        "a required policy that is silent denies", False, [allow()], resource_policy=[by({"AWS": OTHER})], required=True
    ),
    Row("a required policy that is not there denies", False, [allow()], required=True),
    Row(
        "resource policy of another resource",
        False,
        resource_policy=[by({"AWS": USER.arn}, Resource="arn:aws:s3:::bucket/other/*")],
    ),
    Row(
        "resource policy with an unmet condition",
        False,
        resource_policy=[by("*", Condition={"Bool": {"aws:SecureTransport": "false"}})],
    ),
]


def trusts(principal, **elements):
    raw = by(principal, Action="sts:AssumeRole", **elements)
    del raw["Resource"]
    return raw


def assumes(name, expected, trust, **more):
    return Row(name, expected, trust=trust, resource=ROLE_ARN, **{"action": "sts:AssumeRole", **more})


SUB, AUD = "idp.example.com:sub", "idp.example.com:aud"


def federates(provider, condition=None):
    raw = trusts({"Federated": provider})
    raw["Action"] = "sts:AssumeRoleWithWebIdentity"
    return {**raw, **({"Condition": condition} if condition else {})}


def identifies(name, expected, trust):
    return assumes(name, expected, trust, action="sts:AssumeRoleWithWebIdentity", principal=TOKEN)


TRUST = [
    assumes("a trust policy that names the user", True, [trusts({"AWS": USER.arn})]),
    assumes("a trust policy that names the account needs an identity policy", False, [trusts({"AWS": ACCOUNT_ROOT})]),
    assumes(
        "account and identity policy",
        True,
        [trusts({"AWS": ACCOUNT_ROOT})],
        identity=[allow(Action="sts:AssumeRole", Resource=ROLE_ARN)],
    ),
    assumes("an identity policy alone opens no role", False, [trusts({"AWS": OTHER})], identity=[allow(Action="*")]),
    assumes(
        "an external id that is right",
        True,
        [trusts({"AWS": USER.arn}, Condition={"StringEquals": {"sts:ExternalId": "x"}})],
        keys={"sts:ExternalId": "x"},
    ),
    assumes(
        "an external id that is missing",
        False,
        [trusts({"AWS": USER.arn}, Condition={"StringEquals": {"sts:ExternalId": "x"}})],
    ),
    identifies("a token of the provider", True, [federates(OIDC)]),
    identifies("a token of another provider", False, [federates(OIDC.replace("idp", "evil"))]),
    identifies(
        "a token with the right sub and aud",
        True,
        [federates(OIDC, {"StringEquals": {SUB: "system:serviceaccount:ns:auth", AUD: "sts.amazonaws.com"}})],
    ),
    identifies(
        "a token with another sub", False, [federates(OIDC, {"StringEquals": {SUB: "system:serviceaccount:ns:other"}})]
    ),
    identifies(
        "a token with a sub like the pattern",
        True,
        [federates(OIDC, {"StringLike": {SUB: "system:serviceaccount:ns:*"}})],
    ),
    identifies("a claim that the token has not", True, [federates(OIDC, {"Null": {"idp.example.com:amr": "true"}})]),
    identifies("a token with another aud", False, [federates(OIDC, {"StringEquals": {AUD: "other"}})]),
    identifies(
        "a condition on another provider's key",
        False,
        [federates(OIDC, {"StringEquals": {"evil.example.com:sub": "system:serviceaccount:ns:auth"}})],
    ),
    identifies(
        "a token is no principal of the account",
        False,
        [{**trusts({"AWS": ACCOUNT_ROOT}), "Action": "sts:AssumeRoleWithWebIdentity"}],
    ),
    identifies("a role for tokens is not for AssumeRole", False, [trusts({"Federated": OIDC})]),
]
