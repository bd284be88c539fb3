"""The simulated market's pushes: one batch a second, each feed's in a transaction of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from quantdesk_oracle.localnet import market
from quantdesk_oracle.localnet.history import Leg, Outcome, Push
from quantdesk_oracle.localnet.ledger import LedgerEntry, read_ledger
from quantdesk_oracle.localnet.node import Change, Node
from quantdesk_oracle.localnet.pushes import encode_price_update_v2
from quantdesk_oracle.localnet.transactions import Pusher
from quantdesk_oracle.model import SECOND, PriceUpdate
from quantdesk_oracle.pyth import addresses
from quantdesk_oracle.pyth.dumps import AccountDump

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from quantdesk_oracle.localnet.settings import Feed

RENT_EXEMPT: Final = 1_823_520
"""Lamports that keep 134 bytes on the chain: (134 + 128) × 6,960."""


class Plan:
    """How a batch of prints becomes transactions: one for each feed. A drill has another."""

    def pushes(self, feed: Feed) -> bool:
        """Whether anybody pushes ``feed`` now."""
        return True

    def transactions(self, batch: Mapping[Feed, PriceUpdate], last: Mapping[Feed, PriceUpdate]) -> list[Push]:
        """The unsigned transactions of ``batch``, in their order; ``last`` has the prints before it."""
        updates = tuple(batch.values())
        return [Push(feed, update, updates, "") for feed, update in batch.items()]


class Simulation:
    """What pushes into ``node``. Prices are simulated; nothing here is a quote of anything."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._settings = node.settings
        self.pusher = Pusher(node.settings.seed)
        self.plan = Plan()
        self._last: dict[Feed, PriceUpdate] = {}
        self._numbers = dict.fromkeys(node.settings.feeds, 0)

    def next_instant(self) -> int:
        """When to act next, µs: a multiple of the pushes' distance, so that publish times are regular."""
        step = self._settings.push_us
        return (self._node.clock.now() // step + 1) * step

    def act(self) -> None:
        """Push every feed, except one that has a print of this second: the push program would not write."""
        publish_time = self._node.clock.now() // SECOND
        slot = self._node.slot
        batch = {
            feed: self._next_update(feed, publish_time, slot)
            for feed in self._settings.feeds
            if self.plan.pushes(feed)
            and (feed not in self._last or self._last[feed].publish_time < publish_time)
        }
        if not batch:
            return
        pushes = [self.pusher.sign(push) for push in self.plan.transactions(batch, self._last)]
        for feed, update in batch.items():
            self._last[feed] = update
            self._numbers[feed] += 1
        self._node.commit([change for push in pushes for change in self._changes(push)])

    def newest(self) -> Mapping[Feed, PriceUpdate]:
        """Each feed's newest print."""
        return self._last

    def resume(self, ledger: Path) -> None:
        """Take up where ``ledger`` ends: its prints are history, its last ones the accounts' state."""
        # A batch more than is kept: so the oldest one kept is whole, as its Merkle tree was.
        entries, counts = read_ledger(ledger, self._settings.history + len(self._settings.feeds))
        for batch in _batches(entries):
            self._restore(batch)
        for feed in self._settings.feeds:
            self._numbers[feed] = counts[feed.market]
        for feed, update in self._last.items():
            self._node.accounts[feed.address] = price_account(feed, update)
        newest = max((update.slot for update in self._last.values()), default=0)
        # The newest print's own slot will do: slots must not go backwards, and no more.
        self._node.start_above(newest - 1)

    def _next_update(self, feed: Feed, publish_time: int, slot: int) -> PriceUpdate:
        return market.next_update(
            feed,
            self._last.get(feed),
            number=self._numbers[feed],
            seed=self._settings.seed,
            push_every=self._settings.push_every,
            publish_time=publish_time,
            slot=slot,
        )

    def _changes(self, push: Push) -> list[Change]:
        """What ``push`` does to the chain."""
        if push.outcome is Outcome.FAILED:
            return [Change(None, push=push)]
        if push.outcome is Outcome.STALE:
            # A transaction that may write an account stores it anew, and subscribers are told, though nothing changed.
            return [Change(price_account(push.feed, self._last[push.feed]), push=push)]
        changes = [
            Change(
                price_account(leg.feed, leg.update),
                LedgerEntry(leg.feed.market, leg.feed.address, leg.update, push.signature),
            )
            for leg in push.legs
        ]
        return [changes[0]._replace(push=push), *changes[1:]]

    def _restore(self, batch: list[LedgerEntry]) -> None:
        updates = tuple(entry.update for entry in batch)
        feeds = {feed.address: feed for feed in self._settings.feeds}
        transactions: dict[str, list[Leg]] = {}
        for entry in batch:
            feed = feeds.get(entry.pubkey)
            if feed is not None and entry.signature is not None:
                transactions.setdefault(entry.signature, []).append(Leg(feed, entry.update))
                self._last[feed] = entry.update
        for signature, legs in transactions.items():
            second = legs[1] if len(legs) > 1 else None
            self._node.history.add(Push(*legs[0], updates, signature, second))


def _batches(entries: Iterable[LedgerEntry]) -> Iterable[list[LedgerEntry]]:
    """Entries that were pushed together: neighbours of one publish time and slot."""
    batch: list[LedgerEntry] = []
    for entry in entries:
        if batch and batch[-1].update.identity != entry.update.identity:
            yield batch
            batch = []
        batch.append(entry)
    if batch:
        yield batch


def price_account(feed: Feed, update: PriceUpdate) -> AccountDump:
    """The account of ``feed`` as ``update`` leaves it."""
    return AccountDump(
        pubkey=feed.address,
        owner=addresses.RECEIVERS[feed.generation],
        data=encode_price_update_v2(feed.address, update),
        lamports=RENT_EXEMPT,
    )
