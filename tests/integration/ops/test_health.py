"""The health server, asked over real sockets."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator
from decimal import Decimal
from http import HTTPStatus
from typing import Any

import httpx
import pytest

from quantdesk_oracle.clock import SystemClock
from quantdesk_oracle.errors import ConfigError, UnavailableError
from quantdesk_oracle.model import Freshness
from quantdesk_oracle.ops.health import HealthServer
from quantdesk_oracle.ops.heartbeat import Heartbeat
from quantdesk_oracle.ops.logging import setup
from quantdesk_oracle.ops.metrics import CONTENT_TYPE, Metrics
from quantdesk_oracle.ops.readiness import NotReady, Readiness
from quantdesk_oracle.ops.wsgi import MAX_CONNECTIONS, MAX_REQUEST, Response

FEED = "BTC-PERP/core_upgraded"
PATHS = ("/", "/charts", "/livez", "/metrics", "/readyz", "/status")
PATIENCE = 10.0


class FakeProbe:
    """A daemon that says what a test wants."""

    def __init__(self) -> None:
        self.age = 0.5
        self.reasons: tuple[NotReady, ...] = ()
        self.warnings: tuple[NotReady, ...] = ()
        self.snapshot: dict[str, Any] = {"markets": {}}
        self.drawn: dict[str, Any] = {}

    def heartbeat_age(self) -> float:
        return self.age

    def readiness(self) -> Readiness:
        return Readiness.of(self.reasons, self.warnings)

    def status(self) -> dict[str, Any]:
        return self.snapshot

    def charts(self) -> dict[str, Any]:
        return self.drawn


class Served:
    """A running server and what stands behind it."""

    def __init__(self, **options: Any) -> None:
        self.probe = FakeProbe()
        self.metrics = Metrics([FEED], ["BTC-PERP"], ["primary"], "1.2.3")
        self.server = HealthServer("127.0.0.1", 0, self.metrics, self.probe, **options)
        self.server.start()
        self.http = httpx.Client(
            base_url=f"http://127.0.0.1:{self.server.port}", timeout=PATIENCE, trust_env=False
        )

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.server.port), timeout=PATIENCE)

    def say(self, data: bytes) -> bytes:
        """Everything that is answered to ``data``."""
        with self.connect() as connection:
            connection.sendall(data)
            return read_all(connection)

    def close(self) -> None:
        self.http.close()
        self.server.stop()


def read_all(connection: socket.socket) -> bytes:
    chunks = []
    while chunk := connection.recv(65_536):
        chunks.append(chunk)
    return b"".join(chunks)


def refused(served: Served) -> bool:
    """Closed without an answer; a reset is how a kernel closes what has unread bytes in it."""
    with served.connect() as connection:
        try:
            connection.sendall(b"GET /livez HTTP/1.1\r\n\r\n")
            return connection.recv(1) == b""
        except (BrokenPipeError, ConnectionResetError):
            return True


Serve = Callable[..., Served]


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    monkeypatch.setattr("quantdesk_oracle.ops.health.STOP_POLL", 0.01)
    opened: list[Served] = []

    def _serve(**options: Any) -> Served:
        opened.append(Served(**options))
        return opened[-1]

    yield _serve
    for served in opened:
        served.close()


@pytest.fixture
def served(serve: Serve) -> Served:
    return serve()


def test_metrics_are_scraped_in_the_format_of_prometheus(served: Served) -> None:
    answer = served.http.get("/metrics?collect=all")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == CONTENT_TYPE
    assert f'quantdesk_oracle_updates_total{{feed="{FEED}",source="poll"}} 0.0' in answer.text


def test_a_loop_that_moves_is_alive_and_says_how_old_its_beat_is(served: Served) -> None:
    answer = served.http.get("/livez")
    assert answer.status_code == 200
    assert answer.json() == {"alive": True, "age_seconds": 0.5, "limit_seconds": 10.0}


def test_a_loop_that_is_stuck_is_not_alive_and_says_for_how_long(served: Served) -> None:
    served.probe.age = 10.0
    answer = served.http.get("/livez")
    assert answer.status_code == 503
    assert answer.json() == {"alive": False, "age_seconds": 10.0, "limit_seconds": 10.0}


def test_ready_has_no_reasons(served: Served) -> None:
    answer = served.http.get("/readyz")
    assert (answer.status_code, answer.json()) == (200, {"ready": True, "reasons": [], "warnings": []})


def test_a_warning_takes_no_readiness_away(served: Served) -> None:
    served.probe.warnings = (NotReady("oracle_wide", "BTC-PERP", "It is unsure."),)
    answer = served.http.get("/readyz")
    assert (answer.status_code, answer.json()["ready"], answer.json()["reasons"]) == (200, True, [])
    assert [warning["code"] for warning in answer.json()["warnings"]] == ["oracle_wide"]


def test_not_ready_gives_every_reason_with_its_numbers(served: Served) -> None:
    served.probe.reasons = (
        NotReady(
            "feed_dead", "BTC-PERP", "No print for 200 s.", {"age_seconds": 200, "price": Decimal("1.50")}
        ),
        NotReady("database_down", None, "The database does not answer."),
    )
    served.probe.warnings = (NotReady("disk_full", None, "No room."),)
    answer = served.http.get("/readyz")
    assert answer.status_code == 503
    assert answer.json() == {
        "ready": False,
        "reasons": [
            {
                "code": "feed_dead",
                "market": "BTC-PERP",
                "sentence": "No print for 200 s.",
                "details": {"age_seconds": 200, "price": "1.50"},
            },
            {
                "code": "database_down",
                "market": None,
                "sentence": "The database does not answer.",
                "details": {},
            },
        ],
        "warnings": [{"code": "disk_full", "market": None, "sentence": "No room.", "details": {}}],
    }


def test_a_stuck_loop_is_not_ready_whatever_it_last_said(served: Served) -> None:
    served.probe.age = 61.0
    answer = served.http.get("/readyz")
    assert answer.status_code == 503
    (reason,) = answer.json()["reasons"]
    assert reason["code"] == "loop_stalled"
    assert "61.0 s" in reason["sentence"]


def test_status_is_the_last_snapshot_and_whether_the_loop_still_moves(served: Served) -> None:
    served.probe.snapshot = {"price": Decimal("65000.10"), "state": Freshness.FRESH, "ratio": float("nan")}
    served.probe.age = 11.0
    answer = served.http.get("/status")
    assert answer.status_code == 200
    assert answer.json() == {
        "price": "65000.10",
        "state": "fresh",
        "ratio": None,
        "loop": {"alive": False, "age_seconds": 11.0, "limit_seconds": 10.0},
    }


def test_charts_are_apart_from_the_status_and_exact(served: Served) -> None:
    served.probe.drawn = {
        "BTC-PERP": {"prices": [1.5, None], "rates": [{"rate": Decimal("-0.000012500000")}]}
    }
    assert served.http.get("/charts").json() == {
        "BTC-PERP": {"prices": [1.5, None], "rates": [{"rate": "-0.000012500000"}]}
    }
    assert "prices" not in served.http.get("/status").text


def test_the_root_lists_the_paths_until_it_is_a_page(serve: Serve) -> None:
    assert serve().http.get("/").text.split() == sorted(PATHS)
    policy = "default-src 'none'; script-src 'self'"
    page = Response(HTTPStatus.OK, "text/html", b"<p>hello", {"Content-Security-Policy": policy})
    answer = serve(pages={"/": lambda: page}).http.get("/")
    assert answer.text == "<p>hello"
    assert answer.headers["content-security-policy"] == policy
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("path", PATHS)
def test_head_answers_as_get_without_the_body(served: Served, path: str) -> None:
    head = served.say(f"HEAD {path} HTTP/1.1\r\n\r\n".encode())
    assert head.startswith(b"HTTP/1.0 200 OK\r\n")
    assert head.endswith(b"\r\n\r\n")
    if path != "/metrics":  # which grows by the second
        size = len(served.http.get(path).content)
        assert f"\r\nContent-Length: {size}\r\n".encode() in head


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "BREW"])
def test_other_methods_are_not_allowed_and_the_allowed_ones_are_named(served: Served, method: str) -> None:
    answer = served.http.request(method, "/livez", content=b"x" * 10)
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, HEAD"


@pytest.mark.parametrize("path", ["/nothing", "/livez/", "/metrics%00", "/../livez", "/.env", "/LIVEZ"])
def test_an_unknown_path_is_not_found(served: Served, path: str) -> None:
    answer = served.say(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.0 404 ")


@pytest.mark.parametrize("path", [*PATHS, "/nothing"])
def test_every_answer_has_the_security_headers_and_no_software_name(served: Served, path: str) -> None:
    headers = served.http.get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert headers["content-security-policy"].startswith("default-src 'none'")
    assert "server" not in headers


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"NONSENSE\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1 extra\r\n\r\n", 400),
        (b"GET /livez HTTP/9.9\r\n\r\n", 505),
        (b"GET /livez\r\n\r\n", 505),
        (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\nX: " + b"x" * MAX_REQUEST + b"\r\n\r\n", 431),
        (b"GET /livez HTTP/1.1\r\n" + b"A: b\r\n" * 101 + b"\r\n", 431),
    ],
)
def test_what_is_no_request_is_refused_without_echo_or_name(
    served: Served, request_bytes: bytes, status: int
) -> None:
    answer = served.say(request_bytes)
    assert answer.startswith(f"HTTP/1.0 {status} ".encode())
    assert b"nosniff" in answer
    assert b"Server:" not in answer
    assert b"NONSENSE" not in answer


def test_a_body_is_not_read_and_its_sender_still_gets_the_answer(served: Served) -> None:
    body = b"x" * 10_000
    head = f"POST /livez HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    assert served.say(head + body).startswith(b"HTTP/1.0 405 ")


def test_clients_that_say_nothing_keep_nobody_waiting(served: Served) -> None:
    idle = [served.connect() for _ in range(MAX_CONNECTIONS // 2)]
    idle[0].sendall(b"GET /livez HTTP/1.1\r\nHost:")
    assert served.http.get("/livez").status_code == 200
    for connection in idle:
        connection.close()


def test_a_client_that_does_not_finish_its_request_is_dropped(serve: Serve) -> None:
    served = serve(request_timeout=0.05)
    with served.connect() as connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\nHost:")
        assert connection.recv(1) == b""


def test_beyond_the_limit_of_connections_one_more_is_closed_and_the_next_is_served_later(
    served: Served,
) -> None:
    idle = [served.connect() for _ in range(MAX_CONNECTIONS)]
    assert refused(served)
    for one in idle:
        one.close()
    while True:
        try:
            assert served.http.get("/livez").status_code == 200
            return
        except httpx.TransportError:
            continue  # the closed ones' threads have not noticed yet; the test's own timeout ends this


def test_requests_are_answered_at_the_same_time(serve: Serve) -> None:
    entered = threading.Barrier(2, timeout=PATIENCE)

    def meet() -> Response:
        entered.wait()
        return Response(HTTPStatus.OK, "text/plain", b"met")

    served = serve(pages={"/meet": meet})
    answers: list[str] = []
    threads = [
        threading.Thread(target=lambda: answers.append(served.http.get("/meet").text)) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == ["met", "met"]


def test_an_error_of_ours_is_a_500_without_details_and_a_line_in_the_log(
    serve: Serve, capfd: pytest.CaptureFixture[str]
) -> None:
    def broken() -> Response:
        raise LookupError("the cause, with details")

    stream = io.StringIO()
    logs = setup(json=True, level="info", stream=stream)
    served = serve(pages={"/broken": broken})
    answer = served.http.get("/broken")
    logs.close()
    assert answer.status_code == 500
    assert "details" not in answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"
    line = json.loads(stream.getvalue().splitlines()[-1])
    assert line["event"] == "http.request_failed"
    assert "LookupError: the cause" in line["exception"]
    assert capfd.readouterr() == ("", "")


def test_the_environment_of_the_process_does_not_reach_the_application(serve: Serve) -> None:
    seen: list[dict[str, Any]] = []
    served = serve()
    application = served.server._server
    assert application is not None
    answer = application.answer

    def spy(environ: Any, start_response: Any) -> Any:
        seen.append(environ)
        return answer(environ, start_response)

    application.answer = spy  # type: ignore[assignment]
    served.http.get("/livez")
    assert "PATH" in os.environ
    assert "PATH" not in seen[0]


def test_a_port_in_use_is_said_with_its_cure(served: Served) -> None:
    second = HealthServer("127.0.0.1", served.server.port, served.metrics, served.probe)
    with pytest.raises(UnavailableError, match=rf"127\.0\.0\.1:{served.server.port}.*in use.*another port"):
        second.start()


def test_a_host_that_does_not_exist_is_a_configuration_error(served: Served) -> None:
    second = HealthServer("no.such.host.invalid", 0, served.metrics, served.probe)
    with pytest.raises(ConfigError, match=r"no\.such\.host\.invalid"):
        second.start()


def test_it_listens_on_ipv6_too(served: Served) -> None:
    if not socket.has_ipv6:
        pytest.skip("no IPv6 on this machine")
    server = HealthServer("::1", 0, served.metrics, served.probe)
    server.start()
    try:
        with httpx.Client(trust_env=False) as client:
            assert client.get(f"http://[::1]:{server.port}/livez").status_code == 200
    finally:
        server.stop()


def test_after_stop_nobody_listens_and_stop_may_be_called_again(served: Served) -> None:
    port = served.server.port
    served.server.stop()
    served.server.stop()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)


def test_stop_before_start_does_nothing() -> None:
    HealthServer("127.0.0.1", 0, Metrics([], [], [], "1"), FakeProbe()).stop()


def test_requests_leave_no_line_in_the_log(serve: Serve) -> None:
    stream = io.StringIO()
    logs = setup(json=True, level="debug", stream=stream)
    logging.getLogger("httpcore").setLevel(logging.WARNING)
    served = serve()
    served.http.get("/livez")
    logs.close()
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["health.listening"]


async def test_it_answers_and_says_so_while_the_event_loop_is_really_stuck(serve: Serve) -> None:
    now = 0.0
    heartbeat = Heartbeat(SystemClock(), interval=0.001, monotonic=lambda: now)
    served = serve()
    served.probe.heartbeat_age = heartbeat.age  # type: ignore[method-assign]
    task = asyncio.create_task(heartbeat.run())
    await asyncio.sleep(0.001)
    now = 11.0
    # A client that waits for its answer on the loop: nothing else moves there until it has it.
    stuck = served.http.get("/livez")
    heartbeat.beat()
    moving = served.http.get("/livez")
    task.cancel()
    assert (stuck.status_code, stuck.json()["age_seconds"]) == (503, 11.0)
    assert (moving.status_code, moving.json()["age_seconds"]) == (200, 0.0)
