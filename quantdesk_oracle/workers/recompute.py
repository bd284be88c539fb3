"""Settling, on request, boundaries that have no rate: from what is stored, as the daemon would, and nothing made up."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from quantdesk_oracle.model import SECOND
from quantdesk_oracle.pricing.settlement import Interval
from quantdesk_oracle.store.gaps import unfinished_gaps
from quantdesk_oracle.store.settlement import first_observed, has_rate, settle
from quantdesk_oracle.workers.funding import HEALING_SECONDS

if TYPE_CHECKING:
    from quantdesk_oracle.store.database import Database
    from quantdesk_oracle.workers.state import MarketState


@dataclass(slots=True)
class Recomputed:
    """What settling one market's missing boundaries came to."""

    market: str
    settled: Counter[str] = field(default_factory=Counter)
    """Rows by status; of a dry run, how many are `missing`."""
    already_there: int = 0
    note: str | None = None


async def settle_missing(
    database: Database,
    state: MarketState,
    start: int,
    end: int,
    *,
    now: int,
    settle_delay: int,
    late_after: int,
    dry_run: bool,
) -> Recomputed:
    """Settle each boundary of [start, end) that has no rate, oldest first. Instants and durations in µs.

    None before the market was first observed. One of the last ten minutes whose gap is still being healed is left,
    with all after it, to the daemon.
    """
    done = Recomputed(state.symbol)
    observed = await first_observed(database, state.id)
    if observed is None or not state.versions:
        done.note = "it has never been observed"
        return done
    gaps = await unfinished_gaps(database, {state.symbol: state.id})
    until = min(end - 1, now - settle_delay)
    for boundary in state.boundaries_after(max(observed, start - 1), until):
        healing = any(gap.from_time < boundary for gap in gaps)
        if healing and now - boundary <= HEALING_SECONDS * SECOND:
            done.note = "its newest boundaries wait for a gap that is being healed"
            break
        if await has_rate(database, state.id, boundary):
            done.already_there += 1
        elif dry_run:
            done.settled["missing"] += 1
        else:
            interval = Interval(state.symbol, boundary, state.parameters_at(boundary - 1))
            dead_after = state.market.use.stale
            rate = await settle(database, state.id, interval, dead_after=dead_after, late_after=late_after)
            if rate is not None:
                done.settled[rate.status] += 1
    return done
