"""Which system events are written at once, and which are counted.

The first of a kind is written at once; what follows within a minute is one summary event at the end of it, and
so on minute by minute for as long as the kind goes on. A minute without one, and the next is a first again.
A kind is (type, market, reason). Beyond ``max_kinds`` kinds in a minute, further ones share one summary.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from quantdesk_oracle.model import SECOND, Event, Severity
from quantdesk_oracle.ops.logging import iso

if TYPE_CHECKING:
    from collections.abc import Collection

INTERVAL = 60 * SECOND
MAX_KINDS = 1_000
OVERFLOW = "events.overflowed"
"""Type of the summary of all that was one kind too many."""
MAX_TYPES = 50
"""Event types that the overflow's summary tells apart."""

MAX_REASON = 200
"""Characters of a reason that are told apart."""

_RANK = {severity: rank for rank, severity in enumerate(Severity)}


class Kind(NamedTuple):
    """What makes two events the same news."""

    type: str
    market: str | None
    reason: str | None


@dataclass(slots=True)
class _Window:
    """What was counted of one kind since ``start`` (µs)."""

    start: int
    count: int = 0
    first: int = 0
    last: Event | None = None
    severity: Severity = Severity.INFO

    def add(self, event: Event) -> None:
        if self.count == 0:
            self.first, self.severity = event.instant, event.severity
        self.count += 1
        self.last = event
        self.severity = max(self.severity, event.severity, key=_RANK.__getitem__)


class EventLimiter:
    """Bounds the events of one process. Pure: every method is told the instant ``now``, µs.

    ``exempt`` types always pass: those that a schedule bounds already, such as a daemon's start.
    """

    def __init__(
        self, *, interval: int = INTERVAL, max_kinds: int = MAX_KINDS, exempt: Collection[str] = ()
    ) -> None:
        self._interval, self._max_kinds, self._exempt = interval, max_kinds, frozenset(exempt)
        # By the start of their windows, oldest first.
        self._windows: dict[Kind, _Window] = {}
        self._overflow = _Window(start=0)
        self._overflow_types: Counter[str] = Counter()

    def offer(self, event: Event, now: int) -> list[Event]:
        """What is to be written now that ``event`` has happened, summaries that are due included."""
        if event.type in self._exempt:
            return [event]
        due = self.due(now)
        kind = kind_of(event)
        window = self._windows.get(kind)
        if window is not None:
            window.add(event)
        elif len(self._windows) < self._max_kinds:
            self._windows[kind] = _Window(now)
            due.append(event)
        else:
            self._add_overflow(event, now)
        return due

    def due(self, now: int) -> list[Event]:
        """The summaries of the minutes that are over. To be asked every few seconds."""
        due: list[Event] = []
        while self._windows:
            kind, window = next(iter(self._windows.items()))
            if self._is_open(window, now):
                break
            del self._windows[kind]
            if window.last is not None:
                due.append(_summary(window, window.last, now))
                self._windows[kind] = _Window(now)
        if self._overflow.last is not None and not self._is_open(self._overflow, now):
            due.append(self._overflow_summary(now))
        return due

    def flush(self, now: int) -> list[Event]:
        """All summaries at once, over or not; nothing is remembered. For the end."""
        due = [
            _summary(window, window.last, now) for window in self._windows.values() if window.last is not None
        ]
        self._windows.clear()
        return [*due, self._overflow_summary(now)] if self._overflow.last is not None else due

    def _is_open(self, window: _Window, now: int) -> bool:
        # A start in the future: the clock was set back, and the minute ends.
        return window.start <= now < window.start + self._interval

    def _add_overflow(self, event: Event, now: int) -> None:
        if self._overflow.last is None:
            self._overflow = _Window(now)
        self._overflow.add(event)
        known = event.type in self._overflow_types or len(self._overflow_types) < MAX_TYPES
        self._overflow_types[event.type if known else "other"] += 1

    def _overflow_summary(self, now: int) -> Event:
        window = self._overflow
        data = {
            "repeated": window.count,
            "types": dict(self._overflow_types),
            "since": window.first,
            "until": now,
        }
        self._overflow = _Window(now)
        self._overflow_types = Counter()
        return Event(OVERFLOW, window.severity, now, data)


def kind_of(event: Event) -> Kind:
    """The kind of ``event``; its reason is what its data call so."""
    reason: Any = event.data.get("reason")
    return Kind(event.type, event.market, None if reason is None else str(reason)[:MAX_REASON])


def _summary(window: _Window, last: Event, now: int) -> Event:
    """The last event of the window, with how many there were and from when to when, at its worst severity."""
    data = {**last.data, "repeated": window.count, "since": iso(window.first), "until": iso(last.instant)}
    return Event(last.type, window.severity, now, data, last.market)
