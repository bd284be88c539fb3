"""Logs: one line per state change, every line through the same pipe, secrets out, repeats counted.

    our code (structlog) ─┐
                          ├─► repeat limiter ─► exception to text ─► redaction ─► JSON or console ─► stream
    libraries (logging) ──┘

``event`` is a constant such as ``batch.committed``; a library's free text is the ``message`` of the event
``library.logged``. A stream that cannot be written to never stops the daemon.
"""

from __future__ import annotations

import logging
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, TextIO, cast

import structlog
from structlog.stdlib import ProcessorFormatter

from quantdesk_oracle.clock import Clock, SystemClock
from quantdesk_oracle.errors import ConfigError
from quantdesk_oracle.model import SECOND
from quantdesk_oracle.ops.redaction import Redactor
from quantdesk_oracle.ops.repeats import Repeated, RepeatLimiter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

LEVELS = ("debug", "info", "warning", "error", "critical")
QUIET_LIBRARIES = ("aiohttp", "asyncio", "httpcore", "httpx", "urllib3", "websockets")
"""Libraries that say at INFO what is nobody's business: they are heard from WARNING on."""

KEY_FIELDS = (
    "code", "endpoint", "feed", "kind", "market", "method", "queue", "reason", "source", "table", "worker",
)  # fmt: skip
"""Fields that make two lines of one event different ones to the repeat limiter."""
REPEAT_LIMIT = 5
REPEAT_INTERVAL = 60 * SECOND
REPEAT_CAPACITY = 1_000
MAX_KEY = 200
"""Characters of a repeat's key that are told apart."""

LIBRARY_EVENT = "library.logged"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_CONTROL_IN_TRACE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")

RepeatKey = tuple[str, str, str, tuple[tuple[str, str], ...]]
"""Level, logger, event, key fields."""


def get_logger(name: str) -> FilteringBoundLogger:
    """A logger called ``name``; may be made at import time, before ``setup``."""
    return cast("FilteringBoundLogger", structlog.get_logger(name))


def setup(
    *, json: bool, level: str, stream: TextIO, secrets: Sequence[str] = (), clock: Clock | None = None
) -> Logs:
    """Send every log line of the process to ``stream``: as JSON, or for a person at a terminal.

    Raises ConfigError for a level that does not exist. ``close()`` of what is returned undoes it.
    """
    if level.lower() not in LEVELS:
        raise ConfigError([f"log level {level!r} does not exist: use one of {', '.join(LEVELS)}"])
    clock = clock or SystemClock()
    number = logging.getLevelNamesMapping()[level.upper()]
    redactor = Redactor(secrets)
    handler = LimitingHandler(stream, clock, redactor)
    handler.setFormatter(_formatter(json, stream, redactor, clock))
    _configure_structlog(number)
    return Logs(handler, number)


class Logs:
    """The pipe, while it is in force."""

    def __init__(self, handler: LimitingHandler, level: int) -> None:
        self._handler = handler
        self._root = logging.getLogger()
        self._before = {name: logging.getLogger(name).level for name in ("", *QUIET_LIBRARIES)}
        self._root.addHandler(handler)
        self._root.setLevel(level)
        for name in QUIET_LIBRARIES:
            logging.getLogger(name).setLevel(max(level, logging.WARNING))
        logging.captureWarnings(True)

    @property
    def failed(self) -> int:
        """Lines that could not be written."""
        return self._handler.failed

    def sweep(self) -> None:
        """Say what was repeated in intervals that are over; for a timer, so that silence does not hide it."""
        self._handler.sweep()

    def close(self) -> None:
        """Say what was repeated, and give logging back as it was found."""
        logging.captureWarnings(False)
        self._root.removeHandler(self._handler)
        for name, level in self._before.items():
            logging.getLogger(name).setLevel(level)
        self._handler.close()
        structlog.reset_defaults()


class LimitingHandler(logging.StreamHandler[TextIO]):
    """Writes lines to a stream, equal ones at most ``REPEAT_LIMIT`` times an interval; debug lines all."""

    def __init__(self, stream: TextIO, clock: Clock, redactor: Redactor) -> None:
        super().__init__(stream)
        self._clock, self._redactor = clock, redactor
        self._limiter: RepeatLimiter[RepeatKey] = RepeatLimiter(
            REPEAT_LIMIT, REPEAT_INTERVAL, REPEAT_CAPACITY
        )
        self.failed = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Called by logging, under the handler's lock."""
        if record.levelno <= logging.DEBUG:
            super().emit(record)
            return
        write, said = self._limiter.offer(self._key_of(record), self._clock.now())
        self._say(said)
        if write:
            super().emit(record)

    def sweep(self) -> None:
        """Say what was repeated in intervals that are over."""
        self.acquire()
        try:
            self._say(self._limiter.due(self._clock.now()))
        finally:
            self.release()

    def close(self) -> None:
        self.acquire()
        try:
            self._say(self._limiter.flush())
        finally:
            self.release()
        super().close()

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """A full disk or a closed pipe: count it. Printing it, as logging would, might print a secret."""
        self.failed += 1

    def _say(self, repeats: list[Repeated[RepeatKey]]) -> None:
        for (level, logger, event, fields), times in repeats:
            line: EventDict = {
                "level": level,
                "logger": logger,
                "event": event,
                **dict(fields),
                "repeated": times,
            }
            record = logging.makeLogRecord({"msg": line, "_logger": None, "_name": level})
            super().emit(record)

    def _key_of(self, record: logging.LogRecord) -> RepeatKey:
        level = record.levelname.lower()
        if not isinstance(record.msg, dict):
            return level, record.name, LIBRARY_EVENT, (("message", self._short(record.msg)),)
        line = record.msg
        fields = tuple((name, self._short(line[name])) for name in KEY_FIELDS if name in line)
        return level, record.name, self._short(line.get("event")), fields

    def _short(self, value: object) -> str:
        # Redacted first: half a secret is one too many.
        return self._redactor.text(str(value))[:MAX_KEY]


def _configure_structlog(level: int) -> None:
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        # Loggers are made at import time and setup may be called again.
        cache_logger_on_first_use=False,
    )


def _formatter(json: bool, stream: TextIO, redactor: Redactor, clock: Clock) -> ProcessorFormatter:
    def add_timestamp(_: WrappedLogger, __: str, line: EventDict) -> EventDict:
        return {"timestamp": iso(clock.now()), "level": line.pop("level"), "event": line.pop("event"), **line}

    def redact(_: WrappedLogger, __: str, line: EventDict) -> EventDict:
        return cast("EventDict", redactor.value(line))

    render: list[Processor] = (
        [structlog.processors.JSONRenderer()] if json else [_make_printable, _console(stream)]
    )
    return ProcessorFormatter(
        foreign_pre_chain=[
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            _name_library_event,
        ],
        processors=[
            ProcessorFormatter.remove_processors_meta,
            structlog.processors.StackInfoRenderer(),
            structlog.processors.format_exc_info,
            add_timestamp,
            redact,
            *render,
        ],
    )


def _console(stream: TextIO) -> structlog.dev.ConsoleRenderer:
    # Plain tracebacks: they were made into text, and redacted, before.
    return structlog.dev.ConsoleRenderer(
        colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback, sort_keys=False
    )


def _name_library_event(_: WrappedLogger, __: str, line: EventDict) -> EventDict:
    line["message"] = line["event"]
    line["event"] = LIBRARY_EVENT
    return line


def _make_printable(_: WrappedLogger, __: str, line: EventDict) -> EventDict:
    """A value must not be able to forge a line, or to steer the terminal."""

    def escape(match: re.Match[str]) -> str:
        return match.group().encode("unicode_escape").decode()

    for name, value in line.items():
        if isinstance(value, str):
            pattern = _CONTROL_IN_TRACE if name in {"exception", "stack"} else _CONTROL
            line[name] = pattern.sub(escape, value)
    return line


def iso(instant: int) -> str:
    """``instant`` (µs) as ISO 8601 in UTC, to the microsecond: `2026-01-31T12:00:00.000000Z`."""
    moment = _EPOCH + timedelta(microseconds=instant)
    return moment.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
