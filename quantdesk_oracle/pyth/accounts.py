"""Account bytes to values, with every length, discriminator, magic, version and enum tag checked.

Nothing here raises anything but :class:`~quantdesk_oracle.errors.DecodeError`. Layouts: ``pyth.layouts``.
"""

from __future__ import annotations

from dataclasses import dataclass

from quantdesk_oracle.errors import DecodeError
from quantdesk_oracle.model import PriceUpdate, Reason
from quantdesk_oracle.pyth import layouts

_STATUS_NAMES = ("unknown", "trading", "halted", "auction", "ignored")
_TRADING = 1
_MAPPING_PRODUCTS_OFFSET = 56
_PRODUCT_ATTRIBUTES_OFFSET = 48


@dataclass(frozen=True, slots=True)
class LegacyPrice:
    """A legacy price account: the print it holds, and what is not part of a print."""

    update: PriceUpdate
    status: str
    """unknown, trading, halted, auction or ignored."""
    product: bytes
    """Key of its product account, 32 bytes."""
    components: int
    """Number of publishers' components that follow the head."""


@dataclass(frozen=True, slots=True)
class LegacyProduct:
    """A legacy product account: which asset a price account is for."""

    price_account: bytes
    attributes: dict[str, str]


@dataclass(frozen=True, slots=True)
class LegacyMapping:
    """A legacy mapping account: one page of the list of all products."""

    next_mapping: bytes
    products: tuple[bytes, ...]


Account = PriceUpdate | LegacyPrice | LegacyProduct | LegacyMapping


def decode_account(data: bytes) -> Account:
    """Decode an account of any Pyth kind.

    Raises DecodeError where the bytes are of no kind that is known, or break their kind's rules.
    """
    if data[:8] == layouts.PRICE_UPDATE_V2:
        return decode_price_update_v2(data)
    account_type = _legacy_header(data)[0]
    if account_type == layouts.LEGACY_PRICE:
        return decode_legacy_price(data)
    if account_type == layouts.LEGACY_PRODUCT:
        return decode_legacy_product(data)
    return decode_legacy_mapping(data)


def decode_price(data: bytes) -> PriceUpdate:
    """Decode an account that should hold a price, of whatever generation: the hot path.

    Raises DecodeError, with reason ``not_a_price`` for Pyth's accounts of other kinds.
    """
    if data[:8] == layouts.PRICE_UPDATE_V2:
        return decode_price_update_v2(data)
    account_type = _legacy_header(data)[0]
    if account_type != layouts.LEGACY_PRICE:
        raise DecodeError(Reason.NOT_A_PRICE, 8, account_type, "account type 3 (price)")
    return decode_legacy_price(data).update


def decode_price_update_v2(data: bytes) -> PriceUpdate:
    """Decode a PriceUpdateV2, *Full* (133 bytes used) or *Partial* (134: every later field moves by one)."""
    try:
        (disc, _, tag, feed_id, price, conf, exponent, publish, prev_publish, ema, ema_conf, slot) = (
            layouts.FULL_UPDATE.unpack_from(data)
        )
    except layouts.struct.error:
        raise _too_short(data, layouts.FULL_UPDATE.size) from None
    if disc != layouts.PRICE_UPDATE_V2:
        raise _unknown(data)
    signatures = None
    if tag != layouts.FULL:
        if tag != layouts.PARTIAL:
            raise DecodeError(
                Reason.BAD_VERIFICATION, layouts.VERIFICATION_OFFSET, tag, "0 (partial) or 1 (full)"
            )
        if len(data) < layouts.PARTIAL_UPDATE.size:
            raise _too_short(data, layouts.PARTIAL_UPDATE.size)
        (_, _, _, signatures, feed_id, price, conf, exponent, publish, prev_publish, ema, ema_conf, slot) = (
            layouts.PARTIAL_UPDATE.unpack_from(data)
        )
    return PriceUpdate(
        feed_id, price, conf, exponent, publish, prev_publish, ema, ema_conf, slot, signatures
    )


def decode_legacy_price(data: bytes) -> LegacyPrice:
    """Decode a legacy price account from its 240-byte head, whatever its length (Pythnet's has 12,576)."""
    _legacy_header(data, layouts.LEGACY_PRICE)
    if len(data) < layouts.LEGACY_PRICE_HEAD.size:
        raise _too_short(data, layouts.LEGACY_PRICE_HEAD.size)
    (
        price_type, exponent, components, _, _, _, ema, _, _, ema_conf, _, _, timestamp, _, _, _, _, _,
        product, _, _, _, _, prev_timestamp, price, conf, status, _, slot,
    ) = layouts.LEGACY_PRICE_HEAD.unpack_from(data)  # fmt: skip
    if price_type != layouts.LEGACY_SPOT_PRICE:
        raise DecodeError(Reason.BAD_TYPE, 16, price_type, "price type 1 (price)")
    if status >= len(_STATUS_NAMES):
        raise DecodeError(Reason.BAD_STATUS, 224, status, "a status of 0 to 4")
    update = PriceUpdate(
        feed_id=None,
        price=price,
        confidence=conf,
        exponent=exponent,
        publish_time=timestamp,
        prev_publish_time=prev_timestamp,
        ema_price=ema,
        # The legacy format keeps it signed; a negative one is no confidence.
        ema_confidence=max(ema_conf, 0),
        slot=slot,
        trading=status == _TRADING,
        legacy=True,
    )
    return LegacyPrice(update, _STATUS_NAMES[status], product, components)


def decode_legacy_product(data: bytes) -> LegacyProduct:
    """Decode a legacy product account: repeated [length u8][key][length u8][value] up to its used size."""
    _, used = _legacy_header(data, layouts.LEGACY_PRODUCT)
    _check_used_size(used, _PRODUCT_ATTRIBUTES_OFFSET, data)
    (price_account,) = layouts.LEGACY_PRODUCT_HEAD.unpack_from(data)
    attributes: dict[str, str] = {}
    offset = _PRODUCT_ATTRIBUTES_OFFSET
    while offset < used and data[offset]:
        key, offset = _text(data, offset, used)
        attributes[key], offset = _text(data, offset, used)
    return LegacyProduct(price_account, attributes)


def decode_legacy_mapping(data: bytes) -> LegacyMapping:
    """Decode a legacy mapping account: its product keys and the key of the next page."""
    _, used = _legacy_header(data, layouts.LEGACY_MAPPING)
    _check_used_size(used, _MAPPING_PRODUCTS_OFFSET, data)
    count, next_mapping = layouts.LEGACY_MAPPING_HEAD.unpack_from(data)
    end = _MAPPING_PRODUCTS_OFFSET + 32 * count
    if end > len(data):
        raise DecodeError(Reason.BAD_SIZE, 16, count, f"at most {(len(data) - 56) // 32} products")
    products = tuple(data[at : at + 32] for at in range(_MAPPING_PRODUCTS_OFFSET, end, 32))
    return LegacyMapping(next_mapping, products)


def _legacy_header(data: bytes, want: int | None = None) -> tuple[int, int]:
    """Check magic, version and type; (account type, used size in bytes)."""
    if len(data) < layouts.LEGACY_HEADER.size:
        raise _too_short(data, layouts.LEGACY_HEADER.size)
    magic, version, account_type, used = layouts.LEGACY_HEADER.unpack_from(data)
    if magic != layouts.LEGACY_MAGIC:
        raise _unknown(data)
    if version != layouts.LEGACY_VERSION:
        raise DecodeError(Reason.BAD_VERSION, 4, version, "version 2")
    allowed = (layouts.LEGACY_MAPPING, layouts.LEGACY_PRODUCT, layouts.LEGACY_PRICE)
    if account_type not in (allowed if want is None else (want,)):
        raise DecodeError(Reason.BAD_TYPE, 8, account_type, f"account type {want or '1, 2 or 3'}")
    return account_type, used


def _check_used_size(used: int, least: int, data: bytes) -> None:
    if len(data) < least:
        raise _too_short(data, least)
    if not least <= used <= len(data):
        raise DecodeError(Reason.BAD_SIZE, 12, used, f"a used size of {least} to {len(data)}")


def _text(data: bytes, offset: int, end: int) -> tuple[str, int]:
    """One [length u8][bytes] string at ``offset``, and the offset after it."""
    start = offset + 1
    stop = start + data[offset] if offset < end else end + 1
    if stop > end:
        raise DecodeError(Reason.BAD_SIZE, offset, stop - start, f"a string that ends by {end}")
    try:
        return data[start:stop].decode(), stop
    except UnicodeDecodeError:
        raise DecodeError(Reason.BAD_TEXT, start, data[start:stop].hex(), "UTF-8 text") from None


def _too_short(data: bytes, least: int) -> DecodeError:
    return DecodeError(Reason.TOO_SHORT, len(data), f"the end after {len(data)} bytes", f"{least} bytes")


def _unknown(data: bytes) -> DecodeError:
    if data[:8] == layouts.TWAP_UPDATE:
        return DecodeError(Reason.NOT_A_PRICE, 0, "TwapUpdate", "PriceUpdateV2, which holds a spot price")
    return DecodeError(Reason.UNKNOWN_ACCOUNT, 0, f"0x{data[:8].hex()}", "a Pyth account's first bytes")
