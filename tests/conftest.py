"""Fixtures for all tests: a clean environment, the shared data, real PostgreSQL servers."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import settings

from tests.postgres import TEMPLATE, VERSIONS, PostgresServer, execute, make_template, programs

# Machines are shared and imports are late: no example has a deadline.
settings.register_profile("house", deadline=None, print_blob=True)
settings.load_profile("house")

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"
PROJECT_VARIABLES = (
    "DATABASE_URL",
    "SCHEMA_DATABASE_URL",
    "RPC_URL",
    "WS_URL",
    "SOLANA_NETWORK",
    "PROGRAM_ID",
)


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of the machine reaches a test."""
    for name in list(os.environ):
        ours = name.startswith(("QUANTDESK_", "SUPABASE_")) and not name.startswith("QUANTDESK_TEST_")
        if ours or name in PROJECT_VARIABLES or name.endswith("_ORACLE_ACCOUNT"):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _log_as_found() -> Iterator[None]:
    """A command that a test has run in this process leaves its log, whose stream is closed by then, to nobody."""
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def shared() -> Path:
    """The shared data folder; a test that asks for it is skipped where it is absent."""
    if not SHARED.is_dir():
        pytest.skip("the shared data folder is not beside this checkout")
    return SHARED


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def servers() -> Iterator[Callable[[int], PostgresServer]]:
    """Servers of this session by their major version, each started when it is first asked for."""
    running: dict[int, PostgresServer] = {}

    def server(version: int) -> PostgresServer:
        if version not in running:
            folder = programs(version)
            if folder is None:
                pytest.skip(f"PostgreSQL {version} is not installed on this machine")
            running[version] = PostgresServer(folder)
            running[version].start()
            asyncio.run(make_template(running[version]))
        return running[version]

    yield server
    for each in running.values():
        each.remove()


@pytest.fixture(scope="session")
def postgres_18(servers: Callable[[int], PostgresServer]) -> PostgresServer:
    """The embedded PostgreSQL's programs as a server of this test session."""
    return servers(18)


@pytest.fixture(scope="session")
def postgres_15(servers: Callable[[int], PostgresServer]) -> PostgresServer:
    """Debian's PostgreSQL 15 as a server of this test session."""
    return servers(15)


@pytest.fixture(params=VERSIONS, ids=[f"postgres{version}" for version in VERSIONS])
def postgres(request: pytest.FixtureRequest, servers: Callable[[int], PostgresServer]) -> PostgresServer:
    """Each PostgreSQL in turn."""
    return servers(request.param)


@pytest.fixture
async def fresh_dsn(postgres: PostgresServer) -> AsyncIterator[str]:
    """A fresh database with the schema in it, on each PostgreSQL in turn."""
    name = f"test_{secrets.token_hex(6)}"
    await execute(postgres.dsn(), f"CREATE DATABASE {name} TEMPLATE {TEMPLATE} STRATEGY FILE_COPY")
    yield postgres.dsn(name)
    await execute(postgres.dsn(), f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def killable() -> Iterator[PostgresServer]:
    """A server of one test's own, to be killed and frozen. Its database has no schema."""
    folder = programs(18)
    if folder is None:
        pytest.skip("the embedded PostgreSQL is not installed")
    server = PostgresServer(folder)
    try:
        server.start()
        yield server
    finally:
        server.remove()
