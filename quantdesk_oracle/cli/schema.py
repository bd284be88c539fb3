"""``quantdesk-oracle schema``: make, look at and check the database's schema."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from quantdesk_oracle.cli.options import EnvFile
from quantdesk_oracle.errors import ConfigError, DatabaseError

if TYPE_CHECKING:
    from pathlib import Path

    from quantdesk_oracle.store.schema import Migration, SchemaStatus

app = typer.Typer(
    no_args_is_help=True,
    help="Make, look at and check the schema of the database.\n\n"
    "The database is --database-url, else SCHEMA_DATABASE_URL, else DATABASE_URL, of the environment or"
    " of --env-file. Making a schema wants a role that"
    " may create tables and roles; the daemon itself needs far less."
    " Exit codes: 0 done, 1 failure, 2 usage, 69 the database does not answer, 78 the schema or a setting is wrong.",
)

T = TypeVar("T")
Url = Annotated[
    str | None,
    typer.Option("--database-url", help="PostgreSQL URL; default: SCHEMA_DATABASE_URL, then DATABASE_URL."),
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]


@app.command("apply")
def apply_command(database_url: Url = None, env_file: EnvFile = None, as_json: AsJson = False) -> None:
    """Make the schema on an empty database. Run again, it changes nothing.

    The same as: psql "$DATABASE_URL" -f schema/production-schema.sql
    """
    from quantdesk_oracle.store import schema

    _report(_with_connection(_dsn(database_url, env_file), lambda c: schema.apply(c, progress=_say)), as_json)


@app.command("migrate")
def migrate_command(
    database_url: Url = None,
    env_file: EnvFile = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Do all of it, show what it did, roll it back. Takes the same locks."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Bring a database of an earlier generation to this schema, keeping every row. Run again, it changes nothing.

    Stop what writes first, and have as much free disk as the database is large. One transaction: a failure
    leaves everything as it was. The same as: psql "$DATABASE_URL" -f schema/migration-to-production.sql
    """
    from quantdesk_oracle.store import schema

    done = _with_connection(
        _dsn(database_url, env_file), lambda c: schema.migrate(c, dry_run=dry_run, progress=_say)
    )
    _report_migration(done, as_json)


@app.command("verify")
def verify_command(database_url: Url = None, env_file: EnvFile = None) -> None:
    """Check a live database: numbers, roles, plans, the whole catalogue. Exit 78 at the first thing that is wrong.

    As the owner of the schema; leaves nothing behind. The same as:
    psql "$DATABASE_URL" -v ON_ERROR_STOP=1 -f schema/test-schema.sql
    """
    from quantdesk_oracle.store import schema

    _with_connection(_dsn(database_url, env_file), lambda c: schema.verify(c, progress=_say))
    typer.echo("the schema is as it should be")


@app.command("status")
def status_command(database_url: Url = None, env_file: EnvFile = None, as_json: AsJson = False) -> None:
    """Show what the database holds: mode, version, tables, sizes. Exit 78 when this program cannot work with it."""
    from quantdesk_oracle.store import schema

    found = _with_connection(_dsn(database_url, env_file), schema.status)
    _report(found, as_json)
    if not found.serves:
        raise typer.Exit(78)


def _dsn(option: str | None, env_file: Path | None) -> str:
    """The database that makes or changes the schema: its role may be another than the daemon's."""
    from quantdesk_oracle.config.load import read_environment

    environment = read_environment(env_file)
    for url in (option, environment.SCHEMA_DATABASE_URL, environment.DATABASE_URL):
        if url:
            return _embedded() if url == "embedded" else url
    raise ConfigError(
        ["DATABASE_URL is not set: name the database, as in postgresql://user:password@host/name"]
    )


def _embedded() -> str:
    """The database of the default state directory, started when needed."""
    from quantdesk_oracle.config.load import default_state_dir
    from quantdesk_oracle.store.embedded import EmbeddedServer

    return EmbeddedServer(default_state_dir()).start()


def _with_connection(dsn: str, action: Callable[[Any], Awaitable[T]]) -> T:
    return asyncio.run(_connected(dsn, action))


async def _connected(dsn: str, action: Callable[[Any], Awaitable[T]]) -> T:
    import asyncpg

    try:
        connection = await asyncpg.connect(dsn, timeout=10)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, ValueError) as error:
        # Only the kind of the error: its text may repeat the URL, password included.
        raise DatabaseError(f"cannot connect to the database ({_kind(error)}); check DATABASE_URL") from error
    try:
        return await action(connection)
    finally:
        await connection.close()


def _kind(error: Exception) -> str:
    import asyncpg

    return str(error) if isinstance(error, asyncpg.PostgresError) else type(error).__name__


def _say(part: str) -> None:
    typer.echo(f"  {part}", err=True)


def _report(found: SchemaStatus, as_json: bool) -> None:
    if as_json:
        json.dump(asdict(found), sys.stdout)
        sys.stdout.write("\n")
        return
    timescale = f", TimescaleDB {found.timescale_version}" if found.timescale_version else ""
    typer.echo(f"PostgreSQL {found.server_version}{timescale}; time series: {found.mode}")
    typer.echo(f"schema: {found.generation}, version {found.version or '-'} (needed: {found.needed_version})")
    for table in found.tables:
        parts = f", {table.partitions} partitions" if table.partitions else ""
        typer.echo(f"  {table.name:<24}{table.size / 1024:>12,.0f} KiB  ~{table.rows} rows{parts}")
    for due in found.due:
        typer.echo(f"due: {due}")
    for note in found.notes:
        typer.echo(f"note: {note}")


def _report_migration(done: Migration, as_json: bool) -> None:
    if as_json:
        json.dump(asdict(done), sys.stdout)
        sys.stdout.write("\n")
        return
    if not done.tables:
        typer.echo(f"nothing to migrate (the schema was: {done.from_generation})")
    for table in done.tables:
        aside = f", {table.rejected} put aside in migration_rejects" if table.rejected else ""
        typer.echo(f"  {table.table:<24}{table.before:>12} rows, {table.copied} taken over{aside}")
    if done.changes:
        typer.echo(f"{done.changes} values were changed so that their rows could stay: see migration_changes")
    for sentence in done.money:
        typer.echo(f"put aside, look at it: {sentence}")
    if done.dry_run:
        typer.echo("dry run: all of it was rolled back")
