"""DynamoDB in time: states, what may be done in each, and what the emulator keeps that moto drops."""

import time

import pytest
from outcomes import failure, outcome

TABLE = {
    "TableName": "state",
    "KeySchema": [{"AttributeName": "k", "KeyType": "HASH"}],
    "AttributeDefinitions": [{"AttributeName": "k", "AttributeType": "S"}],
    "BillingMode": "PAY_PER_REQUEST",
}
INDEX = {
    "IndexName": "by-g",
    "KeySchema": [{"AttributeName": "g", "KeyType": "HASH"}],
    "Projection": {"ProjectionType": "ALL"},
}


def until(fact, expected, seconds=10):
    """Wait until `fact()` gives what is expected."""
    deadline = time.monotonic() + seconds
    while (found := fact()) != expected:
        assert time.monotonic() < deadline, f"still {found}, not {expected}"
        time.sleep(0.01)


@pytest.fixture
def dynamodb(aws):
    return aws.client("dynamodb")


def describe(dynamodb):
    return dynamodb.describe_table(TableName="state")["Table"]


def status(dynamodb):
    return describe(dynamodb)["TableStatus"]


@pytest.fixture
def active(aws, dynamodb):
    """A table that is there; changes after this take until the test lets them go on."""
    aws.control("POST", "slow", {"create_ms": 0})
    dynamodb.create_table(**TABLE)
    assert status(dynamodb) == "ACTIVE"
    aws.control("POST", "slow", {"create_ms": 60000, "update_ms": 60000, "delete_ms": 60000, "backup_ms": 60000})
    return dynamodb


def test_a_table_is_being_created_for_a_while(aws, dynamodb):
    aws.control("POST", "slow", {"create_ms": 60000})
    made = dynamodb.create_table(**TABLE, DeletionProtectionEnabled=True)["TableDescription"]
    assert (made["TableStatus"], len(made["TableId"])) == ("CREATING", 36)
    assert dynamodb.list_tables()["TableNames"] == ["state"]
    refused = [
        outcome(dynamodb.get_item, TableName="state", Key={"k": {"S": "1"}}),
        outcome(dynamodb.put_item, TableName="state", Item={"k": {"S": "1"}}),
        outcome(
            dynamodb.transact_write_items, TransactItems=[{"Put": {"TableName": "state", "Item": {"k": {"S": "1"}}}}]
        ),
        outcome(dynamodb.update_table, TableName="state", DeletionProtectionEnabled=False),
        outcome(dynamodb.delete_table, TableName="state"),
        outcome(dynamodb.create_table, **TABLE),
        outcome(dynamodb.create_backup, TableName="state", BackupName="abc"),
        outcome(
            dynamodb.update_continuous_backups,
            TableName="state",
            PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True},
        ),
    ]
    assert refused == ["ResourceNotFoundException"] * 3 + ["ResourceInUseException"] * 3 + [
        "TableInUseException",
        "ContinuousBackupsUnavailableException",
    ]


def test_it_becomes_active_by_itself(aws, dynamodb):
    assert aws.control("GET", "slow") == {"create_ms": 300, "update_ms": 100, "delete_ms": 200, "backup_ms": 200}
    dynamodb.create_table(**TABLE)
    first = status(dynamodb)
    until(lambda: status(dynamodb), "ACTIVE")
    assert first == "CREATING"
    assert outcome(dynamodb.put_item, TableName="state", Item={"k": {"S": "1"}}) == "ok"


def test_a_table_is_being_updated_for_a_while(active):
    changed = active.update_table(TableName="state", DeletionProtectionEnabled=True)["TableDescription"]
    assert (changed["DeletionProtectionEnabled"], status(active)) == (True, "UPDATING")
    assert outcome(active.update_table, TableName="state", DeletionProtectionEnabled=False) == "ResourceInUseException"
    assert outcome(active.delete_table, TableName="state") == "ResourceInUseException"
    assert outcome(active.put_item, TableName="state", Item={"k": {"S": "1"}}) == "ok"


def test_a_table_is_being_deleted_for_a_while(aws, active):
    assert active.delete_table(TableName="state")["TableDescription"]["TableStatus"] == "DELETING"
    assert status(active) == "DELETING"
    assert outcome(active.delete_table, TableName="state") == "ok"
    assert outcome(active.create_table, **TABLE) == "ResourceInUseException"
    assert outcome(active.update_table, TableName="state", DeletionProtectionEnabled=True) == "ResourceInUseException"


def test_then_it_is_gone(dynamodb, aws):
    aws.control("POST", "slow", {"create_ms": 0, "delete_ms": 50})
    dynamodb.create_table(**TABLE)
    dynamodb.delete_table(TableName="state")
    until(lambda: outcome(dynamodb.describe_table, TableName="state"), "ResourceNotFoundException")
    assert outcome(dynamodb.delete_table, TableName="state") == "ResourceNotFoundException"
    assert outcome(dynamodb.create_table, **TABLE) == "ok"


def test_deletion_protection_holds(active, aws):
    aws.control("POST", "slow", {"update_ms": 0})
    active.update_table(TableName="state", DeletionProtectionEnabled=True)
    assert outcome(active.delete_table, TableName="state") == "ValidationException"
    assert status(active) == "ACTIVE"


def test_an_index_is_built_for_a_while_and_attributes_are_merged(aws, active):
    active.update_table(
        TableName="state",
        AttributeDefinitions=[{"AttributeName": "g", "AttributeType": "S"}],
        GlobalSecondaryIndexUpdates=[{"Create": INDEX}],
    )
    table = describe(active)
    assert sorted(one["AttributeName"] for one in table["AttributeDefinitions"]) == ["g", "k"]
    assert [one["IndexStatus"] for one in table["GlobalSecondaryIndexes"]] == ["CREATING"]
    query = {
        "TableName": "state",
        "IndexName": "by-g",
        "KeyConditionExpression": "g = :g",
        "ExpressionAttributeValues": {":g": {"S": "1"}},
    }
    assert outcome(active.query, **query) == "ValidationException"


def test_two_indexes_at_once_are_refused(active):
    second = {**INDEX, "IndexName": "again"}
    attributes = [{"AttributeName": "g", "AttributeType": "S"}]
    changes = [{"Create": INDEX}, {"Create": second}]
    assert (
        outcome(
            active.update_table, TableName="state", AttributeDefinitions=attributes, GlobalSecondaryIndexUpdates=changes
        )
        == "LimitExceededException"
    )


def test_updates_that_change_nothing_are_refused(active):
    assert outcome(active.update_table, TableName="state") == "ValidationException"
    assert (
        outcome(active.update_table, TableName="state", StreamSpecification={"StreamEnabled": False})
        == "ValidationException"
    )
    assert outcome(active.update_table, TableName="state", SSESpecification={"Enabled": False}) == "ValidationException"


def test_a_stream_can_be_switched_off_and_on(aws, active):
    aws.control("POST", "slow", {"update_ms": 0})
    on = {"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"}
    active.update_table(TableName="state", StreamSpecification=on)
    first = describe(active)["LatestStreamArn"]
    assert outcome(active.update_table, TableName="state", StreamSpecification=on) == "ValidationException"
    active.update_table(TableName="state", StreamSpecification={"StreamEnabled": False})
    assert "StreamSpecification" not in describe(active)
    active.update_table(TableName="state", StreamSpecification=on)
    assert describe(active)["LatestStreamArn"] != first


def test_encryption_and_class_are_kept(aws, active):
    aws.control("POST", "slow", {"update_ms": 0})
    key = aws.client("kms").create_key()["KeyMetadata"]["Arn"]
    active.update_table(
        TableName="state",
        SSESpecification={"Enabled": True, "SSEType": "KMS", "KMSMasterKeyId": key},
        TableClass="STANDARD_INFREQUENT_ACCESS",
    )
    table = describe(active)
    assert table["SSEDescription"] == {"Status": "ENABLED", "SSEType": "KMS", "KMSMasterKeyArn": key}
    assert table["TableClassSummary"]["TableClass"] == "STANDARD_INFREQUENT_ACCESS"
    again = {"Enabled": True, "SSEType": "KMS", "KMSMasterKeyId": key}
    assert outcome(active.update_table, TableName="state", SSESpecification=again) == "ValidationException"
    missing = {"Enabled": True, "SSEType": "KMS", "KMSMasterKeyId": "11111111-1111-1111-1111-111111111111"}
    assert outcome(active.update_table, TableName="state", SSESpecification=missing) == "ValidationException"


def test_time_to_live_is_set_once(active):
    def ttl(enabled, name="Expires"):
        return outcome(
            active.update_time_to_live,
            TableName="state",
            TimeToLiveSpecification={"Enabled": enabled, "AttributeName": name},
        )

    assert [ttl(False), ttl(True), ttl(True), ttl(False, "other"), ttl(False)] == [
        "ValidationException",
        "ok",
        "ValidationException",
        "ValidationException",
        "ok",
    ]


def test_time_to_live_is_that_of_a_table(dynamodb):
    on = {"Enabled": True, "AttributeName": "Expires"}
    assert [
        outcome(dynamodb.describe_time_to_live, TableName="none"),
        outcome(dynamodb.update_time_to_live, TableName="none", TimeToLiveSpecification=on),
    ] == ["ResourceNotFoundException", "ResourceNotFoundException"]


def test_tags_are_replaced(active):
    arn = describe(active)["TableArn"]
    for value in ("one", "two"):
        active.tag_resource(ResourceArn=arn, Tags=[{"Key": "k", "Value": value}])
    assert active.list_tags_of_resource(ResourceArn=arn)["Tags"] == [{"Key": "k", "Value": "two"}]
    assert outcome(active.tag_resource, ResourceArn=f"{arn}-missing", Tags=[]) == "ResourceNotFoundException"
    assert outcome(active.tag_resource, ResourceArn=f"{arn}/index/state", Tags=[]) == "ResourceNotFoundException"


def test_backups_take_their_time(aws, active):
    active.put_item(TableName="state", Item={"k": {"S": "1"}})
    made = active.create_backup(TableName="state", BackupName="before")["BackupDetails"]
    state = lambda: active.describe_backup(BackupArn=made["BackupArn"])["BackupDescription"]["BackupDetails"][
        "BackupStatus"
    ]  # noqa: E731
    assert state() == "CREATING"
    assert outcome(active.delete_backup, BackupArn=made["BackupArn"]) == "BackupInUseException"
    assert (
        outcome(active.restore_table_from_backup, TargetTableName="again", BackupArn=made["BackupArn"])
        == "BackupInUseException"
    )
    aws.control("POST", "slow", {"backup_ms": 20, "create_ms": 20})
    second = active.create_backup(TableName="state", BackupName="after")["BackupDetails"]["BackupArn"]
    until(
        lambda: active.describe_backup(BackupArn=second)["BackupDescription"]["BackupDetails"]["BackupStatus"],
        "AVAILABLE",
    )
    restored = active.restore_table_from_backup(TargetTableName="again", BackupArn=second)["TableDescription"]
    assert (restored["TableStatus"], restored["BillingModeSummary"]["BillingMode"]) == ("CREATING", "PAY_PER_REQUEST")
    until(lambda: active.describe_table(TableName="again")["Table"]["TableStatus"], "ACTIVE")
    assert active.describe_table(TableName="again")["Table"]["BillingModeSummary"] == {"BillingMode": "PAY_PER_REQUEST"}
    assert active.get_item(TableName="again", Key={"k": {"S": "1"}})["Item"] == {"k": {"S": "1"}}


def test_a_point_in_time_needs_recovery_to_be_on(aws, active):
    aws.control("POST", "slow", {"create_ms": 0})
    restore = {"SourceTableName": "state", "TargetTableName": "again", "UseLatestRestorableTime": True}
    assert outcome(active.restore_table_to_point_in_time, **restore) == "PointInTimeRecoveryUnavailableException"
    active.update_continuous_backups(
        TableName="state", PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True}
    )
    assert outcome(active.restore_table_to_point_in_time, **restore) == "ok"


def test_pages_of_tables_survive_a_deletion(instant):
    dynamodb = instant.client("dynamodb")
    for name in ("ccc", "aaa", "bbb"):
        dynamodb.create_table(**{**TABLE, "TableName": name})
    page = dynamodb.list_tables(Limit=1)
    assert (page["TableNames"], page["LastEvaluatedTableName"]) == (["aaa"], "aaa")
    dynamodb.delete_table(TableName="aaa")
    assert dynamodb.list_tables(ExclusiveStartTableName="aaa")["TableNames"] == ["bbb", "ccc"]


def test_short_names_and_expired_iterators(active, aws):
    assert failure(active.create_table, **{**TABLE, "TableName": "ab"})[1] in ("ValidationException",)
    assert (
        outcome(aws.client("dynamodbstreams").get_records, ShardIterator="arn:aws:dynamodb:x|1|gone")
        == "ExpiredIteratorException"
    )


def test_a_hundred_items_in_a_transaction(active):
    items = [{"Put": {"TableName": "state", "Item": {"k": {"S": str(number)}}}} for number in range(100)]
    assert outcome(active.transact_write_items, TransactItems=items) == "ok"
    gets = [{"Get": {"TableName": "state", "Key": {"k": {"S": str(number)}}}} for number in range(100)]
    assert len(active.transact_get_items(TransactItems=gets)["Responses"]) == 100
