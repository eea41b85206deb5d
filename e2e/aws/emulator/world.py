"""The state behind the services: every read of moto's internals that access control and corrections need.

moto is pinned to one version because this file reaches into it. Nothing here decides anything.
"""

import os
import re

# Read by moto when it is imported: path-style buckets, one account, no time spent on CORS.
os.environ.setdefault("S3_IGNORE_SUBDOMAIN_BUCKETNAME", "1")
os.environ.setdefault("MOTO_DISABLE_GLOBAL_CORS", "true")
os.environ.setdefault("MOTO_ACCOUNT_ID", "123456789012")

from typing import Any, Optional  # noqa: E402

from moto.core.base_backend import BackendDict  # noqa: E402
from moto.core.model_instances import reset_model_data  # noqa: E402
from moto.dynamodb.models import Table, dynamodb_backends  # noqa: E402
from moto.iam.models import AccessKey, IAMBackend, Role, User, iam_backends  # noqa: E402
from moto.kms.models import Key, kms_backends  # noqa: E402
from moto.route53.models import route53_backends  # noqa: E402
from moto.s3.models import FakeBucket, s3_backends  # noqa: E402

from .principal import ACCOUNT  # noqa: E402


def reset() -> None:
    """Empty every service."""
    BackendDict.reset()
    reset_model_data()
    _roles.clear()
    user_boundaries.clear()


def iam() -> IAMBackend:
    return iam_backends[ACCOUNT]["aws"]


def access_key(key_id: str) -> Optional[AccessKey]:
    return iam().access_keys.get(key_id)


# Boundary policy by user id: moto keeps none for users.
user_boundaries: dict = {}


def user(name: str) -> Optional[User]:
    return iam().users.get(name)


# Role by name, checked against the backend at each use: moto itself looks through all roles.
_roles: dict = {}


def role(name: str) -> Optional[Role]:
    backend = iam()
    known = _roles.get(name)
    if known is not None and backend.roles.get(known.id) is known and known.name == name:
        return known
    found = next((role for role in list(backend.roles.values()) if role.name == name), None)
    if found is not None:
        _roles[name] = found
    return found


def role_by_arn(arn: str) -> Optional[Role]:
    found = role(arn.rpartition("/")[2])
    return found if found is not None and found.arn == arn else None


def tags_of(holder: Any) -> dict:
    """Tags of a role or user as a plain mapping."""
    return {tag["Key"]: tag.get("Value", "") for tag in (holder.tags or [])}


def managed_policy(arn: str) -> Optional[str]:
    """The default version of a managed policy."""
    policy = iam().managed_policies.get(arn)
    if policy is None:
        return None
    return next((version.document for version in policy.versions if version.is_default), None)


def inline_and_attached(holder: Any) -> list:
    """Documents of a user, group or role."""
    attached = (managed_policy(arn) for arn in holder.managed_policies)
    return list(holder.policies.values()) + [document for document in attached if document is not None]


def groups_of(user: User) -> list:
    return [group for group in iam().groups.values() if user in group.users]


def oidc_provider(arn: str) -> Any:
    return iam().open_id_providers.get(arn)


def table(region: str, name_or_arn: str) -> Optional[Table]:
    """A table by name, by its ARN, or by the ARN of something under it (stream, index, backup)."""
    arn = f"arn:aws:dynamodb:{re.escape(region)}:{ACCOUNT}:table/"
    found = re.fullmatch(rf"(?:{arn})?([A-Za-z0-9_.-]+)(?:/.*)?", name_or_arn)
    return dynamodb_backends[ACCOUNT][region].tables.get(found.group(1)) if found else None


def tables(region: str) -> Any:
    return dynamodb_backends[ACCOUNT][region]


def table_policy(region: str, arn: str) -> Optional[str]:
    policy = dynamodb_backends[ACCOUNT][region].resource_policies.get(arn)
    return None if policy is None else policy.policy_doc


def bucket(name: str) -> Optional[FakeBucket]:
    return s3_backends[ACCOUNT]["aws"].buckets.get(name)


def s3_object(bucket_name: str, key: str, version: Optional[str]) -> Any:
    """An object or None; delete markers count as None."""
    found = bucket(bucket_name)
    if found is None:
        return None
    if version is None:
        item = found.keys.get(key)
    else:
        item = next((one for one in found.keys.getlist(key, default=[]) if str(one.version_id) == version), None)
    return item if item is not None and hasattr(item, "encryption") else None


def object_tags(item: Any) -> dict:
    backend = s3_backends[ACCOUNT]["aws"]
    return {tag["Key"]: tag["Value"] for tag in backend.tagger.list_tags_for_resource(item.arn)["Tags"]}


def kms_key(region: str, reference: str) -> Optional[Key]:
    """A key by id, ARN, alias or alias ARN."""
    backend = kms_backends[ACCOUNT][region]
    name = reference.split(":")[-1] if reference.startswith("arn:") else reference
    name = name.removeprefix("key/")
    if name.startswith("alias/"):
        return next((key for key in backend.keys.values() if name in key.aliases), None)
    return backend.keys.get(name)


def mark_managed_keys(region: str) -> None:
    """moto says of every key that a customer manages it; the keys under the aliases of AWS are those of AWS."""
    for key in kms_backends[ACCOUNT][region].keys.values():
        if any(alias.startswith("alias/aws/") for alias in key.aliases):
            key.key_manager = "AWS"


def kms_tags(region: str, key_id: str) -> dict:
    listed = kms_backends[ACCOUNT][region].tagger.list_tags_for_resource(key_id)
    return {tag["TagKey"]: tag["TagValue"] for tag in next(iter(listed.values()), [])}


def principal_exists(name: str) -> bool:
    """Whether a policy may name this principal: IAM refuses users and roles of the account that do not exist."""
    prefix = f"arn:aws:iam::{ACCOUNT}:"
    if not name.startswith((f"{prefix}role/", f"{prefix}user/")):
        return True
    if name.startswith(f"{prefix}role/"):
        return role_by_arn(name) is not None
    found = user(name.rpartition("/")[2])
    return found is not None and found.arn == name


def zones() -> list:
    """The public hosted zones of Route 53."""
    return [zone for zone in list(route53_backends[ACCOUNT]["aws"].zones.values()) if not zone.private_zone]


def name_servers() -> set:
    """The servers that any of them is delegated to."""
    return {server for zone in zones() if zone.delegation_set for server in zone.delegation_set.name_servers}


def zone_of(name: str) -> Optional[str]:
    """The longest zone that has a name."""
    fitting = [zone.name.rstrip(".") for zone in zones()]
    fitting = [zone for zone in fitting if name == zone or name.endswith("." + zone)]
    return max(fitting, key=len, default=None)


def records(zone: str, name: str) -> list:
    """Type and value of each record that stands at a name."""
    found = [found for found in zones() if found.name.rstrip(".") == zone]
    sets = [rrset for hosted in found for rrset in list(hosted.rrsets) if rrset.name.lower().rstrip(".") == name]
    return sorted((rrset.type, value) for rrset in sets for value in (rrset.records or []))
