"""The name servers of Route 53: the public zones, answered over UDP and TCP as their authoritative servers would.

Every name server that a zone is delegated to has the address of this one. A change can be made to spread late, as it does among
the many servers of AWS.
"""

import ipaddress
import threading
import time

from dnslib import AAAA, CAA, NS, QTYPE, RCODE, RR, SOA, TXT, A
from dnslib.server import BaseResolver, DNSLogger, DNSServer

from . import world


class Names(BaseResolver):
    """Answers from the zones as they are, or as they were a while ago."""

    def __init__(self, address: str):
        self._address = address
        self._delay = 0.0
        # By name and type: what was answered, and what has taken its place since when.
        self._answers: dict = {}
        self._lock = threading.Lock()

    def start(self) -> None:
        """Listen on port 53 of the address until the process ends."""
        for tcp in (False, True):
            server = DNSServer(self, port=53, address=self._address, tcp=tcp, logger=DNSLogger(log="-request,-reply"))
            server.start_thread()

    def set_delay(self, ms: int) -> None:
        """How many milliseconds after it is first asked for a change shows."""
        with self._lock:
            self._delay = ms / 1000
            self._answers.clear()

    def delay(self) -> int:
        return int(self._delay * 1000)

    def resolve(self, request, _handler):
        reply = request.reply()
        name = str(request.q.qname).lower().rstrip(".")
        kind = QTYPE[request.q.qtype]
        if name in world.name_servers():
            if kind == "A":
                reply.add_answer(RR(request.q.qname, QTYPE.A, ttl=60, rdata=A(self._address)))
            return reply
        zone = world.zone_of(name)
        if zone is None:
            reply.header.rcode = RCODE.NXDOMAIN
            return reply
        reply.header.aa = 1
        if kind == "NS" and name == zone:
            for server in sorted(world.name_servers()):
                reply.add_answer(RR(request.q.qname, QTYPE.NS, ttl=60, rdata=NS(server)))
            return reply
        records = self._spread((name, kind), world.records(zone, name))
        for record_kind, value in records:
            if record_kind == kind:
                reply.add_answer(RR(request.q.qname, getattr(QTYPE, kind), ttl=60, rdata=_data(kind, value)))
        if not reply.rr:
            reply.add_auth(RR(zone, QTYPE.SOA, ttl=60, rdata=SOA("ns." + zone, "root." + zone, (1, 60, 60, 60, 60))))
            reply.header.rcode = RCODE.NOERROR if records or name == zone else RCODE.NXDOMAIN
        return reply

    def _spread(self, key: tuple, current: list) -> list:
        with self._lock:
            answered, since = self._answers.get(key, ([], None))
            if current != answered:
                since = time.monotonic() if since is None else since
                if time.monotonic() - since >= self._delay:
                    answered, since = current, None
            else:
                since = None
            self._answers[key] = (answered, since)
            return answered


def _data(kind: str, value: str):
    if kind == "TXT":
        return TXT(value.strip('"'))
    if kind == "A":
        return A(str(ipaddress.ip_address(value)))
    if kind == "AAAA":
        return AAAA(str(ipaddress.ip_address(value)))
    if kind == "CAA":
        flags, tag, text = value.split(" ", 2)
        return CAA(int(flags), tag, text.strip('"'))
    raise ValueError(f"this emulator answers with no {kind} records")
