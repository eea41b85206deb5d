"""Permissions of IAM calls: roles, users, groups, policies, instance profiles, identity providers."""

from .. import world
from ..call import Call, members
from ..principal import ACCOUNT
from .need import Need, request_tags, resource_tags

_BASE = f"arn:aws:iam::{ACCOUNT}"
# Operations on the account, whose resource AWS names by the path they list.
_LISTS = {
    "ListRoles": "role", "ListUsers": "user", "ListGroups": "group", "ListPolicies": "policy",
    "ListInstanceProfiles": "instance-profile",
}  # fmt: skip
_CREATES = {
    "CreateRole": ("role", "RoleName", "TagRole"), "CreateUser": ("user", "UserName", "TagUser"),
    "CreateGroup": ("group", "GroupName", None), "CreatePolicy": ("policy", "PolicyName", "TagPolicy"),
    "CreateInstanceProfile": ("instance-profile", "InstanceProfileName", "TagInstanceProfile"),
}  # fmt: skip
# Calls whose iam:PermissionsBoundary is the boundary that the role or user already has.
_UNDER_BOUNDARY = {
    call
    for kind in ("Role", "User")
    for call in (
        f"Put{kind}Policy", f"Delete{kind}Policy", f"Attach{kind}Policy", f"Detach{kind}Policy",
        f"Delete{kind}PermissionsBoundary",
    )
}  # fmt: skip


def needs(call: Call) -> list:
    operation, params = call.operation, call.params
    action = f"iam:{operation}"
    if operation in _LISTS:
        return [Need(action, f"{_BASE}:{_LISTS[operation]}{params.get('PathPrefix', '/')}")]
    if operation in _CREATES:
        return _create(call, *_CREATES[operation])
    if operation == "CreateOpenIDConnectProvider":
        tags = request_tags(members(params, "Tags"))
        arn = f"{_BASE}:oidc-provider/{params.get('Url', '').removeprefix('https://')}"
        found = [Need(action, arn, tags)]
        return found + ([Need("iam:TagOpenIDConnectProvider", arn, tags)] if tags else [])
    resource, keys = _resource(params)
    if "PolicyArn" in params and resource != params["PolicyArn"]:
        keys["iam:PolicyARN"] = params["PolicyArn"]
    if operation in _UNDER_BOUNDARY:
        keys["iam:PermissionsBoundary"] = _boundary(params)
    elif "PermissionsBoundary" in params:
        keys["iam:PermissionsBoundary"] = params["PermissionsBoundary"]
    keys.update(request_tags(members(params, "Tags")))
    if members(params, "TagKeys"):
        keys["aws:TagKeys"] = members(params, "TagKeys")
    found = [Need(action, resource, keys)]
    if operation == "AddRoleToInstanceProfile":
        # AWS asks for iam:PassRole on the role besides.
        role = world.role(params.get("RoleName", ""))
        name = role.arn if role is not None else f"{_BASE}:role/{params.get('RoleName', '')}"
        found.append(Need("iam:PassRole", name, {"iam:PassedToService": "ec2.amazonaws.com"}))
    return found


def _create(call: Call, kind: str, name: str, tagging: object) -> list:
    params = call.params
    arn = f"{_BASE}:{kind}{params.get('Path', '/')}{params.get(name, '')}"
    tags = request_tags(members(params, "Tags"))
    found = [Need(f"iam:{call.operation}", arn, {**tags, "iam:PermissionsBoundary": params.get("PermissionsBoundary")})]
    return found + ([Need(f"iam:{tagging}", arn, tags)] if tags and tagging else [])


def _resource(params: dict) -> tuple:
    """The ARN that a call is about, and the tags on it."""
    if "InstanceProfileName" in params:
        name = params["InstanceProfileName"]
        found = next((one for one in world.iam().instance_profiles.values() if one.name == name), None)
        return (found.arn if found else f"{_BASE}:instance-profile/{name}"), {}
    if "RoleName" in params:
        role = world.role(params["RoleName"])
        if role is None:
            return f"{_BASE}:role/{params['RoleName']}", {}
        return role.arn, _tags(world.tags_of(role))
    if "GroupName" in params:
        group = world.iam().groups.get(params["GroupName"])
        return (group.arn if group else f"{_BASE}:group/{params['GroupName']}"), {}
    if "UserName" in params:
        user = world.user(params["UserName"])
        if user is None:
            return f"{_BASE}:user/{params['UserName']}", {}
        return user.arn, _tags(world.tags_of(user))
    if "OpenIDConnectProviderArn" in params:
        provider = world.oidc_provider(params["OpenIDConnectProviderArn"])
        tags = {tag["Key"]: tag["Value"] for tag in provider.tag_list_type} if provider is not None else {}
        return params["OpenIDConnectProviderArn"], resource_tags(tags)
    if "PolicyArn" in params:
        policy = world.iam().managed_policies.get(params["PolicyArn"])
        tags = {tag["Key"]: tag["Value"] for tag in policy.get_tags()} if policy is not None else {}
        return params["PolicyArn"], resource_tags(tags)
    return "*", {}


def _tags(tags: dict) -> dict:
    return {**resource_tags(tags), **{f"iam:ResourceTag/{name}": value for name, value in tags.items()}}


def _boundary(params: dict) -> object:
    if "RoleName" in params:
        role = world.role(params["RoleName"])
        return role.permissions_boundary_arn if role is not None else None
    user = world.user(params.get("UserName", ""))
    return world.user_boundaries.get(user.id) if user is not None else None
