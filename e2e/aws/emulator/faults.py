"""Faults on demand: the next N calls that match are throttled, fail, lose their connection, wait or are denied.

Decides only which fault a call meets; `app.py` carries it out.
"""

import fnmatch
import threading
from dataclasses import asdict, dataclass
from typing import Optional, Sequence

KINDS = ("throttle", "error", "reset", "lost", "delay", "deny")


@dataclass
class Fault:
    # "service:Operation", with * and ?.
    match: str
    kind: str
    # How many calls meet it; 0 = every one until it is deleted.
    times: int = 1
    ms: int = 0
    # Narrower, if given: patterns over the caller's ARN and over any of the call's resource ARNs.
    principal: Optional[str] = None
    resource: Optional[str] = None

    def fits(self, name: str, principal: Optional[str], resources: Sequence[str]) -> bool:
        return (
            fnmatch.fnmatchcase(name.lower(), self.match.lower())
            and (self.principal is None or fnmatch.fnmatchcase(principal or "", self.principal))
            and (self.resource is None or any(fnmatch.fnmatchcase(one, self.resource) for one in resources))
        )


class Faults:
    """The faults in store, in the order in which they were given."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list = []

    def add(self, documents: object) -> None:
        """Take a list of faults; ValueError, and none taken, if one of them is no fault."""
        if not isinstance(documents, list):
            raise ValueError("expected a list of faults")
        faults = [_fault(document) for document in documents]
        with self._lock:
            self._faults += faults

    def take(self, name: str, principal: Optional[str], resources: Sequence[str]) -> Optional[Fault]:
        """The first fault that fits this call; its count goes down."""
        if not self._faults:
            return None
        with self._lock:
            for fault in self._faults:
                if fault.fits(name, principal, resources):
                    if fault.times == 1:
                        self._faults.remove(fault)
                    elif fault.times > 1:
                        fault.times -= 1
                    return fault
        return None

    def list(self) -> list:
        with self._lock:
            return [asdict(fault) for fault in self._faults]

    def clear(self) -> None:
        with self._lock:
            self._faults.clear()


def _fault(document: object) -> Fault:
    if not isinstance(document, dict):
        raise ValueError("a fault is an object")
    try:
        fault = Fault(**document)
    except TypeError as error:
        raise ValueError(str(error)) from error
    if fault.kind not in KINDS:
        raise ValueError(f"kind {fault.kind!r} is none of {', '.join(KINDS)}")
    if not isinstance(fault.match, str) or ":" not in fault.match:
        raise ValueError('match has the form "service:Operation"')
    for name in ("times", "ms"):
        value = getattr(fault, name)
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise ValueError(f"{name} is a number that is not negative")
    return fault
