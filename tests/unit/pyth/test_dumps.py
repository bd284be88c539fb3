"""Account dumps as files."""

from __future__ import annotations

import json

import pytest

from quantdesk_oracle.errors import DataError
from quantdesk_oracle.pyth.dumps import RENT_EPOCH_EXEMPT, AccountDump, parse_dump, split_dumps
from tests.vectors import encoder

PUBKEY = "7AviUf9nL62mcxNbQGKm4nKDQnPjswo6c5MX4D57HmyE"
OWNER = "rec2HHDDnjLfj4kE7VyEtFA1HPGQLK33259532cRyHp"


def entry(**account):
    dump = encoder.dump(PUBKEY, OWNER, b"\x01\x02\x03")
    dump["account"] |= account
    return dump


def without(key):
    dump = entry()
    del dump["account"][key]
    return dump


def test_a_dump_is_an_account_as_it_stood():
    assert parse_dump(entry(lamports=7, executable=True, rentEpoch=361)) == AccountDump(
        pubkey=PUBKEY, owner=OWNER, data=b"\x01\x02\x03", lamports=7, executable=True, rent_epoch=361
    )


def test_a_file_holds_one_dump_or_a_list_of_them():
    assert split_dumps(json.dumps(entry())) == [entry()]
    assert split_dumps(json.dumps([entry(), entry()])) == [entry(), entry()]
    assert split_dumps("[]") == []


@pytest.mark.parametrize("text", ["", "{", "nothing", "\ufeff{}", "[" * 100_000, '{"a": ' * 100_000])
def test_a_file_that_is_no_json_is_refused_however_deep(text):
    with pytest.raises(DataError, match="not JSON"):
        split_dumps(text)


@pytest.mark.parametrize("rent_epoch", [1.8446744073709552e19, 18446744073709552000, None, -1, "0", True])
def test_a_rent_epoch_that_another_tool_could_not_write_counts_as_exempt(rent_epoch):
    assert parse_dump(entry(rentEpoch=rent_epoch)).rent_epoch == RENT_EPOCH_EXEMPT


@pytest.mark.parametrize("key", ["rentEpoch", "lamports", "executable", "space"])
def test_what_decoding_does_not_need_may_be_absent(key):
    assert parse_dump(without(key)).data == b"\x01\x02\x03"


@pytest.mark.parametrize("key", ["data", "owner"])
def test_what_decoding_needs_is_named_when_it_is_absent(key):
    with pytest.raises(DataError, match=f"it has no '{key}'"):
        parse_dump(without(key))


@pytest.mark.parametrize(
    "data", ["AQID", ["AQID"], ["AQID", "base58"], [1, "base64"], ["AQID", "base64", 1], None, {}, []]
)
def test_data_that_is_not_a_pair_of_text_and_base64_is_refused(data):
    with pytest.raises(DataError, match="data is"):
        parse_dump(entry(data=data))


@pytest.mark.parametrize("text", ["AQI", "AQ ID", "AQID\n", "é", "\ud800"])
def test_data_that_is_not_base64_is_refused(text):
    with pytest.raises(DataError, match="not base64"):
        parse_dump(entry(data=[text, "base64"]))


@pytest.mark.parametrize("lamports", [-1, 2**64, 1.5, "1", True, [], None])
def test_lamports_are_an_integer_of_64_bits(lamports):
    with pytest.raises(DataError, match="lamports is"):
        parse_dump(entry(lamports=lamports))


@pytest.mark.parametrize("key", ["not base58!", "1" * 31, "", 7, None])
def test_pubkey_and_owner_are_32_bytes_in_base58(key):
    with pytest.raises(DataError, match="owner is"):
        parse_dump(entry(owner=key))
    with pytest.raises(DataError, match="pubkey is"):
        parse_dump(entry() | {"pubkey": key})


@pytest.mark.parametrize("value", [None, 1, "text", [], {}, [{}], {"pubkey": PUBKEY}, {"account": {}}])
def test_json_that_is_no_dump_is_refused(value):
    with pytest.raises(DataError, match="no account dump"):
        parse_dump(value)


def test_a_refusal_quotes_only_the_beginning_of_a_deep_or_long_value():
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    for value in (deep, "x" * 10_000_000, 10**4000):
        with pytest.raises(DataError) as caught:
            parse_dump(entry(owner=value))
        assert len(str(caught.value)) < 200
