"""The emulator as a test bed: faults, call log, reset, keep-alive, its life and its end."""

import http.client
import json
import signal
import subprocess
import sys
import threading
import time
import urllib.error

import botocore.exceptions
import pytest
from conftest import ACCOUNT, REGION, ROOT, Testbed, allow, free_port, policy, start
from outcomes import failure, outcome

LOCATION = {"CreateBucketConfiguration": {"LocationConstraint": REGION}}
TABLE = {
    "TableName": "state",
    "KeySchema": [{"AttributeName": "k", "KeyType": "HASH"}],
    "AttributeDefinitions": [{"AttributeName": "k", "AttributeType": "S"}],
    "BillingMode": "PAY_PER_REQUEST",
}
TRUST = json.dumps(
    policy({"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}})
)


def fault(aws, match, kind, **more):
    return aws.control("POST", "faults", [{"match": match, "kind": kind, **more}])


def test_throttling_has_the_shape_of_each_service(aws):
    fault(aws, "*:*", "throttle", times=4)
    found = [
        failure(aws.client("dynamodb").list_tables)[:2],
        failure(aws.client("s3").list_buckets)[:2],
        failure(aws.client("iam").list_roles)[:2],
        failure(aws.client("kms").list_keys)[:2],
    ]
    assert found == [(400, "ThrottlingException"), (503, "SlowDown"), (400, "Throttling"), (400, "ThrottlingException")]
    assert aws.control("GET", "faults") == []
    assert outcome(aws.client("dynamodb").list_tables) == "ok"


def test_errors_have_the_shape_of_each_service(aws):
    fault(aws, "*:*", "error", times=4)
    found = [
        failure(aws.client("dynamodb").list_tables)[:2],
        failure(aws.client("s3").list_buckets)[:2],
        failure(aws.client("iam").list_roles)[:2],
        failure(aws.client("route53").list_hosted_zones)[:2],
    ]
    assert found == [
        (500, "InternalServerError"),
        (500, "InternalError"),
        (500, "ServiceFailure"),
        (500, "InternalFailure"),
    ]


def test_a_fault_meets_the_calls_it_names(aws):
    fault(aws, "dynamodb:Create*", "error", times=0)
    dynamodb = aws.client("dynamodb")
    assert outcome(dynamodb.list_tables) == "ok"
    assert [outcome(dynamodb.create_table, **TABLE) for _ in range(3)] == ["InternalServerError"] * 3
    assert dynamodb.list_tables()["TableNames"] == []
    assert aws.control("DELETE", "faults") == []
    assert outcome(dynamodb.create_table, **TABLE) == "ok"


def test_a_fault_meets_the_caller_and_resource_it_names(aws):
    keys = aws.user("u", policy(allow("*")))
    fault(aws, "s3:CreateBucket", "deny", times=0, principal="*:user/u", resource="arn:aws:s3:::one")
    mine = aws.client("s3", keys)
    assert outcome(aws.client("s3").create_bucket, Bucket="one", **LOCATION) == "ok"
    assert outcome(mine.create_bucket, Bucket="two", **LOCATION) == "ok"
    assert outcome(mine.create_bucket, Bucket="one", **LOCATION) == "AccessDenied"


def test_reset_does_nothing_and_lost_does_it(instant):
    dynamodb, iam, s3 = (instant.client(name) for name in ("dynamodb", "iam", "s3"))
    broken = (botocore.exceptions.ConnectionClosedError, botocore.exceptions.EndpointConnectionError)
    fault(instant, "dynamodb:CreateTable", "reset")
    with pytest.raises(broken):
        dynamodb.create_table(**TABLE)
    assert dynamodb.list_tables()["TableNames"] == []
    fault(instant, "*:Create*", "lost", times=3)
    with pytest.raises(broken):
        dynamodb.create_table(**TABLE)
    with pytest.raises(broken):
        iam.create_role(RoleName="r", AssumeRolePolicyDocument=TRUST)
    with pytest.raises(broken):
        s3.create_bucket(Bucket="box", **LOCATION)
    assert outcome(dynamodb.create_table, **TABLE) == "ResourceInUseException"
    assert outcome(iam.create_role, RoleName="r", AssumeRolePolicyDocument=TRUST) == "EntityAlreadyExists"
    assert outcome(s3.create_bucket, Bucket="box", **LOCATION) == "BucketAlreadyOwnedByYou"
    outcomes = [one["outcome"] for one in instant.log() if one["operation"] == "CreateTable"]
    assert outcomes == ["fault:reset", "fault:lost", "ResourceInUseException"]


def test_delay_holds_one_call_and_no_other(aws):
    fault(aws, "dynamodb:ListTables", "delay", ms=1500)
    began = time.monotonic()
    slow = threading.Thread(target=aws.client("dynamodb").list_tables)
    slow.start()
    deadline = time.monotonic() + 5
    while aws.control("GET", "faults"):
        assert time.monotonic() < deadline
    assert outcome(aws.client("iam").list_roles) == "ok"
    assert time.monotonic() - began < 1.4
    slow.join()
    assert time.monotonic() - began >= 1.5


def test_a_bad_fault_is_refused(aws):
    for bad in (
        {"match": "x:y", "kind": "throttle"},
        [{"match": "x:y", "kind": "burn"}],
        [{"match": "xy", "kind": "error"}],
        [{"match": "x:y", "kind": "error", "times": -1}],
        [{"match": "x:y", "kind": "error", "why": 1}],
    ):
        with pytest.raises(urllib.error.HTTPError) as error:
            aws.control("POST", "faults", bad)
        assert error.value.code == 400
    assert aws.control("GET", "faults") == []


def test_the_log_says_who_did_what_in_order(aws):
    keys = aws.user("u", policy(allow("s3:*", "arn:aws:s3:::box*")))
    since = aws.log()[-1]["n"]
    s3 = aws.client("s3", keys)
    s3.create_bucket(Bucket="box", **LOCATION)
    s3.put_object(Bucket="box", Key="k", Body=b"1")
    assert outcome(s3.get_object, Bucket="box", Key="none") == "NoSuchKey"
    assert outcome(s3.list_buckets) == "AccessDenied"
    assert outcome(aws.client("sts", (keys[0], "wrong", None)).get_caller_identity) == "SignatureDoesNotMatch"
    entries = aws.log(since)
    assert [
        (one["service"], one["operation"], one["actions"], one["resources"], one["outcome"]) for one in entries
    ] == [
        ("s3", "CreateBucket", ["s3:CreateBucket"], ["arn:aws:s3:::box"], "allowed"),
        ("s3", "PutObject", ["s3:PutObject"], ["arn:aws:s3:::box/k"], "allowed"),
        ("s3", "GetObject", ["s3:GetObject"], ["arn:aws:s3:::box/none"], "NoSuchKey"),
        ("s3", "ListBuckets", ["s3:ListAllMyBuckets"], ["*"], "denied"),
        ("sts", "GetCallerIdentity", [], [], "SignatureDoesNotMatch"),
    ]
    assert [one["n"] for one in entries] == list(range(since + 1, since + 6))
    assert {one["principal_arn"] for one in entries[:4]} == {f"arn:aws:iam::{ACCOUNT}:user/u"}
    assert "Boto3" in entries[0]["user_agent"]
    assert aws.log(entries[-1]["n"]) == []
    aws.control("POST", "log/reset")
    assert aws.log() == []


def test_reset_empties_all_and_keeps_enforcing(aws):
    keys = aws.user("u", policy(allow("*")))
    aws.client("s3").create_bucket(Bucket="box", **LOCATION)
    fault(aws, "*:*", "error", times=0)
    aws.control("POST", "reset")
    assert aws.client("s3").list_buckets()["Buckets"] == []
    assert aws.client("iam").list_users()["Users"] == []
    assert outcome(aws.client("dynamodb", keys).list_tables) == "UnrecognizedClientException"


def test_one_connection_carries_many_calls(aws):
    connection = http.client.HTTPConnection("127.0.0.1", aws.port, timeout=5)
    connection.request("GET", "/testbed/health")
    assert connection.getresponse().read() == b'{"status": "ready"}'
    first = connection.sock
    for body in (b"", b"x" * 100_000):
        connection.request("POST", "/testbed/nothing", body=body)
        response = connection.getresponse()
        assert (response.status, bool(response.read())) == (404, True)
    connection.request("POST", "/testbed/slow", body=iter([b'{"create_ms"', b": 300}"]), encode_chunked=True)
    assert json.loads(connection.getresponse().read())["create_ms"] == 300
    assert connection.sock is first
    connection.close()


def test_conditional_writes_have_one_winner_each(instant):
    root = instant.client("dynamodb", max_pool_connections=16)
    root.create_table(**TABLE)
    wins, lock = [], threading.Lock()

    def race():
        for number in range(10):
            won = outcome(
                root.put_item,
                TableName="state",
                Item={"k": {"S": str(number)}},
                ConditionExpression="attribute_not_exists(k)",
            )
            with lock:
                wins.append((number, won))

    racers = [threading.Thread(target=race) for _ in range(8)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    assert sorted(number for number, won in wins if won == "ok") == list(range(10))
    assert {won for _, won in wins} == {"ok", "ConditionalCheckFailedException"}


def test_a_hundred_clients_at_once(aws):
    client = aws.client("sts", max_pool_connections=100)
    found = []
    threads = [threading.Thread(target=lambda: found.append(outcome(client.get_caller_identity))) for _ in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == ["ok"] * 100


def test_it_listens_on_loopback_only():
    done = subprocess.run(
        [sys.executable, "-m", "emulator", "--host", "0.0.0.0", "--port", str(free_port())],
        cwd=ROOT,
        capture_output=True,
        timeout=30,
    )
    assert done.returncode == 2 and b"loopback" in done.stderr


def test_the_log_file_gets_every_entry(tmp_path):
    port = free_port()
    process = start(port, "--log", str(tmp_path / "calls.jsonl"))
    try:
        Testbed(port).client("iam").list_roles()
        lines = (tmp_path / "calls.jsonl").read_text().splitlines()
        assert [json.loads(line)["operation"] for line in lines] == ["ListRoles"]
    finally:
        process.terminate()
        assert process.wait(10) == 0


def test_it_dies_with_its_parent():
    port = free_port()
    code = (
        "import subprocess, sys\n"
        f"child = subprocess.Popen([sys.executable, '-m', 'emulator', '--port', '{port}'])\n"
        "print(child.pid, flush=True)\n"
        "sys.stdin.read()\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    child = int(parent.stdout.readline())
    bed = Testbed(port)
    deadline = time.monotonic() + 30
    while True:
        try:
            bed.control("GET", "health")
            break
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    parent.send_signal(signal.SIGKILL)
    parent.wait(10)
    while _runs(child):
        assert time.monotonic() < deadline + 10
        time.sleep(0.02)


def _runs(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_thread_of_the_parent_that_ends_is_not_its_death():
    port = free_port()
    process = []
    starter = threading.Thread(target=lambda: process.append(start(port)))
    starter.start()
    starter.join()
    # The kernel has signalled the end of that thread by now; the emulator must have survived it.
    assert Testbed(port).control("GET", "health") == {"status": "ready"}
    assert process[0].poll() is None
    process[0].terminate()
    assert process[0].wait(10) == 0
