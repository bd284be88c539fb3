"""The pool of connections, the named queries of schema/queries, and the one place that wraps database errors."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

import asyncpg

from quantdesk_oracle.config import redact_dsn
from quantdesk_oracle.errors import DatabaseError
from quantdesk_oracle.store.sql import schema_folder

Connection = Any
"""An asyncpg connection, or what a pool hands out."""

# What asyncpg raises for a server that is away, busy, refusing or gone in the middle.
_TROUBLE = (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError)
_ROW_FAULTS = (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError)


class RowFaultError(DatabaseError):
    """The database refuses a row for what it holds: trying again will not help it."""


@cache
def query(name: str) -> str:
    """The text of schema/queries/``name``.sql."""
    return (schema_folder() / "queries" / f"{name}.sql").read_text(encoding="utf-8")


@asynccontextmanager
async def database_errors(what: str) -> AsyncIterator[None]:
    """Turn what asyncpg raises into the project's errors, with the cause kept and no secret in the text."""
    try:
        yield
    except _ROW_FAULTS as error:
        raise RowFaultError(f"{what}: {error}") from error
    except asyncpg.PostgresError as error:
        raise DatabaseError(f"{what}: {error} ({error.sqlstate})") from error
    except _TROUBLE as error:
        text = str(error) if isinstance(error, asyncpg.InterfaceError) else ""
        raise DatabaseError(f"{what}: {text or type(error).__name__}") from error


class Database:
    """The connections of one process. Every failure is a DatabaseError."""

    def __init__(self, dsn: str, *, pool_size: int, command_timeout: float) -> None:
        self._dsn = dsn
        self._pool_size = pool_size
        self._command_timeout = command_timeout
        self._pool: Any = None

    @property
    def name(self) -> str:
        """The DSN without its password."""
        return redact_dsn(self._dsn)

    async def open(self) -> None:
        """Connect once, so that a wrong DSN shows at once. Raises DatabaseError."""
        async with database_errors(f"cannot connect to {self.name}"):
            try:
                self._pool = await asyncpg.create_pool(
                    self._dsn,
                    min_size=1,
                    max_size=self._pool_size,
                    timeout=self._command_timeout,
                    command_timeout=self._command_timeout,
                    server_settings={"application_name": "quantdesk-oracle"},
                )
            except ValueError as error:
                raise DatabaseError(f"DATABASE_URL cannot be read ({type(error).__name__})") from None

    async def close(self) -> None:
        """Close every connection; at once where they do not end by themselves."""
        if self._pool is None:
            return
        try:
            await self._pool.close()
        except _TROUBLE:
            self._pool.terminate()

    @asynccontextmanager
    async def connection(self, what: str) -> AsyncIterator[Connection]:
        """A connection for the length of the block; ``what`` begins the message of any error."""
        async with database_errors(what), self._pool.acquire(timeout=self._command_timeout) as connection:
            yield connection

    @asynccontextmanager
    async def transaction(self, what: str) -> AsyncIterator[Connection]:
        """A connection inside a transaction, committed at the end of the block."""
        async with self.connection(what) as connection, connection.transaction():
            yield connection
