"""What operators write: rates by hand, halts. Each with its event, in one transaction."""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from quantdesk_oracle.errors import OracleError
from quantdesk_oracle.model import Event, Severity
from quantdesk_oracle.store.database import Connection, Database, query
from quantdesk_oracle.store.instants import to_instant, to_timestamp
from quantdesk_oracle.store.series import event_arguments


class RateExistsError(OracleError):
    """The boundary has a rate already, and none is ever overwritten."""


class RateByHand(NamedTuple):
    """A rate that a person sets for the interval that ends at ``boundary`` (µs)."""

    boundary: int
    rate: Decimal
    kind: str
    """manual or emergency."""
    actor: str
    reason: str
    interval: int
    """Seconds."""


async def set_rate(database: Database, market: UUID, symbol: str, by_hand: RateByHand) -> None:
    """Store a rate, and take it into the market's row where its boundary has passed. Raises RateExistsError."""
    boundary = to_timestamp(by_hand.boundary)
    async with database.transaction(f"cannot set the rate of {symbol}") as connection:
        await connection.fetchrow(query("settlement_state"), market)  # holds the market's row
        stored = await connection.fetchval(
            query("set_rate"),
            market,
            boundary,
            by_hand.rate,
            by_hand.kind,
            by_hand.actor,
            by_hand.reason,
            by_hand.interval,
        )
        if stored is None:
            raise RateExistsError(
                f"{symbol} has a rate at {boundary:%Y-%m-%dT%H:%M:%SZ} already; it stands. "
                "Set the next boundary's with --interval"
            )
        await connection.execute(query("adopt_market_funding"), market, boundary)
        data = {**by_hand._asdict(), "boundary": boundary.isoformat(), "rate": f"{by_hand.rate:f}"}
        await _tell(connection, "funding.set", symbol, data)


async def halt(database: Database, symbol: str, actor: str, reason: str) -> bool:
    """Halt a market: no marks, no samples, funding skipped; whether there is such a market."""
    async with database.transaction(f"cannot halt {symbol}") as connection:
        now = await connection.fetchval(query("clock"))
        found = await connection.fetch(query("halt_market"), symbol, now, reason)
        if found:
            await _tell(connection, "market.halted", symbol, {"actor": actor, "reason": reason})
    return bool(found)


async def resume(database: Database, symbol: str, actor: str, reason: str) -> bool:
    """End a market's halt; whether there is such a market."""
    async with database.transaction(f"cannot resume {symbol}") as connection:
        found = await connection.fetch(query("halt_market"), symbol, None, None)
        if found:
            await _tell(connection, "market.resumed", symbol, {"actor": actor, "reason": reason})
    return bool(found)


async def _tell(connection: Connection, type_: str, symbol: str, data: dict[str, object]) -> None:
    now = to_instant(await connection.fetchval(query("clock")))
    event = Event(type_, Severity.WARNING, now, data, symbol)
    await connection.execute(query("insert_system_events"), *event_arguments([event]))
