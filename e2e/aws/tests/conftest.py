"""One emulator process for the tests, emptied before each of them, and clients of its identities."""

import json
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import boto3
import pytest
from botocore.config import Config

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

ACCOUNT = "123456789012"
REGION = "eu-central-1"
ROOT_KEYS = ("ROOTROOTROOTROOTROOT", "root-secret", None)


class Testbed:
    """The running emulator: control calls, and SDK clients."""

    __test__ = False

    def __init__(self, port: int):
        self.port = port
        self.url = f"http://127.0.0.1:{port}"

    def control(self, method: str, path: str, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/testbed/{path}", data=data, method=method)
        with urllib.request.urlopen(request, timeout=10) as response:
            return json.loads(response.read())

    def client(self, service: str, keys=ROOT_KEYS, **config):
        key, secret, token = keys
        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id=key,
            aws_secret_access_key=secret,
            aws_session_token=token,
            config=Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}, **config),
        )

    def log(self, since=0):
        return self.control("GET", f"log?since={since}")

    def user(self, name: str, policy=None, **create):
        """A user with one inline policy, and its keys."""
        iam = self.client("iam")
        iam.create_user(UserName=name, **create)
        if policy is not None:
            iam.put_user_policy(UserName=name, PolicyName="inline", PolicyDocument=json.dumps(policy))
        made = iam.create_access_key(UserName=name)["AccessKey"]
        return made["AccessKeyId"], made["SecretAccessKey"], None

    def role(self, name: str, trust, policy=None, **create) -> str:
        iam = self.client("iam")
        arn = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust), **create)["Role"]["Arn"]
        if policy is not None:
            iam.put_role_policy(RoleName=name, PolicyName="inline", PolicyDocument=json.dumps(policy))
        return arn

    def assume(self, keys, arn: str, **arguments):
        answer = self.client("sts", keys).assume_role(RoleArn=arn, RoleSessionName="session", **arguments)
        return session_keys(answer)


def session_keys(answer):
    made = answer["Credentials"]
    return made["AccessKeyId"], made["SecretAccessKey"], made["SessionToken"]


def policy(*statements):
    return {"Version": "2012-10-17", "Statement": list(statements)}


def allow(action, resource="*", **more):
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def deny(action, resource="*", **more):
    return {"Effect": "Deny", "Action": action, "Resource": resource, **more}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start(port: int, *arguments: str) -> subprocess.Popen:
    """Start an emulator and wait until it answers."""
    output = tempfile.TemporaryFile()
    process = subprocess.Popen(
        [sys.executable, "-m", "emulator", "--port", str(port), *arguments], cwd=ROOT, stdout=output, stderr=output
    )
    deadline = time.monotonic() + 30
    while True:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/testbed/health", timeout=1).read()
            return process
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                output.seek(0)
                raise RuntimeError(f"the emulator does not start: {output.read().decode()}") from None
            time.sleep(0.02)


@pytest.fixture(scope="session")
def emulator():
    port = free_port()
    process = start(port)
    yield Testbed(port)
    process.terminate()
    assert process.wait(10) == 0


@pytest.fixture
def aws(emulator):
    emulator.control("POST", "reset")
    return emulator


@pytest.fixture
def instant(aws):
    """No waiting for tables."""
    aws.control("POST", "slow", {"create_ms": 0, "update_ms": 0, "delete_ms": 0, "backup_ms": 0})
    return aws


@pytest.fixture
def tenants(instant):
    """Two tenants, a and b; `keys` are those of their users."""
    from tenants import settle

    instant.keys = settle(instant)
    return instant
