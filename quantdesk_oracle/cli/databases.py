"""The settings' database, for the length of a command that writes."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from quantdesk_oracle.store import schema
from quantdesk_oracle.store.database import Database
from quantdesk_oracle.store.embedded import EmbeddedServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from quantdesk_oracle.config import Settings


@asynccontextmanager
async def open_database(settings: Settings) -> AsyncIterator[Database]:
    """The settings' database, the embedded one started where it is meant. Raises DatabaseError, SchemaError."""
    dsn = settings.database.url.get_secret_value()
    if settings.embedded:
        dsn = await asyncio.to_thread(EmbeddedServer(settings.state_dir).start)
    database = Database(dsn, pool_size=2, command_timeout=settings.database.command_timeout)
    await database.open()
    try:
        async with database.connection("cannot read the schema") as connection:
            await schema.check(connection)
        yield database
    finally:
        await database.close()
