"""What a database holds of the schema: version, mode, tables, what is due. Reads the catalogue only."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

NEEDED_VERSION = 3
"""The version of the schema that this program is written for: the one that its own SQL files make."""

Connection = Any
"""An asyncpg connection, or what a pool hands out."""


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
    serves: bool
    """Whether this program can work with it: current, or newer and made so that programs of this age go on."""
    mode: str
    """plain, timescale or apache: how time series are kept, or would be"""
    server_version: str
    timescale_version: str | None
    tables: tuple[TableStatus, ...]
    due: tuple[str, ...] = ()
    """What upkeep() and refresh_statistics() would do now, a sentence each."""
    notes: tuple[str, ...] = ()
    """What an operator should know of this server: failing background jobs, realtime that cannot see hypertables."""

    @property
    def current(self) -> bool:
        return self.generation == "current"


async def status(connection: Connection) -> SchemaStatus:
    """What is there. Reads the catalogue only."""
    tables = {row["name"]: row for row in await connection.fetch(_TABLES)}
    version, oldest_program = None, None
    if "schema_version" in tables:
        # Through JSON, as versions before the third have no such column.
        found = await connection.fetchrow(_VERSION)
        version, oldest_program = found or (None, None)
    generation = _generation(version, set(tables))
    server = await connection.fetchrow(_SERVER)
    hypertables = {}
    if server["mode"] != "plain":
        rows = await connection.fetch(_HYPERTABLES.format(timescale=server["timescale_schema"]))
        hypertables = {row["name"]: row for row in rows}
    return SchemaStatus(
        present=version is not None,
        version=version,
        needed_version=NEEDED_VERSION,
        generation=generation,
        serves=generation == "current"
        or (generation == "newer" and oldest_program is not None and oldest_program <= NEEDED_VERSION),
        mode=server["mode"],
        server_version=server["server_version"],
        timescale_version=server["timescale_version"],
        tables=tuple(_table(row, hypertables) for row in tables.values()) if version is not None else (),
        due=await _due(connection) if generation == "current" else (),
        notes=await _notes(connection, server["mode"]) if generation == "current" else (),
    )


async def _due(connection: Connection) -> tuple[str, ...]:
    if not await connection.fetchval("SELECT has_function_privilege('public.upkeep_due()', 'EXECUTE')"):
        return ()
    return tuple(f"{row['table_name']}: {row['due']}" for row in await connection.fetch(_DUE))


async def _notes(connection: Connection, mode: str) -> tuple[str, ...]:
    if mode == "plain":
        return ()
    rows = await connection.fetch(_HYPERTABLE_NOTES)
    if mode == "timescale":
        rows += await connection.fetch(_JOB_NOTES)
    return tuple(row["note"] for row in rows)


def _table(row: Any, hypertables: dict[str, Any]) -> TableStatus:
    found = TableStatus(**row)
    hyper = hypertables.get(found.name)
    return (
        found if hyper is None else replace(found, kind="hypertable", size=hyper["size"], rows=hyper["rows"])
    )


def _generation(version: int | None, tables: set[str]) -> str:
    if version is None:
        return "earlier" if tables & {"users", "markets"} else "none"
    if version == NEEDED_VERSION:
        return "current"
    return "older" if version < NEEDED_VERSION else "newer"


_VERSION = """
    SELECT version, (to_jsonb(v) ->> 'oldest_program')::integer AS oldest_program
    FROM public.schema_version AS v ORDER BY version DESC LIMIT 1
"""

_TABLES = """
    SELECT c.relname::text AS name,
           CASE c.relkind WHEN 'p' THEN 'partitioned' ELSE 'table' END AS kind,
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
           (SELECT extnamespace::regnamespace::text FROM pg_extension
            WHERE extname = 'timescaledb') AS timescale_schema,
           CASE WHEN EXISTS (SELECT FROM pg_class WHERE oid = to_regclass('public.oracle_prices') AND relkind = 'p')
                  OR NOT EXISTS (SELECT FROM pg_extension WHERE extname = 'timescaledb') THEN 'plain'
                WHEN current_setting('timescaledb.license', true) = 'timescale' THEN 'timescale'
                ELSE 'apache' END AS mode
"""

_DUE = "SELECT table_name, due FROM public.upkeep_due()"

_HYPERTABLE_NOTES = """
    SELECT 'realtime: changes of hypertables (oracle_prices, mark_prices) are made in their chunks, which the'
           ' publication supabase_realtime does not hold: poll the latest_… views instead' AS note
    FROM pg_publication WHERE pubname = 'supabase_realtime'
"""

_JOB_NOTES = """
    SELECT format('TimescaleDB marks its job %s (%s) as failed: %s of %s runs; look into its log, the schema does not'
                  ' depend on it', job_id, proc_name, total_failures, total_runs) AS note
    FROM timescaledb_information.job_stats JOIN timescaledb_information.jobs USING (job_id)
    WHERE last_run_status = 'Failed'
"""

_HYPERTABLES = """
    SELECT hypertable_name::text AS name, {timescale}.hypertable_size(root) AS size,
           {timescale}.approximate_row_count(root) AS rows
    FROM timescaledb_information.hypertables
    CROSS JOIN LATERAL to_regclass(format('%I.%I', hypertable_schema, hypertable_name)) AS root
    WHERE hypertable_schema = 'public'
"""
