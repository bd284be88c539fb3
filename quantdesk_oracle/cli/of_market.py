"""One market of the database, for commands that are about one."""

from __future__ import annotations

import getpass
import socket
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from quantdesk_oracle.store.database import Database
    from quantdesk_oracle.store.markets import MarketRow

Symbol = Annotated[str, typer.Option("--market", help="The market's symbol, such as BTC-PERP.")]
Why = Annotated[str, typer.Option("--reason", help="Why; it is recorded.")]
Actor = Annotated[str | None, typer.Option("--actor", help="Who does it; user@host by default.")]


async def market_row(database: Database, symbol: str) -> MarketRow:
    """The market's row. Raises typer.BadParameter for a symbol that the table has not got."""
    from quantdesk_oracle.store.markets import read_markets

    row = (await read_markets(database, [symbol])).get(symbol)
    if row is None:
        raise typer.BadParameter(f"there is no market {symbol!r} in the database", param_hint="--market")
    return row


def actor_or_me(actor: str | None) -> str:
    """Who acts."""
    return actor or f"{getpass.getuser()}@{socket.gethostname()}"
