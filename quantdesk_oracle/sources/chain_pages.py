"""A feed's chain history in pages, newest first: what is stored already is not fetched again."""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from itertools import repeat
from typing import TYPE_CHECKING, Final

import structlog

from quantdesk_oracle.errors import NodeProtocolError
from quantdesk_oracle.model import SECOND, PriceUpdate, Source
from quantdesk_oracle.sources.chain_history import has_history, prints_of
from quantdesk_oracle.sources.history import Found, Page, Wanted
from quantdesk_oracle.sources.rpc import SIGNATURES_PER_REQUEST

if TYPE_CHECKING:
    from quantdesk_oracle.clock import Clock
    from quantdesk_oracle.config import Feed, Market
    from quantdesk_oracle.retry import Patience
    from quantdesk_oracle.sources.rpc import RpcClient
    from quantdesk_oracle.sources.wire import SignatureInfo, Transaction
    from quantdesk_oracle.store.gaps import Gap

log = structlog.get_logger("sources.chain_pages")
PIECE: Final = 20
"""Transactions that are fetched and committed together."""
AT_ONCE: Final = 5
"""Requests under way at the same time."""
NO_HISTORY: Final = "legacy accounts keep no history in transactions"
NOT_ON_CHAIN: Final = "its prices come from Hermes, not from the chain"
_REMEMBERED: Final = 20_000
_PATIENCE: Final = (0.5, 1.5, 3.0)
"""Seconds between attempts to fetch a transaction that is listed and not to be had: nodes list before they serve."""
LAG: Final = 300
"""How far a node may lag, seconds: what is younger may be there later."""
_LAG_PAUSE: Final = 5.0
StoredSlots = Callable[[str, Sequence[int], int, int], Awaitable[dict[int, int]]]
"""Of a market: how many prints it has in each of some slots, whose blocks are of two instants (µs) or between."""


class ChainPages:
    """The transactions that touched an account, as the node in use lists them."""

    source = Source.CHAIN
    together = 1

    def __init__(self, client: RpcClient, patience: Patience, clock: Clock, stored: StoredSlots) -> None:
        self._client = client
        self._patiently = patience
        self._clock = clock
        self._stored_slots = stored
        self._done: OrderedDict[tuple[str, str], None] = OrderedDict()
        """(account, signature) of transactions that have been read: most of them hold a known print."""

    def why_not(self, feed: Feed) -> str | None:
        """Accounts of the older generation keep none, and Hermes is no chain."""
        if not feed.on_chain:
            return NOT_ON_CHAIN
        return None if has_history(feed) else NO_HISTORY

    async def pages(self, wanted: Sequence[Wanted]) -> AsyncIterator[Page]:
        """From the cursor to the range's end, or to that of the list. Nodes that are away are waited for."""
        ((market, feed, gap),) = wanted
        oldest = gap.to_slot or 0
        before = resumed = gap.cursor
        newest = gap.to_slot
        while True:
            listed = await self._list(feed.pubkey, before, newest)
            if not listed and before is not None and before == resumed:
                # A node that does not know the cursor lists nothing before it: find the place by its slot.
                before = resumed = None
                continue
            if not listed:
                yield Page(exhausted_at=oldest)
                return
            newest = listed[0].slot if newest is None else newest
            inside = [info for info in listed if _is_inside(gap, info)]
            stored = set[str]()
            if not gap.began_anew:  # where slots come again, they do not tell which prints are stored
                stored = await self._stored(market, listed, inside, begins_inside=before is not None)
            for start in range(0, len(inside), PIECE):
                part = inside[start : start + PIECE]
                yield await self._page(part, stored, feed, gap)
                self._remember(feed.pubkey, part)
            oldest, before = listed[-1].slot, listed[-1].signature
            if gap.is_before(listed[-1].slot, listed[-1].block_time):
                return

    async def _list(self, account: str, before: str | None, newest: int | None) -> list[SignatureInfo]:
        """A page of the list, of a node that has reached slot ``newest``; of any, where none does for minutes."""
        until = self._clock.now() + LAG * SECOND

        async def ask() -> list[SignatureInfo]:
            at_least = newest if self._clock.now() < until else None
            listed = await self._client.signatures(account, before=before, at_least=at_least)
            if any(info.signature == before for info in listed):
                raise NodeProtocolError("a list goes on with what it was to begin after")
            if at_least is not None and _ends_at(listed, at_least):
                # The list's end, or a node that leaves out what is older than minContextSlot, as Surfpool does.
                return await self._client.signatures(account, before=before)
            return listed

        return await self._patiently(ask)

    async def _stored(
        self,
        market: Market,
        listed: list[SignatureInfo],
        inside: list[SignatureInfo],
        *,
        begins_inside: bool,
    ) -> set[str]:
        """The signatures whose slots hold as many stored prints as successful transactions."""
        times = [info.block_time * SECOND for info in inside if info.block_time is not None]
        if not times or len(market.feeds) > 1:
            # Of several feeds' prints in one slot nobody could tell which of them are stored.
            return set()
        sent = Counter(info.slot for info in listed if info.err is None)
        if begins_inside:
            del sent[listed[0].slot]  # the page before may hold another one of this slot
        if len(listed) >= SIGNATURES_PER_REQUEST:
            del sent[listed[-1].slot]
        slots = [info.slot for info in inside]
        found = await self._patiently(
            lambda: self._stored_slots(market.symbol, slots, min(times), max(times))
        )
        return {info.signature for info in inside if 0 < sent[info.slot] <= found.get(info.slot, 0)}

    async def _page(self, part: list[SignatureInfo], stored: set[str], feed: Feed, gap: Gap) -> Page:
        good = [info for info in part if info.err is None]
        unread = [
            info
            for info in good
            if info.signature not in stored and (feed.pubkey, info.signature) not in self._done
        ]
        found: list[Found] = []
        missing = 0
        for start in range(0, len(unread), AT_ONCE):
            few = unread[start : start + AT_ONCE]
            transactions = await asyncio.gather(*(self._transaction(info) for info in few))
            for info, transaction in zip(few, transactions, strict=True):
                updates = _updates(info, transaction, feed)
                missing += updates is None
                posted = (info.block_time or 0) * SECOND
                found += [Found(feed.market, update, Source.CHAIN, posted=posted) for update in updates or ()]
        last = part[-1]
        return Page(
            found=found,
            cursor=last.signature,
            cursor_slot=last.slot,
            read=None if last.block_time is None else max(gap.to_time - last.block_time * SECOND, 0),
            known=sum(info.signature in stored for info in good),
            missing=missing,
        )

    async def _transaction(self, info: SignatureInfo) -> Transaction | None:
        """None where no node has it: said after seconds of an old one, after minutes of one that lags may hide."""
        for pause in (*_PATIENCE, *repeat(_LAG_PAUSE, round(LAG / _LAG_PAUSE))):
            found = await self._patiently(lambda: self._client.transaction(info.signature))
            if found is not None or (pause == _LAG_PAUSE and not self._is_young(info)):
                return found
            await self._clock.sleep(pause)
        return await self._patiently(lambda: self._client.transaction(info.signature))

    def _is_young(self, info: SignatureInfo) -> bool:
        return info.block_time is not None and self._clock.now() - info.block_time * SECOND < LAG * SECOND

    def _remember(self, account: str, part: list[SignatureInfo]) -> None:
        """These have been read, and what they held is committed."""
        for info in part:
            self._done[(account, info.signature)] = None
        while len(self._done) > _REMEMBERED:
            self._done.popitem(last=False)


def _ends_at(listed: Sequence[SignatureInfo], slot: int) -> bool:
    """Whether a list ends with this page, and holds nothing older than ``slot``."""
    return len(listed) < SIGNATURES_PER_REQUEST and all(info.slot >= slot for info in listed)


def _updates(info: SignatureInfo, transaction: Transaction | None, feed: Feed) -> list[PriceUpdate] | None:
    """The prints in a transaction; None where it cannot be had, or read."""
    try:
        if transaction is not None:
            return prints_of(transaction, feed)
        cause = "no node has it any more"
    except NodeProtocolError as error:
        cause = str(error)
    log.warning("transaction.missing", account=feed.pubkey, slot=info.slot, cause=cause)
    return None


def _is_inside(gap: Gap, info: SignatureInfo) -> bool:
    if gap.is_after(info.slot, info.block_time) or gap.is_before(info.slot, info.block_time):
        return False
    return gap.cursor_slot is None or info.slot <= gap.cursor_slot
