"""Reads the account as an onlooker who shares no code with the operator: all that AWS answers about one tenant's tables,
bucket and role, flat, as JSON; what the account holds; and whether a web identity may read a table. Writes nothing."""

import argparse
import json
import sys
from pathlib import Path

import boto3
import botocore
from botocore.config import Config
from botocore.exceptions import ClientError

# What AWS chooses or counts by itself, so that nobody can have specified it.
CHOSEN_BY_AWS = {
    "CreationDateTime", "CreateDate", "ItemCount", "TableSizeBytes", "IndexSizeBytes", "TableId", "TableArn", "IndexArn",
    "LatestStreamArn", "LatestStreamLabel", "LastUpdateToPayPerRequestDateTime", "EarliestRestorableDateTime",
    "LatestRestorableDateTime", "RoleId", "RoleLastUsed", "TableStatus", "IndexStatus", "ResponseMetadata",
    "ProvisionedThroughput", "WarmThroughput",
}
# The member that names an entry of a list, where there is one.
NAMES = ("AttributeName", "IndexName", "Key", "Sid", "ID")
UNSET = {"NoSuchBucketPolicy", "NoSuchTagSet", "NoSuchPublicAccessBlockConfiguration", "NoSuchLifecycleConfiguration",
         "ServerSideEncryptionConfigurationNotFoundError", "OwnershipControlsNotFoundError", "NoSuchCORSConfiguration"}


def flat(value, path="", into=None):
    """`{"a": {"b": [1, 2]}}` becomes `{"a.b": "1, 2"}`; entries of a list go by their name."""
    into = {} if into is None else into
    if isinstance(value, dict):
        for key, inner in value.items():
            if key not in CHOSEN_BY_AWS:
                flat(inner, f"{path}.{key}" if path else key, into)
    elif isinstance(value, list) and any(isinstance(entry, dict) for entry in value):
        for index, entry in enumerate(value):
            name = next((name for name in NAMES if name in entry), None)
            inner = {key: found for key, found in entry.items() if key != name}
            place = f"{path}[{entry[name] if name else index}]"
            flat(next(iter(inner.values())) if len(inner) == 1 else inner, place, into)
    elif isinstance(value, list):
        into[path] = ", ".join(str(entry) for entry in value)
    else:
        into[path] = str(value).lower() if isinstance(value, bool) else str(value)
    return into


def document(policy):
    return json.loads(policy) if isinstance(policy, str) else policy


class Account:
    def __init__(self, arguments, **credentials):
        options = {"endpoint_url": arguments.endpoint, "region_name": arguments.region, **credentials}
        path_style = Config(s3={"addressing_style": "path"})
        self.dynamodb = boto3.client("dynamodb", **options)
        self.s3 = boto3.client("s3", config=path_style, **options)
        self.iam = boto3.client("iam", **options)
        self.kms = boto3.client("kms", **options)

    def table(self, name):
        table = self.dynamodb.describe_table(TableName=name)["Table"]
        arn = table["TableArn"]
        time_to_live = self.dynamodb.describe_time_to_live(TableName=name)["TimeToLiveDescription"]
        backups = self.dynamodb.describe_continuous_backups(TableName=name)["ContinuousBackupsDescription"]
        recovery = backups["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"]
        tags = self.dynamodb.list_tags_of_resource(ResourceArn=arn)["Tags"]
        encryption = table.get("SSEDescription", {})
        if "KMSMasterKeyArn" in encryption:
            manager = self.kms.describe_key(KeyId=encryption["KMSMasterKeyArn"])["KeyMetadata"]["KeyManager"]
            encryption["KMSMasterKeyManager"] = manager
            if manager == "AWS":
                del encryption["KMSMasterKeyArn"]
        return flat(table | {"TimeToLive": time_to_live, "PointInTimeRecovery": recovery, "Tags": tags})

    def bucket(self, name):
        def read(call, *keys):
            try:
                answer = getattr(self.s3, call)(Bucket=name)
            except ClientError as error:
                if error.response["Error"]["Code"] in UNSET:
                    return None
                raise
            for key in keys:
                answer = answer.get(key)
            return answer

        policy = read("get_bucket_policy", "Policy")
        parts = {
            "Name": name,
            "Location": read("get_bucket_location", "LocationConstraint"),
            "Versioning": read("get_bucket_versioning", "Status"),
            "Encryption": read("get_bucket_encryption", "ServerSideEncryptionConfiguration", "Rules"),
            "PublicAccessBlock": read("get_public_access_block", "PublicAccessBlockConfiguration"),
            "Ownership": read("get_bucket_ownership_controls", "OwnershipControls", "Rules"),
            "Lifecycle": read("get_bucket_lifecycle_configuration", "Rules"),
            "Cors": read("get_bucket_cors", "CORSRules"),
            "Policy": policy and document(policy),
            "Tags": read("get_bucket_tagging", "TagSet"),
        }
        return flat({key: value for key, value in parts.items() if value is not None})

    def role(self, name):
        role = self.iam.get_role(RoleName=name)["Role"]
        role["AssumeRolePolicyDocument"] = document(role["AssumeRolePolicyDocument"])
        inline = self.iam.list_role_policies(RoleName=name)["PolicyNames"]
        policies = {
            policy: document(self.iam.get_role_policy(RoleName=name, PolicyName=policy)["PolicyDocument"]) for policy in inline
        }
        attached = self.iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]
        return flat(role | {"Policy": policies, "AttachedPolicies": [policy["PolicyArn"] for policy in attached] or "none"})


def tenant(account, arguments):
    """Everything about one tenant."""
    prefix = f"{arguments.installation}-{arguments.tenant}"
    return {
        "state table": account.table(f"{prefix}-state"),
        "events table": account.table(f"{prefix}-events"),
        "bucket": account.bucket(f"{prefix}-recordings"),
        "role": account.role(prefix),
    }


def holdings(account, arguments):
    """The names of all tables in some regions, and of all buckets and roles."""
    tables = []
    for region in arguments.regions:
        client = boto3.client("dynamodb", endpoint_url=arguments.endpoint, region_name=region)
        tables += [name for page in client.get_paginator("list_tables").paginate() for name in page["TableNames"]]
    roles = account.iam.get_paginator("list_roles").paginate()
    return {
        "tables": sorted(tables),
        "buckets": sorted(bucket["Name"] for bucket in account.s3.list_buckets()["Buckets"]),
        "roles": sorted(role["RoleName"] for page in roles for role in page["Roles"]),
    }


def reading(_account, arguments):
    """Whether the holder of a token, as a role, may read a table: the answer of AWS in one word."""
    unsigned = Config(signature_version=botocore.UNSIGNED)
    sts = boto3.client("sts", endpoint_url=arguments.endpoint, region_name=arguments.region, config=unsigned)
    token = Path(arguments.token).read_text().strip()
    try:
        issued = sts.assume_role_with_web_identity(
            RoleArn=arguments.role, RoleSessionName="onlooker", WebIdentityToken=token)["Credentials"]
    except ClientError as error:
        return {"assumed": error.response["Error"]["Code"]}
    session = Account(
        arguments, aws_access_key_id=issued["AccessKeyId"], aws_secret_access_key=issued["SecretAccessKey"],
        aws_session_token=issued["SessionToken"])
    try:
        key = {"HashKey": {"S": "teleport"}, "FullPath": {"S": "onlooker"}}
        session.dynamodb.get_item(TableName=arguments.table, Key=key)
        outcome = "allowed"
    except ClientError as error:
        outcome = error.response["Error"]["Code"]
    return {"assumed": "allowed", "read": outcome}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--endpoint", required=True, help="URL of all services")
    parser.add_argument("--region", required=True)
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("tenant", help=tenant.__doc__)
    one.add_argument("installation")
    one.add_argument("tenant", help="tenant id")
    one.set_defaults(run=tenant)
    everything = commands.add_parser("holdings", help=holdings.__doc__)
    everything.add_argument("regions", nargs="+")
    everything.set_defaults(run=holdings)
    try_reading = commands.add_parser("reading", help=reading.__doc__)
    try_reading.add_argument("--role", required=True, help="ARN")
    try_reading.add_argument("--token", required=True, help="file")
    try_reading.add_argument("--table", required=True)
    try_reading.set_defaults(run=reading)
    arguments = parser.parse_args()
    json.dump(arguments.run(Account(arguments), arguments), sys.stdout, indent=1)


if __name__ == "__main__":
    main()
