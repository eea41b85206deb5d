"""The HTTP side: one thread per connection, keep-alive, whole requests in, whole responses out.

Knows nothing about AWS. werkzeug's own server closes each connection after one answer, and pooled SDK
clients then meet resets; so this one speaks HTTP/1.1 itself and hands `Request` values to the application.
"""

import socket
import socketserver
import struct
import sys
import threading
import traceback
from dataclasses import dataclass, field
from enum import Enum
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Callable, Optional

# An idle pooled connection keeps a thread; AWS closes idle ones too, and SDKs open another.
_IDLE_SECONDS = 120
_MAX_BODY = 256 * 1024 * 1024


@dataclass
class Request:
    method: str
    # As sent, percent-encoded, without the query.
    raw_path: str
    raw_query: str
    # As sent, in order, repeated names kept.
    headers: list
    body: bytes
    remote: str = "127.0.0.1"
    _lower: dict = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        for name, value in self.headers:
            key = name.lower()
            self._lower[key] = f"{self._lower[key]},{value}" if key in self._lower else value

    def header(self, name: str, default: str = "") -> str:
        return self._lower.get(name.lower(), default)

    def has_header(self, name: str) -> bool:
        return name.lower() in self._lower


class Cut(Enum):
    """Ways to end a connection instead of answering."""

    RESET = "reset"
    CLOSE = "close"


@dataclass
class Response:
    status: int
    headers: list
    body: bytes
    cut: Optional[Cut] = None

    def header(self, name: str) -> str:
        return next((value for key, value in self.headers if key.lower() == name.lower()), "")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = _IDLE_SECONDS
    server: "Server"

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def handle_one_request(self) -> None:
        try:
            self.raw_requestline = self.rfile.readline(65537)
            if not self.raw_requestline:
                self.close_connection = True
                return
            if len(self.raw_requestline) > 65536:
                self.requestline = self.request_version = self.command = ""
                self.send_error(HTTPStatus.REQUEST_URI_TOO_LONG)
                return
            if self.parse_request():
                self._answer()
        except (TimeoutError, ConnectionError, BrokenPipeError):
            self.close_connection = True

    def _answer(self) -> None:
        body = self._body()
        if body is None:
            self.send_error(HTTPStatus.BAD_REQUEST, "body")
            self.close_connection = True
            return
        path, _, query = self.path.partition("?")
        request = Request(self.command, path, query, list(self.headers.items()), body, self.client_address[0])
        try:
            response = self.server.application(request)
        except Exception:  # a bug in this program must not look like a lost connection
            traceback.print_exc(file=sys.stderr)
            response = Response(500, [("Content-Type", "text/plain")], traceback.format_exc().encode())
        if response.cut is not None:
            self._cut(response.cut)
            return
        self._send(response)

    def _body(self) -> Optional[bytes]:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            return self._chunked()
        try:
            length = int(self.headers.get("Content-Length") or 0)
        except ValueError:
            return None
        if not 0 <= length <= _MAX_BODY:
            return None
        body = self.rfile.read(length) if length else b""
        if len(body) != length:
            raise ConnectionResetError("the client went away inside its body")
        return body

    def _chunked(self) -> Optional[bytes]:
        chunks, total = [], 0
        while True:
            try:
                size = int(self.rfile.readline(1024).split(b";")[0].strip(), 16)
            except ValueError:
                return None
            total += size
            if total > _MAX_BODY:
                return None
            if size == 0:
                while self.rfile.readline(65537).strip():
                    pass
                return b"".join(chunks)
            chunks.append(self.rfile.read(size))
            self.rfile.readline(8)

    def _send(self, response: Response) -> None:
        try:
            phrase = HTTPStatus(response.status).phrase
        except ValueError:
            phrase = ""
        lines = [f"HTTP/1.1 {response.status} {phrase}"]
        has_length = False
        for name, value in response.headers:
            lowered = name.lower()
            if lowered in ("connection", "transfer-encoding") or (
                lowered == "content-length" and self.command != "HEAD"
            ):
                continue
            has_length = has_length or lowered == "content-length"
            lines.append(f"{name}: {value}")
        bodiless = response.status in (204, 304)
        if not has_length and not bodiless:
            lines.append(f"Content-Length: {len(response.body)}")
        if self.close_connection:
            lines.append("Connection: close")
        head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")
        self.connection.sendall(head if self.command == "HEAD" or bodiless else head + response.body)

    def _cut(self, cut: Cut) -> None:
        if cut is Cut.RESET:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        else:
            self.connection.shutdown(socket.SHUT_RDWR)
        self.connection.close()
        self.close_connection = True

    def finish(self) -> None:
        try:
            super().finish()
        except (OSError, ValueError):
            pass  # the connection was cut on purpose

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base class names it so)
        """The call log is the log."""


class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 1024

    def __init__(self, address: tuple, application: Callable[[Request], Response]):
        threading.stack_size(1024 * 1024)
        self.application = application
        super().__init__(address, _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        error = sys.exc_info()[1]
        if not isinstance(error, (ConnectionError, TimeoutError)):
            traceback.print_exc(file=sys.stderr)
