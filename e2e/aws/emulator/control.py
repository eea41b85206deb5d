"""The control endpoints under `/testbed/`: how a test steers the emulator. Not signed, loopback only."""

import json
from typing import Callable
from urllib.parse import parse_qs

from .faults import Faults
from .http import Request, Response
from .journal import Journal
from .names import Names
from .oidc import Issuers, parse_registration
from .tables import Tables


class Control:
    """Routes to the parts that a test may set and read."""

    def __init__(
        self, faults: Faults, issuers: Issuers, tables: Tables, journal: Journal, names: Names, reset: Callable[[], None]
    ):
        self._faults = faults
        self._issuers = issuers
        self._tables = tables
        self._journal = journal
        self._names = names
        self._reset = reset

    def answer(self, request: Request) -> Response:
        """Carry out one control call; a bad one is refused with the reason and changes nothing."""
        route = self._ROUTES.get((request.method, request.raw_path))
        if route is None:
            return _json(404, {"error": f"no {request.method} {request.raw_path}"})
        try:
            return _json(200, route(self, request))
        except (ValueError, KeyError, TypeError) as error:
            return _json(400, {"error": str(error)})
        except Exception as error:  # a key set that PyJWT cannot read
            return _json(400, {"error": f"{type(error).__name__}: {error}"})

    def _health(self, _request: Request) -> dict:
        return {"status": "ready"}

    def _empty(self, _request: Request) -> dict:
        self._reset()
        return {"status": "empty"}

    def _add_faults(self, request: Request) -> list:
        self._faults.add(json.loads(request.body))
        return self._faults.list()

    def _list_faults(self, _request: Request) -> list:
        return self._faults.list()

    def _clear_faults(self, _request: Request) -> list:
        self._faults.clear()
        return []

    def _register_issuer(self, request: Request) -> dict:
        issuer, jwks = parse_registration(request.body)
        self._issuers.register(issuer, jwks)
        return {"issuer": issuer}

    def _slow(self, request: Request) -> dict:
        if request.method == "POST":
            self._tables.set_delays(json.loads(request.body))
        return self._tables.delays()

    def _spreading(self, request: Request) -> dict:
        if request.method == "POST":
            self._names.set_delay(int(json.loads(request.body)["delayMs"]))
        return {"delayMs": self._names.delay()}

    def _log(self, request: Request) -> list:
        return self._journal.since(int(parse_qs(request.raw_query).get("since", ["0"])[0]))

    def _reset_log(self, _request: Request) -> dict:
        self._journal.reset()
        return {"status": "empty"}

    _ROUTES = {
        ("GET", "/testbed/health"): _health,
        ("POST", "/testbed/reset"): _empty,
        ("POST", "/testbed/faults"): _add_faults,
        ("GET", "/testbed/faults"): _list_faults,
        ("DELETE", "/testbed/faults"): _clear_faults,
        ("POST", "/testbed/oidc"): _register_issuer,
        ("POST", "/testbed/slow"): _slow,
        ("GET", "/testbed/slow"): _slow,
        ("POST", "/testbed/names"): _spreading,
        ("GET", "/testbed/names"): _spreading,
        ("GET", "/testbed/log"): _log,
        ("POST", "/testbed/log/reset"): _reset_log,
    }


def _json(status: int, document: object) -> Response:
    return Response(status, [("Content-Type", "application/json")], json.dumps(document).encode())
