"""Gaps written down, each told of once: by a line of the log and by an event."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import structlog

from quantdesk_oracle.model import SECOND, Severity
from quantdesk_oracle.store.gaps import UNRECOVERABLE, Gap, open_gaps, save_gaps

if TYPE_CHECKING:
    from quantdesk_oracle.config import Feed
    from quantdesk_oracle.store.database import Database
    from quantdesk_oracle.store.series import MarketIds
    from quantdesk_oracle.workers.journal import Journal

log = structlog.get_logger("workers.gap_notes")


async def note_gaps(
    database: Database, markets: MarketIds, journal: Journal, missed: Sequence[tuple[Feed, Gap]]
) -> bool:
    """Write gaps down and tell of each that is none yet; whether there is something to heal."""
    noted = await open_gaps(database, markets, [gap for _feed, gap in missed])
    for (feed, _gap), gap in zip(missed, noted, strict=True):
        if gap is not None:
            _tell(journal, gap, feed.name)
    return any(gap is not None and gap.state != UNRECOVERABLE for gap in noted)


def _tell(journal: Journal, gap: Gap, feed: str) -> None:
    event = "gap.unrecoverable" if gap.state == UNRECOVERABLE else "gap.opened"
    log.info(event, feed=feed, cause=gap.cause, reason=gap.reason, **range_of(gap))
    journal.record(
        event,
        Severity.WARNING,
        market=gap.key.market,
        reason=gap.reason or gap.cause,
        account=gap.key.account,
        **range_of(gap),
    )


async def give_up(database: Database, journal: Journal, gaps: Sequence[Gap], reason: str) -> None:
    """Close unfinished gaps that nothing will be read of any more, and tell of each."""
    lost = [replace(gap, state=UNRECOVERABLE, reason=reason) for gap in gaps]
    await save_gaps(database, lost)
    for gap in lost:
        _tell(journal, gap, gap.key.market)


def range_of(gap: Gap) -> dict[str, int | None]:
    """How logs and events tell of a gap's range: by slots, or where it has none by times (Unix seconds)."""
    if gap.from_slot is None:
        return {"from_time": gap.from_time // SECOND, "to_time": gap.to_time // SECOND}
    return {"from_slot": gap.from_slot, "to_slot": gap.to_slot}
