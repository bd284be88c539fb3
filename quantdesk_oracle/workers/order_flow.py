"""The demonstration's order flow: makers and takers who give its markets a book, trades and positions.

Only `run --demo` starts it. Its users are called demo-maker and demo-taker, its rows carry `"demo": true`.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

import structlog

from quantdesk_oracle.errors import DatabaseError
from quantdesk_oracle.store.database import Connection, Database, query

if TYPE_CHECKING:
    from quantdesk_oracle.clock import Clock

log = structlog.get_logger("workers.order_flow")
LEVELS = 6
STEP = Decimal("0.0001")
"""Distance of two levels, a fraction of the price."""
LEANING = 12
"""How far, in steps, the book may lean away from the oracle."""
EVERY_SECONDS = 1.0
TRADE_PROBABILITY = 0.5
PRICE_QUANTUM = Decimal("0.0001")
SIZE_QUANTUM = Decimal("0.0001")


class Quote(NamedTuple):
    """One limit order: quote units per base unit, base units."""

    side: str
    price: Decimal
    size: Decimal


def ladder(price: Decimal, leaning: int, notional: Decimal) -> list[Quote]:
    """Both sides of a book around ``price``, moved by ``leaning`` steps; each side holds 1.5 × ``notional``."""
    middle = price * (1 + leaning * STEP)
    size = max((notional * 3 / 2 / LEVELS / price).quantize(SIZE_QUANTUM), SIZE_QUANTUM)
    quotes = []
    for level in range(1, LEVELS + 1):
        below, above = middle * (1 - level * STEP), middle * (1 + level * STEP)
        quotes.append(Quote("long", below.quantize(PRICE_QUANTUM), size))
        quotes.append(Quote("short", above.quantize(PRICE_QUANTUM), size))
    return quotes


class OrderFlow:
    """Replaces the book of every market each second, and trades now and then."""

    def __init__(
        self,
        database: Database,
        notionals: Mapping[UUID, Decimal],
        clock: Clock,
        *,
        seed: int = 1,
    ) -> None:
        """``notionals`` are quote units by market id."""
        self._database = database
        self._notionals = notionals
        self._clock = clock
        self._random = random.Random(seed)  # noqa: S311 (a market that can be repeated, no secret)
        self._leaning = dict.fromkeys(notionals, 0)
        self._users: tuple[UUID, UUID] | None = None

    async def run(self) -> None:
        """Trade until cancelled; while the database is away nobody does."""
        while True:
            try:
                await self.move()
            except DatabaseError as error:
                log.debug("flow.paused", cause=str(error))
            await self._clock.sleep(EVERY_SECONDS)

    async def move(self) -> None:
        """One second of trading in every market that has a price. Raises DatabaseError."""
        async with self._database.transaction("cannot trade in the demonstration") as connection:
            maker, taker = await self._traders(connection)
            prices = await connection.fetch(query("demo_prices"), list(self._notionals))
            for market, price in sorted(tuple(row) for row in prices):
                await self._trade(connection, market, price, maker, taker)

    async def _traders(self, connection: Connection) -> tuple[UUID, UUID]:
        if self._users is None:
            names = ("demo-maker", "demo-taker")
            maker, taker = [await connection.fetchval(query("demo_trader"), name) for name in names]
            self._users = maker, taker
        return self._users

    async def _trade(
        self, connection: Connection, market: UUID, price: Decimal, maker: UUID, taker: UUID
    ) -> None:
        lean = self._leaning[market] + self._random.choice((-1, 0, 1))
        self._leaning[market] = max(-LEANING, min(lean, LEANING))
        quotes = ladder(price, self._leaning[market], self._notionals[market])
        sides, levels, sizes = zip(*quotes, strict=True)
        await connection.execute(query("demo_quotes"), maker, market, sides, levels, sizes)
        size = quotes[0].size
        await connection.execute(query("demo_position"), taker, market, "long", size * 3, price)
        await connection.execute(query("demo_position"), maker, market, "short", size * 2, price)
        if self._random.random() < TRADE_PROBABILITY:
            bid, ask = quotes[0], quotes[1]
            side, hit = self._random.choice((("sell", bid), ("buy", ask)))
            await connection.execute(query("demo_trade"), taker, market, side, hit.price, size)
