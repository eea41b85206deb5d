"""IAM where moto is lenient: policies it would take malformed, boundaries it forgets, deletions it lets pass.

Access has been decided before.
"""

import re
import uuid
from typing import Optional

from . import world
from .backend import Backend
from .call import Call
from .errors import ApiError
from .http import Response
from .policy import Malformed, identity_policy, refuse_unknown_operators, trust_policy

_TRUST = {"CreateRole": "AssumeRolePolicyDocument", "UpdateAssumeRolePolicy": "PolicyDocument"}
_IDENTITY = {"PutRolePolicy", "PutUserPolicy", "PutGroupPolicy", "CreatePolicy", "CreatePolicyVersion"}
_BOUNDED = {"CreateRole", "CreateUser", "PutRolePermissionsBoundary", "PutUserPermissionsBoundary"}
_USER_BOUNDARY = {"PutUserPermissionsBoundary", "DeleteUserPermissionsBoundary"}


def perform(call: Call, backend: Backend) -> Response:
    """Carry out one call."""
    _check_documents(call)
    if call.operation in _BOUNDED and call.params.get("PermissionsBoundary"):
        _check_boundary(call.params["PermissionsBoundary"])
    if call.operation in _USER_BOUNDARY:
        return _set_user_boundary(call)
    if call.operation == "DeleteUser":
        _check_user_is_bare(call)
    if call.operation == "DeletePolicy":
        _check_policy_is_unused(call)
    leaving = world.user(call.params.get("UserName", "")) if call.operation == "DeleteUser" else None
    response = backend.perform(call)
    if response.status < 300:
        if leaving is not None:
            world.user_boundaries.pop(leaving.id, None)
        if call.operation == "CreateUser" and call.params.get("PermissionsBoundary"):
            world.user_boundaries[world.user(call.params["UserName"]).id] = call.params["PermissionsBoundary"]
        if call.operation in ("CreateUser", "GetUser"):
            _show_boundary(call, response)
    return response


def _check_documents(call: Call) -> None:
    try:
        if call.operation in _TRUST:
            text = call.params.get(_TRUST[call.operation], "")
            policy = trust_policy(text)
            refuse_unknown_operators(text)
            for statement in policy.statements:
                for principal in (statement.principals or {}).get("AWS", ()):
                    if not world.principal_exists(principal):
                        raise Malformed(f'Invalid principal in policy: "AWS":"{principal}"')
        elif call.operation in _IDENTITY:
            text = call.params.get("PolicyDocument", "")
            identity_policy(text)
            refuse_unknown_operators(text)
    except Malformed as error:
        raise ApiError("MalformedPolicyDocument", str(error)) from error


def _check_boundary(arn: str) -> None:
    if world.managed_policy(arn) is None:
        raise ApiError("NoSuchEntity", f"Scope ARN: {arn} does not exist or is not attachable.", 404)


def _set_user_boundary(call: Call) -> Response:
    name = call.params.get("UserName", "")
    user = world.user(name)
    if user is None:
        raise ApiError("NoSuchEntity", f"The user with name {name} cannot be found.", 404)
    if call.operation == "PutUserPermissionsBoundary":
        world.user_boundaries[user.id] = call.params.get("PermissionsBoundary", "")
    elif world.user_boundaries.pop(user.id, None) is None:
        raise ApiError("NoSuchEntity", f"User {name} does not have a permission boundary.", 404)
    text = (
        f'<{call.operation}Response xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><ResponseMetadata>'
        f"<RequestId>{uuid.uuid4()}</RequestId></ResponseMetadata></{call.operation}Response>"
    )
    return Response(200, [("Content-Type", "text/xml")], text.encode())


def _check_user_is_bare(call: Call) -> None:
    user = world.user(call.params.get("UserName", ""))
    if user is not None and user.access_keys:
        raise ApiError("DeleteConflict", "Cannot delete entity, must delete access keys first.", 409)
    if user is not None and world.groups_of(user):
        raise ApiError("DeleteConflict", "Cannot delete entity, must remove users from group first.", 409)


def _check_policy_is_unused(call: Call) -> None:
    arn = call.params.get("PolicyArn", "")
    iam = world.iam()
    holders = [*iam.roles.values(), *iam.users.values(), *iam.groups.values()]
    bounded = {role.permissions_boundary_arn for role in iam.roles.values()} | set(world.user_boundaries.values())
    if arn in bounded or any(arn in holder.managed_policies for holder in holders):
        raise ApiError("DeleteConflict", "Cannot delete a policy attached to entities.", 409)


def _show_boundary(call: Call, response: Response) -> None:
    user = world.user(call.params.get("UserName", ""))
    arn: Optional[str] = world.user_boundaries.get(user.id) if user is not None else None
    if arn is not None:
        shown = (
            "<PermissionsBoundary><PermissionsBoundaryType>PermissionsBoundaryPolicy</PermissionsBoundaryType>"
            f"<PermissionsBoundaryArn>{arn}</PermissionsBoundaryArn></PermissionsBoundary></User>"
        )
        response.body = re.sub(rb"</User>", shown.encode(), response.body, count=1)
