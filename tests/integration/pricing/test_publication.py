"""Marks told to whoever listens."""

from __future__ import annotations

import asyncio
import json
from functools import partial

import asyncpg

from quantdesk_oracle.store import series
from quantdesk_oracle.store.publication import CHANNEL, publishing
from tests.integration.pricing.world import START, World
from tests.rows import a_mark


async def test_a_listener_is_told_of_each_mark_that_this_daemon_wrote(world: World, dsn: str) -> None:
    told: asyncio.Queue[str] = asyncio.Queue()
    listener = await asyncpg.connect(dsn)
    await listener.add_listener(CHANNEL, lambda *arguments: told.put_nowait(arguments[-1]))
    insert = publishing(world.database, partial(series.insert_mark_prices, world.database, world.markets.ids))
    assert await insert([a_mark(START)]) == 1
    payload = json.loads(await asyncio.wait_for(told.get(), 10))
    assert payload == {
        "market": "BTC-PERP",
        "mark_price": "100000.000000000001",
        "oracle_price": "99999.5",
        "at": "2026-01-10T00:00:00+00:00",
    }
    assert await insert([a_mark(START)]) == 0
    await listener.remove_listener(CHANNEL, lambda *_: None)
    await listener.close()
    assert told.empty()
