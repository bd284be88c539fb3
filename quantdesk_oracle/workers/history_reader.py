"""Reading history into oracle_prices, whatever its source, in pages that each stand.

For each page: its prints are judged and inserted, and only then do the cursors of its ranges move. Whoever is
interrupted goes on after the cursor and asks for nothing twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import structlog

from quantdesk_oracle.errors import NodeRefusesError
from quantdesk_oracle.model import Reason, StoredPrint, Verdict
from quantdesk_oracle.pricing.acceptance import judge
from quantdesk_oracle.retry import Patience
from quantdesk_oracle.sources.chain_pages import ChainPages
from quantdesk_oracle.sources.hermes import HermesNothingError
from quantdesk_oracle.sources.history import Found, History, Page, Wanted
from quantdesk_oracle.store.database import RowFaultError
from quantdesk_oracle.store.gaps import Gap, stored_slots
from quantdesk_oracle.store.series import insert_oracle_prices

if TYPE_CHECKING:
    from quantdesk_oracle.clock import Clock
    from quantdesk_oracle.sources.rpc import RpcClient
    from quantdesk_oracle.store.database import Database
    from quantdesk_oracle.store.series import MarketIds

log = structlog.get_logger("workers.history_reader")
FINAL = (RowFaultError, NodeRefusesError)
"""What no waiting helps against."""


@dataclass(slots=True)
class Tally:
    """What reading came to."""

    found: int = 0
    """Prints found, those that are stored already included."""
    inserted: int = 0
    known: int = 0
    """Prints that were stored already."""
    rejected: Counter[Reason] = field(default_factory=Counter)
    missing: int = 0
    """Prints that are listed and that nobody has any more."""

    def add(self, other: Tally) -> None:
        """Take another tally in."""
        self.found += other.found
        self.inserted += other.inserted
        self.known += other.known
        self.rejected.update(other.rejected)
        self.missing += other.missing


class Ended(NamedTuple):
    """How reading a range ended."""

    gap: Gap
    exhausted_at: int | None
    """The oldest slot that the node still lists, where that is not before the range; None: it was read whole."""
    tally: Tally


class Step(NamedTuple):
    """What one committed page came to for one range."""

    gap: Gap
    """As far as it has been read now."""
    tally: Tally
    """Of this page."""
    read: int | None
    """How much of the range has been read, µs; None where that is not known."""


Steps = Callable[[Sequence[Step]], Awaitable[None]]


def chain_reader(
    client: RpcClient, database: Database, markets: MarketIds, clock: Clock, *, dry_run: bool = False
) -> HistoryReader:
    """A reader of chain history."""

    async def stored(market: str, slots: Sequence[int], first: int, last: int) -> dict[int, int]:
        return await stored_slots(database, markets[market], slots, first, last)

    patience = Patience(clock, FINAL)
    pages = ChainPages(client, patience, clock, stored)
    return HistoryReader(
        pages,
        patience,
        database,
        markets,
        clock,
        dry_run=dry_run,
        first_slot=partial(_first_slot, client, patience),
    )


def off_chain_reader(
    pages: Callable[[Patience], History], database: Database, markets: MarketIds, clock: Clock
) -> HistoryReader:
    """A reader of the history that ``pages`` makes, for the daemon: a key that is refused is waited for, too."""
    patience = Patience(clock, (RowFaultError, HermesNothingError))
    return HistoryReader(pages(patience), patience, database, markets, clock)


async def _first_slot(client: RpcClient, patience: Patience) -> int | None:
    try:
        return await patience(client.first_available_block)
    except NodeRefusesError:
        return None


async def _unknown() -> int | None:
    return None


class HistoryReader:
    """Reads a history for whoever asks: the daemon's healing, and `backfill`."""

    def __init__(
        self,
        history: History,
        patience: Patience,
        database: Database,
        markets: MarketIds,
        clock: Clock,
        *,
        dry_run: bool = False,
        first_slot: Callable[[], Awaitable[int | None]] = _unknown,
    ) -> None:
        self.history = history
        self.first_slot = first_slot
        """Asks for the slot that the node's history begins with; None where it cannot tell."""
        self._patiently = patience
        self._database = database
        self._markets = markets
        self._clock = clock
        self._dry_run = dry_run

    @property
    def retries(self) -> int:
        """Requests and statements that were tried again."""
        return self._patiently.retries

    async def read_together(self, wanted: Sequence[Wanted], on_steps: Steps) -> list[Ended]:
        """Read ranges that have bounds and cursor in common side by side, from the cursor to their end.

        ``on_steps`` is awaited after each committed page. A node or database that is away is waited for.
        """
        gaps = [each.gap for each in wanted]
        totals = [Tally() for _ in wanted]
        exhausted_at = None
        async for page in self.history.pages(wanted):
            tallies = await self._store_page(page, wanted)
            exhausted_at = page.exhausted_at
            if page.cursor is None:
                continue
            for at, tally in enumerate(tallies):
                totals[at].add(tally)
                gaps[at] = gaps[at].read(
                    found=tally.found,
                    inserted=tally.inserted,
                    rejected=tally.rejected.total(),
                    cursor=page.cursor,
                    cursor_slot=page.cursor_slot,
                )
            await on_steps([Step(gap, tally, page.read) for gap, tally in zip(gaps, tallies, strict=True)])
        return [Ended(gap, exhausted_at, total) for gap, total in zip(gaps, totals, strict=True)]

    async def _store_page(self, page: Page, wanted: Sequence[Wanted]) -> list[Tally]:
        """Judge and insert; a tally for each of ``wanted``. What is not of one print goes to the first."""
        tallies = {each.market.symbol: Tally() for each in wanted}
        first = next(iter(tallies.values()))
        first.found += page.known
        first.known += page.known
        first.missing += page.missing
        first.rejected.update(page.refused)
        rows = self._judged(page.found, {each.market.symbol: each for each in wanted}, tallies)
        for market, of_market in rows.items():
            if of_market and not self._dry_run:
                inserted = await self._insert(of_market, tallies[market])
                tallies[market].inserted += inserted
                tallies[market].known += len(of_market) - inserted
        return list(tallies.values())

    def _judged(
        self, found: Sequence[Found], wanted: Mapping[str, Wanted], tallies: Mapping[str, Tally]
    ) -> dict[str, list[StoredPrint]]:
        """The rows to store, by market; what is rejected is counted.

        Of the future is what was published ahead of both clocks, this machine's and the chain's: one that is behind
        here must not turn a gap's prints away, for the gap is closed once it has been read.
        """
        now = self._clock.now()
        rows: dict[str, list[StoredPrint]] = {market: [] for market in wanted}
        for market, update, source, received, posted in found:
            tally = tallies[market]
            tally.found += 1
            feed_id, limits = wanted[market].feed.feed_id, wanted[market].market.storage
            if None not in (feed_id, update.feed_id) and update.feed_id != feed_id:
                tally.rejected[Reason.WRONG_FEED] += 1
                continue
            judgement = judge(update, limits, max(now, posted))
            if judgement.verdict is Verdict.REJECTED:
                assert judgement.reason is not None
                tally.rejected[judgement.reason] += 1
            else:
                seen = now if received is None else received
                rows[market].append(StoredPrint(market, update, judgement.verdict, source, seen))
        return rows

    async def _insert(self, rows: list[StoredPrint], tally: Tally) -> int:
        """Insert rows, one by one around those that the database refuses; how many were new."""
        try:
            return await self._patiently(lambda: insert_oracle_prices(self._database, self._markets, rows))
        except RowFaultError as error:
            if len(rows) > 1:
                return sum([await self._insert([row], tally) for row in rows])
            log.warning("row.refused", table="oracle_prices", row=repr(rows[0])[:500], cause=str(error))
            tally.missing += 1
            return 0
