"""``quantdesk-oracle backfill --recompute-funding``: boundaries that have no rate, settled from stored samples."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import typer

from quantdesk_oracle.cli.databases import open_database
from quantdesk_oracle.store.markets import read_markets, read_parameters
from quantdesk_oracle.store.series import database_clock
from quantdesk_oracle.workers.recompute import Recomputed, settle_missing
from quantdesk_oracle.workers.state import MarketState

if TYPE_CHECKING:
    from quantdesk_oracle.config import Market, Settings
    from quantdesk_oracle.workers.backfill import Span


async def recompute(
    settings: Settings, markets: list[Market], span: Span, *, dry_run: bool
) -> list[Recomputed]:
    """Settle what is due in ``span`` and has no rate; a report a market. Raises DatabaseError, SchemaError."""
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


def print_recomputed(done: list[Recomputed], *, as_json: bool) -> None:
    """Tell what has been settled, a line a market."""
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
