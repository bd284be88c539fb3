"""What the workers share of each market: its settings, its index, its parameters and its newest funding."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from quantdesk_oracle.config import Feed, Market
from quantdesk_oracle.model import SECOND, Freshness
from quantdesk_oracle.pricing.acceptance import StorageLimits
from quantdesk_oracle.pricing.averages import Averages, Window
from quantdesk_oracle.pricing.funding import FundingParameters, next_boundary
from quantdesk_oracle.pricing.quarantine import SecondOpinion
from quantdesk_oracle.pricing.settlement import Estimate
from quantdesk_oracle.pricing.use import IndexUse, UseLimits
from quantdesk_oracle.store.gaps import FeedKey
from quantdesk_oracle.store.markets import MarketRow, ParameterVersion
from quantdesk_oracle.workers.past import Past


class Change(NamedTuple):
    """A threshold that has changed: of which market, which one, from what to what."""

    market: str
    threshold: str
    before: object
    now: object


class _Band(NamedTuple):
    mark_band: Decimal


Thresholds = StorageLimits | UseLimits | _Band


def _changes(market: str, before: Thresholds, now: Thresholds) -> list[Change]:
    """What differs; ``before`` and ``now`` are of one kind."""
    return [
        Change(market, name, old, new)
        for name, old, new in zip(before._fields, before, now, strict=True)
        if old != new
    ]


class MarketState:
    """One market while the daemon runs."""

    def __init__(self, market: Market, row: MarketRow, versions: Sequence[ParameterVersion]) -> None:
        self.market = market
        self.symbol = market.symbol
        self.id: UUID = row.id
        self.index = IndexUse(len(market.feeds), market.use)
        self.versions = list(versions)
        self.funding_rate: Decimal = row.funding_rate
        """F_last: the newest settled rate."""
        self.last_funding = row.last_funding
        """Its boundary, µs."""
        self.row = row
        """As the table had it last."""
        self.asked_with = market
        """The settings that ``versions`` were read with."""
        self.halted = row.halted
        """Why there are neither marks nor samples; None where there are."""
        self.leaves_at: int | None = None
        """The boundary (µs) that ends the last interval of a market that the settings no longer name."""
        self.mark_price: Decimal | None = None
        self.estimate: Estimate | None = None
        """Of the interval that runs, as of its own instant; None before the first."""
        self.past = Past()
        self.freshness = Freshness.UNPROVEN
        self.second_source = SecondOpinion()
        """Whoever reads a second source lets it hear its prints."""
        self.basis = Window()
        self.averages = Averages()

    def has_left(self, instant: int) -> bool:
        """Whether the market, gone from the settings, is through with its last interval at ``instant`` (µs)."""
        return self.leaves_at is not None and instant >= self.leaves_at

    def take_over(self, market: Market) -> list[Change]:
        """Go by the thresholds of ``market``, the same one as it stands in new settings; what that changes."""
        kept = self.market
        self.market = replace(kept, storage=market.storage, use=market.use, mark_band=market.mark_band)
        self.index.limit(market.use)
        return [
            *_changes(self.symbol, kept.storage, market.storage),
            *_changes(self.symbol, kept.use, market.use),
            *_changes(self.symbol, _Band(kept.mark_band), _Band(market.mark_band)),
        ]

    def refresh(self, row: MarketRow) -> None:
        """Take over what the table says of the newest funding."""
        self.row = row
        self.funding_rate = row.funding_rate
        self.last_funding = row.last_funding
        self.halted = row.halted

    def parameters_at(self, instant: int) -> FundingParameters:
        """The version in force at ``instant`` (µs)."""
        for version in reversed(self.versions):
            if version.in_force_from <= instant:
                return version.parameters
        return self.versions[0].parameters

    def next_boundary(self, instant: int) -> int:
        """The first funding boundary after ``instant``, µs."""
        return next_boundary(instant, self.parameters_at(instant).interval)

    def boundaries_after(self, instant: int, until: int) -> Iterator[int]:
        """The boundaries after ``instant`` up to and with ``until``, in order, µs."""
        boundary = self.next_boundary(instant)
        while boundary <= until:
            yield boundary
            boundary = self.next_boundary(boundary)


class Markets:
    """All markets of the daemon, and the highest slot that any node has told of.

    Whoever goes through them sees those that were there when it began, also across waits.
    """

    def __init__(self, states: Iterable[MarketState]) -> None:
        self.by_symbol: Mapping[str, MarketState] = {}
        self.ids: dict[str, UUID] = {}
        """Symbol to key in the database; also of markets that have left, whose last rows may be on their way."""
        self.feeds: Mapping[FeedKey, Feed] = {}
        """Every feed of every market."""
        self.highest_slot = 0
        self.first_slot = 0
        """The first one that was told of: of what came later, something may have been missed."""
        self.slot_heard_at = 0
        """When a slot was heard last, µs."""
        self._hold({state.symbol: state for state in states})

    def __iter__(self) -> Iterator[MarketState]:
        return iter(self.by_symbol.values())

    def add(self, states: Iterable[MarketState]) -> None:
        """Have these too."""
        self._hold({**self.by_symbol, **{state.symbol: state for state in states}})

    def remove(self, symbol: str) -> None:
        """Have this one no longer."""
        self._hold({each: state for each, state in self.by_symbol.items() if each != symbol})

    def _hold(self, by_symbol: dict[str, MarketState]) -> None:
        self.by_symbol = by_symbol
        self.ids.update({state.symbol: state.id for state in self})
        self.feeds = {
            FeedKey(state.symbol, feed.pubkey): feed for state in self for feed in state.market.feeds
        }


def in_force_from(now: int, old_interval: int, new_interval: int) -> int:
    """When new parameters begin (µs): the next instant that is a boundary of the old interval and the new one."""
    boundary = next_boundary(now, old_interval)
    while boundary % (new_interval * SECOND):
        boundary += old_interval * SECOND
    return boundary
