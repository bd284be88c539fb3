"""What is known of a market's history over a time, part by part. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING

from quantdesk_oracle.store.gaps import BACKFILL, CLOSED, UNRECOVERABLE

if TYPE_CHECKING:
    from quantdesk_oracle.store.gaps import Gap


class Cover(StrEnum):
    """How a part of time is covered, best first."""

    PRINTS = "prints"
    """Watched, or read back, and there are prints."""
    HEALED = "healed"
    """It had a gap, which is closed."""
    EMPTY = "empty"
    """No print and no known gap: nothing was posted, or nobody was asked to watch."""
    UNRECOVERABLE = "unrecoverable"
    """It had a gap that the chain's history no longer covers."""
    OPEN = "open"
    """A gap that is still to be read back."""


def cover_parts(prints: Sequence[int], gaps: Sequence[Gap], start: int, end: int) -> list[Cover]:
    """How each of the equal parts of [start, end) (µs) is covered; ``prints`` has each's count, or whether any."""
    width = (end - start) / len(prints)
    parts = [Cover.PRINTS if count else Cover.EMPTY for count in prints]
    for gap in gaps:
        if gap.cause == BACKFILL and gap.state == CLOSED:
            continue  # it was asked for, and says nothing of what was missed
        first = max(int((gap.from_time - start) // width), 0)
        last = min(int((gap.to_time - start) // width), len(parts) - 1)
        for at in range(first, last + 1):
            parts[at] = _worse(parts[at], gap, prints[at])
    return parts


def _worse(cover: Cover, gap: Gap, prints: int) -> Cover:
    if gap.state == UNRECOVERABLE:
        return cover if cover is Cover.OPEN else Cover.UNRECOVERABLE
    if gap.state != CLOSED:
        return Cover.OPEN
    return Cover.HEALED if prints and cover is Cover.PRINTS else cover
