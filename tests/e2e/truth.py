"""The tables of a database held against the ledger of the node that they were filled from."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal, localcontext
from pathlib import Path
from typing import Any

import asyncpg

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def ledger_rows(path: Path) -> list[dict[str, Any]]:
    """The prints of a ledger; a last line that a kill cut off is none."""
    lines = path.read_text().splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


def expected_print(line: dict[str, Any]) -> tuple[Any, ...]:
    """What oracle_prices holds of a line of the ledger."""

    def scaled(raw: int) -> Decimal:
        return Decimal(raw).scaleb(line["exponent"])

    with localcontext() as context:
        context.prec = 60
        return (
            line["market"],
            EPOCH + timedelta(seconds=line["publish_time"]),
            line["slot"],
            scaled(line["price"]),
            scaled(line["confidence"]),
            line["exponent"],
            scaled(line["ema_price"]) if line["ema_price"] else None,
            scaled(line["ema_confidence"]) if line["ema_price"] else None,
        )


def pushed_since(ledger: Path, seen: Iterable[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """The prints of the ledger from the first one on that was seen of their market.

    By publish time: two prints of a feed can lie in one slot, and of these the account keeps the later one.
    """
    first: dict[str, datetime] = {}
    for market, at, *_ in seen:
        first[market] = min(at, first.get(market, at))
    pushed = map(expected_print, ledger_rows(ledger))
    return [row for row in pushed if row[1] >= first.get(row[0], EPOCH)]


async def stored_prints(connection: asyncpg.Connection) -> list[tuple[Any, ...]]:
    """oracle_prices in the shape of :func:`expected_print`."""
    rows = await connection.fetch(
        "SELECT m.symbol, p.created_at, p.slot, p.price, p.confidence, p.exponent, p.ema_price, p.ema_confidence"
        " FROM oracle_prices AS p JOIN markets AS m ON m.id = p.market_id ORDER BY p.created_at, p.slot"
    )
    return [tuple(row) for row in rows]


async def assert_prints_are_the_ledger(connection: asyncpg.Connection, ledger: Path) -> int:
    """Every print of the ledger, from when its market was subscribed to, is a row, exactly once; how many there are.

    What came between the first poll and the subscription is for a sweep to find.
    """
    subscribed = await connection.fetch(
        "SELECT m.symbol, min(p.created_at) FROM oracle_prices AS p JOIN markets AS m ON m.id = p.market_id"
        " WHERE p.source = 'subscription' GROUP BY m.symbol"
    )
    stored = await stored_prints(connection)
    missing = set(pushed_since(ledger, map(tuple, subscribed))) - set(stored)
    unknown = set(stored) - set(pushed_since(ledger, []))
    assert (missing, unknown) == (set(), set()), f"since {subscribed}"
    assert len(stored) == len(set(stored))
    return len(stored)


async def assert_no_second_is_missing(
    connection: asyncpg.Connection, symbol: str
) -> tuple[datetime, datetime]:
    """A mark stands on every second from the first to the last; these two."""
    instants = [
        row["created_at"]
        for row in await connection.fetch(
            "SELECT created_at FROM mark_prices WHERE market_id = (SELECT id FROM markets WHERE symbol = $1)"
            " ORDER BY created_at",
            symbol,
        )
    ]
    assert instants, f"{symbol} has no marks"
    seconds = (instants[-1] - instants[0]) // timedelta(seconds=1)
    assert instants == [instants[0] + timedelta(seconds=n) for n in range(seconds + 1)]
    return instants[0], instants[-1]


async def assert_marks_recompute(connection: asyncpg.Connection) -> int:
    """Every mark comes out of its own row's inputs and of the stored print that it names; how many there are."""
    rows = await connection.fetch(
        "SELECT k.*, m.symbol, p.price FROM mark_prices AS k JOIN markets AS m ON m.id = k.market_id"
        " LEFT JOIN oracle_prices AS p ON p.market_id = k.market_id"
        " AND p.created_at = k.oracle_publish_time AND p.slot = k.oracle_slot"
    )
    for row in rows:
        assert row["price"] == row["oracle_price"]
        with localcontext() as context:
            context.prec = 50
            assert _mark_of(row) == row["mark_price"]
    return len(rows)


BANDS = {"BTC-PERP": Decimal("0.01"), "ETH-PERP": Decimal("0.01"), "SOL-PERP": Decimal("0.02")}
QUANTUM = Decimal("1e-12")


def _mark_of(row: asyncpg.Record) -> Decimal:
    """The mark of a row from the row alone: index, basis, book, last trade, newest funding."""
    index, bid, ask, last = (
        row[name] for name in ("oracle_price", "best_bid", "best_ask", "last_trade_price")
    )
    share = row["funding_rate"] * row["seconds_to_funding"] / row["funding_interval"]
    votes = [index * (1 + share)]
    assert (bid is None) is (ask is None)
    if last is not None:
        assert timedelta(0) <= row["created_at"] - row["last_trade_at"] <= timedelta(seconds=60)
    if row["basis_count"]:
        assert row["basis_mean"] == (row["basis_sum"] / row["basis_count"]).quantize(QUANTUM)
    if bid is not None and last is not None:
        book = sorted((bid, ask, last))[1]
    else:
        book = last if bid is None else (bid + ask) / 2
    if row["basis_count"] or book is not None:
        votes.append(index + row["basis_mean"] if row["basis_count"] else index)
        votes.append(index if book is None else book)
    middle = sorted(votes)[len(votes) // 2]
    band = BANDS[row["symbol"]]
    return min(max(middle, index * (1 - band)), index * (1 + band)).quantize(QUANTUM)


async def assert_samples_recompute(connection: asyncpg.Connection) -> int:
    """Every used premium comes out of its own row, or of the mark that it names; how many there are."""
    rows = await connection.fetch(
        "SELECT s.*, k.mark_price, k.oracle_price FROM premium_samples AS s LEFT JOIN mark_prices AS k"
        " ON k.market_id = s.market_id AND k.created_at = s.mark_created_at WHERE s.status = 'used'"
    )
    for row in rows:
        index, bid, ask = row["index_price"], row["impact_bid"], row["impact_ask"]
        with localcontext() as context:
            context.prec = 50
            if row["mark_created_at"] is not None:
                assert (bid, ask, index) == (None, None, row["oracle_price"])
                premium = (row["mark_price"] - index) / index
            else:
                above = max(Decimal(0), bid - index) if bid is not None else Decimal(0)
                below = max(Decimal(0), index - ask) if ask is not None else Decimal(0)
                premium = (above - below) / index
            assert premium.quantize(QUANTUM) == row["premium"]
    return len(rows)


async def assert_funding_recomputes(connection: asyncpg.Connection) -> int:
    """Every funding rate comes out of the stored samples of its interval; how many there are."""
    rates = await connection.fetch("SELECT * FROM funding_rates ORDER BY market_id, created_at")
    for rate in rates:
        samples = await connection.fetch(
            "SELECT * FROM premium_samples WHERE market_id = $1 AND created_at >= $2 AND created_at < $3",
            rate["market_id"],
            rate["created_at"] - timedelta(seconds=rate["funding_interval"]),
            rate["created_at"],
        )
        _assert_rate(rate, [sample for sample in samples if sample["status"] != "late"])
    return len(rates)


def _assert_rate(rate: asyncpg.Record, samples: list[asyncpg.Record]) -> None:
    used = [sample["premium"] for sample in samples if sample["premium"] is not None]
    expected = rate["funding_interval"] // 5
    assert rate["samples_expected"] == expected
    assert rate["samples_used"] == len(used)
    assert rate["samples_unusable"] == len(samples) - len(used)
    if rate["status"] == "skipped":
        assert rate["funding_rate"] == 0
        assert len(used) * 2 < expected or rate["oracle_price"] is None
        return
    assert len(used) * 2 >= expected
    with localcontext() as context:
        context.prec = 50
        quantum = Decimal("1e-12")
        premium = (sum(used, Decimal(0)) / (expected - rate["samples_unusable"])).quantize(quantum)
        damped = min(max(Decimal("0.0001") - premium, Decimal("-0.0005")), Decimal("0.0005"))
        eight_hours = min(max(premium + damped, Decimal("-0.04")), Decimal("0.04"))
        assert premium == rate["premium_index"]
        assert (eight_hours * rate["funding_interval"] / 28_800).quantize(quantum) == rate["funding_rate"]
        if rate["status"] == "settled":
            total = (rate["long_size"] - rate["short_size"]) * rate["oracle_price"] * rate["funding_rate"]
            assert total.quantize(Decimal("1e-6")) == rate["total_funding"]


async def funding_boundaries(connection: asyncpg.Connection, symbol: str) -> list[datetime]:
    """The settled boundaries of a market, oldest first."""
    rows = await connection.fetch(
        "SELECT created_at FROM funding_rates WHERE market_id = (SELECT id FROM markets WHERE symbol = $1)"
        " ORDER BY created_at",
        symbol,
    )
    return [row["created_at"] for row in rows]
