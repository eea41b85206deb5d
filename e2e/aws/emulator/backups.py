"""On-demand backups as DynamoDB keeps them: what a call on one may not do, lists in pages, and what a deleted table
leaves behind.

moto lists all backups of every type in one page, lets names be anything, and deletes and restores whatever it has.
"""

import re
from datetime import timezone
from typing import Optional

from moto.dynamodb import responses as moto_responses
from moto.dynamodb.models import DynamoDBBackend
from moto.dynamodb.models.table import Backup, Table

from . import world
from .call import Call
from .errors import ApiError

_PAGE = 100
# What each filter lets through; the service lists those of its users when it is told nothing.
_FILTERS = {
    "USER": {"USER"},
    "SYSTEM": {"SYSTEM"},
    "AWS_BACKUP": {"AWS_BACKUP"},
    "ALL": {"USER", "SYSTEM", "AWS_BACKUP"},
}


def check_create(call: Call, table: Optional[Table]) -> None:
    name = str(call.params.get("BackupName", ""))
    if not re.fullmatch(r"[a-zA-Z0-9_.-]{3,255}", name):
        raise ApiError(
            "ValidationException",
            f"1 validation error detected: Value '{name}' at 'backupName' failed to satisfy constraint: Member must "
            "have length between 3 and 255, and satisfy regular expression pattern: [a-zA-Z0-9_.-]+",
        )
    if table is not None and table.testbed_status in ("CREATING", "DELETING"):
        raise ApiError("TableInUseException", f"Table is being {table.testbed_status.lower()}: {table.name}")


def check_list(call: Call, _table: Optional[Table]) -> None:
    limit = call.params.get("Limit", _PAGE)
    if not isinstance(limit, int) or not 1 <= limit <= _PAGE:
        raise ApiError("ValidationException", f"Limit must be between 1 and {_PAGE}: {limit}")
    if call.params.get("BackupType", "USER") not in _FILTERS:
        raise ApiError("ValidationException", f"BackupType must be one of {', '.join(sorted(_FILTERS))}")


def check_delete(call: Call, _table: Optional[Table]) -> None:
    backup = _backup(call)
    if backup is not None and backup.type == "SYSTEM":
        raise ApiError("ValidationException", f"User is not allowed to delete the system backup with arn {backup.arn}")
    _check_idle(call, backup)


def check_restore(call: Call, _table: Optional[Table]) -> None:
    _check_idle(call, _backup(call))
    target = world.table(call.region, str(call.params.get("TargetTableName", "")))
    if target is not None and target.testbed_status == "CREATING":
        raise ApiError("TableInUseException", f"Table is being restored or created: {target.name}")


def _backup(call: Call) -> Optional[Backup]:
    return world.tables(call.region).backups.get(str(call.params.get("BackupArn", "")))


def _check_idle(call: Call, backup: Optional[Backup]) -> None:
    """A backup that is being written, or that a table is being restored from, stays as it is."""
    if backup is None:
        return
    if backup.status != "AVAILABLE":
        raise ApiError("BackupInUseException", f"Backup is being created: {backup.arn}")
    for table in world.tables(call.region).tables.values():
        if getattr(table, "source_backup_arn", None) == backup.arn and table.testbed_status == "CREATING":
            raise ApiError("BackupInUseException", f"Backup is being used to restore table: {backup.arn}")


def leave_behind(backend: DynamoDBBackend, table: Table) -> None:
    """A table that goes while its point-in-time recovery is on leaves a backup that nobody may delete."""
    status = table.continuous_backups["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"]
    if status == "ENABLED":
        name = f"{table.name}$DeletedTableBackup"
        backup = Backup(backend.account_id, backend.region_name, name, table, type_="SYSTEM")
        backend.backups[backup.arn] = backup


def _list_backups(self: moto_responses.DynamoHandler) -> moto_responses.DynamoResult:
    body = self.body
    kinds = _FILTERS[body.get("BackupType", "USER")]
    lower, upper = body.get("TimeRangeLowerBound", 0), body.get("TimeRangeUpperBound", float("inf"))
    after = _place(body.get("ExclusiveStartBackupArn", ""))
    found = [
        backup
        for backup in self.dynamodb_backend.list_backups(body.get("TableName"))
        if backup.type in kinds and lower <= _seconds(backup) < upper and _place(backup.arn) > after
    ]
    found.sort(key=lambda backup: _place(backup.arn))
    page = found[: body.get("Limit", _PAGE)]
    answer = {"BackupSummaries": [backup.summary for backup in page]}
    if len(page) < len(found):
        answer["LastEvaluatedBackupArn"] = page[-1].arn
    return moto_responses.DynamoResult(answer)


def _seconds(backup: Backup) -> float:
    return backup.creation_date_time.replace(tzinfo=timezone.utc).timestamp()


def _place(arn: str) -> tuple:
    # The id begins with the time. A page may start at a backup that is gone by now.
    return arn.rpartition("/")[2], arn


moto_responses.DynamoHandler.list_backups = _list_backups
