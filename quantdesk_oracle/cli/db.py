"""``quantdesk-oracle db``: the embedded database of a state directory."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from quantdesk_oracle.cli.options import StateDir

if TYPE_CHECKING:
    from pathlib import Path

    from quantdesk_oracle.store.embedded import EmbeddedServer

app = typer.Typer(
    no_args_is_help=True,
    help="The embedded PostgreSQL that `run --demo` and DATABASE_URL=embedded use. It goes on running after the "
    "daemon ends, until `db stop`, so that anyone can look at the rows.",
)


@app.command()
def url(state_dir: StateDir = None) -> None:
    """Print the database's URL, for any PostgreSQL client; starts it when needed."""
    typer.echo(_server(state_dir).start())


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def psql(
    context: typer.Context,
    state_dir: StateDir = None,
    commands: Annotated[
        list[str] | None,
        typer.Option("--command", "-c", help="Run this command and end; may be given again."),
    ] = None,
) -> None:
    """Open psql on the database, starting it when needed. Further arguments go to psql.

    quantdesk-oracle db psql -c "SELECT * FROM latest_mark_prices"
    """
    server = _server(state_dir)
    dsn = server.start()
    program = server.program("psql")
    arguments = [*context.args, *(part for command in commands or [] for part in ("-c", command))]
    os.execv(program, [str(program), dsn, *arguments])  # noqa: S606 (its arguments are the user's own)


@app.command()
def stop(state_dir: StateDir = None) -> None:
    """Stop the database. Its rows stay."""
    typer.echo("stopped" if _server(state_dir).stop() else "it was not running")


def _server(state_dir: Path | None) -> EmbeddedServer:
    from quantdesk_oracle.config.load import default_state_dir
    from quantdesk_oracle.store.embedded import EmbeddedServer

    return EmbeddedServer(state_dir or default_state_dir())
