"""Permissions of the Parameter Store part of SSM."""

from ..call import Call
from ..errors import ApiError
from ..principal import ACCOUNT
from .need import Need, request_tags

_UNKNOWN = ("aws:ResourceTag/",)


def needs(call: Call) -> list:
    operation, params = call.operation, call.params
    action = f"ssm:{operation}"
    if operation == "DescribeParameters":
        return [Need(action, "*")]
    if operation in ("GetParameters", "DeleteParameters"):
        return [Need(action, _arn(call, name), {}, _UNKNOWN) for name in params.get("Names") or [""]]
    if operation == "GetParametersByPath":
        return [Need(action, _arn(call, params.get("Path", "")), {}, _UNKNOWN)]
    if operation in ("GetParameter", "PutParameter", "DeleteParameter", "GetParameterHistory"):
        return [Need(action, _arn(call, params.get("Name", "")), request_tags(params.get("Tags") or []), _UNKNOWN)]
    if operation in ("AddTagsToResource", "RemoveTagsFromResource", "ListTagsForResource"):
        return [
            Need(action, _arn(call, params.get("ResourceId", "")), request_tags(params.get("Tags") or []), _UNKNOWN)
        ]
    raise ApiError("UnknownOperationException", f"This emulator has no SSM operation {operation}.")


def _arn(call: Call, name: str) -> str:
    return f"arn:aws:ssm:{call.region}:{ACCOUNT}:parameter/{name.lstrip('/')}"
