"""The made-up feeds that a bench offers: accounts of the current generation, as many as are asked for."""

from __future__ import annotations

import hashlib
from binascii import b2a_base64
from dataclasses import dataclass
from pathlib import Path

from quantdesk_oracle.model import Generation
from quantdesk_oracle.pyth import addresses, layouts

OWNER = addresses.RECEIVERS[Generation.CORE_UPGRADED]
EXPONENT = -8
FIRST_SLOT = 400_000_000
_NOTIFICATION = (
    b'{"jsonrpc":"2.0","method":"accountNotification","params":{"result":{"context":{"slot":%d},'
    b'"value":{"data":["%b","base64"],"executable":false,"lamports":1823520,"owner":"'
    + OWNER.encode()
    + b'",'
    b'"rentEpoch":18446744073709551615,"space":134}},"subscription":%d}}'
)


@dataclass(frozen=True, slots=True)
class Print:
    """One print of one feed, raw integers."""

    price: int
    confidence: int
    ema_price: int
    ema_confidence: int
    publish_time: int
    slot: int


class Feed:
    """Number ``number`` of the bench's feeds: its id, address and prints."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.market = market(number)
        self.feed_id = hashlib.sha256(f"bench feed {number}".encode()).digest()
        self.address = addresses.price_feed_address(self.feed_id, Generation.CORE_UPGRADED)
        self._key = hashlib.sha256(self.address.encode()).digest()
        self._price = 10**8 * (1 + number % 5_000)

    def print_of(self, sweep: int, publish_time: int) -> Print:
        """The print of the ``sweep``-th time round; several within a second are told apart by their slot."""
        price = self._price + (sweep * 7_919 + self.number * 31) % (self._price // 100)
        return Print(
            price, price // 3_000, self._price, self._price // 2_500, publish_time, FIRST_SLOT + sweep
        )

    def account(self, one: Print) -> bytes:
        """The 134 bytes that hold it."""
        packed = layouts.FULL_UPDATE.pack(
            layouts.PRICE_UPDATE_V2, self._key, layouts.FULL, self.feed_id, one.price, one.confidence, EXPONENT,
            one.publish_time, one.publish_time - 1, one.ema_price, one.ema_confidence, one.slot,
        )  # fmt: skip
        return packed + b"\0"


def notification(slot: int, account: bytes, subscription: int) -> bytes:
    """What a node sends of an account's new state, as a real one writes it."""
    return _NOTIFICATION % (slot, b2a_base64(account, newline=False), subscription)


def market(number: int) -> str:
    """The symbol of feed number ``number``."""
    return f"F{number:04}-PERP"


def feeds(count: int) -> list[Feed]:
    """The first ``count`` feeds."""
    return [Feed(number) for number in range(count)]


def configuration(folder: Path, count: int, head: str = "") -> Path:
    """A configuration file with a market for each of ``count`` feeds; ``head`` goes before them."""
    path = folder / f"feeds-{count}.toml"
    markets = "".join(
        f'[[markets]]\nsymbol = "{feed.market}"\nbase_asset = "F{feed.number:04}"\n'
        f'feed_id = "{feed.feed_id.hex()}"\ngenerations = ["core_upgraded"]\n'
        for feed in feeds(count)
    )
    path.write_text(head + markets, "utf-8")
    return path
