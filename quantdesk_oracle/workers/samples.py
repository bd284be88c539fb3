"""Premium samples every five seconds, each from the mark row that stands, whoever wrote it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

import structlog

from quantdesk_oracle.errors import DatabaseError
from quantdesk_oracle.model import SECOND, Freshness, MarkPrice, PremiumSample
from quantdesk_oracle.pricing import methods
from quantdesk_oracle.pricing.funding import SAMPLE_SECONDS
from quantdesk_oracle.pricing.premium import SampleInputs
from quantdesk_oracle.retry import until_it_works
from quantdesk_oracle.store.series import StoredMark, insert_premium_samples, marks_at

if TYPE_CHECKING:
    from quantdesk_oracle.clock import Clock
    from quantdesk_oracle.ops.metrics import Metrics
    from quantdesk_oracle.store.database import Database
    from quantdesk_oracle.store.writer import BatchWriter
    from quantdesk_oracle.workers.state import Markets

log = structlog.get_logger("workers.samples")
MAX_WAITING = 10_000
"""Instants that may wait for the database: half a day's; the oldest are given up beyond it."""
USED = "used"
UNAVAILABLE = "unavailable"


class Taken(NamedTuple):
    """What is known of one market at an instant: its index's freshness, and its book."""

    freshness: Freshness
    impact_bid: Decimal | None
    impact_ask: Decimal | None
    has_book: bool
    method: str


class SampleWorker:
    """Takes the instants of the mark grid and writes a sample for each that is on the sampling grid."""

    def __init__(
        self,
        markets: Markets,
        marks: BatchWriter[MarkPrice],
        database: Database,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._markets = markets
        self._marks = marks
        self._database = database
        self._clock = clock
        self._waiting: deque[tuple[int, Mapping[str, Taken]]] = deque(maxlen=MAX_WAITING)
        self._offered = asyncio.Event()
        self._changed = asyncio.Condition()
        self._metrics = metrics.table("premium_samples")
        self._failing = False
        self.inserted = 0

    def offer(self, instant: int, taken: Mapping[str, Taken]) -> None:
        """Note an instant of the mark grid. A market that is not in ``taken`` gets no sample of it."""
        if instant % (SAMPLE_SECONDS * SECOND) == 0 and taken:
            self._waiting.append((instant, taken))
            self._offered.set()

    async def run(self) -> None:
        """Write samples until cancelled."""
        while True:
            await self._offered.wait()
            self._offered.clear()
            while self._waiting:
                instant, taken = self._waiting[0]
                await self._sample_patiently(instant, taken)
                # Only now: whoever asks meanwhile must see that it is not written yet.
                if self._waiting and self._waiting[0][0] == instant:
                    self._waiting.popleft()
                async with self._changed:
                    self._changed.notify_all()

    async def drained(self, before: int) -> None:
        """Wait until no instant before ``before`` (µs) is unwritten."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self._waiting or self._waiting[0][0] >= before)

    async def _sample_patiently(self, instant: int, taken: Mapping[str, Taken]) -> None:
        async for attempt in until_it_works(self._clock, DatabaseError, on_failure=self._failed, longest=5.0):
            with attempt:
                await self._sample(instant, taken)
        self._failing = False

    async def _sample(self, instant: int, taken: Mapping[str, Taken]) -> None:
        await self._marks.flushed()
        marks = await marks_at(self._database, self._markets.ids, instant)
        rows = [sample(symbol, instant, marks.get(symbol), each) for symbol, each in taken.items()]
        inserted = await insert_premium_samples(self._database, self._markets.ids, rows)
        self.inserted += inserted
        self._metrics.written.inc(inserted)
        self._metrics.duplicate.inc(len(rows) - inserted)

    def _failed(self, error: BaseException, wait: float) -> None:
        if not self._failing:
            log.warning("samples.failed", cause=str(error), retry_in=round(wait, 2))
        self._failing = True


def sample(market: str, instant: int, mark: StoredMark | None, taken: Taken) -> PremiumSample:
    """The sample of one market, from the mark that stands and the book at its instant.

    Without a fresh oracle the premium is unknown, and the status says why. The row names its mark where the
    premium is the mark's.
    """
    if mark is None:
        known = taken.freshness in (Freshness.FRESH, Freshness.STALE)
        return PremiumSample(market, instant, None, UNAVAILABLE if known else taken.freshness.value)
    fresh = mark.status == Freshness.FRESH.value
    inputs = SampleInputs(
        mark.index_price, mark.mark_price, taken.impact_bid, taken.impact_ask, taken.has_book
    )
    return PremiumSample(
        market=market,
        instant=instant,
        premium=methods.of(taken.method).premium(inputs) if fresh else None,
        status=USED if fresh else mark.status,
        index_price=mark.index_price,
        publish_time=mark.publish_time,
        slot=mark.slot,
        mark_instant=None if taken.has_book else mark.instant,
        impact_bid=taken.impact_bid if taken.has_book else None,
        impact_ask=taken.impact_ask if taken.has_book else None,
    )
