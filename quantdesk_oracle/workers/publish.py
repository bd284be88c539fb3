"""Committed prices, marks and funding rates into NATS JetStream, for consumers that must not poll the database.

    subject    quantdesk.price.BTC-PERP, quantdesk.mark.BTC-PERP, quantdesk.funding.BTC-PERP
    payload    JSON: the row's columns; `key` names the row
    id         Nats-Msg-Id = key: JetStream drops what it has seen within its window, consumers key on it

At least once, and late rows too: what a spool or chain history brings in afterwards is noticed by the count of its
minute, within ``window``. The publisher only reads: a broker that is slow or away holds up nobody but itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

import msgspec
import structlog

from quantdesk_oracle.errors import DatabaseError, UnavailableError
from quantdesk_oracle.model import SECOND
from quantdesk_oracle.retry import until_it_works
from quantdesk_oracle.store.tail import MINUTE, STREAMS, Passed, minutes_between, rows_between

if TYPE_CHECKING:
    from quantdesk_oracle.clock import Clock
    from quantdesk_oracle.store.database import Database
    from quantdesk_oracle.store.sent import Sent

log = structlog.get_logger("workers.publish")
EVERY_SECONDS = 0.5
OVERLAP = 10 * SECOND
"""How far behind its cursor each look begins (µs): rows are not committed in the order of their instants."""
STEP = 15 * MINUTE
"""What is read at once at most, when there is much to catch up with (µs)."""
COMPARE_SECONDS = 30.0
WINDOW = 24 * 60 * MINUTE
AT_ONCE = 256
"""Messages that wait for the broker's acknowledgement at most."""

Send = Callable[[str, bytes, str], Awaitable[None]]
"""(subject, payload, id): returns once the broker has stored it. Raises UnavailableError."""


class Publisher:
    """Passes on every committed row from the moment it first ran. One of its kind a state directory."""

    def __init__(self, database: Database, sent: Sent, send: Send, clock: Clock, *, prefix: str) -> None:
        self._database = database
        self._sent = sent
        self._send = send
        self._clock = clock
        self._prefix = prefix
        self._compared = 0
        self._failing = False
        self.published = dict.fromkeys(STREAMS, 0)
        """Rows passed on by this run, by table."""

    async def run(self) -> None:
        """Pass on whatever is committed, until cancelled; database and broker may come and go."""
        while True:
            async for attempt in until_it_works(
                self._clock, (DatabaseError, UnavailableError), on_failure=self._failed, longest=5.0
            ):
                with attempt:
                    await self.look()
            if self._failing:
                log.info("publish.restored")
            self._failing = False
            await self._clock.sleep(EVERY_SECONDS)

    async def look(self) -> None:
        """Pass on what is new; now and then, what came late. Raises DatabaseError, UnavailableError."""
        now = self._clock.now()
        for table in STREAMS:
            await self._follow(table, now)
        if abs(now - self._compared) >= COMPARE_SECONDS * SECOND:
            for table in STREAMS:
                await self._compare(table, now)
            self._sent.forget(now - WINDOW - MINUTE)
            self._compared = now

    async def _follow(self, table: str, now: int) -> None:
        began, reached = self._sent.cursor(table, now)
        start, end = max(reached - OVERLAP, began, now - WINDOW), now + OVERLAP
        while start < end:
            stop = min(start + STEP, end)
            await self._pass_on(table, await rows_between(self._database, table, start, stop))
            start = stop

    async def _compare(self, table: str, now: int) -> None:
        """Look once more at the minutes that hold more rows than have been passed on."""
        began, _ = self._sent.cursor(table, now)
        # Of the minute that it began in, only what came after is ours.
        start, end = max(began, (now - WINDOW) // MINUTE * MINUTE), now
        there = await minutes_between(self._database, table, start, end)
        sent = self._sent.minutes(table, start, end)
        for minute in sorted(minute for minute, rows in there.items() if rows > sent.get(minute, 0)):
            first, last = max(start, minute * MINUTE), (minute + 1) * MINUTE
            rows = await rows_between(self._database, table, first, last)
            late = await self._pass_on(table, rows)
            log.debug("publish.caught_up", table=table, minute=minute, rows=late)

    async def _pass_on(self, table: str, rows: Sequence[Passed]) -> int:
        known = self._sent.known(table, [row.instant // MINUTE for row in rows])
        new = [row for row in rows if row.key not in known]
        for first in range(0, len(new), AT_ONCE):
            part = new[first : first + AT_ONCE]
            await asyncio.gather(*[self._send_row(table, row) for row in part])
            self._sent.note(table, [(row.key, row.instant) for row in part])
            self.published[table] += len(part)
        return len(new)

    async def _send_row(self, table: str, row: Passed) -> None:
        # A dot would begin another token of the subject; `/` and `-` are fine.
        subject = f"{self._prefix}.{STREAMS[table]}.{row.market.replace('.', '_')}"
        await self._send(subject, msgspec.json.encode({"key": row.key, **row.values}), row.key)

    def _failed(self, error: BaseException, wait: float) -> None:
        if not self._failing:
            log.warning("publish.failed", cause=str(error), retry_in=round(wait, 2))
        self._failing = True
