"""``quantdesk-oracle events`` and ``tail``: what happened, and what is happening."""

from __future__ import annotations

import asyncio
import json
import signal
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quantdesk_oracle.cli.duration import parse_duration
from quantdesk_oracle.cli.options import ConfigFile, EnvFile, StateDir
from quantdesk_oracle.cli.reading import as_json_value, exact, printable, reading

if TYPE_CHECKING:
    from pathlib import Path

    from quantdesk_oracle.store.reading import EventFilter, News, StoredEvent

JsonLines = Annotated[bool, typer.Option("--json", help="JSON lines, one object each.")]
MarketSymbol = Annotated[str | None, typer.Option("--market", help="Only of this market, such as BTC-PERP.")]
_COLOURS = {"warning": "yellow", "error": "red", "critical": "bright_red"}
POLL_SECONDS = 1.0


class LeastSeverity(StrEnum):
    """The severities of events, as an option."""

    info = "info"
    warning = "warning"
    error = "error"
    critical = "critical"


Severities = Annotated[LeastSeverity, typer.Option("--severity", help="This severe, or worse.")]


class Streams(StrEnum):
    """What can be tailed."""

    prints = "prints"
    marks = "marks"
    events = "events"


def events(
    since: Annotated[str, typer.Option("--since", help="How far back, such as 30m, 24h or 7d.")] = "24h",
    severity: Severities = LeastSeverity.info,
    market: MarketSymbol = None,
    kind: Annotated[
        str | None, typer.Option("--type", help="Only this type, such as feed.dead, or a pattern: feed.*")
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", min=1, max=100_000, help="At most so many, the newest.")
    ] = 100,
    as_json: JsonLines = False,
    config: ConfigFile = None,
    env_file: EnvFile = None,
    state_dir: StateDir = None,
) -> None:
    """Show events of the database's system_events, oldest first.

    Exit codes: 0, also where there is none, 69 the database does not answer, 78 the settings cannot be used.
    """
    from quantdesk_oracle.clock import SystemClock
    from quantdesk_oracle.model import Severity
    from quantdesk_oracle.store.reading import EventFilter

    start = SystemClock().now() - int(parse_duration(since) * 1_000_000)
    wanted = EventFilter(start, None, Severity(severity.value), market, kind, limit)
    for event in reversed(asyncio.run(_read(wanted, config, env_file, state_dir))):
        _say(event._asdict(), as_json=as_json)


async def _read(
    wanted: EventFilter, config: Path | None, env_file: Path | None, state_dir: Path | None
) -> list[StoredEvent]:
    from quantdesk_oracle.store.reading import read_events

    async with reading(config, env_file, state_dir) as database:
        return await read_events(database, wanted)


def tail(
    what: Annotated[
        list[Streams] | None, typer.Argument(help="prints, marks, events; default: prints and events.")
    ] = None,
    market: MarketSymbol = None,
    severity: Severities = LeastSeverity.info,
    since: Annotated[str, typer.Option("--since", help="Begin so far back, such as 5m.")] = "0s",
    run_for: Annotated[
        str | None, typer.Option("--for", metavar="DURATION", help="End after so long, such as 30s.")
    ] = None,
    as_json: JsonLines = False,
    config: ConfigFile = None,
    env_file: EnvFile = None,
    state_dir: StateDir = None,
) -> None:
    """Show prints, marks and events as they are committed to the database, by whichever daemon. Ctrl-C ends it.

    Exit codes: 0, 69 the database does not answer, 78 the settings cannot be used.
    """
    seconds = None if run_for is None else parse_duration(run_for)
    streams = [each.value for each in what or (Streams.prints, Streams.events)]
    asyncio.run(
        _follow(
            streams,
            market,
            severity.value,
            parse_duration(since),
            seconds,
            as_json,
            (config, env_file, state_dir),
        )
    )


async def _follow(
    streams: list[str],
    market: str | None,
    severity: str,
    back: float,
    seconds: float | None,
    as_json: bool,
    files: tuple[Path | None, Path | None, Path | None],
) -> None:
    from quantdesk_oracle.clock import SystemClock
    from quantdesk_oracle.model import Severity
    from quantdesk_oracle.store.reading import Stream, Tail

    clock = SystemClock()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    if seconds is not None:
        loop.call_later(seconds, stop.set)
    async with reading(*files) as database:
        since = clock.now() - int(back * 1_000_000)
        news = Tail(database, [Stream(each) for each in streams], since, market, Severity(severity))
        while not stop.is_set():
            for each in await news.read(clock.now()):
                _tell(each, as_json=as_json)
            try:
                async with asyncio.timeout(POLL_SECONDS):
                    await stop.wait()
            except TimeoutError:
                continue


def _tell(news: News, *, as_json: bool) -> None:
    row = news.row
    if as_json:
        typer.echo(json.dumps({"stream": news.stream.value, **row}, default=as_json_value))
    elif news.stream == "events":
        _say(row, as_json=False)
    elif news.stream == "prints":
        confidence = "-" if row["confidence"] is None else exact(row["confidence"])
        typer.echo(
            f"{as_json_value(row['created_at'])}  {row['market']:<12} {exact(row['price']):>18} "
            f"± {confidence}  {row['source']}, {row['verdict']}, slot {row['slot']}"
        )
    else:
        typer.echo(
            f"{as_json_value(row['created_at'])}  {row['market']:<12} {exact(row['mark_price']):>18} mark, "
            f"index {exact(row['oracle_price'])}, {row['status']}"
        )


def _say(event: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(event, default=as_json_value))
        return
    severity = typer.style(f"{event['severity']:<8}", fg=_COLOURS.get(event["severity"]))
    market = f" {printable(event['market'])}" if event["market"] else ""
    data = ", ".join(f"{printable(name)}={printable(value)}" for name, value in event["data"].items())
    typer.echo(f"{as_json_value(event['created_at'])}  {severity} {printable(event['type'])}{market}  {data}")
