"""Permissions of STS calls. A role's trust policy must consent; IAM policies alone do not open a role."""

from .. import world
from ..call import Call, members
from ..decision import Guard
from ..policy import Malformed, trust_policy
from .need import Need, resource_tags

# Anyone may ask who he is, even against an explicit Deny.
_FREE = {"GetCallerIdentity", "AssumeRoleWithWebIdentity"}


def needs(call: Call) -> list:
    # AssumeRoleWithWebIdentity is unsigned: `sts.py` decides on it with `role_needs`, once the token is proven.
    if call.operation in _FREE:
        return []
    if call.operation != "AssumeRole":
        return [Need(f"sts:{call.operation}", "*")]
    return role_needs(call)


def role_needs(call: Call) -> list:
    """What taking on the role of this call needs, under the trust policy of that role."""
    arn = call.params.get("RoleArn", "")
    role = world.role_by_arn(arn)
    tags = members(call.params, "Tags")
    keys = {
        "sts:ExternalId": call.params.get("ExternalId"),
        "sts:RoleSessionName": call.params.get("RoleSessionName"),
        "sts:SourceIdentity": call.params.get("SourceIdentity"),
        "aws:TagKeys": [tag.get("Key", "") for tag in tags] or None,
        **{f"aws:RequestTag/{tag.get('Key', '')}": tag.get("Value", "") for tag in tags},
        **(resource_tags(world.tags_of(role)) if role is not None else {}),
    }
    try:
        policy = trust_policy(role.assume_role_policy_document) if role is not None else None
    except Malformed:
        policy = None
    guard = Guard(policy, required=True, kind="role trust policy")
    actions = [f"sts:{call.operation}"]
    if tags:
        actions.append("sts:TagSession")
    if call.params.get("SourceIdentity"):
        actions.append("sts:SetSourceIdentity")
    return [Need(action, arn, keys, guard=guard) for action in actions]
