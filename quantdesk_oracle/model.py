"""The nouns that flow through the house.

    bytes ─► Observation ─► PriceUpdate ─► Verdict ─► a row of oracle_prices
                                 │
                                 ▼
                     the print in use ─► MarkPrice ─► PremiumSample ─► FundingRate

Instants are whole microseconds since the Unix epoch, publish times whole seconds as Pyth gives them,
prices and rates Decimals, raw prices integers with an exponent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any, NamedTuple
from uuid import UUID, uuid4

SECOND = 1_000_000
"""One second in the unit of instants."""


class Generation(StrEnum):
    """The three generations of Pyth price accounts, oldest first, and what is none of them."""

    LEGACY = "legacy"
    CORE = "core"
    CORE_UPGRADED = "core_upgraded"
    FOREIGN = "foreign"


class Source(StrEnum):
    """By which way a print reached us; `external` rows are other teams' writers'."""

    SUBSCRIPTION = "subscription"
    POLL = "poll"
    CHAIN = "chain"
    HERMES = "hermes"
    BENCHMARKS = "benchmarks"
    FILE = "file"
    EXTERNAL = "external"


class Reason(StrEnum):
    """Why bytes are no usable price: the one set of codes for decode, metrics, events and status."""

    # the bytes do not decode
    TOO_SHORT = "too_short"
    UNKNOWN_ACCOUNT = "unknown_account"
    BAD_VERSION = "bad_version"
    BAD_TYPE = "bad_type"
    BAD_SIZE = "bad_size"
    BAD_VERIFICATION = "bad_verification"
    BAD_STATUS = "bad_status"
    BAD_TEXT = "bad_text"
    BAD_DUMP = "bad_dump"
    # they decode, and are not a price that may be stored (pricing.acceptance, in its order)
    ACCOUNT_MISSING = "account_missing"
    NOT_A_PRICE = "not_a_price"
    WRONG_OWNER = "wrong_owner"
    WRONG_FEED = "wrong_feed"
    NOT_FULL = "not_full"
    NOT_TRADING = "not_trading"
    PRICE_NOT_POSITIVE = "price_not_positive"
    BAD_EXPONENT = "bad_exponent"
    BAD_TIMESTAMP = "bad_timestamp"
    BAD_SLOT = "bad_slot"
    FUTURE = "future"
    UNCERTAIN = "uncertain"
    IMPLAUSIBLE = "implausible"
    # stored, with a mark on it
    QUARANTINED = "quarantined"
    WIDE = "wide"
    FROZEN = "frozen"


class Verdict(StrEnum):
    """What storage decided about a print (pricing.acceptance)."""

    ACCEPTED = "accepted"
    WIDE = "wide"
    QUARANTINED = "quarantined"
    REJECTED = "rejected"


class Freshness(StrEnum):
    """How old the print in use is, against its market's limits."""

    UNPROVEN = "unproven"
    FRESH = "fresh"
    STALE = "stale"
    DEAD = "dead"


class Severity(StrEnum):
    """Of a system event."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"


class Observation(NamedTuple):
    """One delivery of a feed account's state. ``data`` is None where the account does not exist."""

    pubkey: str
    owner: str
    data: bytes | None
    source: Source
    received: int
    """Instant, µs."""


class PriceUpdate(NamedTuple):
    """One print: what a price account, of whatever generation, says. Raw integers, scaled by 10**exponent."""

    feed_id: bytes | None
    """32 bytes; None in legacy accounts, which do not hold it."""
    price: int
    confidence: int
    exponent: int
    publish_time: int
    """Unix seconds."""
    prev_publish_time: int
    ema_price: int
    ema_confidence: int
    slot: int
    """posted_slot of a PriceUpdateV2, the aggregate's publish slot of a legacy account."""
    signatures: int | None = None
    """Guardian signatures checked, for a *Partial* update; None: *Full*."""
    trading: bool = True
    """False where a legacy account's status is anything but *trading*."""
    legacy: bool = False

    @property
    def identity(self) -> tuple[int, int]:
        """What makes it this print and no other within its market; also its order in time."""
        return (self.publish_time, self.slot)


class StoredPrint(NamedTuple):
    """A print on its way to, or back from, a row of oracle_prices."""

    market: str
    update: PriceUpdate
    verdict: Verdict
    source: Source
    received: int


@dataclass(frozen=True, slots=True)
class MarkPrice:
    """One row of mark_prices: the mark of one market at one grid instant, with every input of its formula."""

    market: str
    instant: int
    mark_price: Decimal
    index_price: Decimal
    publish_time: int
    slot: int
    funding_rate: Decimal
    """F_last: the market's newest settled rate at this instant, a fraction per interval."""
    seconds_to_funding: Decimal
    funding_interval: int
    """Seconds."""
    method: str
    parameter_version: int
    status: Freshness
    best_bid: Decimal | None = None
    """With ``best_ask``, None for a one-sided or crossed book: it is no book."""
    best_ask: Decimal | None = None
    last_trade_price: Decimal | None = None
    """None where no trade is young enough."""
    last_trade_at: int | None = None
    """µs."""
    basis_sum: Decimal | None = None
    """Σ (mid − index) over the averaging window."""
    basis_count: int = 0
    basis_mean: Decimal | None = None
    ema_state: str | None = None
    """State of moving averages, JSON, where the method has any."""


@dataclass(frozen=True, slots=True)
class PremiumSample:
    """One row of premium_samples. ``premium`` is None where there was no fresh oracle; status says why."""

    market: str
    instant: int
    premium: Decimal | None
    status: str
    index_price: Decimal | None = None
    publish_time: int | None = None
    slot: int | None = None
    mark_instant: int | None = None
    impact_bid: Decimal | None = None
    impact_ask: Decimal | None = None


class Taken(NamedTuple):
    """What is known of one market at a sampling instant: its index's freshness, and its book."""

    freshness: Freshness
    impact_bid: Decimal | None
    impact_ask: Decimal | None
    has_book: bool
    method: str
    mark: MarkPrice | None = None
    """What this daemon put to the writer for the instant; None where the index was not usable."""


class DueSample(NamedTuple):
    """A sampling instant (µs) whose premium samples are still to be made, from the marks that will stand at it."""

    instant: int
    taken: Mapping[str, Taken]
    """By market symbol."""


@dataclass(frozen=True, slots=True)
class FundingRate:
    """One row of funding_rates: what one interval, ended at ``boundary``, pays. Positive: longs pay shorts."""

    market: str
    boundary: int
    funding_rate: Decimal
    premium_index: Decimal | None
    index_price: Decimal | None
    publish_time: int | None
    slot: int | None
    mark_price: Decimal | None
    premium_sum: Decimal
    samples_expected: int
    samples_used: int
    samples_unusable: int
    coverage: Decimal
    funding_interval: int
    method: str
    parameter_version: int
    status: str
    reason: str | None
    input_hash: str
    long_size: Decimal | None = None
    """Open positions at settlement, base units; None where it was late or skipped."""
    short_size: Decimal | None = None
    total_funding: Decimal | None = None
    """Quote units."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something an operator should know: a row of system_events."""

    type: str
    severity: Severity
    instant: int
    data: dict[str, Any] = field(default_factory=dict)
    market: str | None = None
    id: UUID = field(default_factory=uuid4)
    """Given before it is sent: a batch of events that is sent twice is stored once."""
