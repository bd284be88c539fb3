"""Price messages and the instructions that carry them."""

from __future__ import annotations

import pytest

from quantdesk_oracle.errors import DecodeError
from quantdesk_oracle.model import PriceUpdate, Reason
from quantdesk_oracle.pyth.accounts import decode_price
from quantdesk_oracle.pyth.messages import PostUpdate, decode_instruction, decode_price_message
from tests.vectors import encoder

MESSAGE = encoder.price_message()
PROOF = [bytes([n] * 20) for n in range(12)]
POST_UPDATE = encoder.post_update(MESSAGE, PROOF)
ATOMIC = encoder.post_update_atomic(b"vaa" * 100, MESSAGE, PROOF)
UPDATE_PRICE_FEED = encoder.update_price_feed(MESSAGE, PROOF)


def refusal(decode, *arguments) -> tuple[Reason, int]:
    with pytest.raises(DecodeError) as caught:
        decode(*arguments)
    return caught.value.reason, caught.value.offset


def test_a_message_and_the_account_it_was_posted_to_are_the_same_print():
    posted = decode_price(encoder.price_update_v2(slot=77))
    assert decode_price_message(MESSAGE, slot=77) == posted


def test_a_message_is_85_bytes_and_what_follows_is_ignored():
    assert len(MESSAGE) == 85
    assert decode_price_message(MESSAGE + b"later fields", 1) == decode_price_message(MESSAGE, 1)
    assert refusal(decode_price_message, MESSAGE[:84], 1) == (Reason.TOO_SHORT, 84)
    assert refusal(decode_price_message, b"", 1) == (Reason.TOO_SHORT, 0)


@pytest.mark.parametrize("kind", [1, 2, 255])
def test_a_message_of_another_type_is_not_a_price(kind):
    assert refusal(decode_price_message, encoder.price_message(kind), 1) == (Reason.NOT_A_PRICE, 0)


def test_every_field_of_a_message_keeps_its_whole_range_and_sign():
    fields = encoder.PRICE_FIELDS | {
        "price": -(2**63),
        "confidence": 2**64 - 1,
        "exponent": -(2**31),
        "publish_time": 2**63 - 1,
        "prev_publish_time": -(2**63),
        "ema_price": 2**63 - 1,
        "ema_confidence": 2**64 - 1,
    }
    assert decode_price_message(encoder.price_message(**fields), 9) == PriceUpdate(**fields, slot=9)


@pytest.mark.parametrize(
    ("data", "size", "account_index"),
    [(UPDATE_PRICE_FEED, 376, 5), (POST_UPDATE, 342, 4), (ATOMIC, 342 + 4 + 300, 4)],
)
def test_an_instruction_carries_message_proof_and_the_index_of_its_price_account(data, size, account_index):
    assert len(data) == size
    assert decode_instruction(data) == PostUpdate(data[:8], MESSAGE, tuple(PROOF), account_index)


def test_an_instruction_without_proof_nodes_is_one_all_the_same():
    assert decode_instruction(encoder.post_update(MESSAGE, [])).proof == ()


@pytest.mark.parametrize("data", [UPDATE_PRICE_FEED, POST_UPDATE, ATOMIC])
def test_an_instruction_cut_anywhere_is_refused(data):
    for length in range(len(data)):
        reason, _ = refusal(decode_instruction, data[:length])
        assert reason is (Reason.NOT_A_PRICE if length < 8 else reason)
        assert reason in {Reason.NOT_A_PRICE, Reason.TOO_SHORT, Reason.BAD_SIZE}


@pytest.mark.parametrize("data", [UPDATE_PRICE_FEED, POST_UPDATE, ATOMIC])
def test_bytes_after_an_instruction_are_ignored_as_the_program_ignores_them(data):
    assert decode_instruction(data + b"\0\0") == decode_instruction(data)


def test_another_instruction_does_not_post_a_price():
    for other in (b"", bytes(8), encoder.discriminator("global:reclaim_rent") + bytes(100)):
        assert refusal(decode_instruction, other) == (Reason.NOT_A_PRICE, 0)


@pytest.mark.parametrize("length", [len(MESSAGE) + 1 + 4 + 240 + 1, 2**32 - 1])
def test_a_message_longer_than_its_instruction_is_refused(length):
    data = POST_UPDATE[:8] + length.to_bytes(4, "little") + POST_UPDATE[12:]
    assert refusal(decode_instruction, data) == (Reason.BAD_SIZE, 8)


@pytest.mark.parametrize("count", [13, 2**32 - 1])
def test_more_proof_nodes_than_the_instruction_holds_are_refused(count):
    at = 8 + 4 + len(MESSAGE)
    data = POST_UPDATE[:at] + count.to_bytes(4, "little") + POST_UPDATE[at + 4 :]
    assert refusal(decode_instruction, data) == (Reason.BAD_SIZE, at)


def test_a_vaa_longer_than_its_instruction_is_refused():
    data = ATOMIC[:8] + (2**31).to_bytes(4, "little") + ATOMIC[12:]
    assert refusal(decode_instruction, data) == (Reason.BAD_SIZE, 8)
