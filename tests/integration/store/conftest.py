"""What the tests of the store share: an open database with three markets, and rows to put into it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from uuid import UUID

import pytest

from quantdesk_oracle.model import SECOND
from quantdesk_oracle.store.database import Database

Markets = dict[str, UUID]


@pytest.fixture
async def database(fresh_dsn: str) -> AsyncIterator[Database]:
    """The pool of a daemon on a fresh database."""
    database = Database(fresh_dsn, pool_size=4, command_timeout=10)
    await database.open()
    yield database
    await database.close()


@pytest.fixture
async def markets(database: Database) -> Markets:
    """The seeded markets' keys by symbol."""
    async with database.connection("cannot read the markets") as connection:
        return {row["symbol"]: row["id"] for row in await connection.fetch("SELECT symbol, id FROM markets")}


@pytest.fixture
def past() -> int:
    """An instant (µs) on the sampling grid, one to two minutes ago."""
    return (int(time.time()) // 60 - 1) * 60 * SECOND
