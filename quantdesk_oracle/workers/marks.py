"""Marks on their grid: at every instant, from what is known at that instant, or none."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING

import structlog

from quantdesk_oracle.model import SECOND, Freshness, MarkPrice, Severity
from quantdesk_oracle.pricing.decimals import quantise, scaled
from quantdesk_oracle.pricing.mark import MarkInputs, mark_price
from quantdesk_oracle.pricing.use import InUse

if TYPE_CHECKING:
    from quantdesk_oracle.clock import Clock
    from quantdesk_oracle.ops.metrics import Metrics
    from quantdesk_oracle.store.writer import BatchWriter
    from quantdesk_oracle.workers.journal import Journal
    from quantdesk_oracle.workers.state import Markets, MarketState

log = structlog.get_logger("workers.marks")
MAX_LATENESS = 3 * SECOND
"""How late an instant may still be computed (µs): what was known at it is remembered for as long."""
_EVENTS = {
    Freshness.STALE: ("feed.stale", Severity.WARNING),
    Freshness.DEAD: ("feed.dead", Severity.ERROR),
    Freshness.FRESH: ("feed.recovered", Severity.INFO),
}


class MarkWorker:
    """Computes all markets' marks at each instant of the grid, and says when a feed's state changes."""

    def __init__(
        self,
        markets: Markets,
        writer: BatchWriter[MarkPrice],
        journal: Journal,
        clock: Clock,
        metrics: Metrics,
        *,
        interval: int,
        may_write: Callable[[], bool],
        on_instant: Callable[[int], None],
    ) -> None:
        self._markets = markets
        self._writer = writer
        self._journal = journal
        self._clock = clock
        self._metrics = metrics
        self._interval = interval
        self._may_write = may_write
        self._on_instant = on_instant

    async def run(self) -> None:
        """Tick until cancelled."""
        instant = self._next_instant(self._clock.now())
        while True:
            await self._clock.sleep_until(instant)
            self.tick(instant)
            instant += self._interval
            now = self._clock.now()
            if now - instant > MAX_LATENESS:
                resumed = self._next_instant(now)
                self._say_skipped(instant, resumed)
                instant = resumed

    def tick(self, instant: int) -> None:
        """Compute and queue the marks of ``instant`` (µs)."""
        for state in self._markets:
            in_use = state.index.at(instant, self._markets.highest_slot)
            self._follow(state, in_use)
            if in_use.freshness in (Freshness.FRESH, Freshness.STALE) and self._may_write():
                mark = mark_of(state, in_use, instant)
                state.mark_price = mark.mark_price
                self._writer.put(mark)
                self._measure(mark)
            else:
                state.mark_price = None
        self._on_instant(instant)

    def _next_instant(self, now: int) -> int:
        return (now // self._interval + 1) * self._interval

    def _follow(self, state: MarketState, in_use: InUse) -> None:
        """Tell of a change of the market's freshness."""
        before, state.freshness = state.freshness, in_use.freshness
        if before is in_use.freshness:
            return
        for position, feed in enumerate(state.market.feeds):
            freshness = in_use.freshness if position == in_use.feed else Freshness.UNPROVEN
            self._metrics.feed(feed.name).state.set(freshness)
        log.info("feed.changed", market=state.symbol, before=before.value, now=in_use.freshness.value)
        if in_use.freshness in _EVENTS:
            type_, severity = _EVENTS[in_use.freshness]
            self._journal.record(
                type_,
                severity,
                market=state.symbol,
                before=before.value,
                feed=state.market.feeds[in_use.feed].name,
                publish_time=in_use.update.publish_time if in_use.update else None,
            )

    def _measure(self, mark: MarkPrice) -> None:
        metrics = self._metrics.market(mark.market)
        metrics.mark_price.set(float(mark.mark_price))
        metrics.mark_index_ratio.set(float(mark.mark_price / mark.index_price - 1))

    def _say_skipped(self, first: int, resumed: int) -> None:
        instants = (resumed - first) // self._interval
        log.warning("marks.skipped", instants=instants, cause="the loop or the clock jumped")
        self._journal.record(
            "marks.skipped",
            Severity.WARNING,
            instants=instants,
            first=first // SECOND,
            resumed=resumed // SECOND,
        )


def mark_of(state: MarketState, in_use: InUse, instant: int) -> MarkPrice:
    """The mark of a market whose index is usable at ``instant``."""
    update = in_use.update
    assert update is not None
    parameters = state.parameters_at(instant)
    index = quantise(scaled(update.price, update.exponent))
    seconds = Decimal(state.next_boundary(instant) - instant) / SECOND
    inputs = MarkInputs(index, state.funding_rate, seconds, parameters.interval, state.market.mark_band)
    return MarkPrice(
        market=state.symbol,
        instant=instant,
        mark_price=mark_price(inputs),
        index_price=index,
        publish_time=update.publish_time,
        slot=update.slot,
        funding_rate=state.funding_rate,
        seconds_to_funding=seconds,
        funding_interval=parameters.interval,
        method=parameters.method,
        parameter_version=parameters.version,
        status=in_use.freshness,
    )
