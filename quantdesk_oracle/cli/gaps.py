"""``quantdesk-oracle gaps``: what is missing of each market's history, as a table and as a picture."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from xml.sax.saxutils import escape

import typer

from quantdesk_oracle.cli.instants import parse_instant
from quantdesk_oracle.cli.options import AsJson, ConfigFile, EnvFile, StateDir
from quantdesk_oracle.errors import DataError, UnavailableError

if TYPE_CHECKING:
    from quantdesk_oracle.store.gaps import Gap
    from quantdesk_oracle.workers.coverage import Cover

SECOND = 1_000_000
PARTS = 96
"""A quarter of an hour each, in a day."""
_LETTERS = {"prints": "█", "healed": "▓", "empty": "·", "unrecoverable": "x", "open": "░"}
_COLOURS = {
    "prints": "green",
    "healed": "cyan",
    "empty": "bright_black",
    "unrecoverable": "red",
    "open": "yellow",
}
_FILLS = {
    "prints": "#2e7d32",
    "healed": "#26a69a",
    "empty": "#cfd8dc",
    "unrecoverable": "#c62828",
    "open": "#f9a825",
}


@dataclass(frozen=True, slots=True)
class MarketCoverage:
    """One market's history over the time that was asked for."""

    market: str
    prints: int
    parts: list[Cover]
    gaps: list[Gap]

    def count(self, *states: str) -> int:
        """How many gaps are in one of ``states``."""
        return sum(gap.state in states for gap in self.gaps)


def gaps(
    since: Annotated[
        str, typer.Option("--since", help="How far back, such as 6h, 24h or 7d; or since when.")
    ] = "24h",
    market: Annotated[str | None, typer.Option("--market", help="Only this market.")] = None,
    svg: Annotated[Path | None, typer.Option("--svg", help="Also draw it into this SVG file.")] = None,
    as_json: AsJson = False,
    state_dir: StateDir = None,
    config: ConfigFile = None,
    env_file: EnvFile = None,
) -> None:
    """Show how each market's history is covered: watched, healed, still open, or lost for good.

    \b
    █ prints   ▓ prints, read back later   ░ a gap still to be read   x a gap that no node keeps   · nothing posted

    A gap is a range of the chain's history that nobody watched. The daemon reads it back by itself; `backfill`
    does so for any span of time.

    Exit codes: 0, 65 the SVG cannot be written, 69 the database cannot be had, 78 the configuration is wrong.
    """
    end = time.time_ns() // 1_000
    start = parse_instant(since, end)
    if start >= end:
        raise typer.BadParameter(f"--since {since} leaves nothing to show")
    found = asyncio.run(_read(config, env_file, state_dir, market, start, end))
    if svg is not None:
        _write(svg, draw_svg(found, start, end))
    if as_json:
        typer.echo(json.dumps([_as_json(one) for one in found]))
    else:
        _print(found, start, end)


def _write(path: Path, svg: str) -> None:
    try:
        path.write_text(svg, encoding="utf-8")
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror})") from None


async def _read(
    config: Path | None,
    env_file: Path | None,
    state_dir: Path | None,
    market: str | None,
    start: int,
    end: int,
) -> list[MarketCoverage]:
    from quantdesk_oracle.cli.reading import reading
    from quantdesk_oracle.config import load_settings
    from quantdesk_oracle.store.gaps import gaps_between, prints_by_part
    from quantdesk_oracle.store.markets import read_markets
    from quantdesk_oracle.workers.coverage import cover_parts

    settings = load_settings(config_file=config, env_file=env_file, state_dir=state_dir)
    symbols = [market] if market else [one.symbol for one in settings.markets]
    async with reading(config, env_file, state_dir) as database:
        rows = await read_markets(database, symbols)
        if market and market not in rows:
            raise UnavailableError(
                f"{market} is no market of the database; see them with: quantdesk-oracle status"
            )
        ids = {symbol: row.id for symbol, row in rows.items()}
        found = []
        for symbol, key in ids.items():
            prints = await prints_by_part(database, key, start, end, PARTS)
            known = await gaps_between(database, ids, symbol, start, end)
            parts = cover_parts(prints, known, start, end)
            found.append(MarketCoverage(symbol, sum(prints), parts, known))
    return sorted(found, key=lambda one: one.market)


def _print(found: list[MarketCoverage], start: int, end: int) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    table = Table("market", "prints", "open", "closed", "healed rows", "unrecoverable")
    for one in found:
        healed = sum(gap.inserted for gap in one.gaps)
        counts = [one.count("open", "healing"), one.count("closed"), healed, one.count("unrecoverable")]
        table.add_row(one.market, str(one.prints), *map(str, counts))
    console.print(table)
    console.print(f"{_iso(start)} to {_iso(end)}")
    for one in found:
        bar = Text(f"{one.market:<12} ")
        for cover in one.parts:
            bar.append(_LETTERS[cover.value], style=_COLOURS[cover.value])
        console.print(bar, soft_wrap=True)


def draw_svg(found: list[MarketCoverage], start: int, end: int) -> str:
    """The coverage of each market as a bar, with a legend; no script, no outside asset."""
    width, row, left = 960, 28, 120
    height = row * (len(found) + 2)
    view = f'viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {view} role="img">',
        f"<title>Oracle history from {_iso(start)} to {_iso(end)}</title>",
    ]
    for number, one in enumerate(found):
        lines.append(f'<text x="8" y="{row * number + 19}">{escape(one.market)}</text>')
        step = (width - left - 8) / len(one.parts)
        for at, cover in enumerate(one.parts):
            lines.append(
                f'<rect x="{left + at * step:.2f}" y="{row * number + 6}" width="{step:.2f}" height="18" '
                f'fill="{_FILLS[cover.value]}"/>'
            )
    base = row * len(found)
    lines.append(f'<text x="{left}" y="{base + 16}">{_iso(start)}</text>')
    lines.append(f'<text x="{width - 8}" y="{base + 16}" text-anchor="end">{_iso(end)}</text>')
    for at, (name, fill) in enumerate(_FILLS.items()):
        x = left + at * 130
        lines.append(f'<rect x="{x}" y="{base + 30}" width="12" height="12" fill="{fill}"/>')
        lines.append(f'<text x="{x + 18}" y="{base + 40}">{name}</text>')
    return "\n".join([*lines, "</svg>\n"])


def _as_json(one: MarketCoverage) -> dict[str, Any]:
    return {
        "market": one.market,
        "prints": one.prints,
        "parts": [cover.value for cover in one.parts],
        "gaps": [
            {
                "account": gap.key.account,
                "cause": gap.cause,
                "state": gap.state,
                "from": _iso(gap.from_time),
                "to": _iso(gap.to_time),
                "from_slot": gap.from_slot,
                "to_slot": gap.to_slot,
                "found": gap.found,
                "inserted": gap.inserted,
                "rejected": gap.rejected,
                "reason": gap.reason,
            }
            for gap in one.gaps
        ],
    }


def _iso(instant: int) -> str:
    return datetime.fromtimestamp(instant / SECOND, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
