"""Prices out of one database, through a file, into another one: the same rows, exactly."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from quantdesk_oracle.cli import app
from quantdesk_oracle.errors import ConfigError, DataError
from quantdesk_oracle.store.price_files import PriceRow, rows_of, stored_print, writing
from tests.postgres import TEMPLATE, PostgresServer, execute

QUANTUM = Decimal("1e-12")
ROW = PriceRow(
    "BTC-PERP", 1_769_860_800, 400_000_000, 1_769_860_800_123_456, "poll", "accepted", -8,
    Decimal("98123.45678901"), Decimal("31.1"), Decimal("98000.00000001"), Decimal("30"),
)  # fmt: skip
SUFFIX = pytest.mark.parametrize("suffix", [".csv", ".parquet"])


@st.composite
def price_rows(draw: st.DrawFn) -> PriceRow:
    """Any row that the table can hold."""
    exponent = draw(st.integers(-12, 0))
    amount = st.integers(1, 2**62).map(lambda raw: Decimal(raw).scaleb(exponent))
    ema = draw(st.none() | amount)
    return PriceRow(
        draw(st.sampled_from(["BTC-PERP", 'odd, "name"', "Ünïcode\nPERP"])),
        draw(st.integers(0, 2**40)),
        draw(st.integers(0, 2**63 - 1)),
        draw(st.integers(0, 2**55)),
        draw(st.sampled_from(["poll", "subscription", "chain", "hermes"])),
        draw(st.sampled_from(["accepted", "wide", "quarantined"])),
        exponent,
        draw(amount),
        draw(amount),
        ema,
        None if ema is None else draw(amount),
    )


@SUFFIX
@given(rows=st.lists(price_rows(), max_size=20))
def test_what_is_written_is_read_again_exactly(
    suffix: str, rows: list[PriceRow], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("files") / f"prices{suffix}"
    fits = [row for row in rows if all(abs(value or 0) < Decimal(10) ** 26 for value in row[7:])]
    with writing(path) as sink:
        sink.write(fits)
    again = [row for some in rows_of(path) for row in some]
    assert again == fits
    assert [stored_print(row).update for row in again] == [stored_print(row).update for row in fits]


def test_decimals_are_raw_integers_again() -> None:
    update = stored_print(ROW).update
    assert (update.price, update.confidence, update.ema_price) == (
        9_812_345_678_901,
        3_110_000_000,
        9_800_000_000_001,
    )


def test_a_decimal_that_its_exponent_cannot_hold_is_refused() -> None:
    with pytest.raises(DataError, match="no whole number of 1e-8"):
        stored_print(ROW._replace(price=Decimal("1.123456789")))


@SUFFIX
def test_a_file_that_failed_is_not_there(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"prices{suffix}"

    def fail() -> None:
        with writing(path) as sink:
            sink.write([ROW])
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"", "its columns are"),
        ("a.csv", b"market,price\n", "its columns are market, price"),
        ("a.csv", (",".join(PriceRow._fields) + "\nBTC,1,2\n").encode(), "line 2: is no print"),
        ("a.csv", (",".join(PriceRow._fields) + "\nB,1,2,3,poll,accepted,-8,x,1,,\n").encode(), "line 2"),
        ("a.csv", (",".join(PriceRow._fields) + "\nB,1,2,3,stars,accepted,-8,1,1,,\n").encode(), "line 2"),
        (
            "a.csv",
            (",".join(PriceRow._fields) + "\nB,1,2,3,poll,accepted,-8,Infinity,1,,\n").encode(),
            "no price",
        ),
        (
            "a.csv",
            (",".join(PriceRow._fields) + "\nB,1,2,3,poll,accepted,-8,1e999999999,1,,\n").encode(),
            "no price",
        ),
        ("a.csv", (",".join(PriceRow._fields) + "\nB,1,2,3,poll,accepted,999999,1,1,,\n").encode(), "line 2"),
        (
            "a.csv",
            (",".join(PriceRow._fields) + f"\nB,1,2,{2**63 - 1},poll,accepted,-8,1,1,,\n").encode(),
            "line 2",
        ),
        ("a.csv", b"\xff\xfe", "cannot be read"),
        ("a.parquet", b"PAR1 not really", "is no Parquet file"),
        ("a.parquet", b"", "is no Parquet file"),
        ("a.txt", b"", "name it .parquet or .csv"),
    ],
)
def test_what_is_no_file_of_prices_is_told_with_its_place(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        list(rows_of(path))


@pytest.fixture
async def databases(postgres_18: PostgresServer) -> Any:
    """Two fresh databases; the first one holds some prints."""
    names = ["export_from", "export_into"]
    for name in names:
        await execute(postgres_18.dsn(), f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        await execute(postgres_18.dsn(), f"CREATE DATABASE {name} TEMPLATE {TEMPLATE} STRATEGY FILE_COPY")
    await execute(
        postgres_18.dsn(names[0]),
        """
        INSERT INTO oracle_prices (market_id, created_at, slot, received_at, source, verdict, exponent, price,
                                   confidence, ema_price, ema_confidence)
        SELECT id, timestamptz '2026-02-01' + n * interval '1 second', 400000000 + n,
               timestamptz '2026-02-01' + n * interval '1.000123 second', 'subscription',
               CASE n % 3 WHEN 0 THEN 'wide' ELSE 'accepted' END::oracle_verdict, -8,
               100 + n * 0.00000001, CASE n % 3 WHEN 0 THEN 1 ELSE 0.01 END,
               CASE WHEN n % 2 = 0 THEN 100.00000001 END, CASE WHEN n % 2 = 0 THEN 0.02 END
        FROM markets, generate_series(1, 200) AS n
        """,
    )
    yield [postgres_18.dsn(name) for name in names]
    for name in names:
        await execute(postgres_18.dsn(), f"DROP DATABASE {name} WITH (FORCE)")


async def table(dsn: str) -> list[tuple[Any, ...]]:
    connection = await asyncpg.connect(dsn)
    try:
        rows = await connection.fetch(
            "SELECT m.symbol, p.created_at, p.slot, p.received_at, p.source, p.verdict, p.exponent, p.price,"
            " p.confidence, p.ema_price, p.ema_confidence"
            " FROM oracle_prices AS p JOIN markets AS m ON m.id = p.market_id ORDER BY 1, 2, 3"
        )
        return [tuple(row) for row in rows]
    finally:
        await connection.close()


@SUFFIX
async def test_history_moves_between_databases_exactly_and_again_changes_nothing(
    databases: list[str], tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"prices{suffix}"
    run = _runner()
    exported = await asyncio.to_thread(
        run, databases[0], "export", str(path), "--from", "2026-02-01", "--to", "2026-03-01"
    )
    assert exported["rows"] == 600
    first = await asyncio.to_thread(run, databases[1], "import", str(path))
    assert (first["found"], first["inserted"], first["rejected"]) == (600, 600, {})
    assert await table(databases[1]) == await table(databases[0])
    again = await asyncio.to_thread(run, databases[1], "import", str(path))
    assert (again["inserted"], again["already_there"]) == (0, 600)


@SUFFIX
async def test_a_span_of_one_market_is_read_from_a_file(
    databases: list[str], tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"prices{suffix}"
    run = _runner()
    span = ("--from", "2026-02-01T00:00:10", "--to", "2026-02-01T00:01:00")
    asked = ("backfill", "--market", "BTC-PERP", "--source", "file", "--file", str(path), *span)
    await asyncio.to_thread(
        run, databases[0], "export", str(path), "--from", "2026-02-01", "--to", "2026-03-01"
    )
    refused = await asyncio.to_thread(
        CliRunner().invoke, app, [*asked, "--json"], env={"DATABASE_URL": databases[1]}
    )
    assert isinstance(refused.exception, ConfigError)
    assert "upkeep would drop what is read" in str(refused.exception)
    counted = await asyncio.to_thread(run, databases[1], *asked, "--dry-run")
    assert (counted["found"], await table(databases[1])) == (50, [])
    read = await asyncio.to_thread(run, databases[1], *asked, "--keep")
    assert (read["found"], read["inserted"], read["rejected"]) == (50, 50, {})
    again = await asyncio.to_thread(run, databases[1], *asked, "--keep")
    assert (again["inserted"], again["already_there"]) == (0, 50)
    assert set(await table(databases[1])) <= set(await table(databases[0]))


@pytest.mark.parametrize("options", [("--source", "file"), ("--file", "prices.csv")])
def test_a_file_and_its_source_go_together(options: tuple[str, ...]) -> None:
    result = CliRunner().invoke(app, ["backfill", "--all", *options])
    assert result.exit_code == 2


def _runner() -> Callable[..., Any]:
    def run(dsn: str, *arguments: str) -> Any:
        result = CliRunner().invoke(app, [*arguments, "--json"], env={"DATABASE_URL": dsn})
        assert result.exit_code == 0, (result.output, result.exception)
        return json.loads(result.stdout)

    return run
