"""Funding: every interval settled once, in order, a few seconds after its boundary or when the daemon is back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from quantdesk_oracle.errors import DatabaseError
from quantdesk_oracle.model import SECOND, FundingRate
from quantdesk_oracle.pricing.funding import SKIPPED
from quantdesk_oracle.pricing.settlement import Interval
from quantdesk_oracle.retry import until_it_works
from quantdesk_oracle.store.markets import MarketRow, read_markets
from quantdesk_oracle.store.settlement import BoundaryToComeError, first_unsettled, settle
from quantdesk_oracle.workers.parameters import current_parameters

if TYPE_CHECKING:
    from collections.abc import Callable

    from quantdesk_oracle.clock import Clock
    from quantdesk_oracle.ops.metrics import Metrics
    from quantdesk_oracle.store.database import Database
    from quantdesk_oracle.workers.samples import SampleWorker
    from quantdesk_oracle.workers.state import Markets, MarketState

log = structlog.get_logger("workers.funding")
CHECK_SECONDS = 1.0
FOLLOW_SECONDS = 5.0
"""How often the operator's columns are read: a halt shows within as long."""
ASK_AGAIN_SECONDS = 60.0
"""How long a market of which nothing was due is left alone, unless a boundary passes."""
HEALING_SECONDS = 600
"""How long an interval may wait for its boundary's gap to be healed; then it is skipped."""


class FundingWorker:
    """Settles all markets' intervals, those of a downtime first."""

    def __init__(
        self,
        markets: Markets,
        samples: SampleWorker,
        database: Database,
        clock: Clock,
        metrics: Metrics,
        *,
        settle_delay: int,
        late_after: int,
        may_write: Callable[[], bool],
        healed: Callable[[MarketState, int], bool],
        on_left: Callable[[MarketState], None] = lambda _state: None,
    ) -> None:
        """``healed`` says whether a market's prints up to a boundary (µs) are all there that can be had.

        ``on_left`` is told of a market that the settings no longer name, when its last interval is settled.
        """
        self._markets = markets
        self._samples = samples
        self._database = database
        self._clock = clock
        self._metrics = metrics
        self._settle_delay = settle_delay
        self._late_after = late_after
        self._may_write = may_write
        self._healed = healed
        self._on_left = on_left
        self._started = clock.now()
        self._followed = 0
        self._settled: dict[str, int] = {}
        self._nothing_due: dict[str, int] = {}
        """Markets without a settled boundary, and at which instant (µs) nothing of theirs was due."""
        self._failing = False
        self.inserted = 0

    async def run(self) -> None:
        """Settle whatever is due, until cancelled."""
        while True:
            if self._may_write():
                async for attempt in until_it_works(
                    self._clock, DatabaseError, on_failure=self._failed, longest=5.0
                ):
                    with attempt:
                        await self.settle_due()
                self._failing = False
            await self._clock.sleep(CHECK_SECONDS)

    async def settle_due(self) -> None:
        """Settle every interval whose boundary has passed, with the delay on top. Raises DatabaseError."""
        await self._follow_markets()
        due = self._clock.now() - self._settle_delay
        for state in self._markets:
            start = await self._from(state, due)
            # None where nothing was ever observed: then there is nothing to settle either.
            for boundary in () if start is None else state.boundaries_after(start, due):
                healed = self._healed(state, boundary)
                if not healed and self._waited(boundary) <= HEALING_SECONDS * SECOND:
                    break
                await self._samples.complete(boundary)
                try:
                    await self._settle(state, boundary, unhealed=not healed)
                except BoundaryToComeError as error:
                    log.info("funding.postponed", cause=str(error))
                    break
                self._settled[state.symbol] = boundary
                await self._reread(state)
            else:
                if state.has_left(due):
                    self._left(state)

    async def _from(self, state: MarketState, due: int) -> int | None:
        """After which instant the market's next unsettled boundary lies; None before its first sample."""
        if state.symbol in self._settled:
            return self._settled[state.symbol]
        if self._nothing_since(state, due):
            return None
        boundary, sample = await first_unsettled(self._database, state.id)
        if boundary is not None:
            self._settled[state.symbol] = boundary
            await self._reread(state)
            return boundary
        if sample is None or state.next_boundary(sample) > due:
            self._nothing_due[state.symbol] = due
        return sample

    def _nothing_since(self, state: MarketState, due: int) -> bool:
        """Whether it is known without asking, once a second for every market, that nothing has come due."""
        asked = self._nothing_due.get(state.symbol)
        if asked is None or not 0 <= due - asked < ASK_AGAIN_SECONDS * SECOND:
            return False
        return state.next_boundary(asked) > due

    def _waited(self, boundary: int) -> int:
        """How long this daemon could have read a boundary's prints, µs."""
        return self._clock.now() - max(boundary, self._started)

    async def _follow_markets(self) -> None:
        """Take over, every few seconds, what operators have written into the markets' rows."""
        now = self._clock.now()
        if abs(now - self._followed) < FOLLOW_SECONDS * SECOND:
            return
        rows = await read_markets(self._database, [state.symbol for state in self._markets])
        for state in self._markets:
            if (row := rows.get(state.symbol)) is not None:
                await self._take_over(state, row)
        self._followed = now

    async def _settle(self, state: MarketState, boundary: int, *, unhealed: bool) -> None:
        # Parameters of the interval, which ends at the boundary: those in force just before it.
        parameters = state.parameters_at(boundary - 1)
        interval = Interval(state.symbol, boundary, parameters)
        rate = await settle(
            self._database,
            state.id,
            interval,
            dead_after=state.market.use.stale,
            late_after=self._late_after,
            unhealed=unhealed,
        )
        if rate is not None:
            self.inserted += 1
            self._say(rate)

    def _left(self, state: MarketState) -> None:
        self._settled.pop(state.symbol, None)
        self._nothing_due.pop(state.symbol, None)
        self._on_left(state)

    def _say(self, rate: FundingRate) -> None:
        metrics = self._metrics.market(rate.market)
        if rate.status == SKIPPED:
            metrics.funding_skipped.inc()
        self._metrics.table("funding_rates").written.inc()
        log.info(
            "funding.settled",
            market=rate.market,
            boundary=rate.boundary // SECOND,
            rate=f"{rate.funding_rate:f}",
            status=rate.status,
            reason=rate.reason,
        )

    async def _reread(self, state: MarketState) -> None:
        """Take over the newest rate, and the operator's wishes for the intervals to come."""
        rows = await read_markets(self._database, [state.symbol])
        if (row := rows.get(state.symbol)) is not None:
            await self._take_over(state, row, settled=True)

    async def _take_over(self, state: MarketState, row: MarketRow, *, settled: bool = False) -> None:
        if state.halted != row.halted:
            log.warning(
                "market.halted" if row.halted else "market.resumed", market=row.symbol, reason=row.halted
            )
        before = state.row
        state.refresh(row)
        metrics = self._metrics.market(state.symbol)
        metrics.funding_rate.set(float(row.funding_rate))
        if row.last_funding is not None:
            metrics.funding_last_boundary.set(row.last_funding / SECOND)
        # After a settlement always: another daemon may have recorded a version.
        if settled or not row.wishes_as(before) or state.market is not state.asked_with:
            state.versions = await current_parameters(self._database, row, state.market, self._clock.now())
            state.asked_with = state.market

    def _failed(self, error: BaseException, wait: float) -> None:
        if not self._failing:
            log.warning("funding.failed", cause=str(error), retry_in=round(wait, 2))
        self._failing = True
