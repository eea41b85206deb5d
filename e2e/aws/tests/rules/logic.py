""" "Policy evaluation logic": who is heard, and who wins."""

from evaluation import SESSION, Row, allow, deny

# "Policy evaluation logic": what is said by whom.
LOGIC = [
    Row("nothing is allowed by default", False),
    Row("an allow allows", True, [allow()]),
    Row("an explicit deny wins over an allow", False, [allow(), deny()]),
    Row("the order of statements does not matter", False, [deny(), allow()]),
    Row("a deny of another action does not matter", True, [allow(), deny(Action="s3:PutObject")]),
    Row("a deny of another resource does not matter", True, [allow(), deny(Resource="arn:aws:s3:::other/*")]),
    Row("boundary alone allows nothing", False, boundary=[allow()]),
    Row("identity and boundary both allow", True, [allow()], boundary=[allow()]),
    Row("identity allows, boundary is silent", False, [allow()], boundary=[allow(Action="s3:PutObject")]),
    Row("identity allows, boundary denies", False, [allow()], boundary=[allow(Action="*"), deny()]),
    Row("boundary of another resource", False, [allow()], boundary=[allow(Resource="arn:aws:s3:::other/*")]),
    Row("session policy alone allows nothing", False, session=[allow()], principal=SESSION),
    Row("role and session policy both allow", True, [allow()], session=[allow()], principal=SESSION),
    Row(
        "role allows, session policy is silent",
        False,
        [allow()],
        session=[allow(Action="s3:PutObject")],
        principal=SESSION,
    ),
    Row("role allows, session policy denies", False, [allow()], session=[allow(), deny()], principal=SESSION),
    Row(
        "role, boundary and session all allow",
        True,
        [allow()],
        boundary=[allow()],
        session=[allow()],
        principal=SESSION,
    ),
    Row(
        "role and session allow, boundary is silent",
        False,
        [allow()],
        boundary=[allow(Action="s3:Put*")],
        session=[allow()],
        principal=SESSION,
    ),
    Row("a session without session policy has the role's rights", True, [allow()], principal=SESSION),
]
