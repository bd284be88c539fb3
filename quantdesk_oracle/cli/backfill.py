"""``quantdesk-oracle backfill``: prints of the past into oracle_prices."""

from __future__ import annotations

import asyncio
import json
import math
import signal
import sys
import time
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quantdesk_oracle.cli.instants import parse_instant
from quantdesk_oracle.cli.options import ConfigFile, EnvFile, StateDir
from quantdesk_oracle.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from quantdesk_oracle.config import Feed, Market, Settings
    from quantdesk_oracle.store.database import Database
    from quantdesk_oracle.workers.backfill import FeedReport, Span
    from quantdesk_oracle.workers.history_reader import HistoryReader
    from quantdesk_oracle.workers.recompute import Recomputed

SECOND = 1_000_000
EX_INTERRUPTED = 130
LOG_SECONDS = 10.0
"""The time between two lines of a feed's progress, where there is no terminal."""


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
    now = time.time_ns() // 1_000
    span = Span(parse_instant(start, now), parse_instant(end, now))
    if span.start >= span.end:
        raise typer.BadParameter(f"--from {start} is not before --to {end}")
    if (source is HistorySource.file) is (file is None):
        raise typer.BadParameter("--source file wants a --file, and no other source does")
    settings = load_settings(config_file=config, env_file=env_file, state_dir=state_dir)
    chosen = _choose(settings, market)
    _quiet_logs(settings)
    if recompute_funding:
        _print_recomputed(asyncio.run(_recompute(settings, chosen, span, dry_run=dry_run)), as_json=as_json)
        return
    if file is not None:
        from quantdesk_oracle.cli.export import print_imported

        read = _read_file(settings, file, chosen, span, dry_run=dry_run, keep=keep)
        print_imported(asyncio.run(read), as_json=as_json)
        return
    run = _Run(settings, chosen, span, rate, source=source, every=every, dry_run=dry_run, keep=keep)
    summary, interrupted = asyncio.run(_until_interrupted(run))
    if as_json:
        typer.echo(json.dumps(summary))
    else:
        _print_summary(summary)
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


async def _until_interrupted(run: _Run) -> tuple[dict[str, Any], bool]:
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


async def _recompute(
    settings: Settings, markets: list[Market], span: Span, *, dry_run: bool
) -> list[Recomputed]:
    from quantdesk_oracle.store.markets import read_markets, read_parameters
    from quantdesk_oracle.store.series import database_clock
    from quantdesk_oracle.workers.recompute import Recomputed, settle_missing
    from quantdesk_oracle.workers.state import MarketState

    done = []
    async with open_database(settings) as database:
        rows, now = (
            await read_markets(database, [one.symbol for one in markets]),
            await database_clock(database),
        )
        for market in markets:
            row = rows.get(market.symbol)
            if row is None:
                done.append(Recomputed(market.symbol, note="it has never been observed"))
                continue
            async with database.connection("cannot read the funding parameters") as connection:
                state = MarketState(market, row, await read_parameters(connection, row.id))
            done.append(
                await settle_missing(
                    database,
                    state,
                    *span,
                    now=now,
                    settle_delay=settings.settle_delay,
                    late_after=settings.late_after,
                    dry_run=dry_run,
                )
            )
    return done


async def _read_file(
    settings: Settings, file: Path, markets: list[Market], span: Span, *, dry_run: bool, keep: bool
) -> dict[str, Any]:
    from quantdesk_oracle.cli.export import read_file

    async with open_database(settings) as database:
        if not (keep or dry_run):
            await _check_retention(database, span)
        return await read_file(database, settings, file, markets, span, dry_run=dry_run)


async def _check_retention(database: Database, span: Span) -> None:
    """Raises ConfigError for a span that upkeep would drop again."""
    from quantdesk_oracle.store.database import query

    async with database.connection("cannot read the retention") as connection:
        retention = await connection.fetchval(query("retention"))
    if retention is None:
        return
    oldest = datetime.now(UTC) - retention
    if span.start < oldest.timestamp() * SECOND:
        kept = f"the span begins before {oldest:%Y-%m-%d %H:%M}: oracle_prices keeps {retention.days} days"
        cure = "begin later, prolong the retention in time_series, or read it all the same with --keep"
        raise ConfigError([f"{kept}, and upkeep would drop what is read; {cure}"])


def _print_recomputed(done: list[Recomputed], *, as_json: bool) -> None:
    if as_json:
        markets = [
            {
                "market": one.market,
                "settled": dict(one.settled),
                "already_there": one.already_there,
                "note": one.note,
            }
            for one in done
        ]
        typer.echo(json.dumps({"markets": markets}))
        return
    for one in done:
        counts = ", ".join(f"{count} {status}" for status, count in one.settled.items()) or "nothing missing"
        typer.echo(
            f"{one.market}: {counts}, {one.already_there} already there"
            + (f"; {one.note}" if one.note else "")
        )


class _Run:
    """The command's work, and a summary that can be asked for at any moment."""

    def __init__(
        self,
        settings: Settings,
        markets: list[Market],
        span: Span,
        rate: float | None,
        *,
        source: HistorySource,
        every: int,
        dry_run: bool,
        keep: bool,
    ) -> None:
        self.summary: dict[str, Any] = {}
        self._settings = _at_rate(settings, rate)
        self._source = source
        self._every = every
        self._keep = keep
        self._markets = markets
        self._span = span
        self._dry_run = dry_run
        self._reports: dict[str, FeedReport] = {}

    async def work(self) -> None:
        from quantdesk_oracle.store.markets import ensure_markets, read_markets
        from quantdesk_oracle.workers.backfill import Backfill

        async with open_database(self._settings) as database, AsyncExitStack() as stack:
            if not (self._keep or self._dry_run):
                await _check_retention(database, self._span)
            await ensure_markets(database, self._markets, self._settings.program_id)
            rows = await read_markets(database, [market.symbol for market in self._markets])
            ids = {symbol: row.id for symbol, row in rows.items()}
            reader, client = await self._reader(database, ids)
            stack.push_async_callback(client.close)
            wanted = [(market, feed) for market in self._markets for feed in self._feeds(market)]
            with _Bar(wanted) as bar:

                def on_progress(report: FeedReport) -> None:
                    self._reports[report.feed] = report
                    self._summarise(client, reader)
                    bar.show(report)

                backfill = Backfill(reader, database, ids, dry_run=self._dry_run, on_progress=on_progress)
                await backfill.run(wanted, self._span)
            self._summarise(client, reader)

    def _feeds(self, market: Market) -> list[Feed]:
        """What is read of a market: its accounts; or its feed, where the source is none of the chain."""
        from quantdesk_oracle.config import Feed
        from quantdesk_oracle.model import Source

        if self._source is HistorySource.chain or market.on_hermes:
            return list(market.feeds)
        name = market.feed_id.hex() if market.feed_id else market.feeds[0].pubkey
        return [Feed(market.symbol, name, None, market.feed_id, source=Source(self._source.value))]

    async def _reader(self, database: Database, ids: Any) -> tuple[HistoryReader, Any]:
        """A reader of the source, and the client that it asks."""
        from quantdesk_oracle.clock import SystemClock
        from quantdesk_oracle.ops.metrics import Metrics
        from quantdesk_oracle.retry import Patience
        from quantdesk_oracle.sources.hermes import HermesHosts, benchmarks_client, hermes_clients
        from quantdesk_oracle.sources.hermes_history import BenchmarksPages, HermesPages
        from quantdesk_oracle.sources.rpc import RpcClient
        from quantdesk_oracle.workers.history_reader import FINAL, HistoryReader, chain_reader

        clock, node, hermes = SystemClock(), self._settings.node, self._settings.hermes
        if self._source is HistorySource.chain:
            names = [endpoint.name for endpoint in node.endpoints]
            client = RpcClient(node, Metrics([], [], names, ""), clock)
            await client.verify_cluster()
            return chain_reader(client, database, ids, clock, dry_run=self._dry_run), client
        patience = Patience(clock, FINAL)
        if self._source is HistorySource.benchmarks:
            asked: Any = benchmarks_client(hermes, clock)
            pages: Any = BenchmarksPages(asked, patience)
        else:
            asked = HermesHosts(hermes_clients(hermes, clock))
            pages = HermesPages(asked, patience, every=self._every)
        reader = HistoryReader(pages, patience, database, ids, clock, dry_run=self._dry_run)
        return reader, asked

    def _summarise(self, client: Any, reader: Any) -> None:
        feeds = [_feed_summary(report) for report in self._reports.values()]
        totals = {
            key: sum(feed[key] for feed in feeds) for key in ("found", "inserted", "already_there", "missing")
        }
        rejected: dict[str, int] = {}
        for feed in feeds:
            for reason, count in feed["rejected"].items():
                rejected[reason] = rejected.get(reason, 0) + count
        self.summary = {
            **totals,
            "rejected": rejected,
            "requests": client.requests,
            "retries": reader.retries,
            "dry_run": self._dry_run,
            "from": _iso(self._span.start),
            "to": _iso(self._span.end),
            "feeds": feeds,
        }


def _feed_summary(report: FeedReport) -> dict[str, Any]:
    tally = report.tally
    return {
        "market": report.market,
        "feed": report.feed,
        "account": report.account,
        "found": tally.found,
        "inserted": tally.inserted,
        "already_there": tally.known,
        "missing": tally.missing,
        "rejected": {reason.value: count for reason, count in sorted(tally.rejected.items())},
        "complete": report.share >= 1.0,
        "note": report.note,
    }


def _at_rate(settings: Settings, rate: float | None) -> Settings:
    """The settings with every endpoint's budget such that ``rate`` requests a second are sent; None: half of it."""
    if rate is None:
        endpoints = tuple(
            replace(one, method_requests=_half(one.method_requests), requests=_half(one.requests))
            for one in settings.node.endpoints
        )
        hermes = replace(settings.hermes, requests=_half(settings.hermes.requests))
    else:
        method = max(1, math.floor(rate * 10))
        endpoints = tuple(
            replace(one, method_requests=method, requests=method * 2) for one in settings.node.endpoints
        )
        # History is read with seven tenths of what a host takes.
        hermes = replace(settings.hermes, requests=max(2, math.ceil(rate * 10 / 0.7)))
    return replace(settings, node=replace(settings.node, endpoints=endpoints), hermes=hermes)


def _half(requests: int) -> int:
    return max(1, requests // 2)


@asynccontextmanager
async def open_database(settings: Settings) -> AsyncIterator[Database]:
    """The settings' database, the embedded one started where it is meant. Raises DatabaseError, SchemaError."""
    from quantdesk_oracle.store import schema
    from quantdesk_oracle.store.database import Database
    from quantdesk_oracle.store.embedded import EmbeddedServer

    dsn = settings.database.url.get_secret_value()
    if settings.embedded:
        dsn = await asyncio.to_thread(EmbeddedServer(settings.state_dir).start)
    database = Database(dsn, pool_size=2, command_timeout=settings.database.command_timeout)
    await database.open()
    try:
        async with database.connection("cannot read the schema") as connection:
            await schema.check(connection)
        yield database
    finally:
        await database.close()


class _Bar:
    """A progress bar a feed on a terminal; elsewhere a line of the log every few seconds."""

    def __init__(self, wanted: list[tuple[Market, Feed]]) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description:<24}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%  {task.fields[rows]} rows  {task.fields[speed]:.1f}/s"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._tasks = {
            feed.name: self._progress.add_task(feed.name, total=1.0, rows=0, speed=0.0, start=False)
            for _, feed in wanted
        }
        self._begun: dict[str, float] = {}
        self._logged_at: dict[str, float] = {}

    def __enter__(self) -> _Bar:
        self._progress.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._progress.stop()

    def show(self, report: FeedReport) -> None:
        task = self._tasks[report.feed]
        if report.feed not in self._begun:
            self._begun[report.feed] = time.monotonic()
            self._progress.start_task(task)
        seconds = max(time.monotonic() - self._begun[report.feed], 0.1)
        found = report.tally.found
        self._progress.update(task, completed=report.share, rows=found, speed=found / seconds)
        if self._progress.disable:
            self._log(report, seconds)

    def _log(self, report: FeedReport, seconds: float) -> None:
        import structlog

        now, share = time.monotonic(), report.share
        if now - self._logged_at.get(report.feed, -LOG_SECONDS) < LOG_SECONDS and share < 1.0:
            return
        self._logged_at[report.feed] = now
        left = round(seconds / share - seconds) if share else None
        structlog.get_logger("cli.backfill").info(
            "backfill.progressed",
            feed=report.feed,
            percent=round(100 * share),
            rows=report.tally.found,
            rows_per_second=round(report.tally.found / seconds, 1),
            seconds_left=left,
        )


def _iso(instant: int) -> str:
    return datetime.fromtimestamp(instant / SECOND, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _print_summary(summary: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    if not summary:
        return
    table = Table("feed", "found", "inserted", "already there", "rejected", "")
    for feed in summary["feeds"]:
        rejected = ", ".join(f"{count} {reason}" for reason, count in feed["rejected"].items())
        note = feed["note"] or ("" if feed["complete"] else "not finished")
        table.add_row(
            feed["feed"],
            str(feed["found"]),
            str(feed["inserted"]),
            str(feed["already_there"]),
            rejected,
            note,
        )
    Console().print(table)
    requests = f"{summary['requests']} requests, {summary['retries']} retries"
    typer.echo(
        f"{summary['from']} to {summary['to']}: {requests}" + (", nothing written" * summary["dry_run"])
    )
