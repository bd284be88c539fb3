"""Every PostgreSQL there is, and TimescaleDB where one is named: a server of each a session, a database a test."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from tests.postgres import TEMPLATE, PostgresServer, clients
from tests.schema.support import EVERY, SCHEMA, TIMESCALE, Database, Server, servers_named


@pytest.fixture(scope="session")
def schema_servers(servers: Callable[[int], PostgresServer]) -> Iterator[Callable[[str], Server]]:
    """Servers by name: a major version, timescale or apache."""
    made: dict[str, Server] = {}

    def server(name: str) -> Server:
        if name not in made:
            made[name] = _on_timescale(name) if name in TIMESCALE else _plain(servers(int(name)), int(name))
        return made[name]

    yield server
    for each in made.values():
        if each.name in TIMESCALE:
            asyncio.run(each.drop(each.template))


def _plain(running: PostgresServer, version: int) -> Server:
    return Server(str(version), running.dsn(), clients(version), TEMPLATE)


def _on_timescale(name: str) -> Server:
    url = TIMESCALE[name]
    if url is None:
        licence = "_APACHE" if name == "apache" else ""
        pytest.skip(
            f"QUANTDESK_TEST_TIMESCALE{licence}_URL names no server (a superuser's URL of its database postgres)"
        )
    server = Server(name, url, clients(15), f"with_schema_{os.getpid()}")
    asyncio.run(_make_template(server))
    return server


async def _make_template(server: Server) -> None:
    admin = await asyncpg.connect(server.url)
    await admin.execute(f"CREATE DATABASE {server.template} TEMPLATE template0")
    await admin.close()
    server.psql(server.template, "-f", SCHEMA / "production-schema.sql")
    # A background job that is connected to it would keep it from being copied.
    server.psql(server.template, "-c", "SELECT _timescaledb_functions.stop_background_workers()")


@pytest.fixture
def server18(schema_servers: Callable[[str], Server]) -> Server:
    """The embedded PostgreSQL 18, for what cannot depend on the version."""
    return schema_servers("18")


server = servers_named(*EVERY)


@pytest.fixture
async def empty(server: Server) -> AsyncIterator[Database]:
    """An empty database on every server."""
    async with _database(server, None) as database:
        yield database


@pytest.fixture
async def database(server: Server) -> AsyncIterator[Database]:
    """A database with the schema on every server."""
    async with _database(server, server.template) as database:
        yield database


@pytest.fixture
async def database18(server18: Server) -> AsyncIterator[Database]:
    """A database with the schema on one server, for what cannot depend on its version."""
    async with _database(server18, server18.template) as database:
        yield database


@pytest.fixture
async def owner(server: Server) -> AsyncIterator[Any]:
    """The owner's connection to a database with the schema, on every server; what it does is rolled back."""
    async with _rolled_back(server) as connection:
        yield connection


@asynccontextmanager
async def _rolled_back(server: Server) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(server.dsn(server.template))
    transaction = connection.transaction()
    await transaction.start()
    try:
        yield connection
    finally:
        await transaction.rollback()
        await connection.close()


@asynccontextmanager
async def _database(server: Server, template: str | None) -> AsyncIterator[Database]:
    name = await server.create(template)
    owner = await asyncpg.connect(server.dsn(name))
    try:
        yield Database(server, name, owner)
    finally:
        await owner.close()
        await server.drop(name)
