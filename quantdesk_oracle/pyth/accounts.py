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
# A named tuple's own constructor is a Python function, a third of what decoding costs; this is what it ends with.
_new = tuple.__new__
_FULL_ENDS = (None, True, False)
"""signatures, trading and legacy of a *Full* PriceUpdateV2."""


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
        return _price_update_v2(data)
    account_type, _ = _legacy_header(data)
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
        return _price_update_v2(data)
    if data[:12] != layouts.LEGACY_PRICE_START:
        account_type, _ = _legacy_header(data)
        raise DecodeError(Reason.NOT_A_PRICE, 8, account_type, "account type 3 (price)")
    return _legacy_update(data)[0]


def decode_price_update_v2(data: bytes) -> PriceUpdate:
    """Decode a PriceUpdateV2, *Full* (133 bytes used) or *Partial* (134: every later field moves by one)."""
    if data[:8] != layouts.PRICE_UPDATE_V2:
        raise _unknown(data)
    return _price_update_v2(data)


def decode_legacy_price(data: bytes) -> LegacyPrice:
    """Decode a legacy price account from its 240-byte head, whatever its length (Pythnet's has 12,576)."""
    _legacy_header(data, layouts.LEGACY_PRICE)
    update, status = _legacy_update(data)
    components, product = layouts.LEGACY_PRICE_DETAILS.unpack_from(data)
    return LegacyPrice(update, _STATUS_NAMES[status], product, components)


def decode_legacy_product(data: bytes) -> LegacyProduct:
    """Decode a legacy product account: repeated [length u8][key][length u8][value] up to its used size."""
    start = layouts.LEGACY_ATTRIBUTES_OFFSET
    used = _used_size(data, layouts.LEGACY_PRODUCT, start)
    (price_account,) = layouts.LEGACY_PRODUCT_HEAD.unpack_from(data)
    attributes: dict[str, str] = {}
    offset = start
    while offset < used and data[offset]:
        key, offset = _text(data, offset, used)
        attributes[key], offset = _text(data, offset, used)
    return LegacyProduct(price_account, attributes)


def decode_legacy_mapping(data: bytes) -> LegacyMapping:
    """Decode a legacy mapping account: its product keys and the key of the next page."""
    start = layouts.LEGACY_PRODUCTS_OFFSET
    used = _used_size(data, layouts.LEGACY_MAPPING, start)
    count, next_mapping = layouts.LEGACY_MAPPING_HEAD.unpack_from(data)
    end = start + 32 * count
    if end > used:
        raise DecodeError(Reason.BAD_SIZE, 16, count, f"at most {(used - start) // 32} products")
    return LegacyMapping(next_mapping, tuple(data[at : at + 32] for at in range(start, end, 32)))


def _price_update_v2(data: bytes) -> PriceUpdate:
    """Decode a PriceUpdateV2 whose discriminator has been seen."""
    if len(data) < layouts.FULL_UPDATE.size:
        raise _too_short(data, layouts.FULL_UPDATE.size)
    tag = data[layouts.VERIFICATION_OFFSET]
    if tag == layouts.FULL:
        return _new(PriceUpdate, layouts.PRINT.unpack_from(data, layouts.FULL_PRINT_OFFSET) + _FULL_ENDS)
    if tag != layouts.PARTIAL:
        raise DecodeError(
            Reason.BAD_VERIFICATION, layouts.VERIFICATION_OFFSET, tag, "0 (partial) or 1 (full)"
        )
    if len(data) < layouts.PARTIAL_UPDATE.size:
        raise _too_short(data, layouts.PARTIAL_UPDATE.size)
    ends = (data[layouts.SIGNATURES_OFFSET], True, False)
    return _new(PriceUpdate, layouts.PRINT.unpack_from(data, layouts.PARTIAL_PRINT_OFFSET) + ends)


def _legacy_update(data: bytes) -> tuple[PriceUpdate, int]:
    """The print and the status in a legacy price account whose magic, version and type have been seen."""
    if len(data) < layouts.LEGACY_PRICE_HEAD.size:
        raise _too_short(data, layouts.LEGACY_PRICE_HEAD.size)
    price_type, exponent, ema, ema_conf, timestamp, prev_timestamp, price, conf, status, action, slot = (
        layouts.LEGACY_PRICE_HEAD.unpack_from(data)
    )
    if price_type != layouts.LEGACY_SPOT_PRICE:
        raise DecodeError(Reason.BAD_TYPE, 16, price_type, "price type 1 (price)")
    if status >= len(_STATUS_NAMES):
        raise DecodeError(Reason.BAD_STATUS, 224, status, "a status of 0 to 4")
    if action != layouts.LEGACY_NO_CORPORATE_ACTION:
        raise DecodeError(Reason.BAD_STATUS, 228, action, "corporate action 0 (none)")
    trading = status == _TRADING
    fields = (
        None,
        price,
        conf,
        exponent,
        timestamp,
        prev_timestamp,
        ema,
        ema_conf,
        slot,
        None,
        trading,
        True,
    )
    return _new(PriceUpdate, fields), status


def _legacy_header(data: bytes, want: int | None = None) -> tuple[int, int]:
    """Check magic, version and type; (account type, used size in bytes)."""
    if data[:4] != layouts.LEGACY_MAGIC_BYTES:
        raise _unknown(data)
    if len(data) < layouts.LEGACY_HEADER.size:
        raise _too_short(data, layouts.LEGACY_HEADER.size)
    _, version, account_type, used = layouts.LEGACY_HEADER.unpack_from(data)
    if version != layouts.LEGACY_VERSION:
        raise DecodeError(Reason.BAD_VERSION, 4, version, "version 2")
    allowed = (layouts.LEGACY_MAPPING, layouts.LEGACY_PRODUCT, layouts.LEGACY_PRICE)
    if account_type not in (allowed if want is None else (want,)):
        raise DecodeError(Reason.BAD_TYPE, 8, account_type, f"account type {want or '1, 2 or 3'}")
    return account_type, used


def _used_size(data: bytes, account_type: int, least: int) -> int:
    """The used size that the header of an account of ``account_type`` states, checked against its bytes."""
    _, used = _legacy_header(data, account_type)
    if len(data) < least:
        raise _too_short(data, least)
    if not least <= used <= len(data):
        raise DecodeError(Reason.BAD_SIZE, 12, used, f"a used size of {least} to {len(data)}")
    return used


def _text(data: bytes, offset: int, end: int) -> tuple[str, int]:
    """One [length u8][bytes] string at ``offset``, and the offset after it."""
    if offset >= end:
        raise DecodeError(Reason.BAD_SIZE, offset, "the end of the used size", "the value of an attribute")
    start = offset + 1
    stop = start + data[offset]
    if stop > end:
        raise DecodeError(Reason.BAD_SIZE, offset, data[offset], f"a string of at most {end - start} bytes")
    try:
        return data[start:stop].decode(), stop
    except UnicodeDecodeError:
        raise DecodeError(Reason.BAD_TEXT, start, f"0x{data[start:stop].hex()}", "UTF-8 text") from None


def _too_short(data: bytes, least: int) -> DecodeError:
    return DecodeError(Reason.TOO_SHORT, len(data), f"the end after {len(data)} bytes", f"{least} bytes")


def _unknown(data: bytes) -> DecodeError:
    start = data[:8]
    if len(start) < 8:
        return _too_short(data, 8)
    if start == layouts.TWAP_UPDATE:
        return DecodeError(Reason.NOT_A_PRICE, 0, "a TwapUpdate", "a PriceUpdateV2, which holds a spot price")
    return DecodeError(Reason.UNKNOWN_ACCOUNT, 0, f"0x{start.hex()}", "the first bytes of a Pyth account")
