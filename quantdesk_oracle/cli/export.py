"""``quantdesk-oracle export`` and ``import``: oracle prices to and from files."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Container
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quantdesk_oracle.cli.instants import parse_span
from quantdesk_oracle.cli.options import AsJson, ConfigFile, EnvFile, StateDir
from quantdesk_oracle.errors import ConfigError

if TYPE_CHECKING:
    from quantdesk_oracle.config import Market, Settings
    from quantdesk_oracle.store.database import Database
    from quantdesk_oracle.store.price_files import PriceRow

MICROSECONDS = 1_000_000
"""Of a second."""
Files = Annotated[Path, typer.Argument(help="A .parquet or .csv file.")]
Markets = Annotated[
    list[str] | None, typer.Option("--market", help="This market; may be repeated; default: all.")
]


def export(
    file: Files,
    market: Markets = None,
    start: Annotated[
        str, typer.Option("--from", help="Begin: a date, a time (UTC), or how long ago, such as 6h or 7d.")
    ] = "24h",
    end: Annotated[str, typer.Option("--to", help="End, likewise; the end itself is left out.")] = "now",
    as_json: AsJson = False,
    state_dir: StateDir = None,
    config: ConfigFile = None,
    env_file: EnvFile = None,
) -> None:
    """Write oracle prices into a Parquet or CSV file, exactly; other writers' rows are left out.

    \b
    quantdesk-oracle export prices.parquet --from 7d
    quantdesk-oracle export btc.csv --market BTC-PERP --from 2026-11-01 --to 2026-11-02

    The file is there once it is whole. `quantdesk-oracle import` reads it into another database.

    Exit codes: 0, 65 the file cannot be written, 69 the database cannot be had, 78 the configuration is wrong.
    """
    from quantdesk_oracle.config import load_settings
    from quantdesk_oracle.store.price_files import check_suffix

    check_suffix(file)
    settings = load_settings(config_file=config, env_file=env_file, state_dir=state_dir)
    rows = asyncio.run(_export(settings, file, market, *parse_span(start, end)))
    typer.echo(json.dumps({"rows": rows, "file": str(file)}) if as_json else f"{rows} rows in {file}")


def import_(
    file: Files,
    market: Markets = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read and judge; write nothing.")] = False,
    as_json: AsJson = False,
    state_dir: StateDir = None,
    config: ConfigFile = None,
    env_file: EnvFile = None,
) -> None:
    """Read oracle prices from a file of `export`; rows that are there are never touched.

    Every print is judged as if it had just come; times and sources stay as they are in the file. It may be stopped
    and called again.

    Exit codes: 0, 65 the file is none, 69 the database cannot be had, 78 the configuration is wrong.
    """
    from quantdesk_oracle.config import load_settings

    settings = load_settings(config_file=config, env_file=env_file, state_dir=state_dir)
    print_imported(asyncio.run(_import(settings, file, market, dry_run=dry_run)), as_json=as_json)


def print_imported(summary: dict[str, Any], *, as_json: bool) -> None:
    """What reading a file has come to."""
    if as_json:
        typer.echo(json.dumps(summary))
        return
    rejected = ", ".join(f"{count} {reason}" for reason, count in summary["rejected"].items()) or "none"
    typer.echo(
        f"{summary['found']} prints: {summary['inserted']} inserted, {summary['already_there']} already there, "
        f"rejected: {rejected}"
    )


async def _export(settings: Settings, file: Path, symbols: list[str] | None, start: int, end: int) -> int:
    from quantdesk_oracle.cli.databases import open_database
    from quantdesk_oracle.store.markets import read_markets
    from quantdesk_oracle.store.price_files import exported_rows, writing

    written = 0
    async with open_database(settings) as database:
        wanted = symbols or [market.symbol for market in settings.markets]
        rows = await read_markets(database, wanted)
        if unknown := set(wanted) - set(rows):
            raise ConfigError([f"{symbol} is no market of the database" for symbol in sorted(unknown)])
        with writing(file) as sink:
            keys = [row.id for row in rows.values()]
            async for some in exported_rows(database, keys, start, end):
                sink.write(some)
                written += len(some)
    return written


async def _import(
    settings: Settings, file: Path, symbols: list[str] | None, *, dry_run: bool
) -> dict[str, Any]:
    from quantdesk_oracle.cli.databases import open_database

    chosen = [market for market in settings.markets if not symbols or market.symbol in symbols]
    async with open_database(settings) as database:
        return await read_file(database, settings, file, chosen, dry_run=dry_run)


async def read_file(
    database: Database,
    settings: Settings,
    file: Path,
    markets: list[Market],
    span: tuple[int, int] | None = None,
    *,
    dry_run: bool,
) -> dict[str, Any]:
    """Judge and store what a file has of ``markets``, published in ``span`` ([from, to), µs); a summary of it."""
    from quantdesk_oracle.store.markets import ensure_markets, read_markets
    from quantdesk_oracle.store.price_files import rows_of
    from quantdesk_oracle.store.series import insert_oracle_prices

    limits = {market.symbol: market.storage for market in markets}
    found = inserted = stored = 0
    rejected: dict[str, int] = {}
    if not dry_run:
        await ensure_markets(database, markets, settings.program_id)
    ids = {symbol: row.id for symbol, row in (await read_markets(database, list(limits))).items()}
    for some in rows_of(file):
        rows = some if span is None else [row for row in some if _is_wanted(row, limits, *span)]
        found += len(rows)
        judged = [_judged(row, limits) for row in rows]
        for reason in judged:
            if isinstance(reason, str):
                rejected[reason] = rejected.get(reason, 0) + 1
        good = [found_print for found_print in judged if not isinstance(found_print, str)]
        stored += len(good)
        if good and not dry_run:
            inserted += await insert_oracle_prices(database, ids, good)
    there = 0 if dry_run else stored - inserted
    return {
        "found": found,
        "inserted": inserted,
        "already_there": there,
        "rejected": dict(sorted(rejected.items())),
        "dry_run": dry_run,
    }


def _is_wanted(row: PriceRow, markets: Container[str], start: int, end: int) -> bool:
    return row.market in markets and start <= row.publish_time * MICROSECONDS < end


def _judged(row: PriceRow, limits: dict[str, Any]) -> Any:
    """The print to store, with a verdict of today's; or why there is none."""
    from quantdesk_oracle.model import Verdict
    from quantdesk_oracle.pricing.acceptance import judge
    from quantdesk_oracle.store.price_files import stored_print

    if row.market not in limits:
        return "unknown_market"
    found = stored_print(row)
    judgement = judge(found.update, limits[row.market], time.time_ns() // 1_000)
    if judgement.verdict is Verdict.REJECTED:
        return judgement.reason.value if judgement.reason else "rejected"
    return found._replace(verdict=judgement.verdict)
