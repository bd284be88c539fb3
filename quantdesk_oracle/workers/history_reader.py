"""Reading a range of a feed's chain history into oracle_prices, newest first, in pieces that each stand.

For each piece: the signatures that are not stored yet are fetched, their prints judged and inserted, and only then
does the range's cursor move. Whoever is interrupted goes on after the cursor and asks for nothing twice.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

import structlog

from quantdesk_oracle.errors import NodeProtocolError, NodeRefusesError, UnavailableError
from quantdesk_oracle.model import SECOND, PriceUpdate, Reason, Source, StoredPrint, Verdict
from quantdesk_oracle.pricing.acceptance import StorageLimits, judge
from quantdesk_oracle.retry import until_it_works
from quantdesk_oracle.sources.chain_history import prints_of
from quantdesk_oracle.sources.rpc import SIGNATURES_PER_REQUEST
from quantdesk_oracle.store.database import RowFaultError
from quantdesk_oracle.store.gaps import Gap, stored_slots
from quantdesk_oracle.store.series import insert_oracle_prices

if TYPE_CHECKING:
    from quantdesk_oracle.clock import Clock
    from quantdesk_oracle.config import Feed, Market
    from quantdesk_oracle.sources.rpc import RpcClient
    from quantdesk_oracle.sources.wire import SignatureInfo, Transaction
    from quantdesk_oracle.store.database import Database
    from quantdesk_oracle.store.series import MarketIds

log = structlog.get_logger("workers.history_reader")
PIECE: Final = 20
"""Transactions that are fetched and committed together."""
AT_ONCE: Final = 5
"""Requests under way at the same time."""
_REMEMBERED: Final = 20_000
_PATIENCE: Final = (0.5, 1.5, 3.0)
"""Seconds between attempts to fetch a transaction that is listed and not to be had: nodes list before they serve."""
_T = TypeVar("_T")


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
    """Transactions that are listed and that no node has any more."""

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


class _Piece(NamedTuple):
    """Neighbours of a page: the oldest of them, those to fetch, and how many are known to be stored."""

    last: SignatureInfo
    wanted: list[SignatureInfo]
    known: int


Progress = Callable[[Gap, Tally], Awaitable[None]]


class HistoryReader:
    """Reads chain history for whoever asks: the daemon's healing, and `backfill`."""

    def __init__(
        self,
        client: RpcClient,
        database: Database,
        markets: MarketIds,
        clock: Clock,
        *,
        dry_run: bool = False,
    ) -> None:
        self._client = client
        self._database = database
        self._markets = markets
        self._clock = clock
        self._dry_run = dry_run
        self._done: OrderedDict[tuple[str, str], None] = OrderedDict()
        """(account, signature) of transactions that have been read: most of them hold a known print."""
        self.retries = 0
        """Requests and statements that were tried again."""
        self.reached: int | None = None
        """Block time of the oldest transaction that has been read (s); None where the node does not say."""

    async def read(self, gap: Gap, feed: Feed, market: Market, on_progress: Progress) -> Ended:
        """Read ``gap`` from its cursor to its end. ``on_progress`` is awaited after each committed piece.

        A node or database that is away is waited for.
        """
        total, oldest = Tally(), gap.to_slot or 0
        before = resumed = gap.cursor
        while True:
            page = await self._page(feed.pubkey, before)
            if not page and before is not None and before == resumed:
                # A node that does not know the cursor lists nothing before it: find the place by its slot.
                before = resumed = None
                continue
            if not page:
                return Ended(gap, oldest, total)
            for piece in await self._pieces(gap, feed, market, page, begins_inside=before is not None):
                tally = await self._read_piece(piece, feed, market)
                total.add(tally)
                self.reached = piece.last.block_time
                if not gap.is_after(piece.last.slot, piece.last.block_time):
                    gap = gap.read(
                        found=tally.found,
                        inserted=tally.inserted,
                        rejected=tally.rejected.total(),
                        cursor=piece.last.signature,
                        cursor_slot=piece.last.slot,
                    )
                    await on_progress(gap, tally)
            oldest, before = page[-1].slot, page[-1].signature
            if gap.is_before(page[-1].slot, page[-1].block_time):
                return Ended(gap, None, total)

    async def first_slot(self) -> int | None:
        """The slot that the node's history begins with; None where it cannot tell."""
        try:
            return await self._patiently(self._client.first_available_block)
        except NodeRefusesError:
            return None

    async def _page(self, account: str, before: str | None) -> list[SignatureInfo]:
        return await self._patiently(lambda: self._client.signatures(account, before=before))

    async def _pieces(
        self, gap: Gap, feed: Feed, market: Market, page: list[SignatureInfo], *, begins_inside: bool
    ) -> list[_Piece]:
        """What of a page lies in the range and is not known to be stored, in pieces; newest first."""
        inside = [info for info in page if _is_inside(gap, info)]
        if not inside:
            return []
        stored: set[str] = set()
        if len(market.feeds) == 1:
            # Of several feeds' prints in one slot nobody could tell which of them are stored.
            stored = await self._stored(market, page, inside, begins_inside=begins_inside)
        pieces = []
        for start in range(0, len(inside), PIECE):
            part = inside[start : start + PIECE]
            good = [info for info in part if info.err is None]
            wanted = [
                info
                for info in good
                if info.signature not in stored and (feed.pubkey, info.signature) not in self._done
            ]
            known = sum(info.signature in stored for info in good)
            pieces.append(_Piece(part[-1], wanted, known))
        return pieces

    async def _stored(
        self,
        market: Market,
        page: list[SignatureInfo],
        inside: list[SignatureInfo],
        *,
        begins_inside: bool,
    ) -> set[str]:
        """The signatures whose slots hold as many stored prints as successful transactions."""
        sent = Counter(info.slot for info in page if info.err is None)
        if begins_inside:
            del sent[page[0].slot]  # the page before may hold another one of this slot
        if len(page) >= SIGNATURES_PER_REQUEST:
            del sent[page[-1].slot]
        times = [info.block_time * SECOND for info in inside if info.block_time is not None]
        if not times:
            return set()
        key, slots = self._markets[market.symbol], [info.slot for info in inside]
        found = await self._patiently(
            lambda: stored_slots(self._database, key, slots, min(times), max(times))
        )
        return {info.signature for info in inside if 0 < sent[info.slot] <= found.get(info.slot, 0)}

    async def _read_piece(self, piece: _Piece, feed: Feed, market: Market) -> Tally:
        tally = Tally(found=piece.known, known=piece.known)
        updates: list[PriceUpdate] = []
        for start in range(0, len(piece.wanted), AT_ONCE):
            few = piece.wanted[start : start + AT_ONCE]
            for info, transaction in zip(
                few, await asyncio.gather(*(self._transaction(info) for info in few)), strict=True
            ):
                updates.extend(self._updates(info, transaction, feed, tally))
        await self._store(updates, feed, market.storage, tally)
        for info in piece.wanted:
            self._done[(feed.pubkey, info.signature)] = None
        while len(self._done) > _REMEMBERED:
            self._done.popitem(last=False)
        return tally

    async def _transaction(self, info: SignatureInfo) -> Transaction | None:
        for pause in (*_PATIENCE, None):
            found = await self._patiently(lambda: self._client.transaction(info.signature))
            if found is not None or pause is None:
                return found
            await self._clock.sleep(pause)
        raise AssertionError("the last pause is None")

    def _updates(
        self, info: SignatureInfo, transaction: Transaction | None, feed: Feed, tally: Tally
    ) -> list[PriceUpdate]:
        try:
            if transaction is not None:
                return prints_of(transaction, feed)
            cause = "no node has it any more"
        except NodeProtocolError as error:
            cause = str(error)
        tally.missing += 1
        log.warning("transaction.missing", account=feed.pubkey, slot=info.slot, cause=cause)
        return []

    async def _store(
        self, updates: list[PriceUpdate], feed: Feed, limits: StorageLimits, tally: Tally
    ) -> None:
        now = self._clock.now()
        rows = []
        tally.found += len(updates)
        for update in updates:
            reason, verdict = _judge(update, feed, limits, now)
            if verdict is Verdict.REJECTED:
                assert reason is not None
                tally.rejected[reason] += 1
            else:
                rows.append(StoredPrint(feed.market, update, verdict, Source.CHAIN, now))
        if rows and not self._dry_run:
            inserted = await self._insert(rows, tally)
            tally.inserted += inserted
            tally.known += len(rows) - inserted

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

    async def _patiently(self, call: Callable[[], Awaitable[_T]]) -> _T:
        """What ``call`` gives, once node or database give it."""
        async for attempt in until_it_works(self._clock, _AwayError, on_failure=self._failed):
            with attempt:
                try:
                    return await call()
                except (RowFaultError, NodeRefusesError):
                    raise
                except UnavailableError as error:
                    raise _AwayError(error) from error
        raise AssertionError("retrying ends only with a result")

    def _failed(self, error: BaseException, wait: float) -> None:
        self.retries += 1
        log.info("history.retried", cause=str(error), retry_in=round(wait, 2))


class _AwayError(UnavailableError):
    """A node or the database is away, or asks for patience; the same request will do later."""

    def __init__(self, error: UnavailableError) -> None:
        self.retry_after = getattr(error, "retry_after", None)
        super().__init__(str(error))


def _is_inside(gap: Gap, info: SignatureInfo) -> bool:
    if gap.is_after(info.slot, info.block_time) or gap.is_before(info.slot, info.block_time):
        return False
    return gap.cursor_slot is None or info.slot <= gap.cursor_slot


def _judge(update: PriceUpdate, feed: Feed, limits: StorageLimits, now: int) -> tuple[Reason | None, Verdict]:
    if feed.feed_id is not None and update.feed_id != feed.feed_id:
        return Reason.WRONG_FEED, Verdict.REJECTED
    judgement = judge(update, limits, now)
    return judgement.reason, judgement.verdict
