"""Action, Resource and their opposites, wildcards, policy variables."""

from evaluation import RESOURCE, SESSION, USER, Row, allow, deny, forbidden_when

TABLE = "arn:aws:dynamodb:eu:123456789012:table/eu1-9f3a-state"
BACKUP = f"{TABLE}/backup/01700000000000-0a1b2c3d"

# Elements: Action, NotAction, Resource, NotResource, wildcards.
ELEMENTS = [
    Row("action names have no case", True, [allow(Action="S3:getobject")]),
    Row("a star in an action", True, [allow(Action="s3:Get*")]),
    Row("a star matches nothing too", True, [allow(Action="s3:GetObject*")]),
    Row("a question mark in an action", True, [allow(Action="s3:?etObject")]),
    Row("a question mark needs a character", False, [allow(Action="s3:GetObject?")]),
    Row("every action", True, [allow(Action="*")]),
    Row("every action of the service", True, [allow(Action="s3:*")]),
    Row("every action of another service", False, [allow(Action="dynamodb:*")]),
    Row("one of several actions", True, [allow(Action=["s3:PutObject", "s3:GetObject"])]),
    Row("an action is not a prefix", False, [allow(Action="s3:Get")]),
    Row("NotAction allows all others", True, [allow(NotAction="s3:PutObject")]),
    Row("NotAction does not allow the named", False, [allow(NotAction="s3:Get*")]),
    Row("NotAction in a deny denies all others", False, [allow(), deny(NotAction="s3:PutObject")]),
    Row("NotAction in a deny spares the named", True, [allow(), deny(NotAction="s3:GetObject")]),
    Row("the resource itself", True, [allow(Resource=RESOURCE)]),
    Row("resources have case", False, [allow(Resource=RESOURCE.upper().replace("ARN:AWS:S3", "arn:aws:s3"))]),
    Row("a star crosses slashes", True, [allow(Resource="arn:aws:s3:::bucket/*")]),
    Row("a bucket is not its objects", False, [allow(Resource="arn:aws:s3:::bucket")]),
    Row("a star in the middle", True, [allow(Resource="arn:aws:s3:::bucket/*/file.txt")]),
    Row("a question mark in a resource", True, [allow(Resource="arn:aws:s3:::bucke?/dir/file.txt")]),
    Row(
        "a dot is only a dot",
        False,
        [allow(Resource="arn:aws:s3:::bucket/dir/filextxt")],
        resource="arn:aws:s3:::bucket/dir/file.txt",
    ),
    Row("regular expressions are plain text", False, [allow(Resource="arn:aws:s3:::bucket/[a-z]+/file.txt")]),
    Row("NotResource allows all others", True, [allow(NotResource="arn:aws:s3:::other/*")]),
    Row("NotResource does not allow the named", False, [allow(NotResource="arn:aws:s3:::bucket/*")]),
    Row("NotResource in a deny denies all others", False, [allow(), deny(NotResource=["arn:aws:s3:::other/*"])]),
    Row(
        "NotResource in a deny spares the named",
        True,
        [allow(), deny(NotResource=["arn:aws:s3:::bucket/*", "arn:aws:s3:::other/*"])],
    ),
    Row(
        "a table is not its index",
        False,
        [allow(Action="dynamodb:*", Resource="arn:aws:dynamodb:eu:123456789012:table/t")],
        action="dynamodb:Query",
        resource="arn:aws:dynamodb:eu:123456789012:table/t/index/i",
    ),
    Row(
        "a table is not its backup",
        False,
        [allow(Action="dynamodb:*", Resource=TABLE)],
        action="dynamodb:DeleteBackup",
        resource=BACKUP,
    ),
    Row(
        "the stream of a table is not its backup",
        False,
        [allow(Action="dynamodb:*", Resource=[TABLE, f"{TABLE}/stream/*"])],
        action="dynamodb:RestoreTableFromBackup",
        resource=BACKUP,
    ),
    Row(
        "the backups of one table",
        True,
        [allow(Action="dynamodb:DeleteBackup", Resource=f"{TABLE}/backup/*")],
        action="dynamodb:DeleteBackup",
        resource=BACKUP,
    ),
    Row(
        "the backups of one table are not the table",
        False,
        [allow(Action="dynamodb:*", Resource=f"{TABLE}/backup/*")],
        action="dynamodb:CreateBackup",
        resource=TABLE,
    ),
    Row(
        "the backups of all tables whose names have one form",
        True,
        [
            allow(
                Action="dynamodb:DeleteBackup", Resource="arn:aws:dynamodb:*:123456789012:table/eu1-*-state/backup/*"
            )
        ],
        action="dynamodb:DeleteBackup",
        resource=BACKUP,
    ),
    Row(
        "the backups of a table whose name has another form",
        False,
        [
            allow(
                Action="dynamodb:DeleteBackup", Resource="arn:aws:dynamodb:*:123456789012:table/eu1-*-state/backup/*"
            )
        ],
        action="dynamodb:DeleteBackup",
        resource=BACKUP.replace("-state", "-events"),
    ),
    Row(
        "a list of backups is of no resource",
        False,
        [allow(Action="dynamodb:ListBackups", Resource=[TABLE, f"{TABLE}/backup/*"])],
        action="dynamodb:ListBackups",
        resource="*",
    ),
    Row(
        "a star in the region",
        True,
        [allow(Action="dynamodb:*", Resource="arn:aws:dynamodb:*:123456789012:table/t")],
        action="dynamodb:Query",
        resource="arn:aws:dynamodb:eu:123456789012:table/t",
    ),
    Row(
        "a star inside the region does not leave it",
        False,
        [allow(Action="dynamodb:*", Resource="arn:aws:dynamodb:e*u:table/t")],
        action="dynamodb:Query",
        resource="arn:aws:dynamodb:eu:1u:table/t",
    ),
    Row(
        "a resource with colons in its name",
        True,
        [allow(Resource="arn:aws:s3:::bucket/a*c")],
        resource="arn:aws:s3:::bucket/a:b:c",
    ),
]

# Policy variables.
VARIABLES = [
    Row(
        "the user's name",
        True,
        [allow(Resource="arn:aws:s3:::bucket/${aws:username}/*")],
        resource="arn:aws:s3:::bucket/alice/x",
    ),
    Row(
        "another user's name",
        False,
        [allow(Resource="arn:aws:s3:::bucket/${aws:username}/*")],
        resource="arn:aws:s3:::bucket/bob/x",
    ),
    Row(
        "a session has no user name",
        False,
        [allow(Resource="arn:aws:s3:::bucket/${aws:username}/*")],
        resource="arn:aws:s3:::bucket/alice/x",
        principal=SESSION,
    ),
    Row(
        "the user id",
        True,
        [allow(Resource="arn:aws:s3:::bucket/${aws:userid}/*")],
        resource="arn:aws:s3:::bucket/AROAWORKER:s1/x",
        principal=SESSION,
    ),
    Row(
        "a tag of the principal",
        True,
        [allow(Resource="arn:aws:s3:::bucket/${aws:PrincipalTag/team}/*")],
        resource="arn:aws:s3:::bucket/red/x",
    ),
    Row(
        "variables have no case",
        True,
        [allow(Resource="arn:aws:s3:::bucket/${AWS:UserName}/*")],
        resource="arn:aws:s3:::bucket/alice/x",
    ),
    Row(
        "a default for a missing tag",
        True,
        [allow(Resource="arn:aws:s3:::bucket/${aws:PrincipalTag/unit, 'all'}/*")],
        resource="arn:aws:s3:::bucket/all/x",
    ),
    Row(
        "no default is used for a tag that is there",
        False,
        [allow(Resource="arn:aws:s3:::bucket/${aws:PrincipalTag/team, 'all'}/*")],
        resource="arn:aws:s3:::bucket/all/x",
    ),
    Row(
        "a missing tag without default",
        False,
        [allow(Resource="arn:aws:s3:::bucket/${aws:PrincipalTag/unit}/*")],
        resource="arn:aws:s3:::bucket//x",
    ),
    Row(
        "a star in a value is a star only",
        False,
        [allow(Resource="arn:aws:s3:::bucket/${aws:PrincipalTag/team}/*")],
        resource="arn:aws:s3:::bucket/any/x",
        principal=type(USER)(arn=USER.arn, tags={"team": "*"}),
    ),
    Row("${*} is a star", True, [allow(Resource="arn:aws:s3:::bucket/${*}")], resource="arn:aws:s3:::bucket/*"),
    Row("${*} is no wildcard", False, [allow(Resource="arn:aws:s3:::bucket/${*}")], resource="arn:aws:s3:::bucket/x"),
    Row(
        "${?} is a question mark", True, [allow(Resource="arn:aws:s3:::bucket/${?}")], resource="arn:aws:s3:::bucket/?"
    ),
    Row("${$} is a dollar", True, [allow(Resource="arn:aws:s3:::bucket/${$}{x}")], resource="arn:aws:s3:::bucket/${x}"),
    Row(
        "version 2008 knows no variables",
        False,
        [allow(Resource="arn:aws:s3:::bucket/${aws:username}/*")],
        resource="arn:aws:s3:::bucket/alice/x",
        version="2008-10-17",
    ),
    Row(
        "a variable in a condition",
        True,
        [allow(Condition={"StringLike": {"s3:prefix": "home/${aws:username}/*"}})],
        keys={"s3:prefix": "home/alice/x"},
    ),
    Row(
        "a variable in a condition that does not fit",
        False,
        [allow(Condition={"StringLike": {"s3:prefix": "home/${aws:username}/*"}})],
        keys={"s3:prefix": "home/bob/x"},
    ),
    Row(
        "tags of principal and resource are equal",
        True,
        [allow(Condition={"StringEquals": {"aws:ResourceTag/team": "${aws:PrincipalTag/team}"}})],
        keys={"aws:ResourceTag/team": "red"},
    ),
    Row(
        "tags of principal and resource differ",
        False,
        [allow(Condition={"StringEquals": {"aws:ResourceTag/team": "${aws:PrincipalTag/team}"}})],
        keys={"aws:ResourceTag/team": "blue"},
    ),
    Row(
        "an unknown variable in a resource does not allow", False, [allow(Resource="arn:aws:s3:::bucket/${no:such}/*")]
    ),
    Row("an unknown variable in a deny denies", False, [allow(), deny(Resource="arn:aws:s3:::other/${no:such}")]),
    Row(
        "an unresolved variable does not turn not-equal into an allow",
        False,
        [allow(Condition={"StringNotEquals": {"aws:ResourceTag/team": "${aws:PrincipalTag/unit}"}})],
        keys={"aws:ResourceTag/team": "red"},
    ),
    forbidden_when(
        "an unresolved variable in a deny of not-equal denies",
        False,
        {"StringNotEquals": {"aws:ResourceTag/team": "${aws:PrincipalTag/unit}"}},
        {"aws:ResourceTag/team": "red"},
    ),
]
