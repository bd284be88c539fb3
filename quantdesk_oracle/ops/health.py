"""What the daemon says of itself over HTTP, from threads beside the event loop: so also when that is stuck.

| path       | answer                                                                                   |
|------------|------------------------------------------------------------------------------------------|
| `/metrics` | Prometheus' text format                                                                  |
| `/livez`   | 200 while the event loop moves, else 503; JSON with the age of its last beat             |
| `/readyz`  | 200 when every market is served, else 503; JSON with every reason, and every warning     |
| `/status`  | JSON: all that the loop last said of itself, and whether it still moves                  |
| `/charts`  | JSON: each market's last minutes second by second, its settled rates, its day's coverage |
| `/`        | the paths; a page, once one is handed in                                                 |
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from http import HTTPStatus
from threading import Thread
from typing import Any, Protocol

import msgspec

from quantdesk_oracle.errors import ConfigError, UnavailableError
from quantdesk_oracle.ops.logging import get_logger
from quantdesk_oracle.ops.metrics import CONTENT_TYPE, Metrics
from quantdesk_oracle.ops.readiness import LOOP_STALLED, NotReady, Readiness
from quantdesk_oracle.ops.wsgi import TEXT, Application, Response, Route, ThreadedServer

log = get_logger(__name__)

ALIVE_LIMIT = 10.0
"""Seconds without a beat after which the event loop counts as stuck."""
REQUEST_TIMEOUT = 5.0
"""Seconds that a client has to send its request, and again to take the answer."""
STOP_POLL = 0.25
"""Seconds between two looks of the accepting thread at whether it should stop."""
JSON = "application/json"


class Probe(Protocol):
    """What the server may ask. Called from its threads: answers come from snapshots, never from the loop."""

    def heartbeat_age(self) -> float:
        """Seconds since the event loop last moved."""

    def readiness(self) -> Readiness:
        """As of the loop's last snapshot."""

    def status(self) -> dict[str, Any]:
        """As of the loop's last snapshot; anything that JSON holds, Decimals (as strings), enums, dataclasses."""

    def charts(self) -> dict[str, Any]:
        """What is drawn of each market, by its symbol."""


class HealthServer:
    """Serves ``metrics`` and what ``probe`` says on ``host``:``port`` (0: any free port).

    ``pages`` adds paths to those above, or replaces them. ``alive_limit`` and ``request_timeout`` in seconds.
    """

    def __init__(
        self,
        host: str,
        port: int,
        metrics: Metrics,
        probe: Probe,
        *,
        pages: Mapping[str, Route] | None = None,
        alive_limit: float = ALIVE_LIMIT,
        request_timeout: float = REQUEST_TIMEOUT,
    ) -> None:
        self._host, self._wanted_port = host, port
        self._metrics, self._probe = metrics, probe
        self._alive_limit, self._request_timeout = alive_limit, request_timeout
        routes: dict[str, Route] = {
            "/": self._index,
            "/charts": self._charts,
            "/livez": self._livez,
            "/metrics": self._scrape,
            "/readyz": self._readyz,
            "/status": self._status,
        }
        self._routes = {**routes, **(pages or {})}
        self._server: ThreadedServer | None = None
        self._thread: Thread | None = None

    @property
    def port(self) -> int:
        """The port that is listened on; before ``start`` the one that was asked for."""
        return self._wanted_port if self._server is None else self._server.server_port

    def start(self) -> None:
        """Listen. ConfigError for an unknown host, UnavailableError where the port cannot be had."""
        assert self._server is None, "started twice"
        self._server = self._listen()
        self._thread = Thread(
            target=self._server.serve_forever, args=(STOP_POLL,), name="health", daemon=True
        )
        self._thread.start()
        log.info("health.listening", host=self._host, port=self.port)

    def stop(self) -> None:
        """Close the port; answers under way are not waited for. May be called again, or before ``start``."""
        server, thread = self._server, self._thread
        if server is None or thread is None:
            return
        self._server = self._thread = None
        server.shutdown()
        server.server_close()
        thread.join()

    def _listen(self) -> ThreadedServer:
        where = f"{self._host}:{self._wanted_port}"
        application = Application(self._routes)
        try:
            return ThreadedServer(self._host, self._wanted_port, application, self._request_timeout)
        except socket.gaierror as error:
            raise ConfigError([f"cannot listen on {where}: no such host ({error.strerror})"]) from error
        except OSError as error:
            raise UnavailableError(
                f"cannot listen on {where}: {error.strerror}. Stop what listens there, or set another port."
            ) from error

    def _index(self) -> Response:
        return Response(HTTPStatus.OK, TEXT, "".join(f"{path}\n" for path in sorted(self._routes)).encode())

    def _scrape(self) -> Response:
        return Response(HTTPStatus.OK, CONTENT_TYPE, self._metrics.render())

    def _livez(self) -> Response:
        loop = self._loop()
        return _json(HTTPStatus.OK if loop["alive"] else HTTPStatus.SERVICE_UNAVAILABLE, loop)

    def _readyz(self) -> Response:
        readiness, loop = self._probe.readiness(), self._loop()
        reasons = readiness.reasons
        if not loop["alive"]:
            age = loop["age_seconds"]
            sentence = f"The event loop has not moved for {age} s; all else said here is from before."
            reasons = (NotReady(LOOP_STALLED, None, sentence, loop), *reasons)
        ready = readiness.ready and not reasons
        status = HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE
        return _json(status, {"ready": ready, "reasons": reasons, "warnings": readiness.warnings})

    def _status(self) -> Response:
        return _json(HTTPStatus.OK, {**self._probe.status(), "loop": self._loop()})

    def _charts(self) -> Response:
        return _json(HTTPStatus.OK, self._probe.charts())

    def _loop(self) -> dict[str, object]:
        age = self._probe.heartbeat_age()
        return {
            "alive": age < self._alive_limit,
            "age_seconds": round(age, 3),
            "limit_seconds": self._alive_limit,
        }


def _json(status: HTTPStatus, value: object) -> Response:
    return Response(status, JSON, msgspec.json.encode(value, enc_hook=str) + b"\n")
