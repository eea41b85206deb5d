"""Permissions of Route 53 calls: hosted zones, their records, changes."""

import re
from xml.etree import ElementTree

from ..call import Call
from ..errors import ApiError
from .need import Need

_ANYWHERE = {
    "CreateHostedZone",
    "ListHostedZones",
    "ListHostedZonesByName",
    "GetHostedZoneCount",
    "ListTagsForResources",
}


def needs(call: Call) -> list:
    action = f"route53:{call.operation}"
    if call.operation in _ANYWHERE:
        return [Need(action, "*")]
    if call.operation == "GetChange":
        return [Need(action, f"arn:aws:route53:::change/{call.path[-1]}")]
    zone = call.path[1] if call.path[0] == "hostedzone" else call.path[-1]
    arn = f"arn:aws:route53:::hostedzone/{zone}"
    if call.operation == "ChangeResourceRecordSets":
        return [Need(action, arn, _changes(call.request.body))]
    return [Need(action, arn)]


def _changes(body: bytes) -> dict:
    try:
        root = ElementTree.fromstring(body)
    except ElementTree.ParseError as error:
        raise ApiError("InvalidInput", "The change batch is no XML.") from error
    names, types, actions = [], [], []
    for change in root.iter():
        if change.tag.rpartition("}")[2] != "Change":
            continue
        texts = {part.tag.rpartition("}")[2]: (part.text or "") for part in change.iter()}
        names.append(normalized(texts.get("Name", "")))
        types.append(texts.get("Type", ""))
        actions.append(texts.get("Action", ""))
    return {
        "route53:ChangeResourceRecordSetsNormalizedRecordNames": names,
        "route53:ChangeResourceRecordSetsRecordTypes": types,
        "route53:ChangeResourceRecordSetsActions": actions,
    }


def normalized(name: str) -> str:
    """Lower case, no trailing dot, everything but a-z 0-9 - _ . as an octal escape, as Route 53 compares names."""
    lowered = re.sub(r"\\([0-7]{3})", lambda found: chr(int(found.group(1), 8)), name.lower().rstrip("."))
    return "".join(c if re.fullmatch(r"[a-z0-9._-]", c) else f"\\{ord(c):03o}" for c in lowered)
