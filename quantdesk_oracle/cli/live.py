"""The table that `run` shows on a terminal."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import TYPE_CHECKING

from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from quantdesk_oracle.model import Freshness

if TYPE_CHECKING:
    from quantdesk_oracle.daemon import Daemon
    from quantdesk_oracle.workers.status import MarketStatus

_STYLES = {
    Freshness.FRESH: "green",
    Freshness.STALE: "yellow",
    Freshness.DEAD: "red",
    Freshness.UNPROVEN: "cyan",
}
REFRESH_SECONDS = 0.5


@contextlib.asynccontextmanager
async def live_table(daemon: Daemon, *, simulated: bool) -> AsyncIterator[None]:
    """Show the markets for the length of the block, twice a second."""

    async def refresh(live: Live) -> None:
        while True:
            live.update(_screen(daemon, simulated=simulated))
            await asyncio.sleep(REFRESH_SECONDS)

    with Live(auto_refresh=True, refresh_per_second=4) as live:
        task = asyncio.create_task(refresh(live), name="live table")
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            live.update(_screen(daemon, simulated=simulated))


def _screen(daemon: Daemon, *, simulated: bool) -> Group:
    table = Table(title="QuantDesk oracle" + (" · SIMULATED market" if simulated else ""))
    table.add_column("market")
    for heading in ("price", "± confidence", "age", "mark", "funding", "next funding"):
        table.add_column(heading, justify="right")
    for market in daemon.status.markets():
        table.add_row(*_row(market), style=_STYLES[market.freshness])
    return Group(table, Text(_footer(daemon), style="dim"))


def _row(market: MarketStatus) -> tuple[str, ...]:
    return (
        market.market,
        _price(market.price),
        _price(market.confidence),
        "-" if market.age is None else f"{market.age:.0f} s",
        _price(market.mark_price) if market.mark_price is not None else market.freshness.value,
        f"{market.funding_rate * 100:.6f} %",
        f"{market.next_funding:.0f} s",
    )


def _price(value: Decimal | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.4f}"


def _footer(daemon: Daemon) -> str:
    summary = daemon.summary()
    rows = summary["rows"]
    written = ", ".join(
        f"{rows[table]:,} {table}" for table in ("oracle_prices", "mark_prices", "funding_rates")
    )
    return f"written: {written}\nstatus page: http://127.0.0.1:{daemon.http_port}    Ctrl-C ends it"
