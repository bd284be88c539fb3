"""A small threaded WSGI server that no client can hang and no handler can bring down.

wsgiref of the standard library, with what it leaves open closed: a deadline for the whole request instead of
one for each byte, a limit to what is read and to how many are served at once, no name of the software in the
answer, no environment of the process in the application's hands, no traceback on stderr, no DNS at start.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from io import BytesIO, StringIO
from socketserver import TCPServer, ThreadingMixIn
from threading import BoundedSemaphore
from typing import IO, TYPE_CHECKING, Any, NamedTuple, cast
from wsgiref.handlers import SimpleHandler
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from quantdesk_oracle.ops.logging import get_logger

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

log = get_logger(__name__)

MAX_REQUEST = 16_384
"""Bytes of a request's line and headers; there is no body that anybody reads."""
MAX_CONNECTIONS = 32
TEXT = "text/plain; charset=utf-8"

SECURITY_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Response(NamedTuple):
    """An answer; ``headers`` replace those of ``SECURITY_HEADERS`` that have the same name."""

    status: HTTPStatus
    content_type: str
    body: bytes
    headers: Mapping[str, str] = {}

    def all_headers(self) -> list[tuple[str, str]]:
        """Every header of the answer."""
        own = {"Content-Type": self.content_type, "Content-Length": str(len(self.body))}
        return list({**SECURITY_HEADERS, **own, **self.headers}.items())


Route = Callable[[], Response]


def plain(status: HTTPStatus, headers: Mapping[str, str] | None = None) -> Response:
    """The status, as a line of text."""
    return Response(status, TEXT, f"{status.value} {status.phrase}\n".encode(), headers or {})


class Application:
    """Paths to answers, for GET and HEAD. Whatever a client sends besides is not looked at."""

    def __init__(self, routes: Mapping[str, Route]) -> None:
        self._routes = dict(routes)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        method = environ["REQUEST_METHOD"]
        response = self._answer(method, environ["PATH_INFO"])
        start_response(f"{response.status.value} {response.status.phrase}", response.all_headers())
        return [] if method == "HEAD" else [response.body]

    def _answer(self, method: str, path: str) -> Response:
        route = self._routes.get(path)
        if route is None:
            return plain(HTTPStatus.NOT_FOUND)
        if method not in {"GET", "HEAD"}:
            return plain(HTTPStatus.METHOD_NOT_ALLOWED, {"Allow": "GET, HEAD"})
        return route()


class ThreadedServer(ThreadingMixIn, WSGIServer):
    """A thread a connection, ``MAX_CONNECTIONS`` at most; one more is closed at once. OSError if it cannot bind.

    ``request_timeout``: seconds a client has to send its request, and again to take the answer.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, host: str, port: int, application: Application, request_timeout: float) -> None:
        self.answer, self.request_timeout = application, request_timeout
        self._slots = BoundedSemaphore(MAX_CONNECTIONS)
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        self.address_family = family
        super().__init__((str(address[0]), int(address[1])), _RequestHandler)

    def server_bind(self) -> None:
        # Not that of HTTPServer: it asks DNS for the name of this host, and waits for the answer.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Called by the accepting thread, which must never wait for a client."""
        if not self._slots.acquire(blocking=False):
            log.warning("http.connection_refused", limit=MAX_CONNECTIONS)
            self.close_request(request)
            return
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # no more threads
            self._slots.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Called in the connection's own thread."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._slots.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that broke, mostly: no news, and nothing for stderr."""
        log.debug("http.connection_failed", exc_info=True)


class _RequestHandler(WSGIRequestHandler):
    """One request a connection, HTTP/1.0 as wsgiref speaks it."""

    server: ThreadedServer

    def handle(self) -> None:
        head = self._read_head()
        if head is None:
            return
        self.connection.settimeout(self.server.request_timeout)
        self.rfile = BytesIO(head)
        self.requestline = self.request_version = self.command = ""
        self.raw_requestline = self.rfile.readline()
        if len(head) > MAX_REQUEST:
            self.send_error(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        elif not self.parse_request():
            return  # parse_request has answered
        elif self.request_version == "HTTP/0.9":
            self.send_error(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED)
        else:
            self._run()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Without the text of the request in the answer, and without this server's name."""
        response = plain(HTTPStatus(code))
        lines = [f"HTTP/1.0 {response.status.value} {response.status.phrase}"]
        lines += [f"{name}: {value}" for name, value in response.all_headers()]
        self.wfile.write("\r\n".join([*lines, "", ""]).encode() + response.body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """A scrape every few seconds is no news."""

    def _run(self) -> None:
        handler = _ResponseHandler(BytesIO(), cast("IO[bytes]", self.wfile), StringIO(), self.get_environ())
        handler.run(self.server.answer)

    def _read_head(self) -> bytes | None:
        """All up to the empty line; more than ``MAX_REQUEST`` is too much; None: the client went, or slept."""
        head = b""
        deadline = time.monotonic() + self.server.request_timeout
        while b"\r\n\r\n" not in head and b"\n\n" not in head and len(head) <= MAX_REQUEST:
            seconds = deadline - time.monotonic()
            if seconds <= 0:
                return None
            self.connection.settimeout(seconds)
            received = self.connection.recv(4096)
            if not received:
                return None
            head += received
        return head


class _ResponseHandler(SimpleHandler):
    """Runs the application. An error of its own making is logged, and is a 500 without details."""

    # Not the environment of this process, which wsgiref would hand to every request: it holds secrets.
    os_environ: dict[str, str] = {}  # noqa: RUF012
    error_headers = plain(HTTPStatus.INTERNAL_SERVER_ERROR).all_headers()
    error_body = plain(HTTPStatus.INTERNAL_SERVER_ERROR).body

    def log_exception(self, exc_info: Any) -> None:
        """Called by wsgiref in its own handler for whatever was raised."""
        if isinstance(exc_info[1], OSError):  # the client does not read
            log.debug("http.connection_failed", exc_info=exc_info)
        else:
            log.error("http.request_failed", exc_info=exc_info)
