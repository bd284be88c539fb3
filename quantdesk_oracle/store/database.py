"""The pool of connections and the named queries of schema/queries. What can go wrong with them: ``faults``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from typing import Any
from urllib.parse import parse_qs, urlsplit

import asyncpg
import structlog

from quantdesk_oracle.config import redact_dsn
from quantdesk_oracle.errors import DatabaseError
from quantdesk_oracle.store.faults import (
    REACTIONS,
    DatabaseTroubleError,
    RowFaultError,
    database_errors,
)
from quantdesk_oracle.store.sql import schema_folder

__all__ = ["Connection", "Database", "DatabaseTroubleError", "RowFaultError", "database_errors", "query"]

log = structlog.get_logger("store.database")

Connection = Any
"""An asyncpg connection, or what a pool hands out."""

IDLE_SECONDS = 60.0
"""How long a connection that nobody uses is kept."""
_CLOSING = (asyncpg.PostgresError, asyncpg.InterfaceError, OSError)


@cache
def query(name: str) -> str:
    """The text of schema/queries/``name``.sql."""
    return (schema_folder() / "queries" / f"{name}.sql").read_text(encoding="utf-8")


class Database:
    """The connections of one process. Every failure is a DatabaseError.

    Behind a pooler in transaction mode (PgBouncer, Supabase's) a statement that was prepared may be executed on
    another server connection. There every use is one transaction, and nothing prepared outlives it.
    """

    def __init__(self, dsn: str, *, pool_size: int, command_timeout: float) -> None:
        self._dsn = dsn
        self._pool_size = pool_size
        self._command_timeout = command_timeout
        self._pool: Any = None
        self.pooled = False
        """Whether a pooler lies between us and the server; known once open."""

    @property
    def name(self) -> str:
        """The DSN without its password."""
        return redact_dsn(self._dsn)

    async def open(self) -> None:
        """Connect once, so that a wrong DSN shows at once. Raises DatabaseError."""
        async with database_errors(f"cannot connect to {self.name}"):
            try:
                self.pooled = await self._is_pooled()
                self._pool = await asyncpg.create_pool(
                    self._dsn,
                    # No floor: asyncpg would try to keep it while the server is away, with a traceback each time.
                    min_size=0,
                    max_size=self._pool_size,
                    max_inactive_connection_lifetime=IDLE_SECONDS,
                    reset=_nothing_to_reset,
                    **self._connection_arguments(),
                )
            except ValueError as error:
                if isinstance(error, OSError):  # a certificate that does not fit is both
                    raise
                raise DatabaseError(f"DATABASE_URL cannot be read ({type(error).__name__})") from None

    async def close(self) -> None:
        """Close every connection; at once where they do not end by themselves."""
        if self._pool is None:
            return
        try:
            await self._pool.close()
        except _CLOSING:
            self._pool.terminate()

    @asynccontextmanager
    async def connection(self, what: str) -> AsyncIterator[Connection]:
        """A connection for the length of the block; ``what`` begins the message of any error."""
        try:
            async with (
                database_errors(what),
                self._pool.acquire(timeout=self._command_timeout) as connection,
                _transaction(connection) if self.pooled else _alone(connection),
            ):
                yield connection
        except DatabaseTroubleError as error:
            if REACTIONS[error.kind].reconnect:
                # What is open leads to a server that is gone, stuck or no primary any more.
                await self._pool.expire_connections()
            raise

    @asynccontextmanager
    async def transaction(self, what: str) -> AsyncIterator[Connection]:
        """A connection inside a transaction, committed at the end of the block."""
        async with (
            self.connection(what) as connection,
            _alone(connection) if self.pooled else _transaction(connection),
        ):
            yield connection

    def _connection_arguments(self) -> dict[str, Any]:
        arguments: dict[str, Any] = {
            "timeout": self._command_timeout,
            "command_timeout": self._command_timeout,
            "server_settings": {"application_name": "quantdesk-oracle"},
        }
        if _names_several_hosts(self._dsn):
            arguments["target_session_attrs"] = "read-write"
        if self.pooled:
            arguments["statement_cache_size"] = 0
        else:
            # The server ends what a vanished client has left. A pooler refuses to be told so.
            limit = str(round(self._command_timeout * 1000))
            arguments["server_settings"]["statement_timeout"] = limit
            arguments["server_settings"]["idle_in_transaction_session_timeout"] = limit
            # PostgreSQL 15 compiles our statements, which costs more than running them: 100 µs a row instead of 60.
            arguments["server_settings"]["jit"] = "off"
        return arguments

    async def _is_pooled(self) -> bool:
        """Whether the process that the connection was told of is not the one that answers."""
        self.pooled = True  # for as long as it is not known, the careful way
        connection = await asyncpg.connect(self._dsn, **self._connection_arguments())
        try:
            async with connection.transaction():
                pid = await connection.fetchval("SELECT pg_backend_pid()")
            pooled = pid != connection.get_server_pid()
        finally:
            await connection.close()
        log.debug("database.connected", pooled=pooled)
        return bool(pooled)


@asynccontextmanager
async def _alone(connection: Connection) -> AsyncIterator[None]:
    """Without a transaction. Whoever is cancelled leaves at once: a stuck server would not answer a cancel either."""
    try:
        yield
    except asyncio.CancelledError:
        connection.terminate()
        raise


@asynccontextmanager
async def _transaction(connection: Connection) -> AsyncIterator[None]:
    """Committed at the end, rolled back after an error, the connection given up after a cancellation."""
    transaction = connection.transaction()
    await transaction.start()
    try:
        yield
    except asyncio.CancelledError:
        connection.terminate()
        raise
    except BaseException:
        if not connection.is_closed():
            await transaction.rollback()
        raise
    await transaction.commit()


def _names_several_hosts(dsn: str) -> bool:
    """Whether the DSN names several hosts and leaves it to us which of them to take."""
    parts = urlsplit(dsn)
    named = parse_qs(parts.query)
    hosts = [*named.get("host", []), parts.netloc.rsplit("@", 1)[-1]]
    return any("," in host for host in hosts) and "target_session_attrs" not in named


async def _nothing_to_reset(connection: Connection) -> None:
    """Nothing here sets a session's state, so that a connection goes back without another round trip."""
