"""`account.py URL NAME [ACTION…]`: what an operator makes for a tenant, on a running emulator.

Both tables, the bucket, and a role that a web identity token opens, with the policy that Teleport documents for tables
made beforehand, less the actions named. Prints the role and a token as JSON.
"""

import json
import sys
import time

import boto3
import jwt
import urllib.request
from botocore.config import Config
from cryptography.hazmat.primitives.asymmetric import ec

ACCOUNT = "123456789012"
REGION = "eu-central-1"
ISSUER = "https://kubernetes.default.svc"

STATE = """BatchWriteItem UpdateTimeToLive PutItem DeleteItem Scan Query DescribeStream UpdateItem DescribeTimeToLive
DescribeTable GetShardIterator GetItem ConditionCheckItem UpdateTable GetRecords UpdateContinuousBackups""".split()
EVENTS = """BatchWriteItem UpdateTimeToLive PutItem DescribeTable DeleteItem GetItem Scan Query UpdateItem
DescribeTimeToLive UpdateTable UpdateContinuousBackups""".split()
BUCKET = "ListBucketVersions ListBucketMultipartUploads ListBucket GetEncryptionConfiguration GetBucketVersioning".split()
OBJECTS = "GetObjectVersion GetObjectRetention GetObject PutObject ListMultipartUploadParts AbortMultipartUpload".split()


def main(url: str, name: str, *taken: str) -> None:
    def client(service: str):
        return boto3.client(
            service,
            endpoint_url=url,
            region_name=REGION,
            aws_access_key_id="ROOTROOTROOTROOTROOT",
            aws_secret_access_key="root-secret",
            config=Config(s3={"addressing_style": "path"}),
        )

    tables(client("dynamodb"), name)
    client("s3").create_bucket(Bucket=f"{name}-bucket", CreateBucketConfiguration={"LocationConstraint": REGION})
    key = ec.generate_private_key(ec.SECP256R1())
    public = jwt.algorithms.ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
    register(url, {**public, "kid": name, "use": "sig", "alg": "ES256"})
    subject = f"system:serviceaccount:tenants:{name}-auth"
    print(json.dumps({"role": role(client("iam"), name, subject, taken), "token": token(key, name, subject)}))


def tables(dynamodb, name: str) -> None:
    keys = lambda hash, range: [  # noqa: E731
        {"AttributeName": hash, "KeyType": "HASH"},
        {"AttributeName": range, "KeyType": "RANGE"},
    ]
    attributes = lambda **types: [{"AttributeName": k, "AttributeType": t} for k, t in types.items()]  # noqa: E731
    dynamodb.create_table(
        TableName=f"{name}-state",
        KeySchema=keys("HashKey", "FullPath"),
        AttributeDefinitions=attributes(HashKey="S", FullPath="S"),
        BillingMode="PAY_PER_REQUEST",
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"},
    )
    index = {
        "IndexName": "timesearchV2",
        "KeySchema": keys("CreatedAtDate", "CreatedAt"),
        "Projection": {"ProjectionType": "ALL"},
    }
    dynamodb.create_table(
        TableName=f"{name}-events",
        KeySchema=keys("SessionID", "EventIndex"),
        AttributeDefinitions=attributes(SessionID="S", EventIndex="N", CreatedAtDate="S", CreatedAt="N"),
        BillingMode="PAY_PER_REQUEST",
        GlobalSecondaryIndexes=[index],
    )
    for table in (f"{name}-state", f"{name}-events"):
        dynamodb.get_waiter("table_exists").wait(TableName=table, WaiterConfig={"Delay": 1})
        specification = {"Enabled": True, "AttributeName": "Expires"}
        dynamodb.update_time_to_live(TableName=table, TimeToLiveSpecification=specification)


def register(url: str, jwk: dict) -> None:
    body = json.dumps({"issuer": ISSUER, "jwks": {"keys": [jwk]}}).encode()
    urllib.request.urlopen(urllib.request.Request(f"{url}/testbed/oidc", data=body, method="POST"), timeout=10).read()


def role(iam, name: str, subject: str, taken: tuple) -> str:
    host = ISSUER.removeprefix("https://")
    provider = f"arn:aws:iam::{ACCOUNT}:oidc-provider/{host}"
    if provider not in [entry["Arn"] for entry in iam.list_open_id_connect_providers()["OpenIDConnectProviderList"]]:
        iam.create_open_id_connect_provider(Url=ISSUER, ClientIDList=["sts.amazonaws.com"], ThumbprintList=["a" * 40])
    trust = {
        "Effect": "Allow",
        "Principal": {"Federated": provider},
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Condition": {"StringEquals": {f"{host}:sub": subject, f"{host}:aud": "sts.amazonaws.com"}},
    }
    document = lambda *statements: json.dumps({"Version": "2012-10-17", "Statement": statements})  # noqa: E731
    table = lambda kind: f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{name}-{kind}"  # noqa: E731
    bucket = f"arn:aws:s3:::{name}-bucket"
    arn = iam.create_role(RoleName=name, AssumeRolePolicyDocument=document(trust))["Role"]["Arn"]
    grants = [
        ("dynamodb", STATE, [table("state"), f"{table('state')}/stream/*"]),
        ("dynamodb", EVENTS, [table("events"), f"{table('events')}/index/*"]),
        ("s3", BUCKET, [bucket]),
        ("s3", OBJECTS, [f"{bucket}/*"]),
    ]
    statements = [
        {"Effect": "Allow", "Action": [f"{service}:{call}" for call in calls if call not in taken], "Resource": resources}
        for service, calls, resources in grants
    ]
    iam.put_role_policy(RoleName=name, PolicyName="tenant", PolicyDocument=document(*statements))
    return arn


def token(key, name: str, subject: str) -> str:
    now = int(time.time())
    claims = {"iss": ISSUER, "sub": subject, "aud": ["sts.amazonaws.com"], "iat": now, "exp": now + 3600}
    return jwt.encode(claims, key, algorithm="ES256", headers={"kid": name})


main(*sys.argv[1:])
