"""What cannot be known: a Deny applies, an Allow does not."""

from evaluation import SESSION, Row, allow, deny, forbidden_when, when

TAG = "aws:RequestTag/t"

# What the evaluator cannot know: a Deny applies, an Allow does not.
CLOSED = [
    forbidden_when("a deny on an unknown key denies", False, {"StringEquals": {"aws:NoSuchKey": "x"}}),
    forbidden_when(
        "a deny on an unknown key with IfExists denies", False, {"StringEqualsIfExists": {"aws:NoSuchKey": "x"}}
    ),
    forbidden_when("a deny on an unknown key with Null denies", False, {"Null": {"aws:NoSuchKey": "false"}}),
    forbidden_when("a deny on an unknown operator denies", False, {"StringResembles": {TAG: "x"}}, {TAG: "a"}),
    forbidden_when(
        "a deny on an unknown quantifier denies", False, {"ForMostValues:StringEquals": {TAG: "x"}}, {TAG: "a"}
    ),
    forbidden_when(
        "a deny with an unreadable date denies",
        False,
        {"DateLessThan": {"aws:CurrentTime": "soon"}},
        {"aws:CurrentTime": "2026-01-01T00:00:00Z"},
    ),
    forbidden_when(
        "a deny with an unreadable number denies",
        False,
        {"NumericLessThan": {"s3:max-keys": "few"}},
        {"s3:max-keys": "1"},
    ),
    forbidden_when(
        "a deny with an unreadable address denies",
        False,
        {"IpAddress": {"aws:SourceIp": "home"}},
        {"aws:SourceIp": "10.0.0.1"},
    ),
    forbidden_when(
        "a deny on another service's key that is absent here", True, {"StringEquals": {"dynamodb:Select": "COUNT"}}
    ),
    forbidden_when(
        "an unknown key beside a surely unmet one does not deny",
        True,
        {"StringEquals": {"aws:NoSuchKey": "x"}, "Bool": {"aws:SecureTransport": "false"}},
    ),
    forbidden_when(
        "an unknown key beside a met one denies",
        False,
        {"StringEquals": {"aws:NoSuchKey": "x"}, "Bool": {"aws:SecureTransport": "true"}},
    ),
    forbidden_when(
        "a key that cannot be told for this request",
        False,
        {"StringEquals": {"dynamodb:Attributes": "x"}},
        unknown=("dynamodb:Attributes",),
    ),
    forbidden_when(
        "a family that cannot be told",
        False,
        {"StringEquals": {"aws:ResourceTag/team": "x"}},
        unknown=("aws:ResourceTag/",),
    ),
    when("an allow on an unknown key does not allow", False, "StringNotEquals", "aws:NoSuchKey", "x"),
    when(
        "an allow on an unknown key with IfExists does not allow", False, "StringEqualsIfExists", "aws:NoSuchKey", "x"
    ),
    when("an allow on an unknown operator does not allow", False, "StringResembles", TAG, "a", given={TAG: "a"}),
    when(
        "ForAllValues on a key that cannot be told does not allow",
        False,
        "ForAllValues:StringEquals",
        "dynamodb:LeadingKeys",
        ["a"],
        unknown=("dynamodb:LeadingKeys",),
    ),
    Row(
        "a resource deny on an unknown key denies",
        False,
        [allow()],
        resource_policy=[deny(Principal="*", Condition={"StringEquals": {"aws:NoSuchKey": "x"}})],
    ),
    Row(
        "a boundary deny on an unknown key denies",
        False,
        [allow()],
        boundary=[allow(), deny(Condition={"StringEquals": {"aws:NoSuchKey": "x"}})],
    ),
    Row(
        "a session deny on an unknown key denies",
        False,
        [allow()],
        session=[allow(), deny(Condition={"StringEquals": {"aws:NoSuchKey": "x"}})],
        principal=SESSION,
    ),
    Row(
        "an unknown key in a deny of another action does not matter",
        True,
        [allow(), deny(Action="s3:PutObject", Condition={"StringEquals": {"aws:NoSuchKey": "x"}})],
    ),
]
