"""Account bytes to values: every length, discriminator, magic, version and tag."""

from __future__ import annotations

import pytest

from quantdesk_oracle.errors import DecodeError
from quantdesk_oracle.model import PriceUpdate, Reason
from quantdesk_oracle.pyth.accounts import (
    LegacyMapping,
    LegacyPrice,
    LegacyProduct,
    decode_account,
    decode_legacy_mapping,
    decode_legacy_price,
    decode_legacy_product,
    decode_price,
    decode_price_update_v2,
)
from tests.vectors import encoder

SOL = PriceUpdate(**encoder.PRICE_FIELDS, slot=447_956_893)
FULL = encoder.price_update_v2()
PARTIAL = encoder.price_update_v2(signatures=5)
PRICE = encoder.legacy_price()
PRODUCT = encoder.legacy_product({"symbol": "Crypto.SOL/USD", "base": "SOL"})
MAPPING = encoder.legacy_mapping([bytes([n] * 32) for n in range(3)])


def refusal(data: bytes, decode=decode_account) -> tuple[Reason, int]:
    with pytest.raises(DecodeError) as caught:
        decode(data)
    return caught.value.reason, caught.value.offset


def patched(data: bytes, offset: int, value: bytes) -> bytes:
    return data[:offset] + value + data[offset + len(value) :]


# ── PriceUpdateV2 ────────────────────────────────────────────────────────────────────────────────


def test_a_full_update_is_read_from_byte_41():
    assert decode_price_update_v2(FULL) == SOL


def test_a_partial_update_shifts_every_later_field():
    assert decode_price_update_v2(PARTIAL) == SOL._replace(signatures=5)
    assert FULL[41:133] == PARTIAL[42:134]


def test_the_spare_byte_of_a_full_update_may_hold_anything_or_be_absent():
    assert decode_price_update_v2(FULL[:133]) == SOL
    assert decode_price_update_v2(encoder.price_update_v2(spare=b"\xff")) == SOL


def test_bytes_after_the_allocated_ones_are_ignored():
    assert decode_price_update_v2(PARTIAL + bytes(1000)).signatures == 5


@pytest.mark.parametrize("length", [8, 40, 41, 132])
def test_a_full_update_one_byte_short_or_more_is_refused(length):
    assert refusal(FULL[:length]) == (Reason.TOO_SHORT, length)


@pytest.mark.parametrize("length", [132, 133])
def test_a_partial_update_needs_its_134_bytes(length):
    assert refusal(PARTIAL[:length]) == (Reason.TOO_SHORT, length)


@pytest.mark.parametrize("tag", [2, 127, 255])
def test_a_verification_level_that_is_no_variant_is_refused(tag):
    assert refusal(patched(FULL, 40, bytes([tag]))) == (Reason.BAD_VERIFICATION, 40)


@pytest.mark.parametrize("signatures", [0, 1, 13, 255])
def test_a_partial_update_says_how_many_signatures_were_checked(signatures):
    assert decode_price(encoder.price_update_v2(signatures=signatures)).signatures == signatures


@pytest.mark.parametrize(
    "extreme",
    [
        {"price": 2**63 - 1, "ema_price": -(2**63), "exponent": 2**31 - 1, "publish_time": 2**63 - 1},
        {"price": -(2**63), "ema_price": 2**63 - 1, "exponent": -(2**31), "publish_time": -(2**63)},
        {"confidence": 2**64 - 1, "ema_confidence": 2**64 - 1, "prev_publish_time": -(2**63)},
    ],
)
def test_every_field_keeps_its_whole_range_and_sign(extreme):
    expected = PriceUpdate(**encoder.PRICE_FIELDS | extreme, slot=2**64 - 1)
    assert decode_price(encoder.price_update_v2(slot=2**64 - 1, **extreme)) == expected


def test_any_changed_byte_of_the_discriminator_makes_it_another_account():
    for offset in range(8):
        changed = patched(FULL, offset, bytes([FULL[offset] ^ 1]))
        assert refusal(changed) == (Reason.UNKNOWN_ACCOUNT, 0)
        assert refusal(changed, decode_price_update_v2) == (Reason.UNKNOWN_ACCOUNT, 0)


def test_the_discriminator_that_anchorpy_makes_of_the_published_idl_is_not_ours():
    assert refusal(bytes.fromhex("46093b0f975f03ea") + FULL[8:]) == (Reason.UNKNOWN_ACCOUNT, 0)


def test_a_twap_account_is_known_and_is_not_a_price():
    assert refusal(encoder.twap_update()) == (Reason.NOT_A_PRICE, 0)


# ── Legacy price ─────────────────────────────────────────────────────────────────────────────────


def test_a_legacy_price_is_read_at_its_published_offsets():
    account = decode_legacy_price(PRICE)
    assert account == LegacyPrice(
        update=PriceUpdate(
            feed_id=None,
            price=2_495_335_717,
            confidence=2_126_633,
            exponent=-8,
            publish_time=1_690_737_765,
            prev_publish_time=1_690_737_764,
            ema_price=2_493_214_500,
            ema_confidence=1_758_239,
            slot=208_451_177,
            trading=True,
            legacy=True,
        ),
        status="trading",
        product=encoder.PRODUCT,
        components=32,
    )
    assert decode_price(PRICE) == account.update


@pytest.mark.parametrize("space", [240, 241, 3312, 12_576])
def test_the_length_of_a_legacy_price_does_not_matter_beyond_its_head(space):
    assert decode_legacy_price(encoder.legacy_price(space)).update == decode_price(PRICE)


@pytest.mark.parametrize("length", [16, 100, 239])
def test_a_legacy_price_without_its_whole_head_is_refused(length):
    assert refusal(PRICE[:length]) == (Reason.TOO_SHORT, length)
    assert refusal(PRICE[:length], decode_price) == (Reason.TOO_SHORT, length)


@pytest.mark.parametrize(
    ("status", "name"),
    [(0, "unknown"), (1, "trading"), (2, "halted"), (3, "auction"), (4, "ignored")],
)
def test_only_the_status_trading_is_trading(status, name):
    account = decode_legacy_price(encoder.legacy_price(status=status))
    assert (account.status, account.update.trading) == (name, name == "trading")


@pytest.mark.parametrize("status", [5, 2**32 - 1])
def test_a_status_that_is_none_is_refused(status):
    assert refusal(encoder.legacy_price(status=status)) == (Reason.BAD_STATUS, 224)


@pytest.mark.parametrize("action", [1, 2**32 - 1])
def test_a_corporate_action_that_is_none_is_refused(action):
    assert refusal(encoder.legacy_price(corporate_action=action)) == (Reason.BAD_STATUS, 228)


@pytest.mark.parametrize("price_type", [0, 2, 2**32 - 1])
def test_a_price_type_other_than_price_is_refused(price_type):
    assert refusal(encoder.legacy_price(price_type=price_type)) == (Reason.BAD_TYPE, 16)


def test_every_field_of_a_legacy_price_keeps_its_whole_range_and_sign():
    data = encoder.legacy_price(
        price=-(2**63),
        confidence=2**64 - 1,
        exponent=-(2**31),
        timestamp=-(2**63),
        prev_timestamp=2**63 - 1,
        ema_price=-(2**63),
        publish_slot=2**64 - 1,
    )
    update = decode_price(data)
    assert (update.price, update.confidence, update.exponent) == (-(2**63), 2**64 - 1, -(2**31))
    assert (update.publish_time, update.prev_publish_time) == (-(2**63), 2**63 - 1)
    assert (update.ema_price, update.slot) == (-(2**63), 2**64 - 1)


def test_a_negative_ema_confidence_stays_what_the_bytes_say():
    assert decode_price(encoder.legacy_price(ema_confidence=-5)).ema_confidence == -5


# ── Legacy headers ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("account", [PRICE, PRODUCT, MAPPING])
@pytest.mark.parametrize("version", [0, 1, 3, 2**32 - 1])
def test_a_legacy_version_other_than_2_is_refused(account, version):
    assert refusal(patched(account, 4, version.to_bytes(4, "little"))) == (Reason.BAD_VERSION, 4)


@pytest.mark.parametrize("account_type", [0, 4, 2**32 - 1])
def test_a_legacy_type_that_is_none_is_refused(account_type):
    changed = patched(PRICE, 8, account_type.to_bytes(4, "little"))
    assert refusal(changed) == (Reason.BAD_TYPE, 8)
    assert refusal(changed, decode_price) == (Reason.BAD_TYPE, 8)


def test_any_changed_byte_of_the_magic_makes_it_another_account():
    for offset in range(4):
        assert refusal(patched(PRICE, offset, bytes([PRICE[offset] ^ 1]))) == (Reason.UNKNOWN_ACCOUNT, 0)


@pytest.mark.parametrize("length", [0, 1, 3, 7, 15])
def test_bytes_too_few_for_any_header_are_too_short(length):
    assert refusal(PRICE[:length]) == (Reason.TOO_SHORT, length)
    assert refusal(PRICE[:length], decode_price) == (Reason.TOO_SHORT, length)


@pytest.mark.parametrize(
    ("decode", "account"),
    [(decode_legacy_price, PRODUCT), (decode_legacy_product, MAPPING), (decode_legacy_mapping, PRICE)],
)
def test_a_decoder_of_one_legacy_kind_refuses_the_others(decode, account):
    assert refusal(account, decode) == (Reason.BAD_TYPE, 8)


@pytest.mark.parametrize("account", [PRODUCT, MAPPING])
def test_where_a_price_is_wanted_another_kind_of_account_is_not_a_price(account):
    assert refusal(account, decode_price) == (Reason.NOT_A_PRICE, 8)


def test_an_account_of_any_kind_is_told_by_its_first_bytes():
    kinds = [type(decode_account(data)) for data in (FULL, PARTIAL, PRICE, PRODUCT, MAPPING)]
    assert kinds == [PriceUpdate, PriceUpdate, LegacyPrice, LegacyProduct, LegacyMapping]


# ── Legacy product ───────────────────────────────────────────────────────────────────────────────


def test_a_product_names_its_price_account_and_its_attributes():
    assert decode_account(PRODUCT) == LegacyProduct(
        encoder.AUTHORITY, {"symbol": "Crypto.SOL/USD", "base": "SOL"}
    )


def test_a_product_may_have_no_attributes_and_empty_values():
    assert decode_legacy_product(encoder.legacy_product({}, space=48)).attributes == {}
    assert decode_legacy_product(encoder.legacy_product({"tenor": ""})).attributes == {"tenor": ""}


def test_the_attributes_of_a_product_end_at_its_used_size():
    product = encoder.legacy_product({"symbol": "A"})
    after = product[: 16 + 32 + 9] + b"\x01x\x01y"
    assert decode_legacy_product(after).attributes == {"symbol": "A"}


def test_an_attribute_without_a_name_ends_the_list():
    data = encoder.legacy_account(2, bytes(32) + b"\x01a\x01b" + b"\x00\x01x\x01y", 100)
    assert decode_legacy_product(data).attributes == {"a": "b"}


@pytest.mark.parametrize("used", [0, 47, 101])
def test_a_used_size_of_a_product_outside_its_account_is_refused(used):
    data = patched(encoder.legacy_product({}, space=100), 12, used.to_bytes(4, "little"))
    assert refusal(data) == (Reason.BAD_SIZE, 12)


@pytest.mark.parametrize("used", [48, 100])
def test_a_used_size_of_a_product_may_reach_from_its_head_to_its_end(used):
    data = patched(encoder.legacy_product({}, space=100), 12, used.to_bytes(4, "little"))
    assert decode_legacy_product(data).attributes == {}


def test_a_product_without_its_head_is_too_short():
    assert refusal(PRODUCT[:47]) == (Reason.TOO_SHORT, 47)


@pytest.mark.parametrize(
    ("attributes", "offset"),
    [
        (b"\x05abcd", 48),  # a key that runs over the end
        (b"\x01a\x02b", 50),  # a value that does
        (b"\x01a", 50),  # no value at all
    ],
)
def test_an_attribute_that_leaves_the_used_size_is_refused_at_its_offset(attributes, offset):
    data = encoder.legacy_account(2, bytes(32) + attributes, 200)
    assert refusal(data) == (Reason.BAD_SIZE, offset)


def test_a_string_may_end_exactly_with_the_used_size():
    data = encoder.legacy_account(2, bytes(32) + b"\x01a\x02bc", 48 + 5)
    assert decode_legacy_product(data).attributes == {"a": "bc"}


def test_an_attribute_that_is_no_text_is_refused():
    data = encoder.legacy_account(2, bytes(32) + b"\x01a\x02\xc3\x28", 200)
    assert refusal(data) == (Reason.BAD_TEXT, 51)


# ── Legacy mapping ───────────────────────────────────────────────────────────────────────────────


def test_a_mapping_lists_its_products():
    products = tuple(bytes([n] * 32) for n in range(3))
    assert decode_account(MAPPING) == LegacyMapping(next_mapping=bytes(32), products=products)


def test_a_mapping_may_be_empty_or_longer_than_its_list():
    assert decode_legacy_mapping(encoder.legacy_mapping([])).products == ()
    assert decode_legacy_mapping(encoder.legacy_mapping([bytes(32)], space=20_536)).products == (bytes(32),)


@pytest.mark.parametrize("count", [4, 2**32 - 1])
def test_a_mapping_with_more_products_than_its_used_size_holds_is_refused(count):
    data = patched(MAPPING + bytes(1000), 16, count.to_bytes(4, "little"))
    assert refusal(data) == (Reason.BAD_SIZE, 16)


@pytest.mark.parametrize("length", [16, 55])
def test_a_mapping_without_its_head_is_too_short(length):
    assert refusal(MAPPING[:length]) == (Reason.TOO_SHORT, length)


@pytest.mark.parametrize("used", [0, 55, 153])
def test_a_used_size_of_a_mapping_outside_its_account_is_refused(used):
    assert len(MAPPING) == 152
    assert refusal(patched(MAPPING, 12, used.to_bytes(4, "little"))) == (Reason.BAD_SIZE, 12)


def test_a_refusal_names_offset_value_and_what_was_expected():
    with pytest.raises(DecodeError, match=r"^offset 4: found 7, expected version 2$"):
        decode_account(patched(PRICE, 4, b"\x07\0\0\0"))
