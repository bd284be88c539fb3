"""What an account says, in words and exact decimals, for people and scripts: nothing is judged here."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Final

from quantdesk_oracle.model import Generation, PriceUpdate
from quantdesk_oracle.pyth import addresses, layouts
from quantdesk_oracle.pyth.accounts import Account, LegacyMapping, LegacyPrice, LegacyProduct
from quantdesk_oracle.pyth.dumps import AccountDump

LARGEST_EXPONENT: Final = 100
"""Beyond it, or below its negative, no price is written out: 2**31 − 1 would be two gigabytes of zeros."""
_UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Kind(StrEnum):
    """The kinds of Pyth accounts that this project reads."""

    PRICE_UPDATE_V2 = "price_update_v2"
    LEGACY_PRICE = "legacy_price"
    LEGACY_PRODUCT = "legacy_product"
    LEGACY_MAPPING = "legacy_mapping"


@dataclass(frozen=True, slots=True)
class Description:
    """An account in the words of the ``decode`` command; None where its kind has no such thing."""

    pubkey: str | None
    owner: str | None
    kind: Kind | None
    generation: Generation | None
    """Of the owner: whose program writes the account, whatever it holds."""
    feed_id: str | None = None
    """Hex."""
    symbol: str | None = None
    """As Pyth writes it: ``Crypto.SOL/USD``."""
    price: str | None = None
    """Exact decimal, as are confidence and the EMA's two."""
    confidence: str | None = None
    ema_price: str | None = None
    ema_confidence: str | None = None
    exponent: int | None = None
    price_raw: int | None = None
    confidence_raw: int | None = None
    publish_time: int | None = None
    """Unix seconds."""
    publish_time_iso: str | None = None
    slot: int | None = None
    status: str | None = None
    """Of a legacy price: unknown, trading, halted, auction or ignored."""
    verification: str | None = None
    """Of a PriceUpdateV2: ``full``, or ``partial:`` and the number of signatures."""


def describe(dump: AccountDump, account: Account) -> Description:
    """Describe ``account``, which ``dump`` decodes to."""
    if isinstance(account, PriceUpdate):
        level = "full" if account.signatures is None else f"partial:{account.signatures}"
        return _priced(dump, Kind.PRICE_UPDATE_V2, account, feed_id=account.feed_id, verification=level)
    if isinstance(account, LegacyPrice):
        feed_id = legacy_feed_id(dump)
        return _priced(dump, Kind.LEGACY_PRICE, account.update, feed_id=feed_id, status=account.status)
    if isinstance(account, LegacyProduct):
        return _unpriced(dump, Kind.LEGACY_PRODUCT, symbol=account.attributes.get("symbol"))
    assert isinstance(account, LegacyMapping)
    return _unpriced(dump, Kind.LEGACY_MAPPING)


def describe_undecodable(pubkey: str | None, owner: str | None) -> Description:
    """What is known of an account whose bytes do not decode."""
    generation = None if owner is None else addresses.generation_of_owner(owner)
    return Description(pubkey=pubkey, owner=owner, kind=None, generation=generation)


def legacy_feed_id(dump: AccountDump) -> bytes | None:
    """The feed id of a legacy price account: its raw key on mainnet; elsewhere there is none to be had."""
    if addresses.LEGACY_PROGRAMS.get(dump.owner) != "mainnet-beta":
        return None
    # Thirty-two zero bytes stand in a dump whose account nobody wrote down.
    return (
        None if dump.pubkey == addresses.SYSTEM_PROGRAM else addresses.feed_id_of_legacy_mainnet(dump.pubkey)
    )


def exact_decimal(raw: int, exponent: int) -> str | None:
    """``raw · 10**exponent`` with every digit and no exponent; None where it would be absurdly long."""
    if abs(exponent) > LARGEST_EXPONENT:
        return None
    sign, digits, _ = Decimal(raw).as_tuple()
    return f"{Decimal((sign, digits, exponent)):f}"


def iso_time(seconds: int) -> str | None:
    """Unix seconds as ``2026-09-18T02:43:06Z``; None beyond the years 1 to 9999."""
    try:
        instant = _UNIX_EPOCH + timedelta(seconds=seconds)
    except OverflowError:
        return None
    return instant.isoformat().replace("+00:00", "Z")


def _unpriced(dump: AccountDump, kind: Kind, symbol: str | None = None) -> Description:
    generation = addresses.generation_of_owner(dump.owner)
    return Description(dump.pubkey, dump.owner, kind, generation, symbol=symbol)


def _priced(
    dump: AccountDump,
    kind: Kind,
    update: PriceUpdate,
    *,
    feed_id: bytes | None,
    status: str | None = None,
    verification: str | None = None,
) -> Description:
    exponent = update.exponent
    # An account whose EMA is 0 has none yet, and so no confidence in it either.
    has_ema = update.ema_price != 0
    has_time = not update.legacy or update.publish_time >= layouts.LEGACY_TIME_STARTS
    return Description(
        pubkey=dump.pubkey,
        owner=dump.owner,
        kind=kind,
        generation=addresses.generation_of_owner(dump.owner),
        feed_id=None if feed_id is None else feed_id.hex(),
        symbol=_symbol(dump, feed_id),
        price=exact_decimal(update.price, exponent),
        confidence=exact_decimal(update.confidence, exponent),
        ema_price=exact_decimal(update.ema_price, exponent) if has_ema else None,
        ema_confidence=exact_decimal(update.ema_confidence, exponent) if has_ema else None,
        exponent=exponent,
        price_raw=update.price,
        confidence_raw=update.confidence,
        publish_time=update.publish_time if has_time else None,
        publish_time_iso=iso_time(update.publish_time) if has_time else None,
        slot=update.slot,
        status=status,
        verification=verification,
    )


def _symbol(dump: AccountDump, feed_id: bytes | None) -> str | None:
    if feed_id is not None:
        return addresses.FEED_SYMBOLS.get(feed_id.hex())
    known = addresses.LEGACY_ACCOUNTS.get(dump.pubkey)
    if known is None or addresses.LEGACY_PROGRAMS.get(dump.owner) != known.cluster:
        return None
    return f"Crypto.{known.symbol}"
