"""The pipe that every log line goes through."""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog

from quantdesk_oracle.errors import ConfigError
from quantdesk_oracle.ops.logging import (
    LIBRARY_EVENT,
    REPEAT_CAPACITY,
    REPEAT_LIMIT,
    Logs,
    get_logger,
    iso,
    setup,
)
from quantdesk_oracle.ops.redaction import MASK

SECRET = "correct-horse-battery-staple"
log = get_logger("quantdesk_oracle.tests")


class Written:
    """What arrived at the stream."""

    def __init__(self, stream: io.StringIO) -> None:
        self.stream = stream

    @property
    def text(self) -> str:
        return self.stream.getvalue()

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.splitlines()]


Start = Callable[..., tuple[Logs, Written]]


@pytest.fixture
def start(clock: Any) -> Iterator[Start]:
    opened: list[Logs] = []

    def _start(**options: Any) -> tuple[Logs, Written]:
        stream = options.pop("stream", None) or io.StringIO()
        logs = setup(
            **{"json": True, "level": "info", "secrets": [SECRET], **options}, stream=stream, clock=clock
        )
        opened.append(logs)
        return logs, Written(stream)

    yield _start
    for logs in opened:
        logs.close()


def test_a_line_is_one_json_object_with_time_level_event_and_logger(start: Start) -> None:
    _, written = start()
    log.info("batch.committed", rows=3, market="BTC-PERP")
    assert written.lines == [
        {
            "timestamp": "2026-01-31T12:00:00.000000Z",
            "level": "info",
            "event": "batch.committed",
            "logger": "quantdesk_oracle.tests",
            "rows": 3,
            "market": "BTC-PERP",
        }
    ]
    assert list(written.lines[0])[:3] == ["timestamp", "level", "event"]


def test_instants_are_iso_8601_in_utc_to_the_microsecond() -> None:
    assert iso(1_769_860_800_000_001) == "2026-01-31T12:00:00.000001Z"
    assert iso(0) == "1970-01-01T00:00:00.000000Z"


def test_a_library_speaks_through_the_same_pipe(start: Start) -> None:
    _, written = start()
    logging.getLogger("websockets.client").warning("handshake with %s failed", f"wss://u:{SECRET}@node/")
    (line,) = written.lines
    assert line["event"] == LIBRARY_EVENT
    assert line["logger"] == "websockets.client"
    assert line["message"] == f"handshake with wss://{MASK}@node/ failed"


@pytest.mark.parametrize("library", ["httpx", "websockets.server", "httpcore.http11", "asyncio"])
def test_libraries_are_heard_from_warning_on(start: Start, library: str) -> None:
    _, written = start(level="debug")
    logging.getLogger(library).info("HTTP Request: POST https://rpc.example/?api-key=abc")
    assert written.text == ""
    logging.getLogger(library).warning("worth reading")
    assert len(written.lines) == 1


def test_a_warning_of_python_becomes_a_line(start: Start) -> None:
    _, written = start()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old API", DeprecationWarning, stacklevel=1)
    assert [line["logger"] for line in written.lines] == ["py.warnings"]


def test_below_the_level_nothing_is_written(start: Start) -> None:
    _, written = start(level="warning")
    log.info("subscription.closed")
    log.warning("feed.stale")
    assert [line["event"] for line in written.lines] == ["feed.stale"]


def test_a_level_that_does_not_exist_is_a_configuration_error_naming_those_that_do() -> None:
    with pytest.raises(ConfigError, match=r"'loud'.*debug, info"):
        setup(json=True, level="loud", stream=io.StringIO())


@pytest.mark.parametrize("json_lines", [True, False])
def test_no_planted_secret_reaches_the_stream(start: Start, json_lines: bool) -> None:
    _, written = start(json=json_lines)
    log.info("config.read", dsn=f"postgresql://u:{SECRET}@db/x", nested={"a": [{"b": SECRET}]})
    log.warning(f"event with {SECRET}", **{f"field {SECRET}": 1})
    try:
        try:
            raise ValueError(f"inner {SECRET}")
        except ValueError as error:
            raise RuntimeError(f"outer {SECRET}") from error
    except RuntimeError as error:
        log.exception("worker.died", error=error)
        logging.getLogger("library").exception("died of %s", error)
    log.info("stack.asked", stack_info=True, key=SECRET)
    with structlog.contextvars.bound_contextvars(worker=SECRET):
        log.info("worker.started")
    assert SECRET not in written.text
    assert written.text.count("RuntimeError: outer ***") >= 2
    assert "ValueError: inner ***" in written.text


def test_no_planted_secret_reaches_the_line_that_counts_repeats(start: Start) -> None:
    logs, written = start()
    for _ in range(REPEAT_LIMIT + 2):
        logging.getLogger("library").warning("x" * 190 + SECRET)
        log.info("rpc.failed", endpoint=f"https://u:{SECRET}@node")
    logs.close()
    assert SECRET[:8] not in written.text
    assert [line["repeated"] for line in written.lines if "repeated" in line] == [2, 2]


def test_equal_lines_are_written_a_few_times_then_counted(start: Start, clock: Any) -> None:
    logs, written = start()
    for _ in range(REPEAT_LIMIT + 7):
        log.warning("rpc.failed", endpoint="primary", took=1.5)
    assert len(written.lines) == REPEAT_LIMIT
    clock.forward(61)
    logs.sweep()
    assert written.lines[-1] == {
        "timestamp": "2026-01-31T12:01:01.000000Z",
        "level": "warning",
        "event": "rpc.failed",
        "logger": "quantdesk_oracle.tests",
        "endpoint": "primary",
        "repeated": 7,
    }


def test_a_line_about_another_endpoint_or_of_another_level_is_another_line(start: Start) -> None:
    _, written = start()
    for _ in range(REPEAT_LIMIT):
        log.warning("rpc.failed", endpoint="primary")
    log.warning("rpc.failed", endpoint="backup")
    log.error("rpc.failed", endpoint="primary")
    assert len(written.lines) == REPEAT_LIMIT + 2


def test_the_next_line_of_any_kind_brings_the_count_with_it(start: Start, clock: Any) -> None:
    _, written = start()
    for _ in range(REPEAT_LIMIT + 1):
        logging.getLogger("library").warning("again %s", "and again")
    clock.forward(61)
    log.info("feed.recovered")
    assert [line.get("repeated") for line in written.lines[-2:]] == [1, None]


def test_debug_lines_are_never_left_out(start: Start) -> None:
    _, written = start(level="debug")
    for _ in range(3 * REPEAT_LIMIT):
        log.debug("batch.committed")
    assert len(written.lines) == 3 * REPEAT_LIMIT


def test_at_the_end_what_was_left_out_is_said_and_logging_is_given_back(start: Start) -> None:
    root = logging.getLogger()
    before = (root.level, list(root.handlers), logging.getLogger("httpx").level)
    logs, written = start()
    for _ in range(REPEAT_LIMIT + 4):
        log.info("feed.stale")
    logs.close()
    assert written.lines[-1]["repeated"] == 4
    assert (root.level, list(root.handlers), logging.getLogger("httpx").level) == before
    assert not structlog.is_configured()


def test_many_different_lines_do_not_fill_the_memory(start: Start) -> None:
    logs, _ = start()
    for i in range(REPEAT_CAPACITY + 50):
        log.info("feed.stale", market=f"M{i}")
    assert len(logs._handler._limiter._windows) == REPEAT_CAPACITY


class FullDisk(io.StringIO):
    def write(self, text: str) -> int:
        raise OSError(28, f"No space left on device while writing {text}")


def test_a_stream_that_cannot_be_written_to_stops_nobody(
    start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    logs, _ = start(stream=FullDisk())
    log.error("worker.died", secret=SECRET)
    assert logs.failed == 1
    assert capsys.readouterr().err == ""


def test_at_a_terminal_nothing_can_forge_a_line_or_steer_the_terminal(start: Start) -> None:
    _, written = start(json=False)
    evil = "BTC\n2026-01-31 [info] forged\x1b[2J\u2028"
    log.info("feed.found", symbol=evil, deep={"x": evil})
    log.info(evil)
    logging.getLogger("library").warning("%s", evil)
    assert written.text.count("\n") == 3
    try:
        raise ValueError(evil)
    except ValueError:
        log.exception("worker.died")
    assert "\x1b" not in written.text
    assert "\u2028" not in written.text
    assert "\nTraceback (most recent call last):\n" in written.text
