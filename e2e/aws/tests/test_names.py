"""The name servers of Route 53, asked as a resolver asks them."""

from types import SimpleNamespace

import pytest
from dnslib import QTYPE, RCODE, DNSRecord
from emulator import world
from emulator.names import Names


@pytest.fixture
def names(monkeypatch):
    zone = SimpleNamespace(
        name="example.com.",
        private_zone=False,
        delegation_set=SimpleNamespace(name_servers=["ns-1.awsdns-00.com"]),
        rrsets=[SimpleNamespace(name="_acme-challenge.a.example.com.", type="TXT", records=['"proof"', '"mark"'])],
    )
    hidden = SimpleNamespace(name="hidden.com.", private_zone=True, delegation_set=None, rrsets=[])
    monkeypatch.setattr(world, "route53_backends", {world.ACCOUNT: {"aws": SimpleNamespace(zones={"1": zone, "2": hidden})}})
    return Names("127.0.0.9"), zone


def ask(server, name, kind):
    reply = server.resolve(DNSRecord.question(name, kind), None)
    return reply.header.rcode, [str(record.rdata).strip('"') for record in reply.rr if record.rtype == getattr(QTYPE, kind)]


def test_it_answers_with_what_stands_in_the_zone(names):
    server, _ = names
    assert ask(server, "_acme-challenge.a.example.com.", "TXT") == (RCODE.NOERROR, ["mark", "proof"])
    assert ask(server, "_acme-challenge.A.example.com.", "TXT")[1] == ["mark", "proof"]
    assert ask(server, "ns-1.awsdns-00.com.", "A") == (RCODE.NOERROR, ["127.0.0.9"])
    assert ask(server, "example.com.", "NS") == (RCODE.NOERROR, ["ns-1.awsdns-00.com."])


def test_what_is_not_there_does_not_exist(names):
    server, _ = names
    assert ask(server, "other.example.com.", "TXT") == (RCODE.NXDOMAIN, [])
    assert ask(server, "hidden.com.", "NS") == (RCODE.NXDOMAIN, [])
    assert ask(server, "example.org.", "TXT") == (RCODE.NXDOMAIN, [])


def test_a_change_can_spread_late(names):
    server, zone = names
    server.set_delay(60_000)
    assert ask(server, "_acme-challenge.a.example.com.", "TXT") == (RCODE.NXDOMAIN, [])
    server.set_delay(0)
    assert ask(server, "_acme-challenge.a.example.com.", "TXT")[1] == ["mark", "proof"]
    zone.rrsets.clear()
    assert ask(server, "_acme-challenge.a.example.com.", "TXT") == (RCODE.NXDOMAIN, [])
