"""Secrets never print: planted values, URLs, DSNs, tokens, at any depth."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantdesk_oracle.model import Reason
from quantdesk_oracle.ops.redaction import MASK, MAX_DEPTH, MAX_ITEMS, MAX_TEXT, Redactor

SECRET = "hunter2-is-no-password"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("postgresql://user:pass@db.example/oracle", "postgresql://***@db.example/oracle"),
        ("postgresql://user:p/a?s#s@db/oracle", "postgresql://***@db/oracle"),
        ("postgresql://user:p@ss@db/oracle", "postgresql://***@db/oracle"),
        ("wss://a.example,postgres://u:p@b/x", "wss://a.example,postgres://***@b/x"),
        ("https://rpc.example/?api-key=abc123&x=1", "https://rpc.example/?api-key=***&x=1"),
        ("https://rpc.example/?x=1&token=abc123", "https://rpc.example/?x=1&token=***"),
        ("wss://rpc.example/?key=abc#f", "wss://rpc.example/?key=***#f"),
        ("https://rpc.example/?X-Api-Key=abc", "https://rpc.example/?X-Api-Key=***"),
        ("host=db user=u password=pass dbname=x", "host=db user=u password=*** dbname=x"),
        ("password='two words' dbname=x", "password=*** dbname=x"),
        ("{'password': 'p', 'port': 1}", "{'password': ***, 'port': 1}"),
        ("Authorization: Bearer abcdefgh.ijk", "Authorization: *** ***"),
        ("jwt eyJhbGciOiJI.eyJyb2xlIjoi.c2lnbmF0dXJl end", "jwt *** end"),
    ],
)
def test_a_secret_is_found_by_where_it_stands(text: str, expected: str) -> None:
    assert Redactor().text(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "https://api.mainnet-beta.solana.com/health?x=1",
        "password authentication failed for user",
        "mail me @ home, see https://example.org",
        "basic check passed; monkey business",
    ],
)
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert Redactor().text(text) == text


def spellings(secret: str) -> list[str]:
    """As it is; in a URL, whole and with slashes kept, and in a form; in a repr; in JSON, ASCII and not."""
    in_urls = [quote(secret, safe=""), quote(secret), quote_plus(secret)]
    return [
        secret,
        *in_urls,
        repr(secret)[1:-1],
        *(json.dumps(secret, ensure_ascii=a)[1:-1] for a in (True, False)),
    ]


@pytest.mark.parametrize(
    "secret", [SECRET, "pa ss/wo:rd", "qu'ote\"d\\", "pässwörd", "pä'\"ss", "new\nline", "a+b=c&d?"]
)
def test_a_secret_handed_in_is_gone_in_each_of_its_spellings(secret: str) -> None:
    redactor = Redactor([secret])
    assert {redactor.text(f"<{spelling}>") for spelling in spellings(secret)} == {f"<{MASK}>"}


other_text = st.text(st.characters(max_codepoint=0x2FF), max_size=30)


@given(st.text(st.characters(min_codepoint=0x4E00, max_codepoint=0x5E00), min_size=6), other_text, other_text)
def test_no_text_around_a_secret_saves_it(secret: str, before: str, after: str) -> None:
    redacted = Redactor([secret]).text(f"{before}{secret}{after}")
    assert not set(secret) & set(redacted)


def test_of_two_secrets_with_one_beginning_both_go_whole() -> None:
    assert Redactor(["secret", "secret-longer"]).text("a secret-longer b secret") == f"a {MASK} b {MASK}"


def test_a_short_secret_goes_where_it_stands_alone_and_tears_no_words() -> None:
    assert Redactor(["abc"]).text("abc abcdef 'abc'") == f"{MASK} abcdef '{MASK}'"


def test_an_empty_secret_is_no_secret() -> None:
    assert Redactor(["", "  "]).text("as it is") == "as it is"


def test_nested_values_keys_sets_bytes_and_errors_are_searched() -> None:
    value = {
        "list": [1, {"deep": (SECRET, {"set": {SECRET}})}],
        f"key {SECRET}": 1,
        "bytes": SECRET.encode(),
        "error": ValueError(f"cannot use {SECRET}"),
        "password": "anything",
        "api-key": ["a", "b"],
    }
    redacted = Redactor([SECRET]).value(value)
    assert SECRET not in json.dumps(redacted)
    assert redacted == {
        "list": [1, {"deep": [MASK, {"set": [MASK]}]}],
        f"key {MASK}": 1,
        "bytes": f"b'{MASK}'",
        "error": f"ValueError: cannot use {MASK}",
        "password": MASK,
        "api-key": MASK,
    }


def test_a_secret_number_is_masked_as_a_number_too() -> None:
    assert Redactor(["12345678"]).value({"pin": 12345678, "port": 5432}) == {"pin": MASK, "port": 5432}


def test_values_become_what_json_holds() -> None:
    value = {
        "d": Decimal("1.50"), "e": Reason.WIDE, "t": datetime(2026, 1, 2, tzinfo=UTC), "n": float("nan"),
        "f": 1.5, "b": True, "none": None, 1: "int key", "surrogate": "\ud800",
    }  # fmt: skip
    assert Redactor().value(value) == {
        "d": "1.50", "e": "wide", "t": "2026-01-02 00:00:00+00:00", "n": "nan",
        "f": 1.5, "b": True, "none": None, "1": "int key", "surrogate": "\\ud800",
    }  # fmt: skip


def test_whatever_the_size_of_a_value_a_line_is_bounded() -> None:
    redactor = Redactor()
    assert len(redactor.text("x" * 10 * MAX_TEXT)) < MAX_TEXT + 100
    items = redactor.value(list(range(MAX_ITEMS + 5)))
    assert isinstance(items, list)
    assert items[-1] == "… 5 more"
    mapping = redactor.value({str(i): i for i in range(MAX_ITEMS + 5)})
    assert isinstance(mapping, dict)
    assert mapping["…"] == "5 more"
    endless: list[object] = []
    endless.append(endless)
    assert json.dumps(redactor.value(endless)) == "[" * MAX_DEPTH + json.dumps("…") + "]" * MAX_DEPTH


def test_a_text_is_redacted_before_it_is_cut() -> None:
    text = "x" * (MAX_TEXT - 5) + SECRET
    assert SECRET[:5] not in Redactor([SECRET]).text(text)
