"""What a local node serves: its feeds, its pace, its ports."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final

from quantdesk_oracle.model import SECOND, Generation
from quantdesk_oracle.pyth import addresses

if TYPE_CHECKING:
    from pathlib import Path

EXPONENT: Final = -8
"""Of every simulated price."""
LOCALNET: Final = "localnet"


@dataclass(frozen=True, slots=True)
class Feed:
    """One simulated feed."""

    market: str
    """As it stands in the ledger, such as BTC-PERP."""
    symbol: str
    feed_id: bytes
    """32 bytes."""
    start_price: int
    """Raw, scaled by 10**-8: the price about which the seed lets the walk begin."""
    volatility: float
    """A year's standard deviation of the log price, such as 0.5."""
    confidence_bp: float = 3.5
    """Typical confidence interval in basis points of the price."""
    generation: Generation = Generation.CORE_UPGRADED

    @property
    def address(self) -> str:
        """The feed's account (base58): of shard 0, or the legacy mainnet account that the feed id is the key of."""
        return _address(self.feed_id, self.generation)


@cache
def _address(feed_id: bytes, generation: Generation) -> str:
    if generation is Generation.LEGACY:
        return addresses.to_base58(feed_id)
    return addresses.price_feed_address(feed_id, generation)


def _feed(market: str, symbol: str, start_price: int, volatility: float) -> Feed:
    known = {name: feed_id for feed_id, name in addresses.FEED_SYMBOLS.items()}
    feed_id = bytes.fromhex(known[f"Crypto.{symbol}"])
    return Feed(market, symbol, feed_id, start_price * 10**-EXPONENT, volatility)


DEFAULT_FEEDS: Final = (
    _feed("BTC-PERP", "BTC/USD", 98_000, 0.45),
    _feed("ETH-PERP", "ETH/USD", 3_600, 0.60),
    _feed("SOL-PERP", "SOL/USD", 190, 0.75),
)


@dataclass(frozen=True, slots=True)
class LocalnetSettings:
    """How a local node behaves. Every default is what `quantdesk-oracle localnet` has."""

    host: str = "127.0.0.1"
    rpc_port: int = 8899
    """0: any free one; ``LocalNode.rpc_url`` says which."""
    ws_port: int = 8900
    slot_ms: int = 400
    push_every: float = 1.0
    """Seconds between two pushes of a feed. Below 1 changes nothing: publish times are whole seconds, and the
    push program writes only where the publish time is newer."""
    seed: int = 0
    ledger: Path | None = None
    accounts: Path | None = None
    """A folder of account dumps to serve instead of the simulated market."""
    genesis: str = LOCALNET
    """The cluster that the node says it is: mainnet-beta, devnet, testnet or localnet."""
    feeds: tuple[Feed, ...] = DEFAULT_FEEDS
    history: int = 100_000
    """Transactions kept; the oldest are pruned."""
    load: bool = False
    """Whether the feeds print at a steady rate, without transactions, as ``localnet.load`` says: for benchmarks."""
    control: bool = False
    """Whether programs on the same machine may make faults over HTTP, under /control of the RPC port."""
    send_buffer: int = 1 << 24
    """Bytes that may wait for a slow websocket client before it is dropped: a sixth of a second of the largest load."""

    @property
    def slot_us(self) -> int:
        """A slot in the unit of instants, µs."""
        return self.slot_ms * SECOND // 1000

    @property
    def push_us(self) -> int:
        """The time between two pushes, µs."""
        return max(1, round(self.push_every * SECOND))

    @property
    def genesis_hash(self) -> str:
        """Base58. The local node has a fixed one of its own, so that nobody takes it for a public cluster."""
        return genesis_hash(self.genesis)


def genesis_hash(cluster: str) -> str:
    """The genesis hash (base58) of ``cluster``. Raises ValueError for a cluster that there is not."""
    if cluster == LOCALNET:
        return addresses.to_base58(hashlib.sha256(b"quantdesk-oracle localnet").digest())
    if cluster not in addresses.GENESIS_HASHES:
        known = ", ".join([*addresses.GENESIS_HASHES, LOCALNET])
        raise ValueError(f"genesis is {cluster!r}, expected one of {known}")
    return addresses.GENESIS_HASHES[cluster]
