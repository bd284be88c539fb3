"""Real PostgreSQL servers for the tests of the schema, and what is done with them again and again."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from tests.postgres import VERSIONS

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = ROOT / "schema"
FIXTURES = Path(__file__).parent / "fixtures"
TIMESCALE = {
    "timescale": os.environ.get("QUANTDESK_TEST_TIMESCALE_URL"),
    "apache": os.environ.get("QUANTDESK_TEST_TIMESCALE_APACHE_URL"),
}
"""Servers with TimescaleDB, under its own licence and of the Apache-2 build: the URL of postgres, as a superuser."""
PLAIN = tuple(str(version) for version in VERSIONS)
HYPER = tuple(TIMESCALE)
EVERY = (*PLAIN, *(name for name, url in TIMESCALE.items() if url))
EVERY_MODE = ("18", *EVERY[len(PLAIN) :])
KEYLESS = ("oracle_prices", "mark_prices", "premium_samples", "funding_rates")
_LEAVE = """
    SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
    WHERE datname = $1 AND backend_type <> 'client backend'
"""
_numbers = count(1)


@dataclass(frozen=True)
class Server:
    """A running server: its name, its postgres database's URL, psql and pg_dump, a database to copy the schema from."""

    name: str
    url: str
    programs: Path
    template: str

    def dsn(self, database: str) -> str:
        """A URL of one of its databases."""
        return re.sub(r"/[^/?]*(\?|$)", rf"/{database}\1", self.url, count=1)

    def psql(
        self, database: str, *arguments: str | Path, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run psql as a user would; its exit status must be 0 unless ``check`` is off."""
        done = subprocess.run(
            [self.programs / "psql", "-X", "-q", self.dsn(database), *arguments],
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | {"PGAPPNAME": "test"},
        )
        assert not check or done.returncode == 0, done.stderr
        return done

    def dump(self, database: str) -> str:
        """The catalogue as pg_dump writes it: everything but rows."""
        done = subprocess.run(
            [self.programs / "pg_dump", "--schema-only", "--restrict-key=x", self.dsn(database)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def run(self, program: str, database: str, *arguments: str | Path) -> str:
        """Run pg_dump or pg_restore; what it says, which is nothing or warnings."""
        done = subprocess.run(
            [self.programs / program, "--dbname", self.dsn(database), *arguments],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stderr

    async def create(self, template: str | None = None) -> str:
        """A new database, empty or a copy of another; its name."""
        name = f"test_{os.getpid()}_{next(_numbers)}"
        admin = await asyncpg.connect(self.dsn("postgres"))
        try:
            await _copy(admin, template or "template0", name)
        finally:
            await admin.close()
        return name

    async def drop(self, name: str) -> None:
        """Drop a database, whoever is connected to it."""
        admin = await asyncpg.connect(self.dsn("postgres"))
        try:
            await admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        finally:
            await admin.close()


async def _copy(admin: Any, template: str, name: str) -> None:
    """A background job of TimescaleDB that is connected to the template is in the way: ended as often as it takes."""
    for attempt in range(10):
        await admin.execute(_LEAVE, template)
        try:
            await admin.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
        except asyncpg.ObjectInUseError:
            if attempt == 9:
                raise
        else:
            return


@dataclass(frozen=True)
class Database:
    """One database of a server, and a connection to it as its owner."""

    server: Server
    name: str
    owner: Any

    @property
    def dsn(self) -> str:
        return self.server.dsn(self.name)

    async def market(self, symbol: str = "BTC-PERP") -> Any:
        """The key of a market."""
        return await self.owner.fetchval("SELECT id FROM markets WHERE symbol = $1", symbol)

    async def user(self, wallet: str) -> Any:
        """The key of a new user."""
        return await self.owner.fetchval(
            "INSERT INTO users (wallet_address) VALUES ($1) RETURNING id", wallet
        )


def servers_named(*names: str) -> Any:
    """A fixture: each of these servers in turn. A module that is about some of them calls its own one ``server``."""
    marks = {name: [pytest.mark.timescale] if name in TIMESCALE else [] for name in names}

    @pytest.fixture(params=[pytest.param(name, marks=marks[name]) for name in names])
    def server(request: pytest.FixtureRequest, schema_servers: Any) -> Server:
        """Each of them in turn."""
        found: Server = schema_servers(request.param)
        return found

    return server


@asynccontextmanager
async def acting(connection: Any, role: str, wallet: str | None = None) -> AsyncIterator[Any]:
    """Inside a transaction: what a role can do, as PostgREST asks for it, with the claims of a wallet's token."""
    claims = json.dumps({"wallet_address": wallet} if wallet else {})
    async with connection.transaction():
        await connection.execute("SELECT set_config('request.jwt.claims', $1, true)", claims)
        await connection.execute(f"SET LOCAL ROLE {role}")
        yield connection
        await connection.execute("RESET ROLE")


async def refused(connection: Any, statement: str, *arguments: Any) -> str:
    """The SQLSTATE that a statement ends with, '' where it succeeds; either way it is undone."""
    savepoint = connection.transaction()
    await savepoint.start()
    try:
        await connection.execute(statement, *arguments)
    except asyncpg.PostgresError as error:
        return str(error.sqlstate)
    else:
        return ""
    finally:
        await savepoint.rollback()


async def market_of(connection: Any, symbol: str = "BTC-PERP") -> Any:
    """The key of a market."""
    return await connection.fetchval("SELECT id FROM markets WHERE symbol = $1", symbol)


async def new_user(connection: Any, wallet: str) -> Any:
    """The key of a new user."""
    return await connection.fetchval("INSERT INTO users (wallet_address) VALUES ($1) RETURNING id", wallet)


async def new_position(connection: Any, user: Any, market: Any, **columns: Any) -> Any:
    """The key of a new position: by default long 10 at 100, with a margin of 100."""
    values = {"side": "long", "size": 10, "entry_price": 100, "margin": 100, "leverage": 1000} | columns
    return await insert(connection, "positions", user_id=user, market_id=market, **values)


async def insert(connection: Any, table: str, **columns: Any) -> Any:
    """Insert a row; its id, where the table has one."""
    names = ", ".join(columns)
    places = ", ".join(f"${n}" for n in range(1, len(columns) + 1))
    returning = "" if table in KEYLESS else " RETURNING id"
    return await connection.fetchval(
        f"INSERT INTO {table} ({names}) VALUES ({places}){returning}", *columns.values()
    )


async def mark(connection: Any, market: Any, price: Any, age: float = 1) -> None:
    """Store a mark of so many seconds ago."""
    await connection.execute(
        "INSERT INTO mark_prices (market_id, created_at, mark_price, oracle_price)"
        " VALUES ($1, now() - make_interval(secs => $3), $2, $2)",
        market,
        price,
        age,
    )


async def plan(connection: Any, statement: str, *arguments: Any) -> str:
    """The plan of a statement, as text."""
    rows = await connection.fetch(f"EXPLAIN (COSTS OFF) {statement}", *arguments)
    return "\n".join(row[0] for row in rows)
