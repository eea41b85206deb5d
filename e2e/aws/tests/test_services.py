"""IAM, KMS, DynamoDB, Route 53, SSM: what the emulator sets right, and permissions with their condition keys."""

import json

from conftest import ACCOUNT, REGION, allow, policy
from outcomes import failure, outcome

LOCATION = {"CreateBucketConfiguration": {"LocationConstraint": REGION}}
ROOT_TRUST = policy(
    {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}}
)


def test_keys_listen_to_their_policy(instant):
    kms = instant.client("kms")
    mine, other = (kms.create_key()["KeyMetadata"]["Arn"] for _ in range(2))
    kms.create_alias(AliasName="alias/mine", TargetKeyId=mine)
    scoped = instant.client("kms", instant.user("u", policy(allow(["kms:Encrypt", "kms:Decrypt"], mine))))
    sealed = scoped.encrypt(KeyId="alias/mine", Plaintext=b"x")["CiphertextBlob"]
    assert scoped.decrypt(CiphertextBlob=sealed)["Plaintext"] == b"x"
    assert outcome(scoped.encrypt, KeyId=other, Plaintext=b"x") == "AccessDeniedException"
    foreign = kms.encrypt(KeyId=other, Plaintext=b"x")["CiphertextBlob"]
    assert outcome(scoped.decrypt, CiphertextBlob=foreign) == "AccessDeniedException"
    nobody = policy(
        {
            "Effect": "Allow",
            "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:user/none"},
            "Action": "kms:*",
            "Resource": "*",
        }
    )
    kms.put_key_policy(KeyId=mine, PolicyName="default", Policy=json.dumps(nobody))
    assert outcome(scoped.encrypt, KeyId=mine, Plaintext=b"x") == "AccessDeniedException"


def test_roles_only_with_the_boundary_and_tag(instant):
    iam = instant.client("iam")
    edge = iam.create_policy(PolicyName="edge", PolicyDocument=json.dumps(policy(allow("s3:*"))))["Policy"]["Arn"]
    roles = f"arn:aws:iam::{ACCOUNT}:role/tenancy/*"
    document = policy(
        allow(
            "iam:CreateRole",
            roles,
            Condition={"StringEquals": {"iam:PermissionsBoundary": edge, "aws:RequestTag/installation": "eu1"}},
        ),
        allow("iam:TagRole", roles, Condition={"StringEquals": {"aws:RequestTag/installation": "eu1"}}),
        allow(
            ["iam:PutRolePolicy", "iam:DeleteRolePolicy", "iam:DeleteRole", "iam:GetRole"],
            roles,
            Condition={"StringEquals": {"aws:ResourceTag/installation": "eu1"}},
        ),
    )
    operator = instant.client("iam", instant.user("operator", document))
    good = {
        "Path": "/tenancy/",
        "AssumeRolePolicyDocument": json.dumps(ROOT_TRUST),
        "PermissionsBoundary": edge,
        "Tags": [{"Key": "installation", "Value": "eu1"}],
    }
    assert (
        outcome(
            operator.create_role,
            RoleName="no-boundary",
            **{k: v for k, v in good.items() if k != "PermissionsBoundary"},
        )
        == "AccessDenied"
    )
    assert (
        outcome(
            operator.create_role, RoleName="other-tag", **{**good, "Tags": [{"Key": "installation", "Value": "us1"}]}
        )
        == "AccessDenied"
    )
    assert (
        outcome(operator.create_role, RoleName="no-tag", **{k: v for k, v in good.items() if k != "Tags"})
        == "AccessDenied"
    )
    assert outcome(operator.create_role, RoleName="other-path", **{**good, "Path": "/"}) == "AccessDenied"
    assert outcome(operator.create_role, RoleName="good", **good) == "ok"
    put = {"PolicyName": "p", "PolicyDocument": json.dumps(policy(allow("s3:GetObject")))}
    assert outcome(operator.put_role_policy, RoleName="good", **put) == "ok"
    iam.create_role(RoleName="foreign", Path="/tenancy/", AssumeRolePolicyDocument=json.dumps(ROOT_TRUST))
    assert outcome(operator.put_role_policy, RoleName="foreign", **put) == "AccessDenied"
    assert outcome(operator.get_role, RoleName="good") == "ok"


def test_documents_that_iam_refuses(instant):
    iam = instant.client("iam")
    trusts = [
        "{}",
        json.dumps(policy()),
        json.dumps(policy(allow("s3:*"))),
        json.dumps(policy({"Effect": "Allow", "Action": "s3:GetObject", "Principal": "*"})),
    ]
    trusts.append(
        json.dumps(
            policy(
                {
                    "Effect": "Allow",
                    "Action": "sts:AssumeRole",
                    "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:role/none"},
                }
            )
        )
    )
    assert [outcome(iam.create_role, RoleName="r", AssumeRolePolicyDocument=text) for text in trusts] == [
        "MalformedPolicyDocument"
    ] * 5
    instant.role("r", ROOT_TRUST)
    assert [outcome(iam.update_assume_role_policy, RoleName="r", PolicyDocument=text) for text in trusts] == [
        "MalformedPolicyDocument"
    ] * 5
    bad = [
        "{",
        json.dumps({"Version": "2012-10-17"}),
        json.dumps(policy({"Effect": "Allow", "Action": "s3:*"})),
        json.dumps(policy(allow("GetObject"))),
        json.dumps(policy(allow("s3:*", Condition={"StringIs": {"s3:prefix": "x"}}))),
    ]
    assert [outcome(iam.put_role_policy, RoleName="r", PolicyName="p", PolicyDocument=text) for text in bad] == [
        "MalformedPolicyDocument"
    ] * 5


def test_boundaries_and_attachments_hold_their_policy(instant):
    iam = instant.client("iam")
    missing = f"arn:aws:iam::{ACCOUNT}:policy/none"
    assert (
        outcome(
            iam.create_role, RoleName="r", AssumeRolePolicyDocument=json.dumps(ROOT_TRUST), PermissionsBoundary=missing
        )
        == "NoSuchEntity"
    )
    edge = iam.create_policy(PolicyName="edge", PolicyDocument=json.dumps(policy(allow("s3:*"))))["Policy"]["Arn"]
    iam.create_role(RoleName="r", AssumeRolePolicyDocument=json.dumps(ROOT_TRUST), PermissionsBoundary=edge)
    assert outcome(iam.delete_policy, PolicyArn=edge) == "DeleteConflict"
    instant.user("u")
    assert failure(iam.delete_user, UserName="u")[:2] == (409, "DeleteConflict")


def test_attached_and_group_policies_count(instant):
    iam = instant.client("iam")
    arn = iam.create_policy(PolicyName="list", PolicyDocument=json.dumps(policy(allow("dynamodb:ListTables"))))[
        "Policy"
    ]["Arn"]
    keys = instant.user("u")
    dynamodb = instant.client("dynamodb", keys)
    assert outcome(dynamodb.list_tables) == "AccessDeniedException"
    iam.attach_user_policy(UserName="u", PolicyArn=arn)
    assert outcome(dynamodb.list_tables) == "ok"
    iam.create_policy_version(PolicyArn=arn, PolicyDocument=json.dumps(policy(allow("s3:*"))), SetAsDefault=True)
    assert outcome(dynamodb.list_tables) == "AccessDeniedException"
    iam.create_group(GroupName="g")
    iam.put_group_policy(GroupName="g", PolicyName="p", PolicyDocument=json.dumps(policy(allow("dynamodb:ListTables"))))
    iam.add_user_to_group(GroupName="g", UserName="u")
    assert outcome(dynamodb.list_tables) == "ok"


def test_tags_and_leading_keys_of_tables(instant):
    condition = {"StringEquals": {"aws:RequestTag/installation": "eu1"}}
    own = {"StringEquals": {"aws:ResourceTag/installation": "eu1"}}
    leading = {"ForAllValues:StringEquals": {"dynamodb:LeadingKeys": ["${aws:username}"]}}
    document = policy(
        allow(["dynamodb:CreateTable", "dynamodb:TagResource"], Condition=condition),
        allow(["dynamodb:DeleteTable", "dynamodb:DescribeTable"], Condition=own),
        allow(["dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query", "dynamodb:BatchGetItem"], Condition=leading),
    )
    mine = instant.client("dynamodb", instant.user("alice", document))
    table = {
        "KeySchema": [{"AttributeName": "k", "KeyType": "HASH"}],
        "AttributeDefinitions": [{"AttributeName": "k", "AttributeType": "S"}],
        "BillingMode": "PAY_PER_REQUEST",
    }
    tags = lambda value: [{"Key": "installation", "Value": value}]  # noqa: E731
    assert outcome(mine.create_table, TableName="one", Tags=tags("us1"), **table) == "AccessDeniedException"
    assert outcome(mine.create_table, TableName="one", **table) == "AccessDeniedException"
    assert outcome(mine.create_table, TableName="one", Tags=tags("eu1"), **table) == "ok"
    instant.client("dynamodb").create_table(TableName="foreign", Tags=tags("us1"), **table)
    assert outcome(mine.describe_table, TableName="one") == "ok"
    assert outcome(mine.describe_table, TableName="foreign") == "AccessDeniedException"
    assert outcome(mine.put_item, TableName="one", Item={"k": {"S": "alice"}}) == "ok"
    assert outcome(mine.put_item, TableName="one", Item={"k": {"S": "bob"}}) == "AccessDeniedException"
    query = lambda who: outcome(
        mine.query,
        TableName="one",
        KeyConditionExpression="#k = :k",
        ExpressionAttributeNames={"#k": "k"},
        ExpressionAttributeValues={":k": {"S": who}},
    )  # noqa: E731
    assert (query("alice"), query("bob")) == ("ok", "AccessDeniedException")
    batch = lambda *who: outcome(
        mine.batch_get_item, RequestItems={"one": {"Keys": [{"k": {"S": one}} for one in who]}}
    )  # noqa: E731
    assert (batch("alice"), batch("alice", "bob")) == ("ok", "AccessDeniedException")


def test_table_policies_count(instant):
    dynamodb = instant.client("dynamodb")
    dynamodb.create_table(
        TableName="one",
        KeySchema=[{"AttributeName": "k", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "k", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    arn = dynamodb.describe_table(TableName="one")["Table"]["TableArn"]
    mine = instant.client("dynamodb", instant.user("u"))
    assert outcome(mine.scan, TableName="one") == "AccessDeniedException"
    grant = policy(
        {
            "Effect": "Allow",
            "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:user/u"},
            "Action": "dynamodb:Scan",
            "Resource": arn,
        }
    )
    dynamodb.put_resource_policy(ResourceArn=arn, Policy=json.dumps(grant))
    assert outcome(mine.scan, TableName="one") == "ok"


def test_records_of_the_own_name_alone(instant):
    zone = (
        instant.client("route53")
        .create_hosted_zone(Name="example.com", CallerReference="1")["HostedZone"]["Id"]
        .rpartition("/")[2]
    )
    names = {
        "ForAllValues:StringEquals": {
            "route53:ChangeResourceRecordSetsNormalizedRecordNames": ["_acme-challenge.acme.example.com"],
            "route53:ChangeResourceRecordSetsRecordTypes": ["TXT"],
        }
    }
    document = policy(
        allow("route53:ChangeResourceRecordSets", f"arn:aws:route53:::hostedzone/{zone}", Condition=names),
        allow("route53:ListResourceRecordSets", f"arn:aws:route53:::hostedzone/{zone}"),
    )
    route53 = instant.client("route53", instant.user("u", document))

    def upsert(name, kind="TXT", value='"x"'):
        record = {"Name": name, "Type": kind, "TTL": 60, "ResourceRecords": [{"Value": value}]}
        return outcome(
            route53.change_resource_record_sets,
            HostedZoneId=zone,
            ChangeBatch={"Changes": [{"Action": "UPSERT", "ResourceRecordSet": record}]},
        )

    assert upsert("_Acme-Challenge.acme.example.com.") == "ok"
    assert upsert("_acme-challenge.other.example.com") == "AccessDenied"
    assert upsert("_acme-challenge.acme.example.com", "A", "127.0.0.1") == "AccessDenied"
    assert "TXT" in {one["Type"] for one in route53.list_resource_record_sets(HostedZoneId=zone)["ResourceRecordSets"]}
    assert outcome(route53.list_hosted_zones) == "AccessDenied"
    assert outcome(route53.get_hosted_zone, Id=zone) == "AccessDenied"


def test_parameters(instant):
    ssm = instant.client(
        "ssm",
        instant.user(
            "u",
            policy(allow(["ssm:PutParameter", "ssm:GetParameter"], f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter/mine/*")),
        ),
    )
    assert outcome(ssm.put_parameter, Name="/mine/a", Value="x", Type="String") == "ok"
    assert outcome(ssm.get_parameter, Name="/mine/a") == "ok"
    assert outcome(ssm.get_parameter, Name="/other/a") == "AccessDeniedException"
