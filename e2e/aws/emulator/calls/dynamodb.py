"""Permissions of DynamoDB and DynamoDB Streams calls: tables, indexes, streams, backups, exports.

Reads the tables for tags and key names; changes nothing.
"""

import re
from typing import Optional

from .. import world
from ..call import Call
from ..decision import Guard
from ..errors import ApiError
from ..policy import resource_policy
from ..principal import ACCOUNT
from .need import Need, request_tags, resource_tags

_ANYWHERE = {
    "ListTables", "ListBackups", "ListExports", "ListImports", "ListGlobalTables", "ListContributorInsights",
    "DescribeLimits", "DescribeEndpoints",
}  # fmt: skip
_ON_ARN = {
    "DescribeBackup": "BackupArn", "DeleteBackup": "BackupArn", "DescribeExport": "ExportArn",
    "DescribeImport": "ImportArn", "TagResource": "ResourceArn", "UntagResource": "ResourceArn",
    "ListTagsOfResource": "ResourceArn", "PutResourcePolicy": "ResourceArn", "GetResourcePolicy": "ResourceArn",
    "DeleteResourcePolicy": "ResourceArn",
}  # fmt: skip
_TRANSACTION = {
    "Put": "PutItem",
    "Update": "UpdateItem",
    "Delete": "DeleteItem",
    "ConditionCheck": "ConditionCheckItem",
    "Get": "GetItem",
}
# What a restore does to the table that it makes.
_RESTORE = ("BatchWriteItem", "DeleteItem", "GetItem", "PutItem", "Query", "Scan", "UpdateItem")
# "Minimum permissions on a customer managed key" of the DynamoDB developer guide, grant and description apart.
_KEY_USES = ("kms:Encrypt", "kms:Decrypt", "kms:ReEncryptFrom", "kms:ReEncryptTo", "kms:GenerateDataKey")
_PARTIQL = {"SELECT": "PartiQLSelect", "INSERT": "PartiQLInsert", "UPDATE": "PartiQLUpdate", "DELETE": "PartiQLDelete"}


def needs(call: Call) -> list:
    operation, params = call.operation, call.params
    if operation in _ANYWHERE:
        return [Need(f"dynamodb:{operation}", "*")]
    if operation in _ON_ARN:
        arn = str(params.get(_ON_ARN[operation], ""))
        tags = {**request_tags(params.get("Tags") or []), **_tag_keys(params)}
        return [_need(call, operation, arn, tags)]
    if operation in ("BatchGetItem", "BatchWriteItem"):
        return [_batch(call, name, request) for name, request in (params.get("RequestItems") or {}).items()]
    if operation in ("TransactWriteItems", "TransactGetItems"):
        return [
            _item(call, _TRANSACTION[kind], body)
            for item in params.get("TransactItems") or []
            for kind, body in item.items()
        ]
    if operation in ("ExecuteStatement", "ExecuteTransaction", "BatchExecuteStatement"):
        listed = params.get("TransactStatements") or params.get("Statements") or [params]
        return [_statement(call, str(one.get("Statement", ""))) for one in listed]
    if operation == "RestoreTableFromBackup":
        target = _table_arn(call, params.get("TargetTableName"))
        return [_need(call, operation, str(params.get("BackupArn", "")))] + [
            _need(call, action, target) for action in (operation, *_RESTORE)
        ]
    if operation == "RestoreTableToPointInTime":
        source = params.get("SourceTableArn") or params.get("SourceTableName")
        target = _table_arn(call, params.get("TargetTableName"))
        return [_need(call, operation, _table_arn(call, source))] + [
            _need(call, action, target) for action in (operation, *_RESTORE)
        ]
    if operation == "ExportTableToPointInTime":
        prefix = f"{params['S3Prefix']}/" if params.get("S3Prefix") else ""
        objects = f"arn:aws:s3:::{params.get('S3Bucket', '')}/{prefix}AWSDynamoDB/*"
        return [_need(call, operation, str(params.get("TableArn", ""))), Need("s3:PutObject", objects)]
    if operation == "CreateTable":
        return _create(call)
    if operation in ("GetItem", "PutItem", "UpdateItem", "DeleteItem", "Query", "Scan"):
        return [_item(call, operation, params)]
    if "TableName" not in params:
        raise ApiError("UnknownOperationException", f"This emulator has no DynamoDB operation {operation}.")
    found = [_need(call, operation, _table_arn(call, params["TableName"]))]
    return found + (_key_use(call) if operation == "UpdateTable" else [])


def stream_needs(call: Call) -> list:
    operation, params = call.operation, call.params
    if operation == "ListStreams":
        table = params.get("TableName")
        return [Need("dynamodb:ListStreams", f"{_table_arn(call, table)}/stream/*" if table else "*")]
    if operation == "GetRecords":
        arn = str(params.get("ShardIterator", "")).split("|")[0]
    elif operation in ("DescribeStream", "GetShardIterator"):
        arn = str(params.get("StreamArn", ""))
    else:
        raise ApiError("UnknownOperationException", f"This emulator has no DynamoDB Streams operation {operation}.")
    return [_need(call, operation, arn)]


def _table_arn(call: Call, name: object) -> str:
    text = str(name or "")
    return text if text.startswith("arn:") else f"arn:aws:dynamodb:{call.region}:{ACCOUNT}:table/{text}"


def _need(call: Call, action: str, arn: str, keys: Optional[dict] = None, unknown: tuple = ()) -> Need:
    # A backup is a resource of its own: neither the tags nor the policy of its table speak of it.
    table = None if "/backup/" in arn else world.table(call.region, arn)
    tags = {tag["Key"]: tag.get("Value", "") for tag in table.tags} if table is not None else {}
    text = world.table_policy(call.region, table.table_arn) if table is not None else None
    guard = Guard(resource_policy(text)) if text else Guard()
    return Need(f"dynamodb:{action}", arn, {**resource_tags(tags), **(keys or {})}, unknown, guard)


def _tag_keys(params: dict) -> dict:
    return {"aws:TagKeys": params["TagKeys"]} if params.get("TagKeys") else {}


def _create(call: Call) -> list:
    arn = _table_arn(call, call.params.get("TableName"))
    tags = request_tags(call.params.get("Tags") or [])
    found = [Need("dynamodb:CreateTable", arn, tags)]
    if tags:
        found.append(Need("dynamodb:TagResource", arn, tags))
    if call.params.get("ResourcePolicy"):
        found.append(Need("dynamodb:PutResourcePolicy", arn))
    return found + _key_use(call)


def _key_use(call: Call) -> list:
    """A customer key for a table: DynamoDB makes a grant on it in the caller's name, and asks for every use of it."""
    reference = (call.params.get("SSESpecification") or {}).get("KMSMasterKeyId")
    if not reference or "alias/aws/dynamodb" in reference:
        return []
    from .kms import key_needs

    service = {"kms:ViaService": f"dynamodb.{call.region}.amazonaws.com"}
    table = str(call.params.get("TableName", ""))
    context = {
        "kms:EncryptionContext:aws:dynamodb:tableName": table.rpartition("/")[2],
        "kms:EncryptionContextKeys": ["aws:dynamodb:tableName", "aws:dynamodb:subscriberId"],
    }
    return key_needs(call.region, reference, ("kms:DescribeKey", "kms:CreateGrant"), service) + key_needs(
        call.region, reference, _KEY_USES, {**service, **context}
    )


def _item(call: Call, action: str, body: dict) -> Need:
    """A call on items: of one index if it names one, else of the table."""
    arn = _table_arn(call, body.get("TableName"))
    table = world.table(call.region, arn)
    keys: dict = {
        "dynamodb:Select": body.get("Select"),
        "dynamodb:ReturnValues": body.get("ReturnValues"),
        "dynamodb:ReturnConsumedCapacity": call.params.get("ReturnConsumedCapacity"),
    }
    if action == "Scan":
        keys["dynamodb:FullTableScan"] = "true"
    if call.operation.startswith("Transact"):
        keys["dynamodb:EnclosingOperation"] = call.operation
    unknown = []
    leading = _leading_keys(table, action, body)
    attributes = _attributes(action, body)
    for name, value in (("dynamodb:LeadingKeys", leading), ("dynamodb:Attributes", attributes)):
        if value is None:
            unknown.append(name)
        elif value:
            keys[name] = value
    if body.get("IndexName"):
        arn = f"{arn}/index/{body['IndexName']}"
    return _need(call, action, arn, keys, tuple(unknown))


def _batch(call: Call, name: str, request: object) -> Need:
    table = world.table(call.region, name)
    leading: Optional[list] = [] if table is not None else None
    if table is not None:
        items = request.get("Keys", []) if isinstance(request, dict) else [_written(one) for one in request]
        leading = [_scalar(item.get(table.hash_key_attr)) for item in items]
    keys = {"dynamodb:LeadingKeys": leading} if leading else {}
    unknown = ("dynamodb:Attributes",) + (() if leading else ("dynamodb:LeadingKeys",))
    return _need(call, call.operation, _table_arn(call, name), keys, unknown)


def _written(request: dict) -> dict:
    return (request.get("PutRequest") or {}).get("Item") or (request.get("DeleteRequest") or {}).get("Key") or {}


def _scalar(value: Optional[dict]) -> str:
    return str(next(iter(value.values()))) if value else ""


def _leading_keys(table, action: str, body: dict) -> Optional[list]:
    """Partition keys that the call names; [] if it names none, None if that cannot be told."""
    if action == "Scan":
        return []
    if table is None:
        return None
    if action == "Query":
        return _query_key(table, body)
    source = body.get("Item") if action == "PutItem" else body.get("Key")
    value = (source or {}).get(table.hash_key_attr)
    return [_scalar(value)] if value else None


def _query_key(table, body: dict) -> Optional[list]:
    index = body.get("IndexName")
    hash_key = table.hash_key_attr
    if index:
        found = next((one for one in table.global_indexes + table.indexes if one.name == index), None)
        if found is None:
            return None
        hash_key = next(part["AttributeName"] for part in found.schema if part["KeyType"] == "HASH")
    legacy = (body.get("KeyConditions") or {}).get(hash_key)
    if legacy:
        return [_scalar(value) for value in legacy.get("AttributeValueList", [])]
    names, values = body.get("ExpressionAttributeNames") or {}, body.get("ExpressionAttributeValues") or {}
    for name, value in re.findall(r"([#\w.-]+)\s*=\s*(:\w+)", str(body.get("KeyConditionExpression", ""))):
        if names.get(name, name) == hash_key and value in values:
            return [_scalar(values[value])]
    return None


def _attributes(action: str, body: dict) -> Optional[list]:
    """Attributes that the call names; None if an expression would have to be understood for it."""
    if action == "PutItem" and not body.get("ConditionExpression"):
        return list(body.get("Item") or {})
    if action in ("GetItem", "Query", "Scan"):
        if body.get("AttributesToGet"):
            return list(body["AttributesToGet"])
        if body.get("ProjectionExpression") and not body.get("FilterExpression"):
            names = body.get("ExpressionAttributeNames") or {}
            paths = (part.strip() for part in body["ProjectionExpression"].split(","))
            listed = [re.split(r"[.\[]", path)[0] for path in paths]
            return [names.get(name, name) for name in listed] + list(body.get("Key") or {})
    return None


def _statement(call: Call, text: str) -> Need:
    found = re.match(
        r"\s*(SELECT|INSERT|UPDATE|DELETE)\b(?:.*?\bFROM\b|\s+INTO\b|)\s*\"?([\w.-]+)\"?(?:\.\"([\w.-]+)\")?",
        text,
        re.IGNORECASE | re.DOTALL,
    )
    if not found:
        raise ApiError("ValidationException", "Statement wasn't well formed, can't be processed")
    arn = _table_arn(call, found.group(2))
    if found.group(3):
        arn = f"{arn}/index/{found.group(3)}"
    return _need(call, _PARTIQL[found.group(1).upper()], arn, unknown=("dynamodb:LeadingKeys", "dynamodb:Attributes"))
