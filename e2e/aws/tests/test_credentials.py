"""Credentials: which error each kind of bad ones gets, and web identity tokens."""

import json
import time

import boto3
import jwt
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from conftest import ACCOUNT, REGION, allow, deny, policy, session_keys
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from outcomes import failure, outcome

ISSUER = "https://kubernetes.default.svc"
PROVIDER = f"arn:aws:iam::{ACCOUNT}:oidc-provider/kubernetes.default.svc"
SUBJECT = "system:serviceaccount:acme:acme-auth"
AUDIENCE = "sts.amazonaws.com"


def codes(aws, keys):
    return [
        outcome(aws.client("dynamodb", keys).list_tables),
        outcome(aws.client("sts", keys).get_caller_identity),
        outcome(aws.client("s3", keys).list_buckets),
    ]


def test_unknown_key(aws):
    assert codes(aws, ("AKIAIOSFODNN7EXAMPLE", "x", None)) == [
        "UnrecognizedClientException",
        "InvalidClientTokenId",
        "InvalidAccessKeyId",
    ]


def test_wrong_secret(aws):
    key, _, _ = aws.user("u", policy(allow("*")))
    wrong = ["InvalidSignatureException", "SignatureDoesNotMatch", "SignatureDoesNotMatch"]
    assert codes(aws, (key, "wrong", None)) == wrong
    assert codes(aws, ("ROOTROOTROOTROOTROOT", "wrong", None)) == wrong


def test_inactive_and_deleted_key(aws):
    keys = aws.user("u", policy(allow("*")))
    assert codes(aws, keys) == ["ok"] * 3
    iam = aws.client("iam")
    refused = ["UnrecognizedClientException", "InvalidClientTokenId", "InvalidAccessKeyId"]
    iam.update_access_key(UserName="u", AccessKeyId=keys[0], Status="Inactive")
    assert codes(aws, keys) == refused
    iam.update_access_key(UserName="u", AccessKeyId=keys[0], Status="Active")
    assert codes(aws, keys) == ["ok"] * 3
    iam.delete_access_key(UserName="u", AccessKeyId=keys[0])
    assert codes(aws, keys) == refused


def test_a_changed_body_breaks_the_signature(aws):
    dynamodb = aws.client("dynamodb")
    dynamodb.meta.events.register(
        "before-send.dynamodb", lambda request, **_: setattr(request, "body", b'{"Limit": 6}')
    )
    assert outcome(dynamodb.list_tables, Limit=5) == "InvalidSignatureException"


def test_a_call_signed_long_ago(aws, monkeypatch):
    import botocore.auth

    def old(*_args, **_kwargs):
        from datetime import datetime, timedelta, timezone

        return datetime.now(timezone.utc) - timedelta(hours=1)

    monkeypatch.setattr(botocore.auth, "get_current_datetime", old)
    assert codes(aws, ("ROOTROOTROOTROOTROOT", "root-secret", None)) == [
        "InvalidSignatureException",
        "SignatureDoesNotMatch",
        "RequestTimeTooSkewed",
    ]


def test_unsigned_calls(aws):
    def client(service):
        return boto3.client(
            service, endpoint_url=aws.url, region_name=REGION, config=Config(signature_version=UNSIGNED)
        )

    s3 = aws.client("s3")
    s3.create_bucket(Bucket="open", CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_object(Bucket="open", Key="k", Body=b"1")
    assert outcome(client("dynamodb").list_tables) == "MissingAuthenticationTokenException"
    assert outcome(client("s3").get_object, Bucket="open", Key="k") == "AccessDenied"
    s3.delete_public_access_block(Bucket="open")
    document = policy(
        {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::open/*"}
    )
    s3.put_bucket_policy(Bucket="open", Policy=json.dumps(document))
    assert outcome(client("s3").get_object, Bucket="open", Key="k") == "ok"


def test_nobody_may_do_anything_by_default(aws):
    keys = aws.user("u")
    assert codes(aws, keys) == ["AccessDeniedException", "ok", "AccessDenied"]


def test_caller_identity_cannot_be_denied(aws):
    keys = aws.user("u", policy(deny("*")))
    assert aws.client("sts", keys).get_caller_identity()["Arn"] == f"arn:aws:iam::{ACCOUNT}:user/u"


def test_sessions_end_with_their_role_and_token(aws):
    keys = aws.user("u", policy(allow("sts:AssumeRole")))
    trust = policy(
        {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}}
    )
    arn = aws.role("r", trust, policy(allow("*")))
    session = aws.assume(keys, arn)
    assert aws.client("sts", session).get_caller_identity()["Arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/r/session"
    assert codes(aws, session) == ["ok"] * 3
    assert codes(aws, (session[0], session[1], "other")) == [
        "UnrecognizedClientException",
        "InvalidClientTokenId",
        "InvalidToken",
    ]
    iam = aws.client("iam")
    iam.delete_role_policy(RoleName="r", PolicyName="inline")
    assert codes(aws, session) == ["AccessDeniedException", "ok", "AccessDenied"]
    iam.delete_role(RoleName="r")
    aws.role("r", trust, policy(allow("*")))
    assert codes(aws, session) == ["UnrecognizedClientException", "InvalidClientTokenId", "InvalidAccessKeyId"]


def test_longer_than_the_role_allows(aws):
    keys = aws.user("u", policy(allow("sts:AssumeRole")))
    trust = policy(
        {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}}
    )
    arn = aws.role("r", trust)
    sts = aws.client("sts", keys, parameter_validation=False)
    assert outcome(sts.assume_role, RoleArn=arn, RoleSessionName="xx", DurationSeconds=7200) == "ValidationError"
    assert outcome(sts.assume_role, RoleArn=arn, RoleSessionName="xx", DurationSeconds=600) == "ValidationError"


def test_session_tags_are_principal_tags(aws):
    keys = aws.user("u", policy(allow(["sts:AssumeRole", "sts:TagSession"])))
    root = {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}
    trust = policy({"Effect": "Allow", "Action": ["sts:AssumeRole", "sts:TagSession"], "Principal": root})
    grant = policy(allow("dynamodb:ListTables", Condition={"StringEquals": {"aws:PrincipalTag/unit": "one"}}))
    arn = aws.role("r", trust, grant)
    tagged = lambda value: aws.client("dynamodb", aws.assume(keys, arn, Tags=[{"Key": "unit", "Value": value}]))  # noqa: E731
    assert outcome(tagged("one").list_tables) == "ok"
    assert outcome(tagged("two").list_tables) == "AccessDeniedException"
    aws.client("iam").update_assume_role_policy(
        RoleName="r",
        PolicyDocument=json.dumps(policy({"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": root})),
    )
    assert outcome(aws.assume, keys, arn, Tags=[{"Key": "unit", "Value": "one"}]) == "AccessDenied"


@pytest.fixture(scope="module", params=["RS256", "ES256"])
def signer(request):
    """A key pair and its public half as a JWK."""
    if request.param == "RS256":
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        public = jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    else:
        key = ec.generate_private_key(ec.SECP256R1())
        public = jwt.algorithms.ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
    return request.param, key, {**public, "kid": "one", "use": "sig", "alg": request.param}


@pytest.fixture
def cluster(aws, signer):
    """A registered issuer, the provider in IAM, a bucket and a role for one service account."""
    algorithm, key, jwk = signer
    aws.control("POST", "oidc", {"issuer": ISSUER, "jwks": {"keys": [jwk]}})
    aws.client("iam").create_open_id_connect_provider(Url=ISSUER, ClientIDList=[AUDIENCE], ThumbprintList=["a" * 40])
    s3 = aws.client("s3")
    for bucket in ("acme", "other"):
        s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
        s3.put_object(Bucket=bucket, Key="k", Body=b"1")
    condition = {"StringEquals": {"kubernetes.default.svc:sub": SUBJECT, "kubernetes.default.svc:aud": AUDIENCE}}
    trust = {
        "Effect": "Allow",
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Principal": {"Federated": PROVIDER},
        "Condition": condition,
    }
    aws.role("acme", policy(trust), policy(allow("s3:GetObject", "arn:aws:s3:::acme/*")))

    def token(secret=key, headers=None, **claims):
        now = int(time.time())
        body = {"iss": ISSUER, "sub": SUBJECT, "aud": [AUDIENCE], "iat": now, "nbf": now, "exp": now + 600, **claims}
        return jwt.encode(body, secret, algorithm, headers={"kid": "one", **(headers or {})})

    def assume(web_token, role="acme"):
        sts = boto3.client("sts", endpoint_url=aws.url, region_name=REGION, config=Config(signature_version=UNSIGNED))
        return sts.assume_role_with_web_identity(
            RoleArn=f"arn:aws:iam::{ACCOUNT}:role/{role}", RoleSessionName="pod-1", WebIdentityToken=web_token
        )

    aws.token, aws.assume_token = token, assume
    return aws


def test_a_token_opens_its_role_and_that_its_bucket(cluster):
    answer = cluster.assume_token(cluster.token())
    assert answer["SubjectFromWebIdentityToken"] == SUBJECT
    assert answer["AssumedRoleUser"]["Arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/acme/pod-1"
    s3 = cluster.client("s3", session_keys(answer))
    assert outcome(s3.get_object, Bucket="acme", Key="k") == "ok"
    assert outcome(s3.get_object, Bucket="other", Key="k") == "AccessDenied"
    entry = [one for one in cluster.log() if one["operation"] == "AssumeRoleWithWebIdentity"][0]
    assert entry["outcome"] == "allowed" and entry["resources"] == [f"arn:aws:iam::{ACCOUNT}:role/acme"]


def test_tokens_that_open_nothing(cluster):
    now = int(time.time())
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    forged = jwt.encode(
        {"iss": ISSUER, "sub": SUBJECT, "aud": AUDIENCE, "iat": now, "exp": now + 60},
        other,
        "RS256",
        headers={"kid": "one"},
    )
    unsigned = jwt.encode({"iss": ISSUER, "sub": SUBJECT, "aud": AUDIENCE, "iat": now, "exp": now + 60}, "", "none")
    rows = {
        "other subject": (cluster.token(sub="system:serviceaccount:evil:acme-auth"), "AccessDenied"),
        "other audience": (cluster.token(aud=["other"]), "InvalidIdentityToken"),
        "expired": (cluster.token(exp=now - 5), "ExpiredTokenException"),
        "not yet valid": (cluster.token(nbf=now + 300), "InvalidIdentityToken"),
        "without expiry": (cluster.token(exp=None), "InvalidIdentityToken"),
        "other issuer": (cluster.token(iss="https://evil.example.com"), "InvalidIdentityToken"),
        "unknown key id": (cluster.token(headers={"kid": "two"}), "InvalidIdentityToken"),
        "forged": (forged, "InvalidIdentityToken"),
        "unsigned": (unsigned, "InvalidIdentityToken"),
        "no token at all": ("abc.def.ghi", "InvalidIdentityToken"),
    }
    found = {name: outcome(cluster.assume_token, token) for name, (token, _) in rows.items()}
    assert found == {name: code for name, (_, code) in rows.items()}


def test_a_role_that_is_not_there(cluster):
    status, code, _ = failure(cluster.assume_token, cluster.token(), "missing")
    assert (status, code) == (403, "AccessDenied")


def test_a_provider_that_is_gone(cluster):
    cluster.client("iam").delete_open_id_connect_provider(OpenIDConnectProviderArn=PROVIDER)
    assert outcome(cluster.assume_token, cluster.token()) == "InvalidIdentityToken"


def test_a_bad_registration_is_refused(aws):
    import urllib.error

    for body in (
        {"issuer": ISSUER},
        {"issuer": "http://x", "jwks": {"keys": []}},
        {"issuer": ISSUER, "jwks": {"keys": []}},
        [],
    ):
        with pytest.raises(urllib.error.HTTPError) as error:
            aws.control("POST", "oidc", body)
        assert error.value.code == 400
