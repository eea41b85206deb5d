"""Permissions of KMS calls. A key's policy must consent; it may leave the rest to IAM by naming the account."""

import base64

from .. import world
from ..call import Call
from ..decision import Guard
from ..policy import Malformed, resource_policy
from ..principal import ACCOUNT
from .need import Need, request_tags, resource_tags

_ANYWHERE = {"CreateKey", "ListKeys", "ListAliases", "GenerateRandom", "DescribeCustomKeyStores", "ListRetirableGrants"}
_ALIAS = {"CreateAlias", "UpdateAlias", "DeleteAlias"}


def needs(call: Call) -> list:
    operation, params = call.operation, call.params
    if operation in _ANYWHERE:
        tags = request_tags(params.get("Tags") or [], "TagKey", "TagValue")
        found = [Need(f"kms:{operation}", "*", tags)]
        return found + ([Need("kms:TagResource", "*", tags)] if tags else [])
    if operation in _ALIAS:
        alias = str(params.get("AliasName", ""))
        found = [Need(f"kms:{operation}", f"arn:aws:kms:{call.region}:{ACCOUNT}:{alias}")]
        target = params.get("TargetKeyId") or alias
        return found + key_needs(call.region, target, (f"kms:{operation}",), {})
    if operation == "ReEncrypt":
        source = key_needs(
            call.region, _ciphertext_key(params), ("kms:ReEncryptFrom",), _context(params, "SourceEncryptionContext")
        )
        target = str(params.get("DestinationKeyId", ""))
        return source + key_needs(
            call.region, target, ("kms:ReEncryptTo",), _context(params, "DestinationEncryptionContext")
        )
    reference = params.get("KeyId") or (_ciphertext_key(params) if operation == "Decrypt" else "")
    keys = {**_context(params, "EncryptionContext"), **request_tags(params.get("Tags") or [], "TagKey", "TagValue")}
    if "alias/" in str(reference):
        keys["kms:RequestAlias"] = str(reference).split(":")[-1]
    return key_needs(call.region, str(reference), (f"kms:{operation}",), keys)


def key_needs(region: str, reference: str, actions: tuple, keys: dict) -> list:
    """`actions` on one key, named in any of the ways KMS takes."""
    key = world.kms_key(region, reference)
    if key is None:
        name = reference if reference.startswith("arn:") else f"arn:aws:kms:{region}:{ACCOUNT}:key/{reference}"
        return [Need(action, name, keys) for action in actions]
    try:
        guard = (
            Guard(resource_policy(key.policy), required=True, kind="resource-based policy") if key.policy else Guard()
        )
    except Malformed:
        guard = Guard(None, required=True)
    described = {
        **resource_tags(world.kms_tags(region, key.id)),
        "kms:CallerAccount": ACCOUNT,
        "kms:KeySpec": key.key_spec,
        "kms:KeyUsage": key.key_usage,
        "kms:KeyOrigin": "AWS_KMS",
        "kms:ResourceAliases": list(key.aliases) or None,
        **keys,
    }
    return [Need(action, key.arn, described, guard=guard) for action in actions]


def _context(params: dict, name: str) -> dict:
    given = params.get(name) or {}
    keys: dict = {f"kms:EncryptionContext:{key}": value for key, value in given.items()}
    if given:
        keys["kms:EncryptionContextKeys"] = list(given)
    return keys


def _ciphertext_key(params: dict) -> str:
    # moto puts the key's id before its ciphertext.
    try:
        return base64.b64decode(params.get("CiphertextBlob", ""))[:36].decode("ascii")
    except (ValueError, UnicodeDecodeError):
        return ""
