"""``quantdesk-oracle mark``: why a mark was what it was, and whether all of them were."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quantdesk_oracle.cli.audits import tell_audit
from quantdesk_oracle.cli.instants import At, From, To, iso, parse_instant, parse_span
from quantdesk_oracle.cli.of_market import Symbol, market_row
from quantdesk_oracle.cli.options import AsJson, ConfigFile, EnvFile, StateDir
from quantdesk_oracle.cli.reading import as_json_value, exact, reading

if TYPE_CHECKING:
    from quantdesk_oracle.pricing.audit import MarkRow
    from quantdesk_oracle.store.database import Database
    from quantdesk_oracle.store.markets import MarketRow

app = typer.Typer(
    no_args_is_help=True,
    help="Explain and recompute mark prices from the inputs in their rows.\n\n"
    "Exit codes: 0 explained, exact; 1 something differs, 2 no such market, 69 the database does not answer.",
)
Grid = Annotated[int, typer.Option("--within", help="Look so many seconds back for the newest mark.")]


@app.command()
def explain(
    market: Symbol,
    at: At = "now",
    within: Grid = 1,
    as_json: AsJson = False,
    config: ConfigFile = None,
    env_file: EnvFile = None,
    state_dir: StateDir = None,
) -> None:
    """Say in words and numbers why the mark was what it was, or why there was none."""
    from quantdesk_oracle.clock import SystemClock

    instant = parse_instant(at, SystemClock().now())

    async def answer() -> dict[str, Any]:
        async with reading(config, env_file, state_dir) as database:
            row = await market_row(database, market)
            return await _explained(database, row, instant, within)

    found = asyncio.run(answer())
    if as_json:
        typer.echo(json.dumps(found, default=as_json_value))
        return
    for sentence in found["because"]:
        typer.echo(sentence)


@app.command()
def audit(
    market: Symbol,
    start: From = "1h",
    end: To = "now",
    as_json: AsJson = False,
    config: ConfigFile = None,
    env_file: EnvFile = None,
    state_dir: StateDir = None,
) -> None:
    """Recompute every mark of a span from its row; the first difference is explained."""
    from quantdesk_oracle.store.audit import audit_marks

    where = config, env_file, state_dir
    tell_audit("marks", audit_marks, market, parse_span(start, end), where, as_json=as_json)


async def _explained(database: Database, market: MarketRow, instant: int, within: int) -> dict[str, Any]:
    from quantdesk_oracle.model import SECOND
    from quantdesk_oracle.store.audit import read_marks

    newest = None
    async for row in read_marks(database, market.id, instant - within * SECOND, instant):
        newest = row
    if newest is not None:
        return {
            "market": market.symbol,
            "instant": iso(newest.mark.instant),
            "mark_price": newest.mark.mark_price,
            "inputs": newest.inputs()._asdict(),
            "method": newest.parameters.method,
            "because": list(_why(market.symbol, newest)),
        }
    return {
        "market": market.symbol,
        "instant": iso(instant),
        "mark_price": None,
        "because": [each async for each in _why_none(database, market, instant)],
    }


def _why(symbol: str, row: MarkRow) -> Iterator[str]:
    from quantdesk_oracle.pricing.mark import funding_adjusted

    mark, inputs, method = row.mark, row.inputs(), row.parameters.method
    index = mark.index_price
    yield f"{symbol} at {iso(mark.instant)}: mark {exact(mark.mark_price)} by method {method}"
    yield f"  index I = {exact(index)}, the oracle's print in use"
    if inputs.basis_mean is None:
        yield "  C1: none, no two-sided book in its window; the index stands in where C2 is there"
    else:
        yield (
            f"  C1 = {exact(index + inputs.basis_mean)}: I + basis {exact(inputs.basis_mean)} "
            f"(mean of {mark.basis_count} mids)"
        )
    if inputs.book_price is None:
        yield "  C2: none, neither a book (two sides that do not cross) nor a trade of the last minute"
    else:
        names = {"bid": mark.best_bid, "ask": mark.best_ask, "last trade": mark.last_trade_price}
        parts = ", ".join(f"{name} {exact(value)}" for name, value in names.items() if value is not None)
        yield f"  C2 = {exact(inputs.book_price)}: from {parts}"
    carried = funding_adjusted(index, mark.funding_rate, mark.seconds_to_funding, row.parameters.interval)
    yield (
        f"  C3 = {exact(carried.quantize(Decimal('1e-12')))}: I with the funding rate {exact(mark.funding_rate)} "
        f"for {exact(mark.seconds_to_funding)} s of {row.parameters.interval}"
    )
    away = mark.mark_price / index - 1
    band = row.parameters.band
    held = ", held by its band" if method == "quantdesk" and abs(away) >= band else ""
    yield f"  the mark is {away * 10_000:+.2f} bp from the index; band ±{band * 10_000:.0f} bp{held}"


async def _why_none(database: Database, market: MarketRow, instant: int) -> Any:
    from quantdesk_oracle.store.database import query
    from quantdesk_oracle.store.instants import to_instant, to_timestamp

    at = to_timestamp(instant)
    async with database.connection("cannot explain") as connection:
        found = await connection.fetchrow(query("print_before"), market.id, at)
        events = await connection.fetch(query("events_before"), market.id, at)
    yield f"{market.symbol} has no mark at {iso(instant)}"
    if market.halted is not None:
        yield f"  the market is halted now: {market.halted}"
    if found is None:
        yield "  no print of the oracle had been received by then"
    else:
        age = (instant - to_instant(found["created_at"])) / 1_000_000
        yield (
            f"  the newest print received by then, {exact(found['price'])} ({found['verdict']}), "
            f"was {age:.1f} s old; the market's limits say what is dead"
        )
    for event in events:
        yield f"  {event['created_at']:%H:%M:%S} {event['event_type']} {event['data']}"
    if not events:
        yield "  no event of the ten minutes before tells more: did a daemon run?"
