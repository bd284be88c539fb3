"""What the stream of a feed on Hermes has missed is known, and read back: the table is what was published."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest
from pydantic import SecretStr

from quantdesk_oracle.config import load_settings
from quantdesk_oracle.model import SECOND, Source
from quantdesk_oracle.workers.hermes_watch import NO_HISTORY
from tests.hermes_server import hermes_server
from tests.integration.healing.hermes_world import UNFINISHED, HermesWorld, unavailable
from tests.postgres import TEMPLATE, PostgresServer, execute

Start = Callable[..., Awaitable[HermesWorld]]
READ_FROM = [Source.BENCHMARKS, Source.HERMES]


@pytest.fixture
async def start(postgres_18: PostgresServer) -> AsyncIterator[Start]:
    """`await start(history)`: a Hermes that publishes three feeds, and an empty database."""
    async with AsyncExitStack() as stack:

        async def begin(history: Source | None = Source.BENCHMARKS) -> HermesWorld:
            name = f"hermes_{secrets.token_hex(6)}"
            await execute(postgres_18.dsn(), f"CREATE DATABASE {name} TEMPLATE {TEMPLATE} STRATEGY FILE_COPY")
            stack.push_async_callback(execute, postgres_18.dsn(), f"DROP DATABASE {name} WITH (FORCE)")
            server = await stack.enter_async_context(hermes_server())
            settings = load_settings(database=postgres_18.dsn(name), own_network=True)
            world = HermesWorld(settings, postgres_18.dsn(name), server, history)
            stack.push_async_callback(world.close)
            await world.database.open()
            return world

        yield begin


async def test_a_first_start_has_missed_nothing(start: Start) -> None:
    world = await start()
    await world.start_daemon()
    await world.until_watched()
    assert not await world.gaps()
    assert await world.assert_table_is_what_was_published() > 5


@pytest.mark.parametrize("history", READ_FROM)
async def test_an_outage_of_the_stream_is_a_gap_and_is_read_back(start: Start, history: Source) -> None:
    world = await start(history)
    await world.start_daemon()
    await world.until_watched()
    world.server.instead = unavailable
    world.server.end_streams()
    await world.clock.sleep(90)
    world.server.instead = None
    await world.until_healed()
    assert await world.gaps() == {("disconnected", "closed"): 3}
    assert await world.assert_table_is_what_was_published() > 90
    assert {row["source"] for row in await world.fetch("SELECT source::text FROM oracle_prices")} == {
        "hermes",
        history.value,
    }
    told = await world.fetch("SELECT DISTINCT event_type FROM system_events WHERE event_type LIKE 'gap.%'")
    assert {row["event_type"] for row in told} == {"gap.opened", "gap.closed"}


async def test_feeds_that_broke_off_together_are_read_in_the_same_requests(start: Start) -> None:
    world = await start()
    await world.start_daemon()
    await world.until_watched()
    world.server.instead = unavailable
    world.server.end_streams()
    await world.clock.sleep(200)
    world.server.instead = None
    world.server.seen.clear()
    await world.until_healed()
    read = [path for path in world.server.paths if path.startswith("/v1/")]
    assert len(read) >= 4
    assert len(set(read)) == len(read)


@pytest.mark.parametrize("history", READ_FROM)
async def test_what_was_published_while_a_killed_daemon_was_down_is_read_back(
    start: Start, history: Source
) -> None:
    world = await start(history)
    await world.start_daemon()
    await world.until_watched()
    await world.kill_daemon()
    await world.clock.sleep(90)
    await world.start_daemon()
    await world.until_healed()
    assert await world.gaps() == {("start", "closed"): 3}
    assert await world.assert_table_is_what_was_published() > 90


async def test_a_healing_that_is_killed_again_and_again_leaves_no_hole(start: Start) -> None:
    world = await start(Source.HERMES)
    await world.start_daemon()
    await world.until_watched()
    await world.kill_daemon()
    await world.clock.sleep(60)
    for _ in range(3):
        await world.start_daemon()
        await world.clock.sleep(12)
        await world.kill_daemon()
    await world.start_daemon()
    await world.until_healed()
    assert await world.assert_table_is_what_was_published() > 60


async def test_where_no_history_is_read_a_gap_is_unrecoverable_and_told(start: Start) -> None:
    world = await start(None)
    await world.start_daemon()
    await world.until_watched()
    world.server.instead = unavailable
    world.server.end_streams()
    await world.clock.sleep(30)
    world.server.instead = None

    async def told() -> bool:
        return len(await world.fetch("SELECT FROM system_events WHERE event_type = 'gap.unrecoverable'")) == 3

    await world.until(told)
    assert await world.gaps() == {("disconnected", "unrecoverable"): 3}
    (row, *_) = await world.fetch("SELECT DISTINCT reason FROM oracle_gaps")
    assert "history" in row["reason"]


async def test_gaps_that_are_open_when_history_is_turned_off_become_unrecoverable_and_are_told(
    start: Start,
) -> None:
    world = await start()
    await world.start_daemon()
    await world.until_watched()
    await world.kill_daemon()
    await world.clock.sleep(30)
    hermes = replace(
        world.settings.hermes, benchmarks_url=SecretStr("http://127.0.0.1:9")
    )  # nobody answers there
    world.settings = replace(world.settings, hermes=hermes)
    await world.start_daemon()

    async def noted() -> bool:
        return await world.gaps() == {("start", "open"): 3}

    await world.until(noted)
    await world.kill_daemon()
    world.settings = replace(world.settings, hermes=replace(world.settings.hermes, history=None))
    await world.start_daemon()

    async def told() -> bool:
        rows = await world.fetch("SELECT FROM system_events WHERE event_type = 'gap.unrecoverable'")
        return len(rows) >= 3 and not await world.fetch(UNFINISHED)

    await world.until(told)
    reasons = await world.fetch("SELECT DISTINCT reason FROM oracle_gaps WHERE cause = 'start'")
    assert [row["reason"] for row in reasons] == [NO_HISTORY]


@pytest.mark.parametrize("history", READ_FROM)
async def test_what_a_database_has_lost_that_it_had_committed_is_read_back(
    start: Start, history: Source
) -> None:
    """As after the promotion of a standby that was a minute behind. Hermes is never swept: nothing else would tell."""
    world = await start(history)
    await world.start_daemon()
    await world.until_watched()
    await world.clock.sleep(70)
    (mark,) = await world.fetch(
        "SELECT min(watched_at) - interval '60 seconds' AS kept FROM oracle_watermarks"
    )
    kept = f"'{mark['kept']}'::timestamptz"
    await world.fetch(f"DELETE FROM oracle_prices WHERE created_at > {kept} RETURNING 1")

    async def noted() -> bool:
        # A watermark that is just being moved hides this.
        await world.fetch(
            f"UPDATE oracle_watermarks SET watched_at = {kept}, watched_slot = 0 WHERE watched_at > {kept} RETURNING 1"
        )
        await world.clock.sleep(6)
        return bool(await world.gaps())

    await world.until(noted)
    await world.until_healed()
    assert set(await world.gaps()) == {("dropped", "closed")}
    assert await world.assert_table_is_what_was_published() > 60


async def test_what_a_silent_stream_left_out_is_found_by_the_sweep(start: Start) -> None:
    world = await start()
    world.settings = replace(world.settings, node=replace(world.settings.node, sweep_interval=60.0))
    await world.start_daemon()
    await world.until_watched()
    world.server.mute = True
    await world.clock.sleep(4)
    world.server.mute = False

    async def found() -> bool:
        return bool(await world.fetch("SELECT FROM oracle_gaps WHERE cause = 'sweep' AND inserted > 0"))

    await world.until(found)
    assert not await world.gaps()
    begin = await world.fetch("SELECT extract(epoch FROM max(to_time)) AS at FROM oracle_gaps")
    assert begin[0]["at"] * SECOND < world.clock.now()
    await world.clock.sleep(150)
    await world.assert_table_is_what_was_published()


async def test_a_market_that_comes_and_one_that_leaves_change_the_streams_and_lose_nothing(
    start: Start,
) -> None:
    world = await start()
    parts = await world.start_daemon("BTC", "ETH")
    await world.until_watched()
    before = parts.hermes.streams.streams
    assert [len(stream.feed_ids) for stream in before] == [2]
    await world.reread("BTC", "ETH", "SOL")

    async def handed_over() -> bool:
        (ids,) = [set(stream.feed_ids) for stream in parts.hermes.streams.streams] or [set()]
        return len(ids) == 3

    async def one_stream() -> bool:
        return len(parts.hermes.streams.streams) == 1 and await handed_over()

    await world.until(one_stream)
    await world.until_healed()
    parts.roster.left(parts.markets.by_symbol["ETH-PERP"])

    async def without_eth() -> bool:
        streams = parts.hermes.streams.streams
        return len(streams) == 1 and len(streams[0].feed_ids) == 2

    await world.until(without_eth)
    await world.clock.sleep(20)
    assert not await world.gaps()
    assert world.server.streams == 1
    await world.assert_table_is_what_was_published()
    rows = await world.fetch(
        "SELECT m.symbol, max(p.created_at) AS last FROM oracle_prices AS p JOIN markets AS m ON m.id = p.market_id"
        " GROUP BY 1 ORDER BY 1"
    )
    last = {row["symbol"]: row["last"] for row in rows}
    assert last["ETH-PERP"] < last["BTC-PERP"]
    assert last["SOL-PERP"] > last["ETH-PERP"]


async def test_a_market_may_leave_while_a_look_is_under_way_and_come_back_soon(start: Start) -> None:
    world = await start()
    parts = await world.start_daemon()
    await world.until_watched()
    flushed, gone = parts.prices.flushed, asyncio.Event()

    async def leaving() -> None:
        if not gone.is_set():
            parts.roster.left(parts.markets.by_symbol["SOL-PERP"])
            gone.set()
        await flushed()

    parts.prices.flushed = leaving  # type: ignore[method-assign]
    await world.until(lambda: asyncio.sleep(0, gone.is_set()))
    await world.clock.sleep(9)  # the stream that follows it stands all the while, and nobody takes its prints
    await world.reread("BTC", "ETH", "SOL")
    assert not parts.hermes.watch.has_begun("SOL-PERP")
    await world.clock.sleep(10)
    await world.until_healed()
    await world.assert_table_is_what_was_published()


async def test_a_market_that_comes_back_has_what_was_published_while_it_was_away(start: Start) -> None:
    world = await start()
    parts = await world.start_daemon()
    await world.until_watched()
    parts.roster.left(parts.markets.by_symbol["SOL-PERP"])
    await world.clock.sleep(60)
    await world.reread("BTC", "ETH", "SOL")
    await world.clock.sleep(10)
    await world.until_healed()
    assert (await world.gaps())["start", "closed"] == 1
    await world.assert_table_is_what_was_published()
