"""The commands. Thin: each imports what it needs when it is called, so that ``--help`` is quick."""

from __future__ import annotations

import logging
import sys
from typing import Annotated

import structlog
import typer

from quantdesk_oracle import __version__
from quantdesk_oracle.cli.backfill import backfill
from quantdesk_oracle.cli.config import app as config_app
from quantdesk_oracle.cli.db import app as db_app
from quantdesk_oracle.cli.decode import decode
from quantdesk_oracle.cli.doctor import doctor
from quantdesk_oracle.cli.events import events, tail
from quantdesk_oracle.cli.export import export, import_
from quantdesk_oracle.cli.funding import app as funding_app
from quantdesk_oracle.cli.gaps import gaps
from quantdesk_oracle.cli.health import health
from quantdesk_oracle.cli.init import init
from quantdesk_oracle.cli.localnet import localnet
from quantdesk_oracle.cli.mark import app as mark_app
from quantdesk_oracle.cli.market import app as market_app
from quantdesk_oracle.cli.publish import publish
from quantdesk_oracle.cli.run import run
from quantdesk_oracle.cli.schema import app as schema_app
from quantdesk_oracle.cli.status import status
from quantdesk_oracle.errors import OracleError

app = typer.Typer(
    name="quantdesk-oracle",
    help=(
        "Pyth prices from Solana into PostgreSQL: oracle prices, mark prices and funding rates.\n\n"
        "Begin with `quantdesk-oracle run --demo`: it needs no database and no network.\n\n"
        "Exit codes: 0 success, 1 failure, 2 wrong usage, 65 bad data, 69 a service is unavailable, "
        "78 bad configuration."
    ),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(run)
app.command()(backfill)
app.command()(gaps)
app.command()(export)
app.command("import")(import_)
app.command()(doctor)
app.command()(init)
app.command()(status)
app.command()(health)
app.command()(tail)
app.command()(events)
app.command()(localnet)
app.command()(publish)
app.command()(decode)
app.add_typer(funding_app, name="funding")
app.add_typer(mark_app, name="mark")
app.add_typer(market_app, name="market")
app.add_typer(schema_app, name="schema")
app.add_typer(config_app, name="config")
app.add_typer(db_app, name="db")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Options of the program itself."""
    # Stdout is a command's answer; `run` sets up a log of its own.
    structlog.configure(
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
    )


def main() -> None:
    """The program: an error raised on purpose is one sentence and its exit code, never a traceback."""
    try:
        app()
    except OracleError as error:
        typer.echo(f"quantdesk-oracle: {error} [{error.code}]", err=True)
        sys.exit(error.exit_code)
