"""What an operator should know, into system_events: bounded in number, never in anybody's way."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from quantdesk_oracle.model import Event, Severity

if TYPE_CHECKING:
    from collections.abc import Iterable

    from quantdesk_oracle.clock import Clock
    from quantdesk_oracle.ops.events import EventLimiter
    from quantdesk_oracle.store.writer import BatchWriter

REMEMBERED = 50
"""Events that are kept for the status page."""
SUMMARY_SECONDS = 5.0
"""How often it is looked whether a minute's summary is due."""


class Journal:
    """Hands events to their writer, the first of a kind at once and repetitions as a count a minute."""

    def __init__(self, writer: BatchWriter[Event], limiter: EventLimiter, clock: Clock) -> None:
        self._writer = writer
        self._limiter = limiter
        self._clock = clock
        self.recent: deque[Event] = deque(maxlen=REMEMBERED)
        """The newest events, oldest first."""

    def record(
        self,
        type_: str,
        severity: Severity = Severity.INFO,
        *,
        market: str | None = None,
        **data: object,
    ) -> None:
        """Record that ``type_`` (noun.verb_past) has happened now."""
        now = self._clock.now()
        self._put(self._limiter.offer(Event(type_, severity, now, data, market), now))

    async def run(self) -> None:
        """Write the summaries that are due, until cancelled."""
        while True:
            await self._clock.sleep(SUMMARY_SECONDS)
            self._put(self._limiter.due(self._clock.now()))

    def flush(self) -> None:
        """Write every summary now: the daemon ends."""
        self._put(self._limiter.flush(self._clock.now()))

    def _put(self, events: Iterable[Event]) -> None:
        for event in events:
            self.recent.append(event)
            self._writer.put(event)
