"""PostgreSQL servers of a bench: durable ones, as in production, each with the schema and some markets in it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID

import asyncpg

from bench.feeds import market
from quantdesk_oracle.store import schema
from tests.postgres import PostgresServer, execute, make_template, programs

DURABLE = {"fsync": "on", "full_page_writes": "on", "shared_buffers": "512MB", "max_wal_size": "4GB"}
VERSIONS = (18, 15)
DATABASE = "bench"
_MARKET = (
    "INSERT INTO markets (symbol, base_asset, quote_asset, oracle_account) VALUES ($1, $1, 'USDC', $1)"
    " ON CONFLICT (symbol) DO NOTHING"
)


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


class NamedServer:
    """A server that runs already, such as one with TimescaleDB; named by ``variable`` in the environment."""

    def __init__(self, url: str) -> None:
        self._url = url
        (row,) = asyncio.run(fetch(url, "SELECT current_setting('data_directory') AS data"))
        self.data = Path(row["data"])

    def dsn(self, database: str = "postgres") -> str:
        """How to connect to it."""
        return urlunsplit(urlsplit(self._url)._replace(path=f"/{database}"))


@contextmanager
def named_server(variable: str) -> Iterator[NamedServer | None]:
    """The server that the environment names, with a database `bench` that is gone afterwards; None without a name."""
    url = os.environ.get(variable)
    if not url:
        yield None
        return
    one = NamedServer(url)
    drop = f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)"
    asyncio.run(execute(one.dsn(), drop, f"CREATE DATABASE {DATABASE} TEMPLATE template0"))
    try:
        asyncio.run(_with_schema(one.dsn(DATABASE)))
        yield one
    finally:
        asyncio.run(execute(one.dsn(), drop))


async def _with_schema(dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await schema.apply(connection)
    finally:
        await connection.close()


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
    """The first ``count`` of the bench's markets, added where they are not there: their ids by symbol."""
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


def server_pid(one: PostgresServer | NamedServer) -> int:
    """The postmaster's process id."""
    return int((one.data / "postmaster.pid").read_text().split()[0])
