"""``quantdesk-oracle backfill``: prints of the past into oracle_prices."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quantdesk_oracle.cli.instants import parse_span
from quantdesk_oracle.cli.options import ConfigFile, EnvFile, StateDir
from quantdesk_oracle.errors import ConfigError

if TYPE_CHECKING:
    from quantdesk_oracle.cli.backfill_run import BackfillRun
    from quantdesk_oracle.config import Market, Settings
    from quantdesk_oracle.workers.backfill import Span

EX_INTERRUPTED = 130


class HistorySource(StrEnum):
    """Where prints of the past can be read."""

    chain = "chain"
    hermes = "hermes"
    benchmarks = "benchmarks"
    file = "file"


def backfill(
    market: Annotated[
        list[str] | None, typer.Option("--market", help="This market; may be repeated.")
    ] = None,
    all_markets: Annotated[bool, typer.Option("--all", help="Every market of the configuration.")] = False,
    start: Annotated[
        str, typer.Option("--from", help="Begin: a date, a time (UTC), or how long ago, such as 6h or 7d.")
    ] = "24h",
    end: Annotated[str, typer.Option("--to", help="End, likewise; the end itself is left out.")] = "now",
    source: Annotated[HistorySource, typer.Option("--source", help="Where to read.")] = HistorySource.chain,
    file: Annotated[
        Path | None, typer.Option("--file", help="With --source file: a .parquet or .csv file of `export`.")
    ] = None,
    keep: Annotated[
        bool,
        typer.Option(
            "--keep", help="Read beyond the retention of oracle_prices too; upkeep drops such rows again."
        ),
    ] = False,
    every: Annotated[
        int,
        typer.Option(
            "--every", min=1, help="With --source hermes: one print in so many seconds; 1: all of them."
        ),
    ] = 1,
    recompute_funding: Annotated[
        bool,
        typer.Option(
            "--recompute-funding",
            help="Read nothing: settle boundaries that have no rate, from the stored samples.",
        ),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read and count; write nothing.")] = False,
    rate: Annotated[
        float | None,
        typer.Option(
            "--rate",
            min=0.1,
            max=1_000_000,
            help="Requests a second; default: half of what the settings allow, of a public node 2.",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="The summary as one JSON object on stdout.")
    ] = False,
    state_dir: StateDir = None,
    config: ConfigFile = None,
    env_file: EnvFile = None,
) -> None:
    """Read prints of the past into oracle_prices; rows that are there are never touched.

    \b
    quantdesk-oracle backfill --all --from 6h
    quantdesk-oracle backfill --market BTC-PERP --from 2026-11-01 --to 2026-11-02 --rate 20

    It may be stopped at any moment, with Ctrl-C or without mercy: the same command goes on where it was, and asks
    for nothing twice that has been committed. It may run beside the daemon: each counts its own requests, and a node
    both of them, so that it takes half of the limits unless --rate says more.

    \b
    quantdesk-oracle backfill --market BTC-PERP --source benchmarks --from 2h

    Hermes and Benchmarks (HERMES_API_KEY) serve a market whose feed is on Hermes; of one on the chain they fill only
    the gaps that its history cannot (unrecoverable).

    \b
    quantdesk-oracle backfill --all --source file --file prices.parquet --from 30d

    A file is what `export` wrote; of it, the markets and the span that are asked for are read, as `import` does.

    Exit codes: 0 read to the end, 65 the file is none, 69 the database or the source cannot be had, 78 the
    configuration is wrong, 130 stopped by Ctrl-C.
    """
    from quantdesk_oracle.config import load_settings
    from quantdesk_oracle.workers.backfill import Span

    if bool(market) == all_markets:
        raise typer.BadParameter("name markets with --market, or all of them with --all")
    span = Span(*parse_span(start, end))
    if (source is HistorySource.file) is (file is None):
        raise typer.BadParameter("--source file wants a --file, and no other source does")
    settings = load_settings(config_file=config, env_file=env_file, state_dir=state_dir)
    chosen = _choose(settings, market)
    _quiet_logs(settings)
    if recompute_funding:
        from quantdesk_oracle.cli.recompute import print_recomputed, recompute

        print_recomputed(asyncio.run(recompute(settings, chosen, span, dry_run=dry_run)), as_json=as_json)
        return
    if file is not None:
        from quantdesk_oracle.cli.export import print_imported

        read = _read_file(settings, file, chosen, span, dry_run=dry_run, keep=keep)
        print_imported(asyncio.run(read), as_json=as_json)
        return
    from quantdesk_oracle.cli.backfill_report import print_summary
    from quantdesk_oracle.cli.backfill_run import BackfillRun

    run = BackfillRun(settings, chosen, span, rate, source=source, every=every, dry_run=dry_run, keep=keep)
    summary, interrupted = asyncio.run(_until_interrupted(run))
    if as_json:
        typer.echo(json.dumps(summary))
    else:
        print_summary(summary)
    if interrupted:
        typer.echo("Stopped; the same command goes on from here.", err=True)
        raise typer.Exit(EX_INTERRUPTED)


def _choose(settings: Settings, symbols: list[str] | None) -> list[Market]:
    known = {market.symbol: market for market in settings.markets}
    unknown = [symbol for symbol in symbols or () if symbol not in known]
    if unknown:
        raise ConfigError(
            [f"{symbol} is no market of the configuration: {', '.join(known)}" for symbol in unknown]
        )
    return [known[symbol] for symbol in symbols] if symbols else list(settings.markets)


def _quiet_logs(settings: Settings) -> None:
    from quantdesk_oracle.ops import logging

    terminal = sys.stderr.isatty()
    level = "error" if terminal else settings.log_level
    logging.setup(json=not terminal, level=level, stream=sys.stderr, secrets=settings.secrets)


async def _until_interrupted(run: BackfillRun) -> tuple[dict[str, Any], bool]:
    """The summary, and whether Ctrl-C or SIGTERM ended it early."""
    task = asyncio.ensure_future(run.work())
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    interrupted = False
    try:
        await task
    except asyncio.CancelledError:
        interrupted = True
    return run.summary, interrupted


async def _read_file(
    settings: Settings, file: Path, markets: list[Market], span: Span, *, dry_run: bool, keep: bool
) -> dict[str, Any]:
    from quantdesk_oracle.cli.backfill_run import check_retention
    from quantdesk_oracle.cli.databases import open_database
    from quantdesk_oracle.cli.export import read_file

    async with open_database(settings) as database:
        if not (keep or dry_run):
            await check_retention(database, span)
        return await read_file(database, settings, file, markets, span, dry_run=dry_run)
