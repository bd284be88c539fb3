"""Many feeds at a steady rate, for benchmarks: prints that are cheap to make, and no transactions.

Each feed prints once a period: a slot for legacy accounts, which hold a print a slot, otherwise the time between two
pushes, at least a second. The feeds are spread evenly over the period, as pushers' transactions are over a slot.
A print follows from the seed, the feed and the instant alone; so a restarted node repeats nothing and contradicts
nothing that its ledger holds.
"""

from __future__ import annotations

import hashlib
import logging
import struct
from typing import Final

from quantdesk_oracle.localnet.ledger import LedgerEntry
from quantdesk_oracle.localnet.node import EPOCH, Change, Node
from quantdesk_oracle.localnet.settings import EXPONENT, Feed
from quantdesk_oracle.localnet.simulation import price_account
from quantdesk_oracle.model import SECOND, Generation, PriceUpdate
from quantdesk_oracle.pyth import addresses, layouts
from quantdesk_oracle.pyth.dumps import AccountDump

_LOG = logging.getLogger(__name__)
MOST_FEEDS: Final = 100_000
_FINEST: Final = 10_000
"""The shortest step, µs: what is due within one is pushed together."""
_LATEST: Final = SECOND // 2
"""A load that is later than this leaves out what it owes, and says so."""
_MOST_STEPS: Final = 10
LEGACY_SPACE: Final = 3_312
_LEGACY_LAMPORTS: Final = 23_942_400
_LEGACY_OWNER: Final = "FsJ3A3u2vn5cTVofAjvy6y5kwABJAqYWpe4975bi2epH"
_TRADING: Final = 1
_COMPONENTS: Final = 32
# The 240 bytes before the components, field by field: pyth-client `oracle.h`, pc_price_t.
_LEGACY_HEAD: Final = struct.Struct("<IIII IiII QQ qqqqqq q BBBBI 32s32s QqQq qQII Q")
_COMPONENT_BYTES: Final = bytes(LEGACY_SPACE - _LEGACY_HEAD.size)
_MASK: Final = 0xFFFF_FFFF


def load_feeds(count: int, *, legacy: bool = False) -> tuple[Feed, ...]:
    """``count`` feeds, LOAD0001/USD and so on, each with an account of its own."""
    generation = Generation.LEGACY if legacy else Generation.CORE_UPGRADED
    return tuple(_feed(number, generation) for number in range(1, count + 1))


def _feed(number: int, generation: Generation) -> Feed:
    name = f"LOAD{number:04d}"
    feed_id = hashlib.sha256(f"quantdesk-oracle load {number}".encode()).digest()
    # From a dollar to a hundred thousand.
    price = 10 ** (8 + number % 6)
    return Feed(f"{name}-PERP", f"{name}/USD", feed_id, price, volatility=0.0, generation=generation)


class Load:
    """Pushes the feeds of the node's settings, all of one generation."""

    def __init__(self, node: Node) -> None:
        settings = node.settings
        self._node = node
        self._legacy = settings.feeds[0].generation is Generation.LEGACY
        self._period = settings.slot_us if self._legacy else max(SECOND, settings.push_us)
        self._steps = max(1, min(self._period // _FINEST, len(settings.feeds)))
        self._groups = [settings.feeds[step :: self._steps] for step in range(self._steps)]
        # The first period's prints are the accounts' first states.
        self._next = self._step_at(node.clock.now()) - self._steps + 1
        self.prints = 0
        """How many there have been."""
        self.left_out = 0
        """How many there should have been besides."""

    def next_instant(self) -> int:
        """When the next step is due, µs."""
        return self._instant_of(self._next)

    def act(self) -> None:
        """Push what is due; of much that is late only a part, so that clients are heard in between."""
        due = self._step_at(self._node.clock.now())
        self._leave_out(due)
        if self.prints:
            due = min(due, self._next + _MOST_STEPS)
        while self._next <= due:
            self._push(self._next)
            self._next += 1

    def _push(self, step: int) -> None:
        instant = self._instant_of(step)
        slot = self._node.slot_at(instant)
        change = self._legacy_change if self._legacy else _core_change
        changes = [
            change(feed, self._update(feed, step, instant, slot)) for feed in self._groups[step % self._steps]
        ]
        self._node.commit(changes)
        self.prints += len(changes)

    def _leave_out(self, due: int) -> None:
        late = self._node.clock.now() - self._instant_of(self._next)
        if late <= _LATEST or self.prints == 0:
            return
        missed = sum(len(self._groups[step % self._steps]) for step in range(self._next, due))
        self.left_out += missed
        self._next = due
        _LOG.warning("load.behind late_ms=%d left_out=%d", late // 1000, missed)

    def _update(self, feed: Feed, step: int, instant: int, slot: int) -> PriceUpdate:
        price = feed.start_price
        noise = _noise(self._node.settings.seed, int.from_bytes(feed.feed_id[:4], "little"), step)
        time = instant // SECOND
        return PriceUpdate(
            feed_id=None if self._legacy else feed.feed_id,
            price=price + noise % (price // 1_000),
            confidence=price // 3_000 + noise % 1_000,
            exponent=EXPONENT,
            publish_time=time,
            prev_publish_time=time - 1,
            ema_price=price + price // 2_000,
            ema_confidence=price // 3_000,
            slot=slot,
            legacy=self._legacy,
        )

    def _legacy_change(self, feed: Feed, update: PriceUpdate) -> Change:
        account = AccountDump(feed.address, _LEGACY_OWNER, encode_legacy_price(update), _LEGACY_LAMPORTS)
        return Change(account, LedgerEntry(feed.market, feed.address, update, None))

    def _step_at(self, instant: int) -> int:
        return (instant - EPOCH) * self._steps // self._period

    def _instant_of(self, step: int) -> int:
        return EPOCH - (-step * self._period // self._steps)


def _core_change(feed: Feed, update: PriceUpdate) -> Change:
    return Change(price_account(feed, update), LedgerEntry(feed.market, feed.address, update, None))


def encode_legacy_price(update: PriceUpdate) -> bytes:
    """The 3,312 bytes of a legacy price account, its 32 components left empty."""
    head = _LEGACY_HEAD.pack(
        *(layouts.LEGACY_MAGIC, layouts.LEGACY_VERSION, layouts.LEGACY_PRICE, LEGACY_SPACE),
        *(layouts.LEGACY_SPOT_PRICE, update.exponent, _COMPONENTS, _COMPONENTS),
        *(update.slot, update.slot),
        *(update.ema_price, update.ema_price, 1, update.ema_confidence, update.ema_confidence, 1),
        update.publish_time,
        *(1, 0, 0, 0, 0),
        *(bytes(32), bytes(32)),
        *(update.slot - 1, update.price, update.confidence, update.prev_publish_time),
        *(update.price, update.confidence, _TRADING, layouts.LEGACY_NO_CORPORATE_ACTION),
        update.slot,
    )
    return head + _COMPONENT_BYTES


def _noise(seed: int, feed: int, step: int) -> int:
    """32 bits that look like nothing."""
    mixed = (step * 0x9E37_79B1 ^ feed ^ seed * 0xC2B2_AE3D) & _MASK
    mixed = (mixed ^ mixed >> 15) * 0x2C1B_3C6D & _MASK
    return mixed ^ mixed >> 12


assert _LEGACY_HEAD.size == 240
assert addresses.LEGACY_PROGRAMS[_LEGACY_OWNER] == "mainnet-beta"
