"""Which stored print may be used as the index, and how fresh it is.

Each feed of a market is a small state machine; `now` and the chain's highest slot are handed in.

              three accepted prints, or one fresh one read twice
    unproven ────────────────────────────────────────────────────► fresh ◄──► stale
        ▲                                                             │         │
        └─────────────────────────────── dead ◄───────────────────────┴─────────┘
                 a print arrives

A market uses, of its feeds' generations, the newest one that is fresh, and never goes back in time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from quantdesk_oracle.model import SECOND, Freshness, PriceUpdate

_REMEMBERED = 16
"""Prints a feed remembers, so that an instant of a few seconds ago can still be told what was known at it."""


class UseLimits(NamedTuple):
    """One market's limits of use."""

    fresh: int = 75 * SECOND
    """µs."""
    stale: int = 180 * SECOND
    """µs; beyond it a print is dead."""
    slot_time: int = 400_000
    """µs a slot: the chain's own clock."""
    proof_prints: int = 3
    legacy_slots: int = 25
    """Slots after which a legacy aggregate is no longer *trading* to its own client library."""


class InUse(NamedTuple):
    """What a market's index is at some instant; ``update`` is None where there has never been a print."""

    freshness: Freshness
    update: PriceUpdate | None
    feed: int
    """Which of the market's feeds, by position."""


class _Known(NamedTuple):
    since: int
    update: PriceUpdate


def age_of(update: PriceUpdate, now: int, highest_slot: int, limits: UseLimits) -> int:
    """How old a print is in µs: by the clock or by the chain, whichever is worse; never below 0."""
    by_clock = now - update.publish_time * SECOND
    by_chain = (highest_slot - update.slot) * limits.slot_time
    return max(by_clock, by_chain, 0)


def freshness_of(update: PriceUpdate, now: int, highest_slot: int, limits: UseLimits) -> Freshness:
    """Fresh, stale or dead; proof is another matter."""
    if update.legacy and highest_slot - update.slot > limits.legacy_slots:
        return Freshness.DEAD
    age = age_of(update, now, highest_slot, limits)
    if age <= limits.fresh:
        return Freshness.FRESH
    return Freshness.STALE if age <= limits.stale else Freshness.DEAD


class FeedUse:
    """One feed's newest usable prints and whether the feed has been proven since its last outage."""

    def __init__(self, limits: UseLimits) -> None:
        self._limits = limits
        self._known: deque[_Known] = deque(maxlen=_REMEMBERED)
        self._seen_since_outage = 0
        self._proven = False

    def limit(self, limits: UseLimits) -> None:
        """Judge by ``limits`` from now on; what has been proven stays so."""
        self._limits = limits

    def accept(self, update: PriceUpdate, now: int, highest_slot: int) -> None:
        """Take note of an accepted print; one that is not newer than the newest known changes nothing."""
        newest = self._known[-1].update if self._known else None
        if newest is not None:
            if update.identity <= newest.identity:
                return
            if freshness_of(newest, now, highest_slot, self._limits) is Freshness.DEAD:
                self._lose_proof()
        self._known.append(_Known(now, update))
        self._seen_since_outage += 1
        if self._seen_since_outage >= self._limits.proof_prints:
            self._proven = True

    def confirm(self, update: PriceUpdate, now: int, highest_slot: int) -> None:
        """Take note that a second read of the account holds the newest print still."""
        if not self._known or self._known[-1].update.identity != update.identity:
            return
        if freshness_of(update, now, highest_slot, self._limits) is Freshness.FRESH:
            self._proven = True

    def at(self, instant: int, highest_slot: int) -> tuple[Freshness, PriceUpdate | None]:
        """The newest print known at ``instant`` (µs, not in the past by more than seconds)."""
        update = next((known.update for known in reversed(self._known) if known.since <= instant), None)
        if update is None:
            return Freshness.UNPROVEN, None
        freshness = freshness_of(update, instant, highest_slot, self._limits)
        if freshness is Freshness.DEAD:
            if update is self._known[-1].update:
                self._lose_proof()
            return Freshness.DEAD, update
        return (freshness if self._proven else Freshness.UNPROVEN), update

    def _lose_proof(self) -> None:
        self._seen_since_outage = 0
        self._proven = False


_USABLE = (Freshness.FRESH, Freshness.STALE)
_RANK = {Freshness.FRESH: 0, Freshness.STALE: 1, Freshness.UNPROVEN: 2, Freshness.DEAD: 3}


class IndexUse:
    """One market's index: its feeds, newest generation first, and the print in use."""

    def __init__(self, feeds: int, limits: UseLimits) -> None:
        self._limits = limits
        self.feeds: Sequence[FeedUse] = tuple(FeedUse(limits) for _ in range(feeds))
        self._last: InUse | None = None

    def limit(self, limits: UseLimits) -> None:
        """Judge by ``limits`` from now on."""
        self._limits = limits
        for feed in self.feeds:
            feed.limit(limits)

    def at(self, instant: int, highest_slot: int) -> InUse:
        """The index at ``instant``, to be used: no later instant is answered with an older print."""
        in_use = self.look(instant, highest_slot)
        if in_use.freshness in _USABLE:
            self._last = in_use
        return in_use

    def look(self, instant: int, highest_slot: int) -> InUse:
        """The freshest state of any feed at ``instant``, of equals the newest generation; nothing is noted."""
        options = [
            InUse(*feed.at(instant, highest_slot), position) for position, feed in enumerate(self.feeds)
        ]
        best = min(options, key=lambda option: _RANK[option.freshness])
        last = self._last
        if best.freshness not in _USABLE or best.update is None or last is None or last.update is None:
            return best
        if best.update.identity < last.update.identity:
            # Another generation was ahead when this one became fresh again: keep to the newer print.
            kept = freshness_of(last.update, instant, highest_slot, self._limits)
            if kept in _USABLE:
                return InUse(kept, last.update, last.feed)
        return best
