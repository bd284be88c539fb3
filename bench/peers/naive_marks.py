"""The mark loop that one writes first: a few queries and an insert for each market, one market after the other."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from statistics import median
from uuid import UUID

import asyncpg

SIDE = """
    SELECT price, remaining_size FROM orders
    WHERE market_id = $1 AND side = '{side}' AND order_type IN ('limit', 'post_only')
      AND status IN ('pending', 'partially_filled') AND (expires_at IS NULL OR expires_at > $2)
    ORDER BY price {order} LIMIT 100
"""
TRADE = """
    SELECT price FROM trades
    WHERE market_id = $1 AND created_at > $2::timestamptz - interval '60 s'
    ORDER BY created_at DESC LIMIT 1
"""
MARK = "INSERT INTO mark_prices (market_id, created_at, mark_price, oracle_price) VALUES ($1, $2, $3, $4)"
SAMPLE = "INSERT INTO premium_samples (market_id, created_at, premium, index_price) VALUES ($1, $2, $3, $4)"
LAST = Decimal("1e-12")


async def tick(connection: asyncpg.Connection, markets: dict[UUID, Decimal], instant: datetime) -> None:
    """Marks and premium samples of all markets at one instant, from their indices."""
    for market, index in markets.items():
        bids = await connection.fetch(SIDE.format(side="long", order="DESC"), market, instant)
        asks = await connection.fetch(SIDE.format(side="short", order="ASC"), market, instant)
        trade = await connection.fetchval(TRADE, market, instant) or index
        book = [bids[0]["price"], asks[0]["price"], trade] if bids and asks else [trade]
        mark = median([index, median(book), (bids[0]["price"] + asks[0]["price"]) / 2])
        premium = (mark - index) / index
        await connection.execute(MARK, market, instant, mark.quantize(LAST), index)
        await connection.execute(SAMPLE, market, instant, premium.quantize(LAST), index)
