"""``quantdesk-oracle schema``: make, look at and check the database's schema."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from quantdesk_oracle.errors import ConfigError, DatabaseError, OracleError

if TYPE_CHECKING:
    from quantdesk_oracle.store.schema import SchemaStatus

app = typer.Typer(
    no_args_is_help=True,
    help="Make, look at and check the schema of the database.\n\n"
    "The database is --database-url, else SCHEMA_DATABASE_URL, else DATABASE_URL. Making a schema wants a role that"
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
def apply_command(database_url: Url = None, as_json: AsJson = False) -> None:
    """Make the schema on an empty database. Run again, it changes nothing.

    The same as: psql "$DATABASE_URL" -f schema/production-schema.sql
    """
    from quantdesk_oracle.store import schema

    _report(_with_connection(database_url, lambda c: schema.apply(c, progress=_say)), as_json)


@app.command("status")
def status_command(database_url: Url = None, as_json: AsJson = False) -> None:
    """Show what the database holds: mode, version, tables, sizes. Exit 78 when the schema is missing or old."""
    from quantdesk_oracle.store import schema

    found = _with_connection(database_url, schema.status)
    _report(found, as_json)
    if not found.current:
        raise typer.Exit(78)


def _dsn(option: str | None) -> str:
    """The database that makes or changes the schema: its role may be another than the daemon's."""
    for url in (option, os.environ.get("SCHEMA_DATABASE_URL"), os.environ.get("DATABASE_URL")):
        if url:
            return url
    raise ConfigError(
        ["DATABASE_URL is not set: name the database, as in postgresql://user:password@host/name"]
    )


def _with_connection(database_url: str | None, action: Callable[[Any], Awaitable[T]]) -> T:
    try:
        return asyncio.run(_connected(_dsn(database_url), action))
    except OracleError as error:
        typer.echo(f"quantdesk-oracle schema: {error}", err=True)
        raise typer.Exit(error.exit_code) from error


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
