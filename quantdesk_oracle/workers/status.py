"""What the daemon says of itself: one snapshot a second, read by HTTP threads, the terminal and systemd."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from quantdesk_oracle.model import SECOND, Freshness
from quantdesk_oracle.ops.readiness import NotReady, Readiness, code_of
from quantdesk_oracle.pricing.acceptance import is_wide
from quantdesk_oracle.pricing.decimals import scaled
from quantdesk_oracle.pricing.quarantine import Agreement
from quantdesk_oracle.pricing.use import age_of
from quantdesk_oracle.workers.recent import Recent

if TYPE_CHECKING:
    from quantdesk_oracle.clock import Clock
    from quantdesk_oracle.errors import DatabaseError
    from quantdesk_oracle.ops.heartbeat import Heartbeat
    from quantdesk_oracle.sources.polling import Poller
    from quantdesk_oracle.sources.subscription import Subscription
    from quantdesk_oracle.workers.clock_guard import ClockGuard
    from quantdesk_oracle.workers.ingest import Ingest
    from quantdesk_oracle.workers.state import Markets, MarketState

_EIGHT_HOURS = 8 * 3_600
_SILENT_AFTER = 60
"""Seconds after which a second source that publishes every second says nothing any more."""
_SERVED = (Freshness.FRESH, Freshness.STALE)
PERIOD, FIRST_PERIOD = 1.0, 0.1
"""Seconds between two snapshots: as a rule, and while a start is waited for."""
TURN, PAUSE = 20, 0.005
"""Markets looked at in one go, about a millisecond's work, and seconds of others' work between two goes."""


@dataclass(frozen=True, slots=True)
class FundingEstimate:
    """What the running interval would be settled with if no more samples came (pricing.settlement.Estimate)."""

    at: float
    """When it was made, Unix seconds."""
    boundary: int
    """The interval's end, Unix seconds."""
    rate: Decimal | None
    """A fraction per interval; None where nothing of it is observable any more."""
    premium: Decimal | None
    """P so far, a fraction."""
    used: int
    unusable: int
    expected: int
    """Samples: with a premium, without an oracle, of the whole interval."""


@dataclass(frozen=True, slots=True)
class MarketStatus:
    """One market at the moment of a snapshot. Prices in quote units, ages and times in seconds."""

    market: str
    freshness: Freshness
    price: Decimal | None
    confidence: Decimal | None
    age: float | None
    publish_time: int | None
    slot: int | None
    feed: str | None
    mark_price: Decimal | None
    funding_rate: Decimal
    next_funding: float
    rejected: str | None
    """Why the newest delivery of any of its feeds was rejected."""
    fresh_limit: float
    """Up to this age a print is fresh; up to the next one stale, beyond dead."""
    stale_limit: float
    last_funding: int | None
    """Boundary of the newest settled rate, Unix seconds."""
    funding_interval: int
    funding_cap: Decimal
    """What the parameters in force allow, a fraction per interval."""
    halted: str | None
    """Why an operator has halted it; None where nobody has."""
    wide: bool = False
    """Whether its newest print is less sure than its storage limits call well."""
    leaves_at: int | None = None
    """Unix seconds: the boundary at which a market leaves that the settings no longer name; None: it stays."""
    funding_estimate: FundingEstimate | None = None
    """Of the interval that runs; None before the first of it has been made."""
    second_source: Agreement | None = None
    """What the second source said of the newest print that it knew something of; None where there is none."""
    second_source_age: float | None = None
    """Seconds since the second source's own newest print was published."""


class Status:
    """The daemon's own view of its health; implements ops.health.Probe."""

    def __init__(
        self,
        markets: Markets,
        ingest: Ingest,
        clock_guard: ClockGuard,
        heartbeat: Heartbeat,
        clock: Clock,
        poller: Poller,
        subscription: Subscription,
    ) -> None:
        self._markets = markets
        self._ingest = ingest
        self._clock_guard = clock_guard
        self._heartbeat = heartbeat
        self._clock = clock
        self._poller = poller
        self._subscription = subscription
        self.numbers: Callable[[], dict[str, Any]] = dict
        """What has been done so far."""
        self.about: dict[str, Any] = {}
        """What does not change: version, instance, start."""
        self.more: dict[str, Callable[[], Any]] = {}
        """Further members of the snapshot, by name: whatever a part has to say of itself."""
        self.on_market: Callable[[MarketStatus], None] = lambda _market: None
        """Told of each market in its turn."""
        self.on_refresh: Callable[[Readiness, float], None] = lambda _readiness, _difference: None
        """Told of each snapshot: readiness, clock difference in seconds."""
        self._recent: dict[str, Recent] = {}
        self.book_trouble: Callable[[], str | None] = lambda: None
        """Why the order books could not be read last; None where they could."""
        self.hermes_trouble: Callable[[], tuple[str, str] | None] = lambda: None
        """Kind and cause where there is no stream from Hermes; None where there is one, or none is wanted."""
        self.websocket_trouble: Callable[[], str | None] = lambda: None
        """Why no subscription stands; None where one does."""
        self.disk_trouble: Callable[[], str | None] = lambda: None
        """What is the matter with the disk of the state directory; None where nothing is."""
        self.database_trouble: DatabaseError | None = None
        """What the database said last; None where all is well."""
        self._readiness = Readiness.of((NotReady("starting", None, "The daemon has only just started."),))
        self._status: dict[str, Any] = {}

    async def run(self) -> None:
        """Take a snapshot a second, more often until the first that is ready; until cancelled."""
        wait = FIRST_PERIOD
        while True:
            await self.refresh()
            if self._readiness.ready:
                wait = PERIOD
            await self._clock.sleep(wait)

    async def refresh(self) -> None:
        """Take a snapshot, a few markets a turn: two thousand at once would stop the loop for tenths of a second."""
        markets: list[MarketStatus] = []
        refused = self._ingest.feeds
        for number, state in enumerate(self._markets):
            if number and number % TURN == 0:
                await self._clock.sleep(PAUSE)
            market = self._market(state, refused)
            recent = self._recent.setdefault(state.symbol, Recent())
            recent.note(state, market.price, market.confidence, market.freshness)
            self.on_market(market)
            markets.append(market)
        self._recent = {market.market: self._recent[market.market] for market in markets}
        self._readiness = Readiness.of(tuple(self._reasons(markets)), tuple(self._warnings(markets)))
        difference = self._clock_guard.difference / SECOND
        self.on_refresh(self._readiness, difference)
        self._status = {
            **self.about,
            "now": self._clock.now() / SECOND,
            "ready": self._readiness.ready,
            "reasons": self._readiness.reasons,
            "warnings": self._readiness.warnings,
            "markets": markets,
            "slot": self._markets.highest_slot,
            "subscription": {"connected": self._subscription.connected},
            "polling": {"failing": self._poller.failing},
            "database": {"trouble": str(self.database_trouble) if self.database_trouble else None},
            "clock_difference": difference,
            **{name: tell() for name, tell in self.more.items()},
            **self.numbers(),
        }

    def markets(self) -> list[MarketStatus]:
        """Every market now."""
        refused = self._ingest.feeds
        return [self._market(state, refused) for state in self._markets]

    def heartbeat_age(self) -> float:
        return self._heartbeat.age()

    def readiness(self) -> Readiness:
        return self._readiness

    def status(self) -> dict[str, Any]:
        return self._status

    def charts(self) -> dict[str, Any]:
        # Put together for those who ask: some 10 kB a market.
        past = {symbol: state.past for symbol, state in self._markets.by_symbol.items()}
        return {
            symbol: {**recent.shown(), **past[symbol].shown()}
            for symbol, recent in self._recent.items()
            if symbol in past
        }

    def _market(self, state: MarketState, refused: Mapping[str, str | None]) -> MarketStatus:
        now, slot = self._clock.now(), self._markets.highest_slot
        in_use = state.index.look(now, slot)
        update = in_use.update
        parameters = state.parameters_at(now)
        names = [feed.name for feed in state.market.feeds]
        refusals = [reason for name in names if (reason := refused.get(name))]
        return MarketStatus(
            market=state.symbol,
            freshness=in_use.freshness,
            price=scaled(update.price, update.exponent) if update else None,
            confidence=scaled(update.confidence, update.exponent) if update else None,
            age=age_of(update, now, slot, state.market.use) / SECOND if update else None,
            publish_time=update.publish_time if update else None,
            slot=update.slot if update else None,
            wide=update is not None and is_wide(update, state.market.storage),
            feed=names[in_use.feed] if update else None,
            mark_price=state.mark_price,
            funding_rate=state.funding_rate,
            next_funding=(state.next_boundary(now) - now) / SECOND,
            rejected=", ".join(sorted(set(refusals))) or None,
            fresh_limit=state.market.use.fresh / SECOND,
            stale_limit=state.market.use.stale / SECOND,
            last_funding=None if state.last_funding is None else state.last_funding // SECOND,
            funding_interval=parameters.interval,
            funding_cap=min(parameters.max_rate, parameters.cap * parameters.interval / _EIGHT_HOURS),
            leaves_at=None if state.leaves_at is None else state.leaves_at // SECOND,
            funding_estimate=_estimate(state, now),
            halted=state.halted,
            **self._second_source(state, now),
        )

    def _second_source(self, state: MarketState, now: int) -> dict[str, Any]:
        if state.symbol not in self._ingest.compared:
            return {}
        heard = state.second_source.heard
        age = None if heard is None else max(now / SECOND - heard.publish_time, 0.0)
        silent = age is None or age > _SILENT_AFTER
        opinion = Agreement.SILENT if silent else state.second_source.opinion
        return {"second_source": opinion, "second_source_age": age}

    def _reasons(self, markets: list[MarketStatus]) -> list[NotReady]:
        reasons = [self._why_no_mark(market) for market in markets if market.freshness not in _SERVED]
        if (cause := self.book_trouble()) is not None:
            sentence = f"No market has marks: the order books cannot be read ({cause})."
            reasons.append(NotReady("book_unreadable", None, sentence))
        if self.database_trouble is not None:
            code = code_of("database", getattr(self.database_trouble, "kind", None))
            reasons.append(NotReady(code, None, f"The database refuses: {self.database_trouble}"))
        if not self._clock_guard.agrees:
            seconds = self._clock_guard.difference / SECOND
            sentence = (
                f"This machine's clock and the database's differ by {seconds:.3f} s: set the clock (NTP)."
            )
            reasons.append(NotReady("clock_skewed", None, sentence, {"difference_seconds": seconds}))
        on_hermes = self._on_hermes()
        if on_hermes and (trouble := self.hermes_trouble()) is not None:
            sentence = f"Hermes, which {on_hermes} takes its prices from, does not serve: {trouble[1]}"
            reasons.append(NotReady(code_of("hermes", trouble[0]), None, sentence))
        if self._poller.failing is not None:
            code = code_of("node", self._poller.failing_kind)
            reasons.append(NotReady(code, None, f"The Solana node does not serve: {self._poller.failing}"))
        return reasons

    def _warnings(self, markets: list[MarketStatus]) -> list[NotReady]:
        warnings = [_unsure(market) for market in markets if market.wide and market.freshness in _SERVED]
        if (trouble := self.websocket_trouble()) is not None:
            sentence = (
                f"No websocket stands, so that prices come by polling alone, later and dearer: {trouble}"
            )
            warnings.append(NotReady("websocket_down", None, sentence))
        if not self._on_hermes() and (silent := self.hermes_trouble()) is not None:
            sentence = f"Hermes, the second source, does not serve: {silent[1]}"
            warnings.append(NotReady(code_of("hermes", silent[0]), None, sentence))
        if (full := self.disk_trouble()) is not None:
            sentence = f"There is no room for rows that wait for the database: {full}."
            warnings.append(NotReady("disk_full", None, sentence))
        return warnings

    def _on_hermes(self) -> str:
        """The markets that live on Hermes, by name; empty where none does."""
        return ", ".join(state.symbol for state in self._markets if state.market.on_hermes)

    def _why_no_mark(self, market: MarketStatus) -> NotReady:
        details = {
            "age_seconds": market.age,
            "publish_time": market.publish_time,
            "rejected": market.rejected,
        }
        because = f" Its account is refused: {market.rejected}." if market.rejected else ""
        if market.freshness is Freshness.DEAD:
            sentence = f"{market.market} has no mark: its newest print is {market.age:.0f} s old.{because}"
        elif market.publish_time is None:
            sentence = f"{market.market} has no mark: no usable print has been received.{because}"
        else:
            sentence = (
                f"{market.market} has no mark yet: its feed is not proven since its last outage.{because}"
            )
        return NotReady(f"oracle_{market.freshness.value}", market.market, sentence, details)


def _unsure(market: MarketStatus) -> NotReady:
    assert market.price
    assert market.confidence is not None
    ratio = market.confidence / market.price
    sentence = (
        f"The oracle is unsure of {market.market}: its confidence interval is {ratio * 10_000:.0f} bp of the price. "
        "Its marks go on."
    )
    return NotReady("oracle_wide", market.market, sentence, {"confidence_ratio": ratio})


def _estimate(state: MarketState, now: int) -> FundingEstimate | None:
    made = state.estimate
    if made is None or made.boundary <= now:
        return None
    average = made.average
    return FundingEstimate(
        made.at / SECOND,
        made.boundary // SECOND,
        made.rate,
        average.premium,
        average.used,
        average.unusable,
        average.expected,
    )
