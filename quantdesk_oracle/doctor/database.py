"""The database: reachable, TLS, a pooler between, version, schema, rights, jobs, and its clock."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import asyncpg

from quantdesk_oracle.config import redact_dsn
from quantdesk_oracle.doctor.findings import Finding, fail, ok, skip, warn
from quantdesk_oracle.model import SECOND
from quantdesk_oracle.store import schema

if TYPE_CHECKING:
    from quantdesk_oracle.clock import Clock

SUBJECT = "database"
PATIENCE = 10.0
OLDEST = 15
_LOCAL = ("127.0.0.1", "::1", "localhost", "")
_NEEDED_RIGHTS = (
    ("markets", "SELECT"),
    ("oracle_prices", "SELECT"),
    ("oracle_prices", "INSERT"),
    ("mark_prices", "SELECT"),
    ("mark_prices", "INSERT"),
    ("premium_samples", "SELECT"),
    ("premium_samples", "INSERT"),
    ("funding_rates", "SELECT"),
    ("funding_rates", "INSERT"),
    ("system_events", "INSERT"),
)
_TROUBLE = (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError, ValueError)


async def examine_database(dsn: str, clock: Clock, tolerance: int) -> list[Finding]:
    """Connect as the daemon would and look. ``tolerance``: µs by which the clocks may differ."""
    name = redact_dsn(dsn)
    try:
        async with _connection(dsn) as connection:
            findings = [ok("database.reachable", SUBJECT, f"{name} answers.")]
            findings.append(await _version(connection))
            findings.append(await _tls(connection))
            findings.append(await _pooler(connection, dsn))
            findings.append(await _clock(connection, clock, tolerance))
            findings += await _schema(connection)
            return findings
    except _TROUBLE as error:
        return [_refused(name, error)]


@asynccontextmanager
async def _connection(dsn: str) -> AsyncIterator[Any]:
    # No statement cache: a pooler in transaction mode would refuse its prepared statements.
    connection = await asyncpg.connect(
        dsn, timeout=PATIENCE, command_timeout=PATIENCE, statement_cache_size=0
    )
    try:
        yield connection
    finally:
        await connection.close()


def _refused(name: str, error: Exception) -> Finding:
    code, said, cure = _cause(error)
    return fail(code, SUBJECT, f"{name}: {said}.", cure)


def _cause(error: Exception) -> tuple[str, str, str]:
    """(code, what is wrong, cure). The driver's own text may repeat the URL, so only PostgreSQL's is told."""
    if isinstance(error, asyncpg.InvalidPasswordError | asyncpg.InvalidAuthorizationSpecificationError):
        return "database.refused", f"refuses this user ({error})", "Check user and password in DATABASE_URL."
    if isinstance(error, asyncpg.InvalidCatalogNameError):
        return "database.missing", str(error), "Create it, or correct the name at the end of DATABASE_URL."
    if isinstance(error, asyncpg.TooManyConnectionsError):
        return "database.full", str(error), "Close connections, raise max_connections, or use a pooler."
    if isinstance(error, asyncpg.InsufficientPrivilegeError):
        return "database.rights", str(error), "Grant this user the role quantdesk_oracle."
    if isinstance(error, ssl.SSLCertVerificationError):
        cure = "Give the server's authority with sslrootcert=…, or correct the host name."
        return "database.tls", f"its certificate cannot be verified ({error.verify_message})", cure
    if isinstance(error, ssl.SSLError) or "SSL" in str(error):
        cure = "Turn TLS on at the server, or write sslmode=prefer at the end of DATABASE_URL where the way is safe."
        return "database.tls", "the server refuses TLS, and DATABASE_URL insists on it", cure
    if isinstance(error, asyncpg.PostgresError):
        return "database.error", str(error), "See the server's log."
    if isinstance(error, ValueError | asyncpg.InterfaceError):
        cure = "Write it as postgresql://user:password@host:5432/name, special characters as percent codes."
        return "database.url", f"DATABASE_URL cannot be used ({type(error).__name__})", cure
    cure = "Check host and port in DATABASE_URL, that the server runs, and the network between."
    return "database.unreachable", f"no connection ({type(error).__name__})", cure


async def _version(connection: Any) -> Finding:
    number = connection.get_server_version().major
    if number < OLDEST:
        cure = f"Upgrade it to {OLDEST} or newer."
        return fail("database.version", SUBJECT, f"is PostgreSQL {number}, which is too old.", cure)
    return ok(
        "database.version", SUBJECT, f"is PostgreSQL {await connection.fetchval('SHOW server_version')}."
    )


async def _tls(connection: Any) -> Finding:
    encrypted = await connection.fetchval("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
    address = await connection.fetchval("SELECT host(inet_client_addr())")
    local = address is None or address in _LOCAL
    if not encrypted and not local:
        cure = "Write sslmode=require, better verify-full, at the end of DATABASE_URL."
        return warn("database.no_tls", SUBJECT, f"the connection from {address} is not encrypted.", cure)
    return ok(
        "database.tls_in_use", SUBJECT, "the connection is encrypted." if encrypted else "the way is local."
    )


async def _pooler(connection: Any, dsn: str) -> Finding:
    """A pooler hands out a key of its own: the process that it names is not the one that answers."""
    announced = connection.get_server_pid()
    first = await connection.fetchval("SELECT pg_backend_pid()")
    if announced == first:
        return ok("database.direct", SUBJECT, "the connection is direct, without a pooler.")
    async with _connection(dsn) as other:
        shared = await other.fetchval("SELECT pg_backend_pid()") == first
    if not shared:
        return ok("database.pooler", SUBJECT, "a pooler in session mode lies between.")
    return warn(
        "database.transaction_pooler",
        SUBJECT,
        "a pooler in transaction mode lies between: prepared statements, session locks and LISTEN do not work.",
        "Prefer the direct connection or session mode (Supabase: port 5432 instead of 6543).",
    )


async def _clock(connection: Any, clock: Clock, tolerance: int) -> Finding:
    before = clock.now()
    theirs = await connection.fetchval("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint")
    after = clock.now()
    difference = (max(before - theirs, 0) + min(after - theirs, 0)) / SECOND
    if abs(difference) * SECOND > tolerance:
        return fail(
            "clock.skewed",
            "clock",
            f"this machine's clock is {abs(difference):.1f} s {'ahead of' if difference > 0 else 'behind'} the "
            "database's: no marks and no funding are written.",
            "Set both clocks by NTP (timedatectl set-ntp true); compare each with a third.",
            difference_seconds=difference,
        )
    said = f"this machine's and the database's agree within {max(abs(difference), 0.001):.3f} s."
    return ok("clock.agrees", "clock", said, difference_seconds=difference)


async def _schema(connection: Any) -> list[Finding]:
    found = await schema.status(connection)
    figures = {"version": found.version, "needed": found.needed_version, "mode": found.mode}
    if found.generation == "none":
        return [await _no_schema(connection)]
    if not found.serves:
        said, cures = {
            "earlier": ("holds an earlier generation of the schema", "quantdesk-oracle schema migrate"),
            "older": (f"has version {found.version} of the schema", "quantdesk-oracle schema apply"),
            "newer": (f"has version {found.version} of the schema", "install a newer quantdesk-oracle"),
        }[found.generation]
        needed = f"{said}; this program needs version {found.needed_version}."
        return [fail("database.schema", SUBJECT, needed, f"Bring it up with: {cures}", **figures)]
    newer = "" if found.current else f", which serves programs of version {found.needed_version}, too"
    said = f"has the schema, version {found.version}{newer}; time series: {found.mode}."
    return [
        ok("database.schema", SUBJECT, said, **figures),
        await _rights(connection),
        await _jobs(connection),
    ]


async def _no_schema(connection: Any) -> Finding:
    may = await connection.fetchval(
        "SELECT has_schema_privilege('public', 'CREATE') AND has_database_privilege(current_database(), 'CREATE')"
    )
    if may:
        cure = (
            "Nothing to do: the first `quantdesk-oracle run` makes it; or now: quantdesk-oracle schema apply"
        )
        return warn(
            "database.no_schema", SUBJECT, "has no QuantDesk schema, and this user may make it.", cure
        )
    cure = "As a user that may (SCHEMA_DATABASE_URL): quantdesk-oracle schema apply"
    return fail(
        "database.no_schema", SUBJECT, "has no QuantDesk schema, and this user may not make it.", cure
    )


async def _rights(connection: Any) -> Finding:
    rows = await connection.fetch(
        "SELECT name, privilege FROM unnest($1::text[], $2::text[]) AS needed (name, privilege)"
        " WHERE NOT has_table_privilege('public.' || name, privilege)",
        [table for table, _ in _NEEDED_RIGHTS],
        [privilege for _, privilege in _NEEDED_RIGHTS],
    )
    if not rows:
        return ok("database.rights", SUBJECT, "this user may read and write what the daemon needs.")
    lacking = ", ".join(f"{row['privilege']} on {row['name']}" for row in rows)
    user = await connection.fetchval("SELECT quote_ident(current_user)")
    return fail(
        "database.rights",
        SUBJECT,
        f"this user lacks {lacking}.",
        f"As an owner: GRANT quantdesk_oracle TO {user};",
    )


async def _jobs(connection: Any) -> Finding:
    if not await connection.fetchval("SELECT to_regclass('timescaledb_information.job_stats') IS NOT NULL"):
        return skip("database.jobs", SUBJECT, "no TimescaleDB here; the daemon does the upkeep itself.")
    failed = await connection.fetch(
        "SELECT job_id::text FROM timescaledb_information.job_stats WHERE last_run_status = 'Failed' ORDER BY 1"
    )
    if failed:
        names = ", ".join(row["job_id"] for row in failed)
        cure = "See timescaledb_information.job_errors. Nothing breaks: prices are stored all the same."
        return warn("database.jobs", SUBJECT, f"TimescaleDB says that its jobs {names} failed.", cure)
    return ok("database.jobs", SUBJECT, "TimescaleDB's jobs are well.")
