"""Marks on their grid: at every instant, from what is known at that instant, or none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal, localcontext
from typing import TYPE_CHECKING

import structlog

from quantdesk_oracle.model import SECOND, Freshness, MarkPrice, Severity, Taken
from quantdesk_oracle.pricing import methods
from quantdesk_oracle.pricing.averages import Mean
from quantdesk_oracle.pricing.book import Book, book_price, impact_price
from quantdesk_oracle.pricing.decimals import CONTEXT, quantise, scaled
from quantdesk_oracle.pricing.mark import MarkInputs
from quantdesk_oracle.pricing.methods import hyperliquid
from quantdesk_oracle.pricing.use import InUse

if TYPE_CHECKING:
    from quantdesk_oracle.clock import Clock
    from quantdesk_oracle.ops.metrics import Metrics
    from quantdesk_oracle.store.writer import BatchWriter
    from quantdesk_oracle.workers.books import BookReader
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
        books: BookReader,
        writer: BatchWriter[MarkPrice],
        journal: Journal,
        clock: Clock,
        metrics: Metrics,
        *,
        interval: int,
        may_write: Callable[[], bool],
        on_instant: Callable[[int, Mapping[str, Taken]], None],
    ) -> None:
        self._markets = markets
        self._books = books
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
            if await self._reached(instant):
                await self.tick(instant)
                instant += self._interval
                continue
            resumed = self._next_instant(self._clock.now())
            self._say_jumped(instant, resumed)
            instant = resumed

    async def _reached(self, instant: int) -> bool:
        """Wait for ``instant``; False where it is missed, or the clock turns out to have been set back."""
        while (left := instant - self._clock.now()) > 0:
            if left > self._interval + SECOND:
                return False
            await self._clock.sleep_until(instant - max(left - SECOND, 0))
        return -left <= MAX_LATENESS

    async def tick(self, instant: int) -> None:
        """Compute and queue the marks of ``instant`` (µs), and hand the sampler what it is to sample."""
        states = [state for state in self._markets if not state.has_left(instant)]
        in_use = {state.symbol: state.index.at(instant, self._markets.highest_slot) for state in states}
        for state in states:
            self._follow(state, in_use[state.symbol])
        books = await self._books.read(instant) if self._may_write() else None
        taken = {}
        for state in states:
            book = None if books is None or state.halted is not None else books.get(state.symbol)
            if book is None:
                state.mark_price = None
            else:
                taken[state.symbol] = self._take(state, in_use[state.symbol], book, instant)
        self._on_instant(instant, taken)

    def _take(self, state: MarketState, in_use: InUse, book: Book, instant: int) -> Taken:
        """Write a market's mark where its index is usable; what a sample of the same instant is made of."""
        mark = None
        state.mark_price = None
        if in_use.freshness in (Freshness.FRESH, Freshness.STALE):
            mark = mark_of(state, in_use, book, instant)
            state.mark_price = mark.mark_price
            self._writer.put(mark)
            self._measure(mark)
        parameters = state.parameters_at(instant)
        return Taken(
            freshness=in_use.freshness,
            impact_bid=impact_price(book.bids, parameters.impact_notional),
            impact_ask=impact_price(book.asks, parameters.impact_notional),
            has_book=not book.empty and not book.crossed,
            method=parameters.method,
            mark=mark,
        )

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

    def _say_jumped(self, expected: int, resumed: int) -> None:
        instants = max(resumed - expected, 0) // self._interval
        log.warning("marks.skipped", instants=instants, cause="the loop stood still, or the clock was set")
        self._journal.record(
            "marks.skipped",
            Severity.WARNING,
            instants=instants,
            first=expected // SECOND,
            resumed=resumed // SECOND,
        )


def mark_of(state: MarketState, in_use: InUse, book: Book, instant: int) -> MarkPrice:
    """The mark of a market whose index is usable at ``instant``; its averages move along."""
    update = in_use.update
    assert update is not None
    parameters = state.parameters_at(instant)
    method = methods.of(parameters.method)
    index = quantise(scaled(update.price, update.exponent))
    touch, last = book.touch, book.last_trade.price if book.last_trade else None
    votes = book_price(touch, last)
    basis = _basis(state, book, index, instant)
    mean = state.basis.mean(instant, method.BASIS_SECONDS)
    if method.AVERAGES:
        decays = (hyperliquid.BASIS_SECONDS, hyperliquid.BOOK_SECONDS)
        state.averages = state.averages.moved(instant, basis, votes, decays)
        mean = Mean(None, 0, state.averages.basis.value)
    inputs = MarkInputs(
        index_price=index,
        funding_rate=state.funding_rate,
        seconds_to_funding=Decimal(state.next_boundary(instant) - instant) / SECOND,
        funding_interval=parameters.interval,
        band=parameters.band,
        basis_mean=mean.mean,
        book_price=votes,
        last_trade=last,
        book_ema=state.averages.book.value if method.AVERAGES else None,
    )
    return MarkPrice(
        market=state.symbol,
        instant=instant,
        mark_price=method.mark(inputs),
        index_price=index,
        publish_time=update.publish_time,
        slot=update.slot,
        funding_rate=inputs.funding_rate,
        seconds_to_funding=inputs.seconds_to_funding,
        funding_interval=parameters.interval,
        method=parameters.method,
        parameter_version=parameters.version,
        status=in_use.freshness,
        best_bid=touch[0] if touch else None,
        best_ask=touch[1] if touch else None,
        last_trade_price=last,
        last_trade_at=book.last_trade.instant if book.last_trade else None,
        basis_sum=mean.sum,
        basis_count=mean.number,
        basis_mean=None if method.AVERAGES else mean.mean,
        ema_state=state.averages.as_json() if method.AVERAGES else None,
    )


def _basis(state: MarketState, book: Book, index: Decimal, instant: int) -> Decimal | None:
    """mid − index, taken into the market's window; None where no mid means anything."""
    if book.mid is None:
        return None
    with localcontext(CONTEXT):
        basis = book.mid - index
    state.basis.take(instant, basis)
    return basis
