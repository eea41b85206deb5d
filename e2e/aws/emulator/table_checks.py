"""What DynamoDB refuses and moto accepts: calls on a table in the wrong state, and changes that are none.

Only looks and raises; the words are those of the service as far as they are known.
"""

from typing import Optional

from moto.dynamodb.models.table import Table

from . import backups, world
from .call import Call
from .errors import ApiError

# Calls on items: no table for them before it is ACTIVE for the first time.
_ITEMS = {
    "GetItem", "PutItem", "UpdateItem", "DeleteItem", "Query", "Scan", "BatchGetItem", "BatchWriteItem",
    "TransactGetItems", "TransactWriteItems", "ExecuteStatement", "BatchExecuteStatement", "ExecuteTransaction",
}  # fmt: skip
_SETTINGS = {"UpdateTimeToLive", "UpdateTable", "TagResource", "UntagResource", "PutResourcePolicy"}
_UPDATES = (
    "ProvisionedThroughput", "BillingMode", "StreamSpecification", "GlobalSecondaryIndexUpdates", "SSESpecification",
    "ReplicaUpdates", "TableClass", "DeletionProtectionEnabled", "OnDemandThroughput", "WarmThroughput",
    "MultiRegionConsistency",
)  # fmt: skip


def check(call: Call) -> None:
    """Refuse a call that DynamoDB would refuse; ApiError."""
    if call.operation in _ITEMS:
        for name in _tables_of(call):
            table = world.table(call.region, name)
            if table is not None and table.testbed_status == "CREATING":
                raise ApiError("ResourceNotFoundException", "Requested resource not found")
        _check_index(call)
        return
    table = _table(call)
    if table is not None and table.testbed_status == "DELETING" and call.operation == "CreateTable":
        raise ApiError("ResourceInUseException", f"Table is being deleted: {table.name}")
    if table is not None and call.operation in _SETTINGS and table.testbed_status != "ACTIVE":
        if call.operation == "UpdateTable" or table.testbed_status != "UPDATING":
            raise _in_use(table)
    checks = _CHECKS.get(call.operation)
    if checks is not None:
        checks(call, table)


def _tables_of(call: Call) -> list:
    params = call.params
    if "RequestItems" in params:
        return list(params["RequestItems"] or {})
    if "TransactItems" in params:
        return [body.get("TableName", "") for item in params["TransactItems"] for body in item.values()]
    return [params["TableName"]] if "TableName" in params else []


def _table(call: Call) -> Optional[Table]:
    name = call.params.get("TableName") or call.params.get("ResourceArn")
    return world.table(call.region, name) if name else None


def _check_index(call: Call) -> None:
    index = call.params.get("IndexName")
    table = world.table(call.region, call.params.get("TableName", "")) if index else None
    if table is not None and any(one.name == index and one.status == "CREATING" for one in table.global_indexes):
        raise ApiError("ValidationException", f"Cannot read from backfilling global secondary index: {index}")


def _in_use(table: Table) -> ApiError:
    doing = {"CREATING": "created", "UPDATING": "updated", "DELETING": "deleted"}[table.testbed_status]
    text = f"Attempt to change a resource which is still in use: Table is being {doing}: {table.name}"
    return ApiError("ResourceInUseException", text)


def _create(call: Call, _table: Optional[Table]) -> None:
    name = str(call.params.get("TableName", ""))
    if not 3 <= len(name) <= 255:
        raise ApiError(
            "ValidationException", "TableName must be at least 3 characters long and at most 255 characters long"
        )
    _check_key(call, call.params.get("SSESpecification"))


def _check_key(call: Call, specification: Optional[dict]) -> None:
    reference = (specification or {}).get("KMSMasterKeyId")
    if not reference or "alias/aws/" in reference:
        return
    key = world.kms_key(call.region, reference)
    if key is None or key.key_state != "Enabled":
        raise ApiError(
            "ValidationException", f"KMS validation error: The key {reference} does not exist or is not enabled"
        )


def _update(call: Call, table: Optional[Table]) -> None:
    params = call.params
    if not any(params.get(name) is not None for name in _UPDATES):
        raise ApiError("ValidationException", f"At least one of {', '.join(_UPDATES[:8])} is required")
    if table is None:
        return
    _check_throughput(params, table)
    _check_stream(params, table)
    _check_indexes(params, table)
    encryption = params.get("SSESpecification")
    if encryption is not None:
        _check_key(call, encryption)
        _check_encryption_changes(call, encryption, table)


def _check_throughput(params: dict, table: Table) -> None:
    wanted = params.get("ProvisionedThroughput")
    mode = params.get("BillingMode") or table.billing_mode
    if wanted and mode == "PAY_PER_REQUEST":
        raise ApiError(
            "ValidationException",
            "One or more parameter values were invalid: Neither ReadCapacityUnits nor WriteCapacityUnits can be "
            "specified when BillingMode is PAY_PER_REQUEST",
        )
    if (
        wanted
        and mode == table.billing_mode
        and all(table.throughput.get(name) == value for name, value in wanted.items())
    ):
        raise ApiError(
            "ValidationException",
            f"The provisioned throughput for the table {table.name} will not change. "
            "The requested value equals the current value.",
        )


def _check_stream(params: dict, table: Table) -> None:
    wanted = params.get("StreamSpecification")
    if not wanted:
        return
    enabled = bool((table.stream_specification or {}).get("StreamEnabled"))
    if wanted.get("StreamEnabled") and enabled:
        raise ApiError("ValidationException", f"Table already has an enabled stream: TableName: {table.name}")
    if wanted.get("StreamEnabled") is False and not enabled:
        raise ApiError(
            "ValidationException", f"Table is already in the desired state: no stream to disable: {table.name}"
        )


def _check_indexes(params: dict, table: Table) -> None:
    changes = params.get("GlobalSecondaryIndexUpdates") or []
    if sum("Create" in change or "Delete" in change for change in changes) > 1:
        raise ApiError(
            "LimitExceededException",
            "Subscriber limit exceeded: Only 1 online index can be created or deleted simultaneously per table",
        )
    names = {index.name for index in table.global_indexes}
    for change in changes:
        for verb, body in change.items():
            name = body["IndexName"]
            if verb == "Create" and name in names:
                raise ApiError("ValidationException", f"Attempting to create an index which already exists: {name}")
            if verb != "Create" and name not in names:
                raise ApiError("ResourceNotFoundException", f"Requested resource not found: Index: {name}")


def _check_encryption_changes(call: Call, wanted: dict, table: Table) -> None:
    current = (table.sse_specification or {}).get("KMSMasterKeyId") if table.sse_specification else None
    if not wanted.get("Enabled"):
        same = current is None
    elif wanted.get("KMSMasterKeyId"):
        key = world.kms_key(call.region, wanted["KMSMasterKeyId"])
        same = key is not None and key.arn == current
    else:
        managed = world.kms_key(call.region, "alias/aws/dynamodb")
        same = managed is not None and managed.arn == current
    if same:
        raise ApiError(
            "ValidationException",
            "One or more parameter values were invalid: Table is already encrypted by given KMSMasterKeyId",
        )


def _delete(_call: Call, table: Optional[Table]) -> None:
    if table is not None and table.testbed_status in ("CREATING", "UPDATING"):
        raise _in_use(table)


def _time_to_live_is_of_a_table(call: Call, table: Optional[Table]) -> None:
    # moto's own code for it is one that the service does not have.
    if table is None:
        name = call.params.get("TableName", "")
        raise ApiError("ResourceNotFoundException", f"Requested resource not found: Table: {name} not found")


def _time_to_live(call: Call, table: Optional[Table]) -> None:
    _time_to_live_is_of_a_table(call, table)
    assert table is not None
    wanted = bool(call.params.get("TimeToLiveSpecification", {}).get("Enabled"))
    enabled = table.ttl.get("TimeToLiveStatus") == "ENABLED"
    if wanted == enabled:
        raise ApiError("ValidationException", f"TimeToLive is already {'enabled' if enabled else 'disabled'}")
    attribute = call.params["TimeToLiveSpecification"].get("AttributeName")
    if not wanted and attribute != table.ttl.get("AttributeName"):
        raise ApiError("ValidationException", "TimeToLive is active on a different AttributeName")


def _continuous_backups(_call: Call, table: Optional[Table]) -> None:
    if table is not None and table.testbed_status == "CREATING":
        raise ApiError(
            "ContinuousBackupsUnavailableException",
            f"Backups are being enabled for the table: {table.name}. Please retry later",
        )


def _restore_point(call: Call, _table: Optional[Table]) -> None:
    source = world.table(call.region, call.params.get("SourceTableArn") or call.params.get("SourceTableName", ""))
    if source is None:
        return
    status = source.continuous_backups["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"]
    if status != "ENABLED":
        raise ApiError(
            "PointInTimeRecoveryUnavailableException",
            f"Point in time recovery is not enabled for table '{source.name}'",
        )


def _tags(call: Call, table: Optional[Table]) -> None:
    # The ARN of the table itself: what was authorized must be what is tagged.
    if table is None or table.table_arn != call.params.get("ResourceArn"):
        raise ApiError(
            "ResourceNotFoundException",
            f"Requested resource not found: ResourceArn: {call.params.get('ResourceArn')} not found",
        )


def _import(_call: Call, _table: Optional[Table]) -> None:
    # moto imports in a thread of its own, past the states that this emulator keeps.
    raise ApiError("UnknownOperationException", "This emulator has no ImportTable.")


_CHECKS = {
    "ImportTable": _import,
    "CreateTable": _create,
    "UpdateTable": _update,
    "DeleteTable": _delete,
    "DescribeTimeToLive": _time_to_live_is_of_a_table,
    "UpdateTimeToLive": _time_to_live,
    "UpdateContinuousBackups": _continuous_backups,
    "CreateBackup": backups.check_create,
    "ListBackups": backups.check_list,
    "DeleteBackup": backups.check_delete,
    "RestoreTableFromBackup": backups.check_restore,
    "RestoreTableToPointInTime": _restore_point,
    "TagResource": _tags,
    "UntagResource": _tags,
    "PutResourcePolicy": _tags,
    "GetResourcePolicy": _tags,
    "DeleteResourcePolicy": _tags,
}
