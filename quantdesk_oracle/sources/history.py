"""What every source of the past is to whoever reads it: pages of prints, each with the place to go on from."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

from quantdesk_oracle.model import PriceUpdate, Reason, Source

if TYPE_CHECKING:
    from quantdesk_oracle.config import Feed, Market
    from quantdesk_oracle.store.gaps import Gap


class Found(NamedTuple):
    """One print of the past."""

    market: str
    update: PriceUpdate
    source: Source
    received: int | None = None
    """When it was received at first (µs), where that is told; None: now."""
    posted: int = 0
    """The time of its block (µs): the chain has had it by then, whatever this machine's clock says; 0: not known."""


class Wanted(NamedTuple):
    """A feed whose history is read, and the range of it, with the cursor to go on from."""

    market: Market
    feed: Feed
    gap: Gap


@dataclass(frozen=True, slots=True)
class Page:
    """Some of a history, to be committed together. Once it is, and not before, the next one is asked for."""

    found: Sequence[Found] = ()
    cursor: str | None = None
    """Where to go on; None: nothing of the range lies behind this page yet."""
    cursor_slot: int | None = None
    read: int | None = None
    """How much of the range has been read with it, µs; None where that is not known."""
    known: int = 0
    """Prints that are stored already and were not fetched for that reason."""
    missing: int = 0
    """Prints that are listed and not to be had."""
    refused: Counter[Reason] = field(default_factory=Counter)
    """What could not even be read as prints."""
    exhausted_at: int | None = None
    """The oldest slot that is listed, where the list ends before the range does."""


class History(Protocol):
    """Where prints of the past are read. Two functions make one: what it cannot read, and pages of what it can."""

    source: Source
    together: int
    """Feeds that one request serves."""

    def why_not(self, feed: Feed) -> str | None:
        """Why a feed's history cannot be read here; None where it can."""

    def pages(self, wanted: Sequence[Wanted]) -> AsyncIterator[Page]:
        """The history of feeds with one range and cursor. Raises the NodeError that no waiting helps against."""
