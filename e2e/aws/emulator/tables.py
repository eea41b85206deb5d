"""DynamoDB as it takes its time and remembers: states of tables, indexes and backups, and what moto drops.

Runs before and after moto's own handling of a call. Access has been decided before.
"""

import copy
import heapq
import itertools
import time
import uuid
from typing import Callable, Optional

from moto.dynamodb import responses as moto_responses
from moto.dynamodb.models import DynamoDBBackend
from moto.dynamodb.models.table import RestoredPITTable, RestoredTable, Table
from moto.dynamodbstreams.models import dynamodbstreams_backends

from . import backups, table_checks, world
from .backend import Backend
from .call import Call
from .errors import ApiError
from .http import Response
from .principal import ACCOUNT

# AWS raised the limit from 25 in 2022.
moto_responses.TRANSACTION_MAX_ITEMS = 100
# Shard iterators live 15 minutes on AWS; here the oldest go when there are more than this.
_MAX_ITERATORS = 20_000
_DELAYS = {"create_ms": 300, "update_ms": 100, "delete_ms": 200, "backup_ms": 200}


class Tables:
    """The transitions that are under way, and the calls of DynamoDB and its streams."""

    def __init__(self) -> None:
        self._delays = dict(_DELAYS)
        self._due: list = []
        self._order = itertools.count()

    def delays(self) -> dict:
        return dict(self._delays)

    def set_delays(self, wanted: object) -> None:
        """Milliseconds that a transition takes from now on; keys left out stay as they are."""
        if not isinstance(wanted, dict) or set(wanted) - set(_DELAYS):
            raise ValueError(f"expected an object with some of {', '.join(_DELAYS)}")
        if not all(isinstance(ms, int) and not isinstance(ms, bool) and ms >= 0 for ms in wanted.values()):
            raise ValueError("delays are milliseconds that are not negative")
        self._delays.update(wanted)

    def reset(self) -> None:
        self._due.clear()
        self._delays = dict(_DELAYS)

    def perform(self, call: Call, backend: Backend) -> Response:
        """Carry out one call, in the state that the tables are in by now."""
        self._settle()
        if call.service == "dynamodbstreams":
            return self._stream_call(call, backend)
        table_checks.check(call)
        step = _STEPS.get(call.operation)
        if step is None:
            return backend.perform(call)
        undo, done = step(self, call)
        response = backend.perform(call)
        (done if response.status < 300 else undo)()
        return response

    def _settle(self) -> None:
        now = time.monotonic()
        while self._due and self._due[0][0] <= now:
            heapq.heappop(self._due)[2]()

    def _later(self, delay: str, effect: Callable[[], None]) -> None:
        heapq.heappush(self._due, (time.monotonic() + self._delays[delay] / 1000, next(self._order), effect))

    def _stream_call(self, call: Call, backend: Backend) -> Response:
        iterators = dynamodbstreams_backends[ACCOUNT][call.region].shard_iterators
        if call.operation == "GetRecords" and call.params.get("ShardIterator") not in iterators:
            raise ApiError(
                "ExpiredIteratorException",
                "The shard iterator has expired and can no longer be used to retrieve stream records.",
            )
        if call.operation in ("DescribeStream", "GetShardIterator"):
            table = world.table(call.region, call.params.get("StreamArn", ""))
            label = call.params.get("StreamArn", "").partition("/stream/")[2]
            if table is None or table.latest_stream_label != label or table.stream_shard is None:
                raise ApiError(
                    "ResourceNotFoundException",
                    f"Requested resource not found: Stream: {call.params.get('StreamArn')} not found",
                )
            shard = call.params.get("ShardId")
            if call.operation == "GetShardIterator" and shard != table.stream_shard.id:
                raise ApiError(
                    "ResourceNotFoundException", f"Requested resource not found: Shard does not exist: {shard}"
                )
        response = backend.perform(call)
        while len(iterators) > _MAX_ITERATORS:
            del iterators[next(iter(iterators))]
        return response

    def _create(self, call: Call) -> tuple:
        return _nothing, lambda: self._created(call)

    def _created(self, call: Call) -> None:
        table = _require(call, call.params.get("TableName") or call.params.get("TargetTableName"))
        _remember(table, call.params)
        _override(table, call.params)
        for index in table.global_indexes:
            index.status = "CREATING"
        table.testbed_status = "CREATING"

        def active() -> None:
            table.testbed_status = "ACTIVE"
            for index in table.global_indexes:
                index.status = "ACTIVE"

        self._later("create_ms", active)

    def _update(self, call: Call) -> tuple:
        table = _require(call, call.params["TableName"])
        params = call.params
        undo_label = table.latest_stream_label
        if (params.get("StreamSpecification") or {}).get("StreamEnabled"):
            # moto takes a stream that was switched off for one that is on.
            table.latest_stream_label = None
        if params.get("AttributeDefinitions"):
            given = {one["AttributeName"] for one in params["AttributeDefinitions"]}
            kept = [one for one in table.attr if one["AttributeName"] not in given]
            params["AttributeDefinitions"] = kept + params["AttributeDefinitions"]
            call.replace_params()

        def undo() -> None:
            table.latest_stream_label = undo_label

        return undo, lambda: self._updated(call)

    def _updated(self, call: Call) -> None:
        table = _require(call, call.params["TableName"])
        _remember(table, call.params)
        changes = call.params.get("GlobalSecondaryIndexUpdates") or []
        made = [
            index
            for index in table.global_indexes
            if index.name in {c["Create"]["IndexName"] for c in changes if "Create" in c}
        ]
        used = {part["AttributeName"] for index in table.global_indexes + table.indexes for part in index.schema}
        used.update(table.table_key_attrs)
        table.attr = [one for one in table.attr if one["AttributeName"] in used]
        for index in made:
            index.status = "CREATING"
        table.testbed_status = "UPDATING"

        def active() -> None:
            table.testbed_status = "ACTIVE"
            for index in made:
                index.status = "ACTIVE"

        self._later("update_ms", active)

    def _delete(self, call: Call) -> tuple:
        table = _require(call, call.params["TableName"])
        backend = world.tables(call.region)
        former = table.testbed_status
        table.testbed_status = "DELETING"

        def undo() -> None:
            table.testbed_status = former

        def gone() -> None:
            if backend.tables.get(table.name) is table:
                backups.leave_behind(backend, table)
                del backend.tables[table.name]
                backend.resource_policies.pop(table.table_arn, None)

        def done() -> None:
            # moto took it out at once; it stays in sight until its time is over.
            backend.tables[table.name] = table
            if former != "DELETING":
                self._later("delete_ms", gone)

        return undo, done

    def _back_up(self, call: Call) -> tuple:
        made = world.tables(call.region).backups
        known = set(made)

        def done() -> None:
            for arn in set(made) - known:
                made[arn].status = "CREATING"
                self._later("backup_ms", lambda backup=made[arn]: setattr(backup, "status", "AVAILABLE"))

        return _nothing, done


def _nothing() -> None:
    """Nothing to undo."""


# What surrounds moto's handling: each gives (what to undo when moto refuses, what to do when it is done).
_STEPS: dict = {
    "CreateTable": Tables._create,
    "RestoreTableFromBackup": Tables._create,
    "RestoreTableToPointInTime": Tables._create,
    "UpdateTable": Tables._update,
    "DeleteTable": Tables._delete,
    "CreateBackup": Tables._back_up,
}


def _require(call: Call, name: object) -> Table:
    table = world.table(call.region, str(name))
    if table is None:
        raise ApiError("ResourceNotFoundException", f"Requested resource not found: Table: {name} not found")
    return table


def _remember(table: Table, params: dict) -> None:
    """What moto forgets of a create or an update."""
    if "TableClass" in params:
        table.testbed_class = params["TableClass"]
    if "OnDemandThroughput" in params:
        table.testbed_on_demand = params["OnDemandThroughput"]
    encryption = params.get("SSESpecification")
    if encryption is not None:
        if encryption.get("Enabled"):
            reference = encryption.get("KMSMasterKeyId") or table._get_default_encryption_key(
                ACCOUNT, table.region_name
            )
            key = world.kms_key(table.region_name, reference)
            table.sse_specification = {"Enabled": True, "KMSMasterKeyId": key.arn if key is not None else reference}
        else:
            table.sse_specification = None


def _override(table: Table, params: dict) -> None:
    """A restored table keeps billing mode and encryption unless the call overrides them; streams, TTL, tags,
    deletion protection and point-in-time recovery are not restored. (DynamoDB developer guide, "Restore".)"""
    table.billing_mode = params.get("BillingModeOverride") or table.billing_mode
    _remember(
        table, {"SSESpecification": params["SSESpecificationOverride"]} if "SSESpecificationOverride" in params else {}
    )


# Shown for every table: defaults that `_created` and `_remember` overlay on one table.
Table.testbed_status = "ACTIVE"
Table.testbed_class = None
Table.testbed_on_demand = None
_moto_init = Table.__init__
_moto_describe = Table.describe


def _init(self: Table, *args: object, **kwargs: object) -> None:
    _moto_init(self, *args, **kwargs)
    self.testbed_id = str(uuid.uuid4())


def _describe(self: Table, base_key: str = "TableDescription") -> dict:
    result = _moto_describe(self, base_key=base_key)
    table = result[base_key]
    # CreateTable answers before its state is set: a table is born CREATING.
    table["TableStatus"] = self.__dict__.get("testbed_status", "CREATING")
    table["TableId"] = self.testbed_id
    for name in ("GlobalSecondaryIndexes", "LocalSecondaryIndexes"):
        if not table[name]:
            del table[name]
        else:
            for index in table[name]:
                index["IndexArn"] = f"{self.table_arn}/index/{index['IndexName']}"
                if name == "GlobalSecondaryIndexes" and "testbed_status" not in self.__dict__:
                    index["IndexStatus"] = "CREATING"
    if self.testbed_class:
        table["TableClassSummary"] = {"TableClass": self.testbed_class}
    if self.testbed_on_demand:
        table["OnDemandThroughput"] = self.testbed_on_demand
    return result


def _kept_by_restore(moto_parameters: Callable, source_of: Callable) -> Callable:
    def parameters(self: Table, origin: object) -> dict:
        source = source_of(origin)
        kept = {"billing_mode": source.billing_mode, "sse_specification": copy.copy(source.sse_specification)}
        return {**moto_parameters(self, origin), **kept}

    return parameters


def _list_tables(self: DynamoDBBackend, limit: int, exclusive_start_table_name: Optional[str]) -> tuple:
    # In order of name, so that a page may start at a table that is gone by now.
    names = sorted(name for name in self.tables if not exclusive_start_table_name or name > exclusive_start_table_name)
    page = names[: limit or None]
    return page, page[-1] if len(page) < len(names) else None


def _tag_resource(self: DynamoDBBackend, arn: str, tags: dict) -> None:
    # moto appends, also a key that is there already.
    table = self.tables[arn.rpartition("/")[2]]
    table.tags = [tag for tag in table.tags if tag["Key"] not in tags] + [
        {"Key": k, "Value": v} for k, v in tags.items()
    ]


Table.__init__ = _init
Table.describe = _describe
RestoredTable._parse_params_from_backup = _kept_by_restore(
    RestoredTable._parse_params_from_backup, lambda backup: backup.table
)
RestoredPITTable._parse_params_from_table = _kept_by_restore(
    RestoredPITTable._parse_params_from_table, lambda table: table
)
DynamoDBBackend.list_tables = _list_tables
DynamoDBBackend.tag_resource = _tag_resource
