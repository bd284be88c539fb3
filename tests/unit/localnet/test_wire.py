import base64
import json

import pytest
from solders.pubkey import Pubkey
from solders.rpc.responses import parse_websocket_message

from quantdesk_oracle.localnet import wire
from quantdesk_oracle.localnet.server import text_frame
from quantdesk_oracle.localnet.subscriptions import DataSlice
from quantdesk_oracle.pyth.addresses import SYSTEM_PROGRAM
from quantdesk_oracle.pyth.dumps import AccountDump

STATE = AccountDump(pubkey="1" * 32, owner=SYSTEM_PROGRAM, data=bytes(range(200)), lamports=5)


def test_base58_is_that_of_solana_keys() -> None:
    for key in (bytes(32), b"\0\0" + bytes(range(1, 31)), b"\xff" * 32):
        assert wire.base58(key) == str(Pubkey.from_bytes(key))


def test_an_account_says_its_whole_space_whatever_slice_is_sent() -> None:
    value = wire.account(STATE, "base64", DataSlice(offset=10, length=3))
    assert base64.b64decode(value["data"][0]) == bytes([10, 11, 12])
    assert value["space"] == 200


def test_a_slice_beyond_the_end_is_empty() -> None:
    assert wire.account(STATE, "base64", DataSlice(offset=500, length=3))["data"] == ["", "base64"]


@pytest.mark.parametrize(
    ("encoding", "form"),
    [
        ("base58", ["111", "base58"]),
        ("binary", "111"),
        ("base64", ["AAAA", "base64"]),
        ("jsonParsed", ["AAAA", "base64"]),
    ],
)
def test_each_encoding_has_its_form(encoding: str, form: object) -> None:
    assert wire.encoded(bytes(3), encoding) == form


def test_data_too_large_for_base58_says_so_where_there_can_be_no_error() -> None:
    assert wire.encoded(bytes(129), "base58") == ["error: data too large for bs58 encoding", "base58"]


def test_solders_reads_the_notifications() -> None:
    account = wire.account_notification(7, STATE, "base64", None, 3).decode()
    (parsed,) = parse_websocket_message(account)
    assert (parsed.subscription, parsed.result.context.slot) == (3, 7)
    assert parsed.result.value.data == STATE.data
    (slot,) = parse_websocket_message(wire.slot_notification(100, 4).decode())
    assert (slot.result.slot, slot.result.parent, slot.result.root) == (100, 99, 68)


def test_a_notifications_context_has_no_version() -> None:
    sent = json.loads(wire.account_notification(7, STATE, "base64", None, 3))
    assert sent["params"]["result"]["context"] == {"slot": 7}


@pytest.mark.parametrize(("size", "head"), [(0, 2), (125, 2), (126, 4), (65_535, 4), (65_536, 10)])
def test_a_frame_holds_its_length_in_one_three_or_nine_bytes(size: int, head: int) -> None:
    frame = text_frame(b"x" * size)
    assert frame[0] == 0x81
    assert len(frame) == head + size
    assert int.from_bytes(frame[2:head], "big") == (size if head > 2 else 0)


@pytest.mark.parametrize("encoding", ["base64", "jsonParsed"])
@pytest.mark.parametrize("state", [STATE, AccountDump("1" * 32, SYSTEM_PROGRAM, b"", 0, True, 0)])
def test_the_quick_way_to_write_a_notification_gives_the_same_bytes(
    encoding: str, state: AccountDump
) -> None:
    result = {"context": {"slot": 7}, "value": wire.account(state, encoding)}
    assert wire.account_notification(7, state, encoding, None, 3) == wire.notification(
        "accountNotification", result, 3
    )
