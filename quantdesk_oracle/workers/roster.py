"""Which markets the daemon has, while it runs: new ones come at once, those that are gone settle and leave."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

import structlog

from quantdesk_oracle.model import SECOND, Severity
from quantdesk_oracle.workers.ingest import second_source_name

if TYPE_CHECKING:
    from quantdesk_oracle.clock import Clock
    from quantdesk_oracle.config import Market
    from quantdesk_oracle.ops.metrics import Metrics
    from quantdesk_oracle.workers.ingest import Ingest
    from quantdesk_oracle.workers.journal import Journal
    from quantdesk_oracle.workers.state import Markets, MarketState

log = structlog.get_logger("workers.roster")


class Watch(Protocol):
    """Who knows how far a market's feeds were watched."""

    def forget(self, market: str) -> None:
        """A market has left."""


class Roster:
    """Follows the markets of newer settings."""

    def __init__(
        self,
        markets: Markets,
        ingest: Ingest,
        watches: Sequence[Watch],
        metrics: Metrics,
        journal: Journal,
        clock: Clock,
        *,
        on_accounts: Callable[[], None],
    ) -> None:
        """``on_accounts`` is told when other accounts are to be watched."""
        self._markets = markets
        self._ingest = ingest
        self._watches = tuple(watches)
        self._metrics = metrics
        self._journal = journal
        self._clock = clock
        self._on_accounts = on_accounts

    def new(self, wished: Sequence[Market]) -> tuple[Market, ...]:
        """The markets of ``wished`` that the daemon has not."""
        return tuple(market for market in wished if market.symbol not in self._markets.by_symbol)

    def admit(self, states: Sequence[MarketState]) -> None:
        """Have these markets from now on."""
        if not states:
            return
        self._markets.add(states)
        for state in states:
            self._ingest.add(state)
            self._tell("market.added", state)
        self._on_accounts()

    def follow(self, wished: Sequence[Market]) -> None:
        """Let those go that ``wished`` has not, each at its running interval's end; keep those that it has again."""
        symbols = {market.symbol for market in wished}
        for state in self._markets:
            if state.symbol in symbols and state.leaves_at is not None:
                state.leaves_at = None
                self._tell("market.kept", state)
            elif state.symbol not in symbols and state.leaves_at is None:
                state.leaves_at = state.next_boundary(self._clock.now())
                self._tell("market.leaving", state, at=state.leaves_at // SECOND)

    def left(self, state: MarketState) -> None:
        """Have this market no longer: its last interval is settled."""
        feeds = [feed.name for feed in state.market.feeds]
        self._markets.remove(state.symbol)
        self._ingest.remove(state.symbol)
        for watch in self._watches:
            watch.forget(state.symbol)
        self._metrics.forget(state.symbol, (*feeds, second_source_name(state.symbol)))
        self._on_accounts()
        self._tell("market.removed", state)

    def _tell(self, event: str, state: MarketState, **details: int) -> None:
        log.info(event, market=state.symbol, **details)
        self._journal.record(event, Severity.INFO, market=state.symbol, **details)
