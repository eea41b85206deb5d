"""Backups: how long they take, what is refused meanwhile, how they are listed, and who may do what to which of them."""

import botocore.exceptions
import pytest
from conftest import ACCOUNT, REGION, allow, policy
from outcomes import failure, outcome
from tenants import table_arn, tenant_policy

TABLE = {
    "KeySchema": [{"AttributeName": "k", "KeyType": "HASH"}],
    "AttributeDefinitions": [{"AttributeName": "k", "AttributeType": "S"}],
    "BillingMode": "PAY_PER_REQUEST",
}


@pytest.fixture
def dynamodb(instant):
    """Two tables with an item each; everything takes effect at once."""
    client = instant.client("dynamodb")
    for name in ("a-state", "b-state"):
        client.create_table(TableName=name, **TABLE)
        client.put_item(TableName=name, Item={"k": {"S": name}})
    return client


def back_up(dynamodb, table="a-state", name="before"):
    return dynamodb.create_backup(TableName=table, BackupName=name)["BackupDetails"]["BackupArn"]


def listed(dynamodb, **arguments):
    """(arn, name) of each backup, over all pages, and how many pages there were."""
    found, pages = [], 0
    while True:
        page = dynamodb.list_backups(**arguments)
        pages += 1
        found += [(one["BackupArn"], one["BackupName"]) for one in page["BackupSummaries"]]
        if "LastEvaluatedBackupArn" not in page:
            return found, pages
        arguments["ExclusiveStartBackupArn"] = page["LastEvaluatedBackupArn"]


def test_a_backup_is_created_for_a_while_and_listed_meanwhile(instant, dynamodb):
    instant.control("POST", "slow", {"backup_ms": 60000})
    arn = back_up(dynamodb)
    summary = dynamodb.list_backups(TableName="a-state")["BackupSummaries"][0]
    assert (summary["BackupArn"], summary["BackupStatus"], summary["BackupType"]) == (arn, "CREATING", "USER")
    assert (summary["TableName"], summary["TableArn"]) == ("a-state", table_arn("a"))
    assert outcome(dynamodb.delete_backup, BackupArn=arn) == "BackupInUseException"
    instant.control("POST", "slow", {"backup_ms": 0})
    second = back_up(dynamodb)
    states = {one["BackupArn"]: one["BackupStatus"] for one in dynamodb.list_backups()["BackupSummaries"]}
    assert states == {arn: "CREATING", second: "AVAILABLE"}


def test_a_name_says_nothing_about_the_backup(dynamodb):
    arns = {back_up(dynamodb) for _ in range(3)}
    found, _ = listed(dynamodb, TableName="a-state")
    assert {arn for arn, _ in found} == arns and {name for _, name in found} == {"before"} and len(arns) == 3


@pytest.mark.parametrize("name", ["ab", "a" * 256, "with space", "plus+sign", "co:lon"])
def test_names_that_are_refused(dynamodb, name):
    keys = {"TableName": "a-state", "BackupName": name}
    # Too short or too long a name does not leave the SDK.
    try:
        assert outcome(dynamodb.create_backup, **keys) == "ValidationException"
    except botocore.exceptions.ParamValidationError:
        assert len(name) < 3
    assert listed(dynamodb) == ([], 1)


def test_lists_are_of_one_table_and_come_in_pages(dynamodb):
    mine = [back_up(dynamodb, "a-state", f"one-{number}") for number in range(5)]
    other = back_up(dynamodb, "b-state", "other")
    found, pages = listed(dynamodb, TableName="a-state", Limit=2)
    assert (sorted(arn for arn, _ in found), pages) == (sorted(mine), 3)
    found, pages = listed(dynamodb, TableName=table_arn("b"))
    assert (found, pages) == ([(other, "other")], 1)
    found, pages = listed(dynamodb, Limit=3)
    assert (sorted(arn for arn, _ in found), pages) == (sorted([*mine, other]), 2)
    assert outcome(dynamodb.list_backups, Limit=101) == "ValidationException"
    assert listed(dynamodb, TableName="no-such-table") == ([], 1)


def test_a_page_may_start_at_a_backup_that_is_gone(dynamodb):
    for number in range(4):
        back_up(dynamodb, "a-state", f"one-{number}")
    first = dynamodb.list_backups(Limit=2)
    dynamodb.delete_backup(BackupArn=first["LastEvaluatedBackupArn"])
    rest = dynamodb.list_backups(ExclusiveStartBackupArn=first["LastEvaluatedBackupArn"])
    assert len(rest["BackupSummaries"]) == 2


def test_more_than_a_page_without_a_limit(dynamodb):
    for number in range(101):
        back_up(dynamodb, "a-state", f"one-{number}")
    found, pages = listed(dynamodb, TableName="a-state")
    assert (len(set(found)), pages) == (101, 2)


def test_a_deleted_backup_is_gone_at_once(dynamodb):
    arn = back_up(dynamodb)
    answer = dynamodb.delete_backup(BackupArn=arn)["BackupDescription"]["BackupDetails"]
    assert answer["BackupStatus"] == "DELETED"
    assert listed(dynamodb) == ([], 1)
    assert outcome(dynamodb.describe_backup, BackupArn=arn) == "BackupNotFoundException"
    assert outcome(dynamodb.delete_backup, BackupArn=arn) == "BackupNotFoundException"
    assert outcome(dynamodb.restore_table_from_backup, TargetTableName="again", BackupArn=arn) == (
        "BackupNotFoundException"
    )


@pytest.fixture
def armed(dynamodb):
    """A backup of a table that has everything a state table has."""
    dynamodb.update_time_to_live(
        TableName="a-state", TimeToLiveSpecification={"Enabled": True, "AttributeName": "Expires"}
    )
    dynamodb.update_continuous_backups(
        TableName="a-state", PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True}
    )
    dynamodb.tag_resource(ResourceArn=table_arn("a"), Tags=[{"Key": "k", "Value": "v"}])
    stream = {"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"}
    dynamodb.update_table(TableName="a-state", StreamSpecification=stream)
    dynamodb.update_table(TableName="a-state", DeletionProtectionEnabled=True)
    arn = back_up(dynamodb)
    dynamodb.delete_item(TableName="a-state", Key={"k": {"S": "a-state"}})
    return arn


def test_a_name_is_free_for_a_restore_only_when_its_table_is_gone(instant, dynamodb, armed):
    restore = {"TargetTableName": "a-state", "BackupArn": armed}
    assert outcome(dynamodb.restore_table_from_backup, **restore) == "TableAlreadyExistsException"
    assert outcome(dynamodb.delete_table, TableName="a-state") == "ValidationException"
    dynamodb.update_table(TableName="a-state", DeletionProtectionEnabled=False)
    instant.control("POST", "slow", {"delete_ms": 60000})
    assert outcome(dynamodb.delete_table, TableName="a-state") == "ok"
    assert outcome(dynamodb.restore_table_from_backup, **restore) == "TableAlreadyExistsException"


def test_a_restored_table_has_its_items_and_nothing_else_that_was_set(dynamodb, armed):
    dynamodb.update_table(TableName="a-state", DeletionProtectionEnabled=False)
    dynamodb.delete_table(TableName="a-state")
    assert outcome(dynamodb.describe_table, TableName="a-state") == "ResourceNotFoundException"
    assert listed(dynamodb, TableName="a-state") == ([(armed, "before")], 1)
    assert outcome(dynamodb.restore_table_from_backup, TargetTableName="a-state", BackupArn=armed) == "ok"
    table = dynamodb.describe_table(TableName="a-state")["Table"]
    assert (table["TableArn"], table["TableStatus"]) == (table_arn("a"), "ACTIVE")
    assert table["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
    assert ("StreamSpecification" in table, table["DeletionProtectionEnabled"]) == (False, False)
    ttl = dynamodb.describe_time_to_live(TableName="a-state")["TimeToLiveDescription"]
    recovery = dynamodb.describe_continuous_backups(TableName="a-state")["ContinuousBackupsDescription"]
    assert ttl["TimeToLiveStatus"] == "DISABLED"
    assert recovery["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"] == "DISABLED"
    assert dynamodb.list_tags_of_resource(ResourceArn=table["TableArn"])["Tags"] == []
    assert dynamodb.get_item(TableName="a-state", Key={"k": {"S": "a-state"}})["Item"] == {"k": {"S": "a-state"}}


def test_a_backup_serves_one_restore_at_a_time(instant, dynamodb):
    arn, other = back_up(dynamodb), back_up(dynamodb, "b-state")
    restore = lambda target, backup: outcome(  # noqa: E731
        dynamodb.restore_table_from_backup, TargetTableName=target, BackupArn=backup
    )
    instant.control("POST", "slow", {"create_ms": 60000})
    assert [restore("again", arn), restore("further", arn), restore("again", other)] == [
        "ok",
        "BackupInUseException",
        "TableInUseException",
    ]
    assert outcome(dynamodb.delete_backup, BackupArn=arn) == "BackupInUseException"
    assert outcome(dynamodb.delete_backup, BackupArn=other) == "ok"


def test_a_table_with_recovery_leaves_a_backup_that_nobody_may_delete(dynamodb):
    dynamodb.update_continuous_backups(
        TableName="a-state", PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True}
    )
    for name in ("a-state", "b-state"):
        dynamodb.delete_table(TableName=name)
        assert outcome(dynamodb.describe_table, TableName=name) == "ResourceNotFoundException"
    assert listed(dynamodb) == ([], 1)
    found, _ = listed(dynamodb, BackupType="SYSTEM")
    assert [name for _, name in found] == ["a-state$DeletedTableBackup"]
    assert listed(dynamodb, BackupType="ALL")[0] == found
    assert outcome(dynamodb.delete_backup, BackupArn=found[0][0]) == "ValidationException"
    assert outcome(dynamodb.restore_table_from_backup, TargetTableName="a-state", BackupArn=found[0][0]) == "ok"
    assert dynamodb.get_item(TableName="a-state", Key={"k": {"S": "a-state"}})["Item"] == {"k": {"S": "a-state"}}


def test_throttled_lost_and_failed_calls(instant, dynamodb):
    def fault(match, kind, resource="*"):
        instant.control("POST", "faults", [{"match": match, "kind": kind, "resource": resource}])

    broken = (botocore.exceptions.ConnectionClosedError, botocore.exceptions.EndpointConnectionError)
    fault("dynamodb:CreateBackup", "throttle", table_arn("a"))
    assert failure(dynamodb.create_backup, TableName="a-state", BackupName="before")[:2] == (400, "ThrottlingException")
    fault("dynamodb:CreateBackup", "reset", table_arn("a"))
    with pytest.raises(broken):
        back_up(dynamodb)
    assert listed(dynamodb) == ([], 1)
    fault("dynamodb:CreateBackup", "lost", table_arn("a"))
    with pytest.raises(broken):
        back_up(dynamodb)
    [(arn, name)], _ = listed(dynamodb)
    assert name == "before"
    fault("dynamodb:DeleteBackup", "lost", f"{table_arn('a')}/backup/*")
    with pytest.raises(broken):
        dynamodb.delete_backup(BackupArn=arn)
    assert outcome(dynamodb.delete_backup, BackupArn=arn) == "BackupNotFoundException"
    fault("dynamodb:ListBackups", "throttle")
    assert outcome(dynamodb.list_backups) == "ThrottlingException"


# Service authorization reference, "Actions defined by Amazon DynamoDB": CreateBackup is about the table, ListBackups
# about no resource, all else about the backup; a restore also about the table that it makes, and what it writes there.
RIGHTS = [
    ("CreateBackup", table_arn("a"), True),
    ("CreateBackup", f"{table_arn('a')}/backup/*", False),
    ("CreateBackup", table_arn("b"), False),
    ("ListBackups", "*", True),
    ("ListBackups", table_arn("a"), False),
    ("DescribeBackup", f"{table_arn('a')}/backup/*", True),
    ("DescribeBackup", table_arn("a"), False),
    ("DescribeBackup", f"{table_arn('b')}/backup/*", False),
    ("DeleteBackup", f"{table_arn('a')}/backup/*", True),
    ("DeleteBackup", table_arn("a"), False),
    ("DeleteBackup", f"{table_arn('b')}/backup/*", False),
    ("DeleteBackup", f"arn:aws:dynamodb:*:{ACCOUNT}:table/*-state/backup/*", True),
]


@pytest.mark.parametrize("action, resource, allowed", RIGHTS)
def test_rights_to_a_backup(instant, dynamodb, action, resource, allowed):
    arn = back_up(dynamodb)
    mine = instant.client("dynamodb", instant.user("u", policy(allow(f"dynamodb:{action}", resource))))
    calls = {
        "CreateBackup": lambda: mine.create_backup(TableName="a-state", BackupName="mine"),
        "ListBackups": lambda: mine.list_backups(TableName="a-state"),
        "DescribeBackup": lambda: mine.describe_backup(BackupArn=arn),
        "DeleteBackup": lambda: mine.delete_backup(BackupArn=arn),
    }
    found = {name: outcome(call) for name, call in calls.items()}
    assert found == {
        name: "ok" if name == action and allowed else "AccessDeniedException" for name in calls
    }


def test_rights_to_restore(instant, dynamodb):
    arn = back_up(dynamodb)
    made = ["GetItem", "PutItem", "UpdateItem", "DeleteItem", "Query", "Scan", "BatchWriteItem"]
    target = f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/again"
    restore, write = "dynamodb:RestoreTableFromBackup", [f"dynamodb:{action}" for action in made]
    rows = {
        "source alone": [allow(restore, f"{table_arn('a')}/backup/*")],
        "target alone": [allow([restore, *write], target)],
        "not written": [allow(restore, [f"{table_arn('a')}/backup/*", target])],
        "other": [allow(restore, [f"{table_arn('b')}/backup/*", target]), allow(write, target)],
        "all": [allow(restore, [f"{table_arn('a')}/backup/*", target]), allow(write, target)],
    }
    found = {}
    for number, (name, statements) in enumerate(rows.items()):
        mine = instant.client("dynamodb", instant.user(f"u{number}", policy(*statements)))
        found[name] = outcome(mine.restore_table_from_backup, TargetTableName="again", BackupArn=arn)
    assert found == {**dict.fromkeys(rows, "AccessDeniedException"), "all": "ok"}


def test_neither_tags_nor_policy_of_a_table_speak_of_its_backup(instant, dynamodb):
    dynamodb.tag_resource(ResourceArn=table_arn("a"), Tags=[{"Key": "tenant", "Value": "a"}])
    arn = back_up(dynamodb)
    own = {"StringEquals": {"aws:ResourceTag/tenant": "a"}}
    document = policy(allow(["dynamodb:CreateBackup", "dynamodb:DeleteBackup"], Condition=own))
    mine = instant.client("dynamodb", instant.user("u", document))
    assert outcome(mine.create_backup, TableName="a-state", BackupName="mine") == "ok"
    assert outcome(mine.create_backup, TableName="b-state", BackupName="mine") == "AccessDeniedException"
    assert outcome(mine.delete_backup, BackupArn=arn) == "AccessDeniedException"


def test_a_tenant_gets_at_no_backup_not_even_of_its_own_table(instant, dynamodb):
    arn = back_up(dynamodb)
    mine = instant.client("dynamodb", instant.user("a", tenant_policy("a")))
    assert [
        outcome(mine.create_backup, TableName="a-state", BackupName="mine"),
        outcome(mine.list_backups, TableName="a-state"),
        outcome(mine.describe_backup, BackupArn=arn),
        outcome(mine.delete_backup, BackupArn=arn),
        outcome(mine.restore_table_from_backup, TargetTableName="again", BackupArn=arn),
    ] == ["AccessDeniedException"] * 5
