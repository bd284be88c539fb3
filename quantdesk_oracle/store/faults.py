"""Why a database refuses, told apart: what the daemon does about it, and what an operator should do.

Every failure of a statement or a connection becomes one of these errors, with its cause kept. A message never
holds a secret: what the driver says of a connection is not repeated, only what the server says of a statement.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import StrEnum
from typing import NamedTuple

import asyncpg

from quantdesk_oracle.errors import DatabaseError


class Kind(StrEnum):
    """What is the matter with a database."""

    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    CONFLICT = "conflict"
    OVERLOADED = "overloaded"
    DISK_FULL = "disk_full"
    READ_ONLY = "read_only"
    MISSING = "missing"
    FORBIDDEN = "forbidden"
    CREDENTIALS = "credentials"
    TLS = "tls"
    POOLER = "pooler"
    OTHER = "other"


class Reaction(NamedTuple):
    """What follows from a fault. Rows are spooled in every case."""

    retry_after: float
    """Seconds until the next attempt at least."""
    reconnect: bool
    """Whether the open connections are of no use any more."""
    advice: str
    """One sentence for the operator."""


REACTIONS = {
    Kind.UNREACHABLE: Reaction(
        0.0, True, "Check that the database runs and that this machine reaches its host and port"
    ),
    Kind.TIMEOUT: Reaction(
        1.0, True, "The database is slow or stuck: look for long locks, a full disk or a lost network"
    ),
    Kind.CONFLICT: Reaction(0.0, False, "Another transaction was in the way; it is tried again at once"),
    Kind.OVERLOADED: Reaction(
        5.0,
        False,
        "The database has no room for another connection or out of memory: lower pool_size, or raise its limits",
    ),
    Kind.DISK_FULL: Reaction(5.0, False, "The database's disk is full: free space or enlarge it"),
    Kind.READ_ONLY: Reaction(
        1.0,
        True,
        "The database is a read-only replica: name the primary, or all hosts with target_session_attrs=read-write",
    ),
    Kind.MISSING: Reaction(
        5.0, False, "A table or column is missing: look with `quantdesk-oracle schema status`"
    ),
    Kind.FORBIDDEN: Reaction(
        5.0, False, "The role of DATABASE_URL lacks a right: grant it the role quantdesk_oracle"
    ),
    Kind.CREDENTIALS: Reaction(
        30.0, True, "The database does not let us in: check user, password and database name in DATABASE_URL"
    ),
    Kind.TLS: Reaction(
        30.0,
        True,
        "TLS does not come about: check sslmode and sslrootcert in DATABASE_URL, and the certificate",
    ),
    Kind.POOLER: Reaction(
        1.0,
        True,
        "A connection pooler lost what was prepared: let it pool by transaction, or name the server itself",
    ),
    Kind.OTHER: Reaction(1.0, False, "Look into the log of the database server"),
}

# By SQLSTATE, whole or its class (two characters); the longest match counts.
_KINDS = {
    "08": Kind.UNREACHABLE,
    "08P01": Kind.POOLER,
    "26": Kind.POOLER,
    "42P05": Kind.POOLER,
    "25006": Kind.READ_ONLY,
    "25P03": Kind.TIMEOUT,
    "28": Kind.CREDENTIALS,
    "3D000": Kind.CREDENTIALS,
    "3F000": Kind.MISSING,
    "40": Kind.CONFLICT,
    "42501": Kind.FORBIDDEN,
    "42P01": Kind.MISSING,
    "42703": Kind.MISSING,
    "42704": Kind.MISSING,
    "42883": Kind.MISSING,
    "53": Kind.OVERLOADED,
    "53100": Kind.DISK_FULL,
    "55P03": Kind.TIMEOUT,
    "57": Kind.UNREACHABLE,
    "57014": Kind.TIMEOUT,
    "58": Kind.OTHER,
}
_ROW_FAULTS = (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError)


class DatabaseTroubleError(DatabaseError):
    """The database is away or refuses everybody: the same rows will do later."""

    def __init__(self, message: str, kind: Kind) -> None:
        super().__init__(message)
        self.kind = kind
        self.retry_after = REACTIONS[kind].retry_after


class RowFaultError(DatabaseError):
    """The database refuses a row for what it holds: trying again will not help it."""


def kind_of(error: BaseException) -> Kind:
    """What an error of asyncpg, of a socket or of TLS means."""
    if isinstance(error, asyncpg.PostgresError):
        state = error.sqlstate or ""
        return _KINDS.get(state) or _KINDS.get(state[:2]) or Kind.OTHER
    if isinstance(error, asyncpg.TargetServerAttributeNotMatched):
        return Kind.READ_ONLY
    if isinstance(error, ssl.SSLError | FileNotFoundError) or "SSL" in str(error):
        return Kind.TLS
    if isinstance(error, TimeoutError):
        return Kind.TIMEOUT
    if isinstance(error, OSError | asyncpg.InterfaceError | asyncpg.InternalClientError):
        return Kind.UNREACHABLE
    return Kind.OTHER


@asynccontextmanager
async def database_errors(what: str) -> AsyncIterator[None]:
    """Turn whatever goes wrong into a RowFaultError or a DatabaseTroubleError that begins with ``what``.

    A task that is being cancelled goes on being cancelled: asyncpg's rollback of an interrupted statement may fail
    with an error of its own, which would otherwise take the cancellation's place.
    """
    try:
        yield
    except _ROW_FAULTS as error:
        raise RowFaultError(f"{what}: {error}") from error
    except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError) as error:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise asyncio.CancelledError from error
        kind = kind_of(error)
        raise DatabaseTroubleError(f"{what}: {_said(error)}. {REACTIONS[kind].advice}", kind) from error


def _said(error: BaseException) -> str:
    """What the error says, as far as it cannot hold a part of the DSN."""
    if isinstance(error, asyncpg.PostgresError):
        return f"{error} ({error.sqlstate})"
    if isinstance(error, socket.gaierror):
        return f"the host's name is not known ({error.strerror})"
    if isinstance(error, ssl.SSLError):
        return f"{type(error).__name__}: {getattr(error, 'verify_message', None) or error.reason}"
    if isinstance(error, FileNotFoundError):
        return "a certificate file that DATABASE_URL names does not exist"
    if isinstance(error, asyncpg.InterfaceError) and not isinstance(error, ValueError):
        return str(error)
    return type(error).__name__
