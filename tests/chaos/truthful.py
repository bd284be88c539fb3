"""What has to hold after any schedule of faults: the tables equal the ledger, and a mark stands on every second."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from tests.e2e import truth, world
from tests.nats_server import Nats, stored_keys

HEALED_SECONDS = 120.0
UNSETTLED_SECONDS = 3
"""Seconds after which a print that was pushed may be asked for."""
TOLD_SECONDS = 60.0
TOLD = {
    "oracle_prices": ("price", ", t.slot"),
    "mark_prices": ("mark", ""),
    "funding_rates": ("funding", ""),
}
"""How keys of a table's rows begin, and what they end in."""


async def until_healed(
    dsn: str, ledger: Path, *, markets: Sequence[str] = world.MARKETS, within: float = HEALED_SECONDS
) -> None:
    """Until every print of these markets in the ledger, from the first stored one to some seconds ago, is a row."""
    missing: set[tuple[object, ...]] = set()
    deadline = time.monotonic() + within
    expected = await _expected(dsn, ledger, markets)
    while time.monotonic() < deadline:
        found = {row[:3] for row in await world.prints(dsn)}
        missing = expected & {row[:3] for row in truth.pushed_since(ledger, found)} - found
        if not missing:
            return
        await asyncio.sleep(1)
    pytest.fail(f"{len(missing)} prints are missing for good, such as {sorted(missing)[:3]}")


async def _expected(dsn: str, ledger: Path, markets: Sequence[str]) -> set[tuple[object, ...]]:
    async with world.connected(dsn) as connection:
        # The server's clock, which may be a faster one than ours.
        now = await connection.fetchval("SELECT extract(epoch FROM clock_timestamp())::float8")
    settled = [row for row in truth.pushed_since(ledger, []) if row[1].timestamp() < now - UNSETTLED_SECONDS]
    return {row[:3] for row in settled if row[0] in markets}


async def seconds_without_mark(dsn: str, symbol: str) -> tuple[int, list[int]]:
    """How many marks a market has, and the seconds (Unix) between its first and last one that have none."""
    async with world.connected(dsn) as connection:
        rows = await connection.fetch(
            "SELECT extract(epoch FROM k.created_at)::bigint AS second FROM mark_prices AS k"
            " JOIN markets AS m ON m.id = k.market_id WHERE m.symbol = $1 ORDER BY 1",
            symbol,
        )
    seconds = [row["second"] for row in rows]
    return len(seconds), sorted(set(range(seconds[0], seconds[-1] + 1)) - set(seconds))


async def assert_marks_stand(dsn: str, down: list[tuple[float, float]]) -> int:
    """Between a market's first and last mark, a second has none only where no daemon could write; how many marks."""
    marks = 0
    for symbol in world.MARKETS:
        found, without = await seconds_without_mark(dsn, symbol)
        marks += found
        unexplained = [second for second in without if not any(a <= second <= b for a, b in down)]
        assert unexplained == [], f"{symbol} has no mark, though one daemon was up and connected"
    return marks


async def assert_no_mark_of_a_dead_oracle(dsn: str, stale: int) -> None:
    """No mark's index is of a print that was older than ``stale`` seconds, or not yet published."""
    async with world.connected(dsn) as connection:
        oldest, youngest = await connection.fetchrow(
            "SELECT max(created_at - oracle_publish_time), min(created_at - oracle_publish_time) FROM mark_prices"
        )
    assert oldest <= timedelta(seconds=stale)
    assert youngest >= timedelta(0)


async def until_all_is_told(dsn: str, broker: Nats, state_dir: Path) -> int:
    """Until the broker holds every row since the publisher began, and each once; how many."""
    expected = await _keys_of_rows(dsn, state_dir)
    told: list[str] = []
    deadline = time.monotonic() + TOLD_SECONDS
    while time.monotonic() < deadline:
        told = await stored_keys(broker, "quantdesk.>")
        assert [key for key, count in Counter(told).items() if count > 1] == []
        if expected <= set(told):
            return len(told)
        await asyncio.sleep(1)
    missing = expected - set(told)
    pytest.fail(f"{len(missing)} rows were never told, such as {sorted(missing)[:3]}")


async def _keys_of_rows(dsn: str, state_dir: Path) -> set[str]:
    with closing(sqlite3.connect(state_dir / "published.sqlite3", timeout=10)) as cursors:
        began = dict(cursors.execute("SELECT stream, began FROM cursors"))
    keys: set[str] = set()
    async with world.connected(dsn) as connection:
        for table, (name, slot) in TOLD.items():
            rows = await connection.fetch(
                f"SELECT m.symbol, (extract(epoch FROM t.created_at) * 1000000)::bigint {slot} FROM {table} AS t"
                " JOIN markets AS m ON m.id = t.market_id WHERE extract(epoch FROM t.created_at) * 1000000 > $1",
                began[table],
            )
            keys |= {":".join(map(str, (name, *row))) for row in rows}
    return keys
