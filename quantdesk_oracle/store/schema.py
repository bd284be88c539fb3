"""The schema of the database: make it, bring it up, verify it, look at it, insist on it.

Everything is in ``schema/*.sql``; here it is only run, in one transaction, as ``psql -f`` would.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import asyncpg

from quantdesk_oracle.errors import SchemaError
from quantdesk_oracle.store.schema_status import NEEDED_VERSION, Connection, SchemaStatus, TableStatus, status
from quantdesk_oracle.store.sql import MIGRATION, PRODUCTION, TEST, SqlPart, parts_of

__all__ = ["NEEDED_VERSION", "SchemaStatus", "TableStatus", "apply", "check", "migrate", "status", "verify"]

Progress = Callable[[str], None]


async def apply(connection: Connection, *, progress: Progress | None = None) -> SchemaStatus:
    """Make the schema on an empty database, bring an older version of it up in place; on a current one, change nothing.

    One transaction under an advisory lock: it stands completely, or not at all.
    Raises SchemaError on a database of an earlier generation, and where the role may not do it.
    """
    await _run(connection, parts_of(PRODUCTION), progress)
    return await status(connection)


@dataclass(frozen=True, slots=True)
class Moved:
    """One table of an earlier generation after its migration: its rows before, those taken over, those put aside."""

    table: str
    before: int
    copied: int
    rejected: int


@dataclass(frozen=True, slots=True)
class Migration:
    """What a migration did, or with a dry run would do."""

    dry_run: bool
    from_generation: str
    tables: tuple[Moved, ...]
    changes: int
    """Values that were changed, each a row of migration_changes."""
    money: tuple[str, ...]
    """Rejected rows of users and user_balances, a sentence each: somebody has to look at these."""
    status: SchemaStatus


class _RehearsedError(Exception):
    """Ends the transaction of a dry run."""


async def migrate(
    connection: Connection, *, dry_run: bool = False, progress: Progress | None = None
) -> Migration:
    """Bring a database of an earlier generation to the current schema, keeping every row; else change nothing.

    A dry run does all of it, under the same locks, and rolls it back: its report is exact.
    Raises SchemaError when something of another team does not fit; then nothing was changed.
    """
    before = await status(connection)
    result: Migration | None = None
    try:
        async with connection.transaction():
            await _execute_all(connection, parts_of(MIGRATION), progress)
            result = await _migration(connection, before.generation, dry_run=dry_run)
            if dry_run:
                raise _RehearsedError
    except _RehearsedError:
        pass
    assert result is not None
    return result


async def verify(connection: Connection, *, progress: Progress | None = None) -> None:
    """Check a live database as test-schema.sql does, leaving nothing behind. SchemaError at the first thing wrong."""
    transaction = connection.transaction()
    await transaction.start()
    try:
        await _execute_all(connection, parts_of(TEST), progress, note="")
    finally:
        await transaction.rollback()


async def check(connection: Connection) -> SchemaStatus:
    """The status of a schema that this program can work with; SchemaError, with the command to type, otherwise.

    A newer version may say that it serves programs of this age, so that both run side by side during an upgrade.
    """
    found = await status(connection)
    if not found.serves:
        raise SchemaError(_problem(found))
    return found


async def _migration(connection: Connection, generation: str, *, dry_run: bool) -> Migration:
    money = await connection.fetch(_MONEY)
    return Migration(
        dry_run=dry_run,
        from_generation=generation,
        tables=tuple(Moved(*row) for row in await connection.fetch(_REPORT)),
        changes=await connection.fetchval(_CHANGED),
        money=tuple(f"{row['table_name']}: {row['reason']}: {row['row']}" for row in money),
        status=await status(connection),
    )


def _problem(found: SchemaStatus) -> str:
    return {
        "none": "the database has no QuantDesk schema; make it with: quantdesk-oracle schema apply",
        "earlier": "the database holds an earlier generation of the QuantDesk schema;"
        " bring it up with: quantdesk-oracle schema migrate",
        "older": f"the database's schema is version {found.version} and this program needs {NEEDED_VERSION};"
        " bring it up with: quantdesk-oracle schema apply",
        "newer": f"the database's schema is version {found.version} and this program knows {NEEDED_VERSION};"
        " install a newer quantdesk-oracle",
    }[found.generation]


async def _run(connection: Connection, parts: tuple[SqlPart, ...], progress: Progress | None) -> None:
    async with connection.transaction():
        await _execute_all(connection, parts, progress)


async def _execute_all(
    connection: Connection,
    parts: tuple[SqlPart, ...],
    progress: Progress | None,
    note: str = " (nothing was changed)",
) -> None:
    for part in parts:
        if progress is not None:
            progress(part.name)
        try:
            await connection.execute(part.sql)
        except asyncpg.PostgresError as error:
            sentence = str(error).replace("\nDETAIL:  ", "; ").replace("\nHINT:  ", "; ")
            raise SchemaError(f"schema/{part.name}: {sentence}{note}") from error


_CHANGED = "SELECT count(*) FROM public.migration_changes WHERE created_at >= now()"

_MONEY = """
    SELECT table_name, reason, row::text AS row FROM public.migration_rejects
    WHERE table_name IN ('users', 'user_balances') AND created_at >= now() ORDER BY id
"""

_REPORT = "SELECT table_name, before, copied, rejected FROM migration_report ORDER BY table_name"
