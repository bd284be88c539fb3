"""The collector that the libraries' documentation leads to: solana-py, anchorpy, asyncpg.

    python -m bench.peers.simple_collector WEBSOCKET_URL DSN FEEDS

One task follows the accounts, one writes whatever has gathered with executemany. No poll, no reconnect, no checks.
"""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import asyncpg

from bench.feeds import feeds
from bench.peers.plain_loop import follow

INSERT = """
    INSERT INTO oracle_prices (market_id, created_at, slot, received_at, exponent, price, confidence)
    VALUES ($1, $2, $3, $4, $5, $6, $7)
    ON CONFLICT DO NOTHING
"""


async def write(connection: asyncpg.Connection, queue: asyncio.Queue[tuple[Any, ...]]) -> None:
    """Insert what has gathered, for ever."""
    while True:
        rows = [await queue.get()]
        while not queue.empty():
            rows.append(queue.get_nowait())
        await connection.executemany(INSERT, rows)


async def main(url: str, dsn: str, count: int) -> None:
    """Collect until cancelled."""
    connection = await asyncpg.connect(dsn)
    ids = {row["symbol"]: row["id"] for row in await connection.fetch("SELECT symbol, id FROM markets")}
    markets = {feed.address: ids[feed.market] for feed in feeds(count)}
    queue: asyncio.Queue[tuple[Any, ...]] = asyncio.Queue()

    def on_price(address: str, account: Any) -> None:
        message = account.price_message
        published = datetime.fromtimestamp(message.publish_time, UTC)
        price, confidence = (Decimal(raw).scaleb(message.exponent) for raw in (message.price, message.conf))
        row = (
            markets[address],
            published,
            account.posted_slot,
            datetime.now(UTC),
            message.exponent,
            price,
            confidence,
        )
        queue.put_nowait(row)

    writer = asyncio.create_task(write(connection, queue))
    print(json.dumps({"feeds": count}), flush=True)
    await asyncio.gather(follow(url, list(markets), on_price), writer)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
