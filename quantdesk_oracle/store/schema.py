"""The schema of the database: make it, look at it, insist on it.

Everything is in ``schema/*.sql``; here it is only run, in one transaction, as ``psql -f`` would.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import asyncpg

from quantdesk_oracle.errors import SchemaError
from quantdesk_oracle.store.sql import PRODUCTION, SqlPart, parts_of

NEEDED_VERSION = 2
"""The version of the schema that this program is written for: the one that its own SQL files make."""

Connection = Any
"""An asyncpg connection, or what a pool hands out."""

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class TableStatus:
    """One table: its size with indexes and partitions in bytes, and the planner's estimate of its rows."""

    name: str
    kind: str
    """table, partitioned or hypertable"""
    size: int
    rows: int
    partitions: int
    """Partitions or chunks; 0 for a plain table."""


@dataclass(frozen=True, slots=True)
class SchemaStatus:
    """What the database holds. ``version`` is None where the schema is absent or of an earlier generation."""

    present: bool
    version: int | None
    needed_version: int
    generation: str
    """none, earlier (tables of a schema from before this one), older, current or newer"""
    mode: str
    """plain, timescale or apache: how time series are kept, or would be"""
    server_version: str
    timescale_version: str | None
    tables: tuple[TableStatus, ...]

    @property
    def current(self) -> bool:
        return self.generation == "current"


async def apply(connection: Connection, *, progress: Progress | None = None) -> SchemaStatus:
    """Make the schema on an empty database; on one that has it already, change nothing.

    One transaction under an advisory lock: it stands completely, or not at all.
    Raises SchemaError on a database of an earlier generation, and where the role may not do it.
    """
    await _run(connection, parts_of(PRODUCTION), progress)
    return await status(connection)


async def check(connection: Connection) -> SchemaStatus:
    """The status of a schema that this program can work with; SchemaError, with the command to type, otherwise."""
    found = await status(connection)
    if problem := _problem(found):
        raise SchemaError(problem)
    return found


async def status(connection: Connection) -> SchemaStatus:
    """What is there. Reads the catalogue only."""
    tables = {row["name"]: row for row in await connection.fetch(_TABLES)}
    version = None
    if "schema_version" in tables:
        version = await connection.fetchval("SELECT max(version) FROM public.schema_version")
    generation = _generation(version, set(tables))
    server = await connection.fetchrow(_SERVER)
    return SchemaStatus(
        present=version is not None,
        version=version,
        needed_version=NEEDED_VERSION,
        generation=generation,
        mode=server["mode"],
        server_version=server["server_version"],
        timescale_version=server["timescale_version"],
        tables=tuple(TableStatus(**row) for row in tables.values()) if version is not None else (),
    )


def _generation(version: int | None, tables: set[str]) -> str:
    if version is None:
        return "earlier" if tables & {"users", "markets"} else "none"
    if version == NEEDED_VERSION:
        return "current"
    return "older" if version < NEEDED_VERSION else "newer"


def _problem(found: SchemaStatus) -> str | None:
    return {
        "current": None,
        "none": "the database has no QuantDesk schema; make it with: quantdesk-oracle schema apply",
        "earlier": "the database holds an earlier generation of the QuantDesk schema;"
        " bring it up with: quantdesk-oracle schema migrate",
        "older": f"the database's schema is version {found.version} and this program needs {NEEDED_VERSION};"
        " bring it up with: quantdesk-oracle schema migrate",
        "newer": f"the database's schema is version {found.version} and this program knows {NEEDED_VERSION};"
        " install a newer quantdesk-oracle",
    }[found.generation]


async def _run(connection: Connection, parts: tuple[SqlPart, ...], progress: Progress | None) -> None:
    async with connection.transaction():
        for part in parts:
            if progress is not None:
                progress(part.name)
            await _execute(connection, part)


async def _execute(connection: Connection, part: SqlPart) -> None:
    try:
        await connection.execute(part.sql)
    except asyncpg.PostgresError as error:
        hint = f"; {error.hint}" if getattr(error, "hint", None) else ""
        raise SchemaError(f"schema/{part.name}: {error}{hint} (nothing was changed)") from error


_TABLES = """
    SELECT c.relname::text AS name,
           CASE WHEN c.relkind = 'p' THEN 'partitioned'
                WHEN EXISTS (SELECT FROM pg_trigger WHERE tgrelid = c.oid AND tgname = 'ts_insert_blocker')
                  OR EXISTS (SELECT FROM pg_inherits AS i JOIN pg_class AS k ON k.oid = i.inhrelid
                             WHERE i.inhparent = c.oid AND k.relnamespace <> c.relnamespace) THEN 'hypertable'
                ELSE 'table' END AS kind,
           (pg_total_relation_size(c.oid) + coalesce(sum(pg_total_relation_size(leaf.oid)), 0))::bigint AS size,
           (CASE c.relkind WHEN 'r' THEN greatest(c.reltuples, 0) ELSE 0 END
                + coalesce(sum(greatest(leaf.reltuples, 0)), 0))::bigint AS rows,
           count(leaf.oid)::int AS partitions
    FROM pg_class AS c
    LEFT JOIN pg_inherits AS i ON i.inhparent = c.oid
    LEFT JOIN pg_class AS leaf ON leaf.oid = i.inhrelid
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
    GROUP BY c.oid, c.relname, c.relkind, c.reltuples
    ORDER BY c.relname
"""

_SERVER = """
    SELECT current_setting('server_version') AS server_version,
           (SELECT extversion FROM pg_extension WHERE extname = 'timescaledb') AS timescale_version,
           CASE WHEN EXISTS (SELECT FROM pg_class WHERE oid = to_regclass('public.oracle_prices') AND relkind = 'p')
                  OR NOT EXISTS (SELECT FROM pg_extension WHERE extname = 'timescaledb') THEN 'plain'
                WHEN current_setting('timescaledb.license', true) = 'timescale' THEN 'timescale'
                ELSE 'apache' END AS mode
"""
