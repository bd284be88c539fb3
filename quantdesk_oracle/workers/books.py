"""The books of all markets at an instant, or the knowledge that they are unknown, which is not that they are empty."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from decimal import localcontext
from typing import TYPE_CHECKING

import structlog

from quantdesk_oracle.errors import DatabaseError
from quantdesk_oracle.model import SECOND, Severity
from quantdesk_oracle.pricing.averages import LONGEST_SECONDS, Averages
from quantdesk_oracle.pricing.book import Book, Level
from quantdesk_oracle.pricing.decimals import CONTEXT, ZERO
from quantdesk_oracle.store.book import RecentMark, read_books, recent_marks

if TYPE_CHECKING:
    from quantdesk_oracle.store.database import Database
    from quantdesk_oracle.workers.journal import Journal
    from quantdesk_oracle.workers.state import Markets, MarketState

log = structlog.get_logger("workers.books")
LONGEST_PATIENCE = 0.9
"""Seconds that a reading may take at most, so that the next instant of a one-second grid is not missed."""


def patience_of(interval: int) -> float:
    """Seconds that a reading may take on a mark grid of ``interval`` µs."""
    return LONGEST_PATIENCE * min(interval / SECOND, 1.0)


class BookReader:
    """Reads all books for an instant, within the time that its grid leaves."""

    def __init__(self, markets: Markets, database: Database, journal: Journal, *, patience: float) -> None:
        """``patience`` in seconds: what a reading may take before its book counts as unknown."""
        self._markets = markets
        self._database = database
        self._journal = journal
        self._patience = patience
        self._crossed: set[str] = set()
        self.unreadable: str | None = None
        """Why the last reading failed; None where it did not."""

    async def read(self, instant: int) -> Mapping[str, Book] | None:
        """All books by symbol; None where they could not be read."""
        notionals = {
            state.symbol: state.parameters_at(instant).impact_notional
            for state in self._markets
            if state.halted is None
        }
        try:
            async with asyncio.timeout(self._patience):
                books = await read_books(self._database, self._markets.ids, notionals, instant)
        except (DatabaseError, TimeoutError) as error:
            self._failed(str(error) or f"no answer within {self._patience:.2f} s")
            return None
        self._restored()
        self._follow_crossed(books)
        return books

    def _failed(self, cause: str) -> None:
        if self.unreadable is None:
            log.warning("book.unreadable", cause=cause)
            self._journal.record("book.unreadable", Severity.ERROR, cause=cause)
        self.unreadable = cause

    def _restored(self) -> None:
        if self.unreadable is not None:
            log.info("book.restored")
            self._journal.record("book.restored")
        self.unreadable = None

    def _follow_crossed(self, books: Mapping[str, Book]) -> None:
        """A book whose sides cross is no book; an operator should know of it once."""
        crossed = {symbol for symbol, book in books.items() if book.crossed}
        for symbol in sorted(crossed - self._crossed):
            book = books[symbol]
            log.warning(
                "book.crossed", market=symbol, bid=str(book.bids[0].price), ask=str(book.asks[0].price)
            )
            self._journal.record(
                "book.crossed",
                Severity.WARNING,
                market=symbol,
                bid=str(book.bids[0].price),
                ask=str(book.asks[0].price),
            )
        self._crossed = crossed


async def restore_averages(database: Database, states: Sequence[MarketState], now: int) -> None:
    """Begin the markets' averages with what the marks of the last 150 s before ``now`` (µs) say of their books.

    So a restart does not forget the basis. Raises DatabaseError.
    """
    ids = {state.symbol: state.id for state in states}
    marks = await recent_marks(database, ids, now - LONGEST_SECONDS * SECOND, now)
    for state in states:
        for mark in marks[state.symbol]:
            _remember(state, mark)


def _remember(state: MarketState, mark: RecentMark) -> None:
    if mark.best_bid is not None and mark.best_ask is not None:
        book = Book((Level(mark.best_bid, ZERO),), (Level(mark.best_ask, ZERO),))
        if book.mid is not None:
            with localcontext(CONTEXT):
                state.basis.take(mark.instant, book.mid - mark.index_price)
    if mark.ema_state is not None:
        state.averages = Averages.of_json(mark.ema_state, mark.instant)
