"""Two tenants with policies of their own, over the real server: each gets at its own data and at nothing else."""

import json

import pytest
from conftest import ACCOUNT, REGION, allow, deny, policy
from outcomes import failure, outcome
from tenants import table_arn


def item_calls(dynamodb, tenant):
    name, key = f"{tenant}-state", {"k": {"S": "1"}}
    return {
        "GetItem": lambda: dynamodb.get_item(TableName=name, Key=key),
        "GetItem by ARN": lambda: dynamodb.get_item(TableName=table_arn(tenant), Key=key),
        "PutItem": lambda: dynamodb.put_item(TableName=name, Item=key),
        "UpdateItem": lambda: dynamodb.update_item(
            TableName=name, Key=key, UpdateExpression="SET v = :v", ExpressionAttributeValues={":v": {"S": "2"}}
        ),
        "Scan": lambda: dynamodb.scan(TableName=name),
        "Query": lambda: dynamodb.query(
            TableName=name, KeyConditionExpression="k = :k", ExpressionAttributeValues={":k": {"S": "1"}}
        ),
        "Query index": lambda: dynamodb.query(
            TableName=name,
            IndexName="by-g",
            KeyConditionExpression="g = :g",
            ExpressionAttributeValues={":g": {"S": "x"}},
        ),
        "BatchGetItem": lambda: dynamodb.batch_get_item(RequestItems={name: {"Keys": [key]}}),
        "BatchWriteItem": lambda: dynamodb.batch_write_item(
            RequestItems={name: [{"PutRequest": {"Item": {"k": {"S": "9"}}}}]}
        ),
        "TransactWriteItems": lambda: dynamodb.transact_write_items(
            TransactItems=[
                {"Put": {"TableName": name, "Item": {"k": {"S": "7"}}}},
                {"ConditionCheck": {"TableName": name, "Key": key, "ConditionExpression": "attribute_exists(k)"}},
            ]
        ),
        "TransactGetItems": lambda: dynamodb.transact_get_items(
            TransactItems=[{"Get": {"TableName": name, "Key": key}}]
        ),
        "DescribeTable": lambda: dynamodb.describe_table(TableName=name),
        "DeleteItem": lambda: dynamodb.delete_item(TableName=name, Key={"k": {"S": "7"}}),
    }


@pytest.mark.parametrize("who", ["user", "role session"])
def test_items_of_the_own_table_and_no_other(tenants, who):
    keys = tenants.keys["a"]
    if who == "role session":
        keys = tenants.assume(keys, f"arn:aws:iam::{ACCOUNT}:role/a-role")
    dynamodb = tenants.client("dynamodb", keys)
    own = {name: outcome(call) for name, call in item_calls(dynamodb, "a").items()}
    foreign = {name: outcome(call) for name, call in item_calls(dynamodb, "b").items()}
    assert own == dict.fromkeys(own, "ok")
    assert foreign == dict.fromkeys(foreign, "AccessDeniedException")


def test_a_transaction_over_both_tables_is_denied_as_a_whole(tenants):
    dynamodb = tenants.client("dynamodb", tenants.keys["a"])
    puts = [{"Put": {"TableName": f"{tenant}-state", "Item": {"k": {"S": "t"}}}} for tenant in ("a", "b")]
    assert outcome(dynamodb.transact_write_items, TransactItems=puts) == "AccessDeniedException"
    assert "Item" not in dynamodb.get_item(TableName="a-state", Key={"k": {"S": "t"}})


def test_the_own_stream_and_no_other(tenants):
    streams = tenants.client("dynamodbstreams", tenants.keys["a"])
    root = tenants.client("dynamodb")
    arns = {
        tenant: root.describe_table(TableName=f"{tenant}-state")["Table"]["LatestStreamArn"] for tenant in ("a", "b")
    }
    shard = streams.describe_stream(StreamArn=arns["a"])["StreamDescription"]["Shards"][0]["ShardId"]
    iterator = streams.get_shard_iterator(StreamArn=arns["a"], ShardId=shard, ShardIteratorType="TRIM_HORIZON")[
        "ShardIterator"
    ]
    assert streams.get_records(ShardIterator=iterator)["Records"][0]["dynamodb"]["Keys"] == {"k": {"S": "1"}}
    assert outcome(streams.describe_stream, StreamArn=arns["b"]) == "AccessDeniedException"
    other = tenants.client("dynamodbstreams").get_shard_iterator(
        StreamArn=arns["b"], ShardId=shard, ShardIteratorType="TRIM_HORIZON"
    )
    assert outcome(streams.get_records, ShardIterator=other["ShardIterator"]) == "AccessDeniedException"


@pytest.mark.parametrize("who", ["user", "role session"])
def test_objects_of_the_own_bucket_and_no_other(tenants, who):
    keys = tenants.keys["a"]
    if who == "role session":
        keys = tenants.assume(keys, f"arn:aws:iam::{ACCOUNT}:role/a-role")
    s3 = tenants.client("s3", keys)

    def calls(bucket):
        return [
            outcome(s3.head_bucket, Bucket=bucket),
            outcome(s3.list_objects_v2, Bucket=bucket),
            outcome(s3.list_object_versions, Bucket=bucket),
            outcome(s3.put_object, Bucket=bucket, Key="new/key with space+ü", Body=b"1"),
            outcome(s3.get_object, Bucket=bucket, Key="secret"),
            outcome(s3.delete_object, Bucket=bucket, Key="new/key with space+ü"),
        ]

    assert calls("a-bucket") == ["ok"] * 6
    assert calls("b-bucket") == ["403", "AccessDenied", "AccessDenied", "AccessDenied", "AccessDenied", "AccessDenied"]
    assert s3.get_object(Bucket="a-bucket", Key="secret")["Body"].read() == b"data"


def test_many_keys_are_deleted_in_the_own_bucket_alone(tenants):
    s3 = tenants.client("s3", tenants.keys["a"])
    gone = s3.delete_objects(Bucket="a-bucket", Delete={"Objects": [{"Key": "secret"}, {"Key": "other"}]})
    assert [one["Key"] for one in gone["Deleted"]] == ["secret", "other"] and "Errors" not in gone
    refused = s3.delete_objects(Bucket="b-bucket", Delete={"Objects": [{"Key": "secret"}]})
    assert [(one["Key"], one["Code"]) for one in refused["Errors"]] == [
        ("secret", "AccessDenied")
    ] and "Deleted" not in refused
    assert tenants.client("s3").head_object(Bucket="b-bucket", Key="secret")["ContentLength"] == 4


def test_of_many_keys_those_refused_stay(instant):
    root = instant.client("s3")
    root.create_bucket(Bucket="one", CreateBucketConfiguration={"LocationConstraint": REGION})
    for key in ("mine/1", "theirs/1"):
        root.put_object(Bucket="one", Key=key, Body=b"x")
    s3 = instant.client("s3", instant.user("u", policy(allow("s3:DeleteObject", "arn:aws:s3:::one/mine/*"))))
    answer = s3.delete_objects(Bucket="one", Delete={"Objects": [{"Key": "mine/1"}, {"Key": "theirs/1"}]})
    assert [one["Key"] for one in answer["Deleted"]] == ["mine/1"]
    assert [(one["Key"], one["Code"]) for one in answer["Errors"]] == [("theirs/1", "AccessDenied")]
    assert [one["Key"] for one in root.list_objects_v2(Bucket="one")["Contents"]] == ["theirs/1"]


def test_a_copy_needs_to_read_its_source(tenants):
    s3 = tenants.client("s3", tenants.keys["a"])
    assert outcome(s3.copy_object, Bucket="a-bucket", Key="copy", CopySource="b-bucket/secret") == "AccessDenied"
    assert outcome(s3.copy_object, Bucket="a-bucket", Key="copy", CopySource="a-bucket/secret") == "ok"
    assert outcome(s3.copy_object, Bucket="b-bucket", Key="copy", CopySource="a-bucket/secret") == "AccessDenied"


def test_deny_with_not_resource(tenants):
    fence = {"Effect": "Deny", "Action": "s3:*", "NotResource": ["arn:aws:s3:::a-bucket", "arn:aws:s3:::a-bucket/*"]}
    keys = tenants.user("fenced", policy(allow("s3:*"), fence))
    s3 = tenants.client("s3", keys)
    assert outcome(s3.get_object, Bucket="a-bucket", Key="secret") == "ok"
    assert outcome(s3.get_object, Bucket="b-bucket", Key="secret") == "AccessDenied"


def test_conditions_are_read(tenants):
    unmet = {"StringEquals": {"aws:RequestedRegion": "us-west-2"}}
    met = {"StringEquals": {"aws:RequestedRegion": REGION}}
    rows = {
        "allow-unmet": (policy(allow("dynamodb:Scan", Condition=unmet)), "AccessDeniedException"),
        "allow-met": (policy(allow("dynamodb:Scan", Condition=met)), "ok"),
        "deny-unmet": (policy(allow("dynamodb:Scan"), deny("dynamodb:Scan", Condition=unmet)), "ok"),
        "deny-met": (policy(allow("dynamodb:Scan"), deny("dynamodb:Scan", Condition=met)), "AccessDeniedException"),
        "deny-unknown": (
            policy(allow("dynamodb:Scan"), deny("dynamodb:Scan", Condition={"StringEquals": {"aws:NoSuchKey": "x"}})),
            "AccessDeniedException",
        ),
    }
    found = {
        name: outcome(tenants.client("dynamodb", tenants.user(name, document)).scan, TableName="a-state")
        for name, (document, _) in rows.items()
    }
    assert found == {name: expected for name, (_, expected) in rows.items()}


def test_wildcards_and_variables(tenants):
    keys = tenants.user("b-bucket-owner", policy(allow("s3:GetObject", "arn:aws:s3:::?-bucket/*")))
    assert outcome(tenants.client("s3", keys).get_object, Bucket="a-bucket", Key="secret") == "ok"
    tenants.client("s3").put_object(Bucket="a-bucket", Key="home/carla/x", Body=b"1")
    tenants.client("s3").put_object(Bucket="a-bucket", Key="home/dora/x", Body=b"1")
    s3 = tenants.client(
        "s3", tenants.user("carla", policy(allow("s3:GetObject", "arn:aws:s3:::a-bucket/home/${aws:username}/*")))
    )
    assert outcome(s3.get_object, Bucket="a-bucket", Key="home/carla/x") == "ok"
    assert outcome(s3.get_object, Bucket="a-bucket", Key="home/dora/x") == "AccessDenied"


def test_boundaries_of_users_and_roles_cut(tenants):
    iam = tenants.client("iam")
    boundary = iam.create_policy(PolicyName="edge", PolicyDocument=json.dumps(policy(allow("dynamodb:GetItem"))))[
        "Policy"
    ]["Arn"]
    keys = tenants.user("bounded", policy(allow("dynamodb:*")), PermissionsBoundary=boundary)
    assert iam.get_user(UserName="bounded")["User"]["PermissionsBoundary"]["PermissionsBoundaryArn"] == boundary
    dynamodb = tenants.client("dynamodb", keys)
    assert outcome(dynamodb.get_item, TableName="a-state", Key={"k": {"S": "1"}}) == "ok"
    assert outcome(dynamodb.scan, TableName="a-state") == "AccessDeniedException"
    trust = policy(
        {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:user/bounded"}}
    )
    arn = tenants.role("bounded-role", trust, policy(allow("dynamodb:*")), PermissionsBoundary=boundary)
    dynamodb = tenants.client("dynamodb", tenants.assume(keys, arn))
    assert outcome(dynamodb.get_item, TableName="a-state", Key={"k": {"S": "1"}}) == "ok"
    assert outcome(dynamodb.scan, TableName="a-state") == "AccessDeniedException"
    iam.delete_user_permissions_boundary(UserName="bounded")
    assert outcome(tenants.client("dynamodb", keys).scan, TableName="a-state") == "ok"


def test_session_policy_cuts(tenants):
    arn = f"arn:aws:iam::{ACCOUNT}:role/a-role"
    cut = tenants.assume(tenants.keys["a"], arn, Policy=json.dumps(policy(allow("dynamodb:GetItem"))))
    dynamodb = tenants.client("dynamodb", cut)
    assert outcome(dynamodb.get_item, TableName="a-state", Key={"k": {"S": "1"}}) == "ok"
    assert outcome(dynamodb.scan, TableName="a-state") == "AccessDeniedException"
    assert outcome(dynamodb.get_item, TableName="b-state", Key={"k": {"S": "1"}}) == "AccessDeniedException"


def test_a_tenant_takes_on_its_own_role_alone(tenants):
    sts = tenants.client("sts", tenants.keys["a"])
    assume = lambda name: outcome(sts.assume_role, RoleArn=f"arn:aws:iam::{ACCOUNT}:role/{name}", RoleSessionName="xx")  # noqa: E731
    assert (assume("a-role"), assume("b-role"), assume("no-such-role")) == ("ok", "AccessDenied", "AccessDenied")


def test_a_missing_key_without_list_bucket_looks_forbidden(tenants):
    keys = tenants.user("reader", policy(allow("s3:GetObject", "arn:aws:s3:::a-bucket/*")))
    assert outcome(tenants.client("s3", keys).get_object, Bucket="a-bucket", Key="none") == "AccessDenied"
    assert outcome(tenants.client("s3", tenants.keys["a"]).get_object, Bucket="a-bucket", Key="none") == "NoSuchKey"
    assert outcome(tenants.client("s3", keys).get_object, Bucket="no-such-bucket", Key="none") == "NoSuchBucket"


def test_the_text_of_a_refusal_says_who_what_and_where(tenants):
    dynamodb = tenants.client("dynamodb", tenants.keys["a"])
    status, code, text = failure(dynamodb.scan, TableName="b-state")
    assert (status, code) == (400, "AccessDeniedException")
    assert text == (
        f"User: arn:aws:iam::{ACCOUNT}:user/a is not authorized to perform: dynamodb:Scan "
        f"on resource: {table_arn('b')} "
        "because no identity-based policy allows the dynamodb:Scan action"
    )
    status, code, text = failure(tenants.client("iam", tenants.keys["a"]).list_roles)
    assert (status, code) == (403, "AccessDenied") and "iam:ListRoles" in text
