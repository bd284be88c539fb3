"""One market of the database, for commands that are about one."""

from __future__ import annotations

import getpass
import socket
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quantdesk_oracle.cli.instants import iso

if TYPE_CHECKING:
    from quantdesk_oracle.pricing.audit import Difference
    from quantdesk_oracle.store.audit import Audited
    from quantdesk_oracle.store.database import Database
    from quantdesk_oracle.store.markets import MarketRow

Symbol = Annotated[str, typer.Option("--market", help="The market's symbol, such as BTC-PERP.")]
Why = Annotated[str, typer.Option("--reason", help="Why; it is recorded.")]
Actor = Annotated[str | None, typer.Option("--actor", help="Who does it; user@host by default.")]
EX_DIFFERS = 1
EX_EXPIRED = 66
"""The inputs of some rows are no longer kept; what can be checked without them holds."""


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


def audit_answer(audited: Audited) -> dict[str, Any]:
    """An audit as JSON."""
    return {
        "rows": audited.rows,
        "by_hand": audited.by_hand,
        "expired": audited.expired,
        "differences": [_difference(each) for each in audited.differences],
    }


def audit_sentences(what: str, audited: Audited) -> Iterable[str]:
    """An audit in words."""
    extra = f", {audited.by_hand} set by hand or imported" if audited.by_hand else ""
    yield f"{audited.rows} {what} recomputed{extra}: {len(audited.differences) or 'none'} differ"
    if audited.expired:
        yield f"inputs expired: of {audited.expired} the samples are no longer kept; checked against themselves"
    for each in audited.differences[:1]:
        yield (
            f"first difference: {each.column} of {iso(each.instant)} is stored as {each.stored}, "
            f"and its inputs give {each.recomputed}"
        )


def audit_exit(audited: Audited) -> int:
    """0 exact, 1 something differs, 66 exact as far as inputs are kept."""
    if audited.differences:
        return EX_DIFFERS
    return EX_EXPIRED if audited.expired else 0


def _difference(difference: Difference) -> dict[str, str]:
    values = difference._replace(instant=0)._asdict()
    return {**{name: str(value) for name, value in values.items()}, "instant": iso(difference.instant)}
