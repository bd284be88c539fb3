"""The command ``decode``, from files to objects, text and exit code."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest
import typer
from typer.testing import CliRunner

from quantdesk_oracle.cli.decode import decode
from tests.vectors import cases, encoder
from tests.vectors.shared import SHARED, needs

KEYS = [
    *("file", "pubkey", "owner", "kind", "generation", "feed_id", "symbol", "price", "confidence"),
    *("ema_price", "ema_confidence", "exponent", "price_raw", "confidence_raw", "publish_time"),
    *("publish_time_iso", "slot", "status", "verification", "usable", "reason"),
]
PRICED = KEYS[KEYS.index("price") : KEYS.index("slot") + 1]

app = typer.Typer()
app.command()(decode)


def run(*arguments, stdin=None):
    return CliRunner().invoke(app, [str(argument) for argument in arguments], input=stdin)


@pytest.fixture
def decoded(tmp_path):
    """Decode one dump, or a list of them, through a file."""

    def through_a_file(dumps):
        path = tmp_path / "dump.json"
        path.write_text(json.dumps(dumps))
        records = json.loads(run("--json", path).stdout)
        return records if isinstance(dumps, list) else records[0]

    return through_a_file


# ── The project's own vectors ────────────────────────────────────────────────────────────────────


def test_the_vectors_are_what_the_encoder_makes():
    assert json.loads(cases.ACCOUNTS.read_text()) == cases.CASES


def test_decode_says_of_every_vector_what_is_written_beside_it():
    result = run("--json", cases.ACCOUNTS)
    expected = [{"file": str(cases.ACCOUNTS)} | record for record in json.loads(cases.EXPECTED.read_text())]
    assert json.loads(result.stdout) == expected
    assert result.exit_code == 65


# ── The shared dumps of real accounts ────────────────────────────────────────────────────────────


@pytest.mark.shared
@needs("pyth-accounts")
def test_decode_agrees_with_an_independent_decoder_on_every_real_dump():
    expected = json.loads((SHARED / "pyth-accounts" / "expected.json").read_text())
    result = run("--json", *(SHARED / "pyth-accounts" / name for name in expected))
    records = {record["file"].rpartition("/")[2]: record for record in json.loads(result.stdout)}
    assert records.keys() == expected.keys()
    assert result.exit_code == 0
    for name, record in records.items():
        want = expected[name]
        assert list(record) == KEYS
        assert {key: record[key] for key in ("pubkey", "owner", "kind")} == {
            key: want[key] for key in ("pubkey", "owner", "kind")
        }
        AGREES[want["kind"]](record, want)


def agrees_price_update(record, want):
    level = want["verification_level"]
    assert record["verification"] == (level if level == "full" else f"partial:{level['partial']}")
    assert record["feed_id"] == want["feed_id"]
    assert record["status"] is None
    assert (record["publish_time"], record["publish_time_iso"]) == (
        want["publish_time"],
        want["publish_time_iso"],
    )
    assert record["slot"] == want["posted_slot"]
    agrees_numbers(record, want["price"], want["conf"], want["ema_price"], want["ema_conf"], want["exponent"])


def agrees_legacy_price(record, want):
    aggregate = want["agg"]
    assert record["verification"] is None
    assert record["status"] == ("unknown", "trading", "halted", "auction", "ignored")[aggregate["status"]]
    dated = want["timestamp"] >= datetime(2020, 1, 1, tzinfo=UTC).timestamp()
    assert record["publish_time"] == (want["timestamp"] if dated else None)
    assert record["publish_time_iso"] == (want["timestamp_iso"] if dated else None)
    assert record["slot"] == aggregate["pub_slot"]
    ema, ema_confidence = want["ema_price"]["val"], want["ema_conf"]["val"]
    agrees_numbers(record, aggregate["price"], aggregate["conf"], ema, ema_confidence, want["exponent"])
    assert record["usable"] is (aggregate["status"] == 1 and dated)


def agrees_numbers(record, price, confidence, ema, ema_confidence, exponent):
    assert (record["price_raw"], record["confidence_raw"], record["exponent"]) == (
        price,
        confidence,
        exponent,
    )
    assert Decimal(record["price"]) == Decimal(price).scaleb(exponent)
    assert Decimal(record["confidence"]) == Decimal(confidence).scaleb(exponent)
    if ema == 0:
        assert record["ema_price"] is record["ema_confidence"] is None
    else:
        assert Decimal(record["ema_price"]) == Decimal(ema).scaleb(exponent)
        assert Decimal(record["ema_confidence"]) == Decimal(ema_confidence).scaleb(exponent)


def agrees_product(record, want):
    assert record["symbol"] == want["attrs"]["symbol"]
    assert record["reason"] == "not_a_price"


def agrees_mapping(record, want):
    assert (want["num"], record["symbol"], record["reason"]) == (1, None, "not_a_price")


AGREES = {
    "price_update_v2": agrees_price_update,
    "legacy_price": agrees_legacy_price,
    "legacy_product": agrees_product,
    "legacy_mapping": agrees_mapping,
}


# ── Each rule by itself ──────────────────────────────────────────────────────────────────────────


def test_a_record_has_every_key_in_its_place_whatever_the_account_is(decoded):
    for record in decoded(cases.CASES):
        assert list(record) == (KEYS if record["kind"] else [*KEYS, "message"])


def test_prices_are_exact_decimal_strings(decoded):
    record = decoded(cases.sol(price=2**63 - 1, exponent=-12, ema_price=1))
    assert record["price"] == "9223372.036854775807"
    assert record["ema_price"] == "0.000000000001"


@pytest.mark.parametrize("exponent", [2**31 - 1, -(2**31)])
def test_an_absurd_exponent_gives_null_prices_and_their_raw_numbers(decoded, exponent):
    record = decoded(cases.sol(exponent=exponent))
    assert [record[key] for key in ("price", "confidence", "ema_price", "ema_confidence")] == [None] * 4
    assert (record["price_raw"], record["exponent"]) == (10_000_000_000, exponent)
    assert (record["usable"], record["reason"]) == (False, "bad_exponent")


@pytest.mark.parametrize(
    ("owner", "generation", "usable"),
    [
        (cases.CORE, "core", True),
        (cases.UPGRADED, "core_upgraded", True),
        (cases.MAINNET, "legacy", False),
        (cases.STRANGER, "foreign", False),
    ],
)
def test_the_generation_is_the_owners_and_only_a_receivers_update_is_usable(
    decoded, owner, generation, usable
):
    record = decoded(cases.sol(owner=owner))
    assert (record["generation"], record["usable"]) == (generation, usable)
    assert record["reason"] == (None if usable else "wrong_owner")


@pytest.mark.parametrize("owner", [cases.CORE, cases.UPGRADED, cases.STRANGER])
def test_a_legacy_price_of_another_owner_is_not_usable(decoded, owner):
    record = decoded(cases.legacy(owner=owner))
    assert (record["kind"], record["usable"], record["reason"]) == ("legacy_price", False, "wrong_owner")
    assert record["price"] == "24.95335717"


def test_the_wrong_owner_is_named_before_anything_that_the_account_says(decoded):
    assert decoded(cases.sol(owner=cases.STRANGER, price=-1, signatures=1))["reason"] == "wrong_owner"


def test_what_does_not_decode_is_named_before_its_owner(decoded):
    broken = encoder.dump(cases.SOL_ACCOUNT, cases.STRANGER, encoder.price_update_v2()[:100])
    assert decoded(broken)["reason"] == "too_short"


def test_the_feed_of_a_legacy_mainnet_account_is_its_raw_key(decoded):
    assert decoded(cases.legacy())["feed_id"] == encoder.SOL_FEED.hex()
    assert decoded(cases.legacy(cases.LEGACY_SOL_DEVNET, cases.DEVNET))["feed_id"] is None


def test_a_key_that_nobody_wrote_down_is_no_feed(decoded):
    assert decoded(cases.legacy(cases.UNKNOWN))["feed_id"] is None


@pytest.mark.parametrize("timestamp", [0, 1, 1_577_836_799])
def test_a_legacy_timestamp_before_2020_is_none(decoded, timestamp):
    record = decoded(cases.legacy(timestamp=timestamp))
    assert (record["publish_time"], record["publish_time_iso"]) == (None, None)
    assert (record["usable"], record["reason"]) == (False, "bad_timestamp")


def test_a_legacy_timestamp_of_the_first_second_of_2020_is_one(decoded):
    record = decoded(cases.legacy(timestamp=1_577_836_800))
    assert (record["publish_time_iso"], record["usable"]) == ("2020-01-01T00:00:00Z", True)


def test_the_publish_time_of_an_update_is_its_own_however_old(decoded):
    assert decoded(cases.sol(publish_time=1))["publish_time_iso"] == "1970-01-01T00:00:01Z"


def test_an_ema_of_0_is_none_and_has_no_confidence(decoded):
    for record in decoded([cases.sol(ema_price=0), cases.legacy(ema_price=0)]):
        assert (record["ema_price"], record["ema_confidence"]) == (None, None)


def test_an_ema_below_0_is_shown_as_it_is(decoded):
    record = decoded(cases.sol(ema_price=-1))
    assert (record["ema_price"], record["ema_confidence"]) == ("-0.00000001", "0.01661189")


def test_a_print_of_the_future_is_usable_because_decode_asks_no_clock(decoded):
    record = decoded(cases.sol(publish_time=2**40))
    assert (record["publish_time_iso"], record["usable"]) == (None, True)


@pytest.mark.parametrize(
    ("dump", "usable", "reason"),
    [
        (cases.btc(confidence=25_000_000), True, None),
        (cases.btc(confidence=25_000_001), True, "wide"),
        (cases.sol(confidence=50_000_000), True, None),
        (cases.sol(confidence=50_000_001), True, "wide"),
        (cases.sol(confidence=200_000_000), True, "wide"),
        (cases.sol(confidence=200_000_001), False, "uncertain"),
        (cases.sol(price=11_000_000_000), True, None),
        (cases.sol(price=11_000_000_001), False, "quarantined"),
        (cases.sol(signatures=13), False, "not_full"),
        (cases.legacy(status=3), False, "not_trading"),
    ],
)
def test_usable_is_accepted_or_wide(decoded, dump, usable, reason):
    record = decoded(dump)
    assert (record["usable"], record["reason"]) == (usable, reason)


@pytest.mark.parametrize("owner", [cases.MAINNET, cases.STRANGER])
@pytest.mark.parametrize(
    ("data", "kind", "symbol"),
    [(cases.PRODUCT, "legacy_product", "Crypto.SOL/USD"), (cases.MAPPING, "legacy_mapping", None)],
)
def test_products_and_mappings_are_no_prices(decoded, owner, data, kind, symbol):
    record = decoded(encoder.dump(cases.PRODUCT_KEY, owner, data))
    assert (record["kind"], record["symbol"], record["usable"]) == (kind, symbol, False)
    assert record["reason"] == "not_a_price"
    assert [record[key] for key in PRICED] == [None] * len(PRICED)


# ── Files ────────────────────────────────────────────────────────────────────────────────────────


def test_one_undecodable_account_does_not_keep_the_others_from_being_decoded(tmp_path):
    first, second = tmp_path / "first.json", tmp_path / "second.json"
    broken = encoder.dump(cases.SOL_ACCOUNT, cases.UPGRADED, b"\x22\xf1")
    first.write_text(json.dumps([cases.sol(), broken]))
    second.write_text(json.dumps(cases.legacy()))
    result = run("--json", first, second)
    records = json.loads(result.stdout)
    assert [record["usable"] for record in records] == [True, False, True]
    assert [record["file"] for record in records] == [str(first), str(first), str(second)]
    assert records[1]["message"] == "offset 2: found the end after 2 bytes, expected 8 bytes"
    assert f"{first}: {cases.SOL_ACCOUNT}: offset 2" in result.stderr
    assert result.exit_code == 65


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "not JSON"),
        (b"", "not JSON"),
        (b"\xff\xfe", "not text: byte 0 is 0xff"),
        (b"1", "no account dump"),
        (b"[" * 100_000, "not JSON"),
        (b'{"pubkey": "x"}', "expected 32 bytes in base58"),
    ],
)
def test_a_file_that_is_no_dump_is_an_object_that_says_so(tmp_path, content, message):
    path = tmp_path / "dump.json"
    path.write_bytes(content)
    result = run("--json", path)
    (record,) = json.loads(result.stdout)
    assert list(record) == [*KEYS, "message"]
    assert (record["kind"], record["usable"], record["reason"]) == (None, False, "bad_dump")
    assert message in record["message"]
    assert message in result.stderr
    assert result.exit_code == 65


def test_a_file_that_cannot_be_read_is_an_object_that_says_so(tmp_path):
    missing = tmp_path / "missing.json"
    result = run("--json", missing, tmp_path)
    records = json.loads(result.stdout)
    assert [record["message"] for record in records] == [
        "cannot be read: No such file or directory",
        "cannot be read: Is a directory",
    ]
    assert {record["reason"] for record in records} == {"bad_dump"}
    assert result.exit_code == 65


def test_a_dump_may_come_from_standard_input():
    result = run("--json", "-", stdin=json.dumps(cases.sol()))
    (record,) = json.loads(result.stdout)
    assert (record["file"], record["symbol"], result.exit_code) == ("-", "Crypto.SOL/USD", 0)


def test_a_byte_order_mark_does_not_spoil_a_dump(tmp_path):
    path = tmp_path / "dump.json"
    path.write_text(json.dumps(cases.sol()), encoding="utf-8-sig")
    assert run(path).exit_code == 0


def test_an_empty_list_is_no_account_and_no_error(tmp_path):
    path = tmp_path / "dump.json"
    path.write_text("[]")
    result = run("--json", path)
    assert (json.loads(result.stdout), result.exit_code) == ([], 0)


def test_without_a_file_decode_says_how_it_is_used():
    assert run().exit_code == 2


# ── Text ─────────────────────────────────────────────────────────────────────────────────────────


def test_the_text_shows_price_confidence_time_and_verdict(tmp_path):
    path = tmp_path / "dump.json"
    path.write_text(json.dumps([cases.sol(), cases.legacy(status=2)]))
    first, second = run(path).stdout.split("\n\n")
    assert first.splitlines() == [
        str(path),
        f"  account       {cases.SOL_ACCOUNT}",
        f"  owner         {cases.UPGRADED}  (core_upgraded)",
        "  kind          price_update_v2",
        f"  feed          Crypto.SOL/USD  ({encoder.SOL_FEED.hex()})",
        "  price         100.00000000 ± 0.10000000",
        "  ema           100.00000000 ± 0.01661189",
        "  raw           10000000000 ± 10000000, exponent -8",
        "  published     2026-09-18T02:43:06Z  (1789699386)",
        "  slot          447956893",
        "  verification  full",
        "  usable        yes",
    ]
    assert "  status        halted\n  usable        no  (not_trading)" in second


def test_the_text_leaves_out_what_an_account_does_not_have(tmp_path):
    path = tmp_path / "dump.json"
    path.write_text(json.dumps(encoder.dump(cases.MAPPING_KEY, cases.MAINNET, cases.MAPPING)))
    text = run(path).stdout
    assert "None" not in text
    assert "price " not in text


def test_the_text_shows_no_control_characters_of_an_account(tmp_path):
    path = tmp_path / "dump.json"
    product = encoder.legacy_product({"symbol": "\x1b[2Jgone\r"})
    path.write_text(json.dumps(encoder.dump(cases.PRODUCT_KEY, cases.DEVNET, product)))
    text = run(path).stdout
    assert "\x1b" not in text
    assert r"\x1b[2Jgone\r" in text


def test_the_help_teaches_where_a_dump_comes_from_and_what_the_exit_codes_mean():
    text = run("--help").stdout
    for taught in ("solana account", "--json", "usable", "65", "standard input"):
        assert taught in text
