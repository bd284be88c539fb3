"""Committed rows into NATS JetStream: each at least once, late ones too, and nobody is held up."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from quantdesk_oracle.errors import UnavailableError
from quantdesk_oracle.model import SECOND
from quantdesk_oracle.store import series
from quantdesk_oracle.store.database import Database
from quantdesk_oracle.store.sent import Sent
from quantdesk_oracle.workers.publish import Publisher
from tests.clock import VirtualClock
from tests.nats_server import SERVER, Nats, stored_keys
from tests.rows import a_mark, a_print


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Nats]:
    if SERVER is None:
        pytest.skip("nats-server is not installed on this machine")
    broker = Nats(tmp_path)
    broker.start()
    yield broker
    broker.kill()


@pytest.fixture
async def database(fresh_dsn: str) -> AsyncIterator[Database]:
    database = Database(fresh_dsn, pool_size=2, command_timeout=10)
    await database.open()
    yield database
    await database.close()


@pytest.fixture
async def markets(database: Database) -> dict[str, Any]:
    async with database.connection("cannot read") as connection:
        return {row["symbol"]: row["id"] for row in await connection.fetch("SELECT symbol, id FROM markets")}


class Inbox:
    """Takes messages, unless it is shut."""

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.payloads: list[dict[str, Any]] = []
        self.subjects: Counter[str] = Counter()
        self.shut = False

    async def send(self, subject: str, payload: bytes, key: str) -> None:
        if self.shut:
            raise UnavailableError("shut")
        self.keys.append(key)
        self.payloads.append(json.loads(payload))
        self.subjects[subject] += 1


def seconds_of(instant: int) -> int:
    return instant // SECOND


class World:
    def __init__(self, database: Database, folder: Path) -> None:
        self.clock = VirtualClock(int(time.time()) // 60 * 60 * SECOND - 1_800 * SECOND)
        self.inbox = Inbox()
        self.sent = Sent(folder / "published.sqlite3")
        self.publisher = Publisher(database, self.sent, self.inbox.send, self.clock, prefix="quantdesk")


@pytest.fixture
def world(database: Database, tmp_path: Path) -> Iterator[World]:
    world = World(database, tmp_path)
    yield world
    world.sent.close()


async def test_rows_from_now_on_are_passed_on_once(
    world: World, database: Database, markets: dict[str, Any]
) -> None:
    now = world.clock.now()
    await series.insert_mark_prices(database, markets, [a_mark(now - 60 * SECOND)])
    await world.publisher.look()
    assert world.inbox.keys == [], "what was there before it first ran is not its matter"
    second = seconds_of(now)
    await series.insert_oracle_prices(
        database, markets, [a_print(publish_time=second + 1, slot=s) for s in (7, 8)]
    )
    await series.insert_mark_prices(database, markets, [a_mark(now + 1 * SECOND)])
    await world.publisher.look()
    await world.publisher.look()
    assert sorted(world.inbox.keys) == [
        f"mark:BTC-PERP:{now + SECOND}",
        f"price:BTC-PERP:{now + SECOND}:7",
        f"price:BTC-PERP:{now + SECOND}:8",
    ]
    assert world.inbox.subjects == {"quantdesk.price.BTC-PERP": 2, "quantdesk.mark.BTC-PERP": 1}
    mark = next(payload for payload in world.inbox.payloads if "mark_price" in payload)
    assert mark["mark_price"] == "100000.000000000001", "to the last digit, as text"


async def test_rows_that_are_committed_late_come_late(
    world: World, database: Database, markets: dict[str, Any]
) -> None:
    await world.publisher.look()
    began = world.clock.now()
    for minute in range(1, 6):
        await world.clock.advance(60)
        await series.insert_mark_prices(database, markets, [a_mark(began + minute * 60 * SECOND)])
        await world.publisher.look()
    assert len(world.inbox.keys) == 5
    late = began + 90 * SECOND
    await series.insert_mark_prices(database, markets, [a_mark(late)])
    await world.clock.advance(31)
    await world.publisher.look()
    assert world.inbox.keys[5:] == [f"mark:BTC-PERP:{late}"]


async def test_a_late_row_of_the_minute_that_it_began_in_comes_too(
    world: World, database: Database, markets: dict[str, Any]
) -> None:
    await world.clock.advance(20)
    began = world.clock.now()
    await world.publisher.look()
    await series.insert_mark_prices(database, markets, [a_mark(began - SECOND), a_mark(began + 30 * SECOND)])
    await world.clock.advance(31)
    await world.publisher.look()
    late = began + 2 * SECOND
    await series.insert_mark_prices(database, markets, [a_mark(late)])
    await world.clock.advance(31)
    await world.publisher.look()
    assert world.inbox.keys == [f"mark:BTC-PERP:{began + 30 * SECOND}", f"mark:BTC-PERP:{late}"]


async def test_a_broker_that_is_away_costs_nothing_but_time(
    world: World, database: Database, markets: dict[str, Any]
) -> None:
    await world.publisher.look()
    now = world.clock.now()
    await series.insert_mark_prices(database, markets, [a_mark(now + n * SECOND) for n in range(1, 6)])
    world.inbox.shut = True
    for _ in range(3):
        with pytest.raises(UnavailableError):
            await world.publisher.look()
    await world.clock.advance(3_600)
    world.inbox.shut = False
    await world.publisher.look()
    assert len(world.inbox.keys) == 5


async def test_another_run_goes_on_where_the_last_one_was(
    world: World, database: Database, markets: dict[str, Any], tmp_path: Path
) -> None:
    await world.publisher.look()
    now = world.clock.now()
    await series.insert_mark_prices(database, markets, [a_mark(now + SECOND)])
    await world.publisher.look()
    again = World(database, tmp_path)
    await series.insert_mark_prices(database, markets, [a_mark(now + 2 * SECOND)])
    await again.publisher.look()
    again.sent.close()
    assert again.inbox.keys == [f"mark:BTC-PERP:{now + 2 * SECOND}"]


async def test_the_process_passes_on_also_over_a_kill_of_the_broker(
    broker: Nats, database: Database, markets: dict[str, Any], fresh_dsn: str, tmp_path: Path
) -> None:
    process = start_publishing(broker, fresh_dsn, tmp_path / "state")
    state = tmp_path / "state" / "published.sqlite3"
    async with asyncio.timeout(15):
        while not state.exists():  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    await asyncio.sleep(1)
    instants = []
    for turn in range(12):
        instants.append(int(time.time() * 1_000_000) - 5_000)
        await series.insert_mark_prices(database, markets, [a_mark(instants[-1])])
        if turn == 4:
            broker.kill()
        if turn == 6:
            broker.start()
        await asyncio.sleep(0.4)
    out, _ = await asyncio.to_thread(process.communicate, timeout=30)
    assert process.returncode == 0
    assert json.loads(out)["published"]["mark_prices"] == 12
    assert await stored_keys(broker, "quantdesk.mark.>") == [
        f"mark:BTC-PERP:{instant}" for instant in instants
    ]


def start_publishing(broker: Nats, dsn: str, state_dir: Path) -> subprocess.Popen[str]:
    """The command, to end by itself."""
    return subprocess.Popen(
        [sys.executable, "-m", "quantdesk_oracle", "publish", "--nats", broker.url, "--for", "12s",
         "--state-dir", state_dir],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env={**os.environ, "DATABASE_URL": dsn},
    )  # fmt: skip
