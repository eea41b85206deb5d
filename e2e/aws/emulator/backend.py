"""moto behind a function: a request in, its response out, without a socket in between."""

import io
import logging
import traceback
from functools import lru_cache
from typing import Optional
from urllib.parse import unquote_to_bytes

from moto.core import responses as moto_responses
from moto.core.request import (
    PRESERVED_HEADER_NAMES_ENVIRON_KEY,
    environ_key_for_header,
    should_preserve_original_header_name,
)
from moto.moto_server.werkzeug_app import create_backend_app

from . import world  # noqa: F401, I001 (first: sets what moto reads from the environment when it is imported)
from .call import SERVICES, SIGNED_AS, Call
from .errors import internal, render
from .http import Request, Response

# Asked at each call by moto, and the same each time.
moto_responses.method_names_from_class = lru_cache(maxsize=None)(moto_responses.method_names_from_class)


class Backend:
    """The services of moto with all their state."""

    def __init__(self) -> None:
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        # moto's own dispatcher guesses the service out of each request; here it is known.
        self._apps = {service: create_backend_app(service) for service in SERVICES - {"sts"}}

    def perform(self, call: Call) -> Response:
        """Let moto carry out the call."""
        status: Optional[str] = None
        headers: list = []

        def start_response(line: str, pairs: list, _error: object = None) -> None:
            nonlocal status, headers
            status, headers = line, pairs

        try:
            parts = self._apps[call.service](_environ(call), start_response)
            try:
                body = b"".join(parts)
            finally:
                if hasattr(parts, "close"):
                    parts.close()
        except Exception:  # moto has bugs; to the client they are failures of the service
            traceback.print_exc()
            return render(call.service, internal(call.service))
        assert status is not None
        return Response(int(status.split()[0]), headers, body)


def _environ(call: Call) -> dict:
    request: Request = call.request
    path = request.raw_path
    environ = {
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": "",
        # WSGI: the decoded path, its bytes read as latin-1.
        "PATH_INFO": _unquoted(path),
        "RAW_URI": path + (f"?{request.raw_query}" if request.raw_query else ""),
        "REQUEST_URI": path,
        "QUERY_STRING": request.raw_query,
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": request.remote,
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(request.body),
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    preserved = {}
    for name, value in request.headers:
        key = environ_key_for_header(name)
        if should_preserve_original_header_name(name):
            preserved[key] = name
        environ[key] = f"{environ[key]},{value}" if key in environ else value
    environ[PRESERVED_HEADER_NAMES_ENVIRON_KEY] = preserved
    # moto reads buckets and access points out of some host names.
    environ["HTTP_HOST"] = "127.0.0.1"
    environ["CONTENT_LENGTH"] = str(len(request.body))
    environ.pop("HTTP_TRANSFER_ENCODING", None)
    # moto finds service and region in the credential scope, and reads a region out of some user agents.
    service = SIGNED_AS.get(call.service, call.service)
    environ["HTTP_AUTHORIZATION"] = (
        f"AWS4-HMAC-SHA256 Credential=AKIAEMULATOR00000000/20200101/{call.region}/{service}/aws4_request, "
        "SignedHeaders=host, Signature=0"
    )
    environ.pop("HTTP_USER_AGENT", None)
    return environ


def _unquoted(path: str) -> str:
    return unquote_to_bytes(path).decode("latin-1")
