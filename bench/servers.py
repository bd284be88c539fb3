"""PostgreSQL servers of a bench: durable ones, as in production, each with the schema and some markets in it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from uuid import UUID

import asyncpg

from bench.feeds import market
from tests.postgres import PostgresServer, execute, make_template, programs

DURABLE = {"fsync": "on", "full_page_writes": "on", "shared_buffers": "512MB", "max_wal_size": "4GB"}
VERSIONS = (18, 15)
DATABASE = "bench"
_MARKET = "INSERT INTO markets (symbol, base_asset, quote_asset, oracle_account) VALUES ($1, $1, 'USDC', $1)"


@contextmanager
def server(version: int, **options: str) -> Iterator[PostgresServer | None]:
    """A running server with an empty database `bench`, gone afterwards; None where that version is not here."""
    folder = programs(version)
    if folder is None:
        yield None
        return
    one = PostgresServer(folder, **{**DURABLE, **options})
    try:
        one.start()
        asyncio.run(make_template(one))
        new_database(one)
        yield one
    finally:
        one.remove()


def new_database(one: PostgresServer) -> None:
    """`bench` anew: the schema and nothing else."""
    asyncio.run(
        execute(
            one.dsn(),
            f"DROP DATABASE IF EXISTS {DATABASE}",
            f"CREATE DATABASE {DATABASE} TEMPLATE with_schema",
        )
    )


async def add_markets(connection: asyncpg.Connection, count: int) -> dict[str, UUID]:
    """The first ``count`` of the bench's markets: their ids by symbol."""
    symbols = [market(number) for number in range(count)]
    await connection.executemany(_MARKET, [(symbol,) for symbol in symbols])
    rows = await connection.fetch("SELECT symbol, id FROM markets WHERE symbol = ANY ($1)", symbols)
    return {row["symbol"]: row["id"] for row in rows}


async def fetch(dsn: str, query: str, *arguments: object) -> Sequence[asyncpg.Record]:
    """The rows of one query on a connection of its own."""
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetch(query, *arguments)  # type: ignore[no-any-return]
    finally:
        await connection.close()


def server_pid(one: PostgresServer) -> int:
    """The postmaster's process id."""
    return int((one.data / "postmaster.pid").read_text().split()[0])
