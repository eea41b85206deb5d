"""Two tenants, each with a table, a bucket, a user and a role under the policy of its own."""

import json

from conftest import ACCOUNT, REGION, allow, policy


def table_arn(tenant):
    return f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{tenant}-state"


def tenant_policy(tenant):
    return policy(
        allow(
            [
                "dynamodb:*Item",
                "dynamodb:Scan",
                "dynamodb:Query",
                "dynamodb:BatchGetItem",
                "dynamodb:DescribeTable",
                "dynamodb:DescribeStream",
                "dynamodb:GetShardIterator",
                "dynamodb:GetRecords",
            ],
            [table_arn(tenant), f"{table_arn(tenant)}/index/*", f"{table_arn(tenant)}/stream/*"],
        ),
        allow("s3:ListBucket*", f"arn:aws:s3:::{tenant}-bucket"),
        allow(
            ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:GetObjectVersion"],
            f"arn:aws:s3:::{tenant}-bucket/*",
        ),
    )


def settle(instant):
    """Make both on an empty emulator; their keys are in the mapping that comes back."""
    dynamodb, s3 = instant.client("dynamodb"), instant.client("s3")
    keys = {}
    for tenant in ("a", "b"):
        dynamodb.create_table(
            TableName=f"{tenant}-state",
            KeySchema=[{"AttributeName": "k", "KeyType": "HASH"}],
            AttributeDefinitions=[
                {"AttributeName": "k", "AttributeType": "S"},
                {"AttributeName": "g", "AttributeType": "S"},
            ],
            BillingMode="PAY_PER_REQUEST",
            GlobalSecondaryIndexes=[
                {
                    "IndexName": "by-g",
                    "KeySchema": [{"AttributeName": "g", "KeyType": "HASH"}],
                    "Projection": {"ProjectionType": "ALL"},
                }
            ],
            StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"},
        )
        dynamodb.put_item(TableName=f"{tenant}-state", Item={"k": {"S": "1"}, "g": {"S": "x"}})
        s3.create_bucket(Bucket=f"{tenant}-bucket", CreateBucketConfiguration={"LocationConstraint": REGION})
        s3.put_object(Bucket=f"{tenant}-bucket", Key="secret", Body=b"data")
        keys[tenant] = instant.user(tenant, tenant_policy(tenant))
    trust = policy(
        {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}}
    )
    for tenant in ("a", "b"):
        arn = instant.role(f"{tenant}-role", trust, tenant_policy(tenant))
        instant.client("iam").put_user_policy(
            UserName=tenant, PolicyName="assume", PolicyDocument=json.dumps(policy(allow("sts:AssumeRole", arn)))
        )
    return keys
