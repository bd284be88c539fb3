"""What holds for every account: the decoders are the same function as independent ones."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantdesk_oracle.errors import DataError, DecodeError
from quantdesk_oracle.model import PriceUpdate
from quantdesk_oracle.pyth import idl
from quantdesk_oracle.pyth.accounts import (
    decode_account,
    decode_legacy_mapping,
    decode_legacy_price,
    decode_legacy_product,
    decode_price,
)
from quantdesk_oracle.pyth.describe import exact_decimal, iso_time
from quantdesk_oracle.pyth.dumps import AccountDump, parse_dump, split_dumps
from quantdesk_oracle.pyth.messages import decode_instruction, decode_price_message
from tests.vectors import encoder
from tests.vectors.references import decode_legacy_reference

I32 = st.integers(-(2**31), 2**31 - 1)
I64 = st.integers(-(2**63), 2**63 - 1)
U8 = st.integers(0, 2**8 - 1)
U32 = st.integers(0, 2**32 - 1)
U64 = st.integers(0, 2**64 - 1)
KEYS = st.binary(min_size=32, max_size=32)

PRICE_FIELDS = st.fixed_dictionaries(
    {
        "feed_id": KEYS,
        "price": I64,
        "confidence": U64,
        "exponent": I32,
        "publish_time": I64,
        "prev_publish_time": I64,
        "ema_price": I64,
        "ema_confidence": U64,
    }
)
LEGACY_FIELDS = st.fixed_dictionaries(
    {
        name: st.integers(-(2 ** (8 * size - 1)), 2 ** (8 * size - 1) - 1)
        if signed
        else st.integers(0, 2 ** (8 * size) - 1)
        for name, _, size, signed, _ in encoder.LEGACY_PRICE_FIELDS
        if name not in {"magic", "version", "account_type", "price_type", "status", "corporate_action"}
    }
    | {"status": st.integers(0, 4)}
)
# Short texts of any characters: a length is one byte.
TEXTS = st.text(max_size=60)


@given(PRICE_FIELDS, U64, st.none() | U8, st.binary(max_size=40))
def test_struct_and_anchorpy_read_every_price_update_alike(fields, slot, signatures, rest):
    data = encoder.price_update_v2(signatures=signatures, slot=slot, spare=b"", **fields) + rest
    expected = PriceUpdate(**fields, slot=slot, signatures=signatures)
    assert decode_price(data) == idl.decode_reference(data) == expected


@given(st.binary(max_size=200), st.sampled_from([b"", b"\x22\xf1\x23\x63\x9d\x7e\xf4\xcd"]))
@settings(max_examples=300)
def test_struct_and_anchorpy_refuse_the_same_bytes(noise, start):
    data = start + noise
    try:
        expected = idl.decode_reference(data)
    except DecodeError:
        if data[:4] != b"\xd4\xc3\xb2\xa1":
            with pytest.raises(DecodeError):
                decode_price(data)
    else:
        assert decode_price(data) == expected


@given(LEGACY_FIELDS, st.integers(240, 600))
def test_struct_and_construct_read_every_legacy_price_alike(fields, space):
    data = encoder.legacy_price(space, **fields)
    account = decode_legacy_price(data)
    assert account.update == decode_price(data) == decode_legacy_reference(data)
    assert account.components == fields["components"]
    assert account.product == fields["product"].to_bytes(32, "little")


@given(st.binary(min_size=216, max_size=300), st.sampled_from([0, 1, 2]), U32)
def test_struct_and_construct_refuse_the_same_legacy_bytes(noise, price_type, status):
    header = b"\xd4\xc3\xb2\xa1" + bytes([2, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, price_type, 0, 0, 0])
    data = bytearray(header + noise)
    data[224:232] = (status % 8).to_bytes(4, "little") + bytes(3) + bytes([status % 3 == 0])
    expected = decode_legacy_reference(bytes(data))
    if expected is None:
        with pytest.raises(DecodeError):
            decode_price(bytes(data))
    else:
        assert decode_price(bytes(data)) == expected


@given(st.dictionaries(TEXTS.filter(bool), TEXTS, max_size=8), KEYS, st.integers(0, 50))
def test_a_product_goes_there_and_back(attributes, price_account, spare):
    used = len(encoder.legacy_product(attributes, space=0))
    data = encoder.legacy_product(attributes, space=used + spare, price_account=price_account)
    product = decode_legacy_product(data)
    assert (product.attributes, product.price_account) == (attributes, price_account)


@given(st.lists(KEYS, max_size=20), st.integers(0, 100))
def test_a_mapping_goes_there_and_back(products, spare):
    data = encoder.legacy_mapping(products) + bytes(spare)
    assert decode_legacy_mapping(data).products == tuple(products)


@given(PRICE_FIELDS, U64, st.binary(max_size=20))
def test_a_message_goes_there_and_back(fields, slot, rest):
    message = encoder.price_message(**fields) + rest
    assert decode_price_message(message, slot) == PriceUpdate(**fields, slot=slot)


@given(
    st.binary(max_size=120), st.lists(st.binary(min_size=20, max_size=20), max_size=6), st.binary(max_size=60)
)
def test_an_instruction_goes_there_and_back_and_anchorpy_reads_it_alike(message, proof, vaa):
    for data in (encoder.post_update(message, proof), encoder.post_update_atomic(vaa, message, proof)):
        decoded = decode_instruction(data)
        assert (decoded.message, decoded.proof) == (message, tuple(proof))
        reference = idl.instruction_coder().parse(data).data.params.merkle_price_update
        assert bytes(reference.message) == message
        assert [bytes(node) for node in reference.proof] == proof
    pushed = decode_instruction(encoder.update_price_feed(message, proof))
    assert (pushed.message, pushed.proof, pushed.account_index) == (message, tuple(proof), 5)


@given(st.binary(max_size=400))
@settings(max_examples=300)
def test_noise_is_refused_by_every_decoder_with_the_projects_own_error(noise):
    for decode in (decode_account, decode_price, decode_instruction):
        with pytest.raises(DecodeError):
            decode(noise)


@given(I64 | U64, I32)
def test_a_written_price_is_the_raw_number_again(raw, exponent):
    text = exact_decimal(raw, exponent)
    if text is not None:
        digits, _, fraction = text.partition(".")
        assert len(fraction) == max(0, -exponent)
        assert int(digits + fraction) == raw * 10 ** max(0, exponent)


@given(I64)
def test_a_time_has_a_text_or_none_and_never_an_error(seconds):
    text = iso_time(seconds)
    assert text is None or (text.endswith("Z") and len(text) == len("2026-09-18T02:43:06Z"))


# ── Dumps ────────────────────────────────────────────────────────────────────────────────────────

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=50)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
)
KEY = st.sampled_from(["7AviUf9nL62mcxNbQGKm4nKDQnPjswo6c5MX4D57HmyE", "1" * 32, "x"])
PAIRS = st.tuples(st.sampled_from(["AQID", "IvEjY51+9M0=", "="]), st.sampled_from(["base64", "base58"]))
ALMOST_DUMPS = st.fixed_dictionaries(
    {
        "pubkey": KEY | JSON,
        "account": st.fixed_dictionaries(
            {"owner": KEY | JSON, "data": PAIRS.map(list) | JSON},
            optional={"lamports": JSON, "rentEpoch": JSON, "executable": JSON},
        )
        | JSON,
    }
)


def outcome(read, value) -> object:
    """What ``read`` gives, or the DataError that it raises; anything else is the test's failure."""
    try:
        return read(value)
    except DataError as error:
        return error


@given(st.one_of(JSON, ALMOST_DUMPS))
def test_json_of_any_form_is_a_dump_or_a_short_data_error(value):
    for entry in split_dumps(json.dumps(value)):
        result = outcome(parse_dump, entry)
        assert isinstance(result, AccountDump) or len(str(result)) < 200


@given(st.text(max_size=200))
def test_text_of_any_form_is_json_or_a_data_error(text):
    assert isinstance(outcome(split_dumps, text), (list, DataError))
