"""Hermes and Benchmarks as sources of the past: every print once, stopped at any point, and only where they may."""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import pytest
from pydantic import SecretStr

from quantdesk_oracle.clock import SystemClock
from quantdesk_oracle.config import Feed, Market, load_settings
from quantdesk_oracle.model import Reason, Source
from quantdesk_oracle.retry import Patience
from quantdesk_oracle.sources.hermes import HermesClient, HermesHosts, HermesKeyError
from quantdesk_oracle.sources.hermes_history import BenchmarksPages, HermesPages
from quantdesk_oracle.store.database import Database
from quantdesk_oracle.store.gaps import UNRECOVERABLE, FeedKey, Gap, open_gap
from quantdesk_oracle.store.markets import ensure_markets, read_markets
from quantdesk_oracle.workers.backfill import Backfill, FeedReport, Span
from quantdesk_oracle.workers.history_reader import FINAL, HistoryReader
from tests.hermes_server import KEY, HermesServer, hermes_server, of_bytes
from tests.postgres import TEMPLATE, PostgresServer, execute

NOW = SystemClock().now() // 1_000_000 - 7_200
SECOND = 1_000_000
SPAN = Span(NOW * SECOND, (NOW + 600) * SECOND)


class Past:
    """A Hermes with ten minutes of three feeds, and a database."""

    def __init__(self, server: HermesServer, database: Database, markets: list[Market], ids: Any) -> None:
        self.server, self.database, self.markets, self.ids = server, database, markets, ids
        for number, market in enumerate(markets):
            assert market.feed_id is not None
            for second in range(0, 600, 20):
                server.publish(
                    market.feed_id, NOW + second, second * 10 + number, 1_000_000 + second, confidence=100
                )

    def damage(self, number: int) -> None:
        """Let the proof of a published print lead nowhere."""
        self.server.published[number] = self.server.published[number]._replace(damaged=True)

    def garble(self, number: int) -> None:
        """Let a published print be told in what are no hexadecimal digits."""
        self.server.published[number] = self.server.published[number]._replace(text="no digits")

    async def backfill(
        self, source: Source, *, dry_run: bool = False, before: Sequence[str] = ()
    ) -> list[FeedReport]:
        """``before``: the URLs of other Hermes, which are asked first."""
        clients = [
            HermesClient(url, SecretStr(KEY), timeout=5, silence=5) for url in [*before, self.server.url]
        ]
        client = HermesHosts(clients)
        clock = SystemClock()
        patience = Patience(clock, FINAL)
        pages: Any = HermesPages(client, patience)
        if source is Source.BENCHMARKS:
            pages = BenchmarksPages(clients[0], patience)
        reader = HistoryReader(pages, patience, self.database, self.ids, clock, dry_run=dry_run)
        try:
            return await Backfill(reader, self.database, self.ids, dry_run=dry_run).run(
                [(market, of_source(market, source)) for market in self.markets], SPAN
            )
        finally:
            await client.close()

    async def rows(self, what: str = "count(*)") -> Any:
        async with self.database.connection("test") as connection:
            return await connection.fetchval(f"SELECT {what} FROM oracle_prices")


def of_source(market: Market, source: Source) -> Feed:
    assert market.feed_id is not None
    return Feed(market.symbol, market.feed_id.hex(), None, market.feed_id, source=source)


@pytest.fixture
async def past(postgres_18: PostgresServer, request: pytest.FixtureRequest) -> AsyncIterator[Past]:
    """Markets on Hermes, unless the test says that they are on the chain."""
    name = f"past_{secrets.token_hex(6)}"
    await execute(postgres_18.dsn(), f"CREATE DATABASE {name} TEMPLATE {TEMPLATE} STRATEGY FILE_COPY")
    settings = load_settings(database=postgres_18.dsn(name), own_network=True)
    markets = list(settings.markets)
    if not getattr(request, "param", False):
        markets = [replace(one, feeds=(of_source(one, Source.HERMES),)) for one in markets]
    database = Database(postgres_18.dsn(name), pool_size=3, command_timeout=10)
    await database.open()
    await ensure_markets(database, markets, "")
    rows = await read_markets(database, [market.symbol for market in markets])
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(hermes_server())
        yield Past(server, database, markets, {symbol: row.id for symbol, row in rows.items()})
    await database.close()
    await execute(postgres_18.dsn(), f"DROP DATABASE {name} WITH (FORCE)")


ON_CHAIN = pytest.mark.parametrize("past", [True], indirect=True)


@pytest.mark.parametrize("source", [Source.HERMES, Source.BENCHMARKS])
async def test_every_print_of_the_span_is_a_row_once(past: Past, source: Source) -> None:
    reports = await past.backfill(source)
    assert [report.tally.inserted for report in reports] == [30, 30, 30]
    assert await past.rows("count(*)") == 90
    assert await past.rows("min(source::text) || max(source::text)") == source.value * 2
    # One request serves all three feeds: ten minutes, or 30 moments and the one after.
    assert len(past.server.seen) == (10 if source is Source.BENCHMARKS else 31)
    again = await past.backfill(source)
    assert [(one.tally.inserted, one.tally.known) for one in again] == [(0, 30)] * 3


async def test_a_print_has_the_same_identity_from_both(past: Past) -> None:
    await past.backfill(Source.HERMES)
    await past.backfill(Source.BENCHMARKS)
    assert await past.rows() == 90


@pytest.mark.parametrize("source", [Source.HERMES, Source.BENCHMARKS])
async def test_one_that_is_stopped_goes_on_and_asks_for_no_finished_page_again(
    past: Past, source: Source
) -> None:
    limits = (3, 3) if source is Source.BENCHMARKS else (22,)
    for limit in limits:
        before = len(past.server.seen)
        task = asyncio.ensure_future(past.backfill(source))
        while len(past.server.seen) - before < limit and not task.done():  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    await past.backfill(source)
    assert await past.rows() == 90
    pages = 10 if source is Source.BENCHMARKS else 31
    # What was under way at a stop is asked for again: a page of Benchmarks is one request, one of Hermes twenty.
    under_way = 2 if source is Source.BENCHMARKS else 21
    assert len(past.server.seen) <= pages + len(limits) * under_way


@pytest.mark.parametrize("source", [Source.HERMES, Source.BENCHMARKS])
async def test_an_update_that_cannot_be_read_is_counted_and_stops_nothing(past: Past, source: Source) -> None:
    past.damage(7)
    reports = await past.backfill(source)
    assert await past.rows() == 89
    rejected = sum((report.tally.rejected for report in reports), Counter[Reason]())
    assert set(rejected) == {Reason.BAD_VERIFICATION}
    assert sum(report.tally.inserted for report in reports) == 89


@pytest.mark.parametrize("source", [Source.HERMES, Source.BENCHMARKS])
async def test_an_update_that_is_no_hexadecimal_text_is_counted_and_not_asked_for_for_ever(
    past: Past, source: Source
) -> None:
    past.garble(7)
    async with asyncio.timeout(30):
        reports = await past.backfill(source)
    assert await past.rows() == 89
    rejected = sum((report.tally.rejected for report in reports), Counter[Reason]())
    assert set(rejected) == {Reason.BAD_TEXT}


async def test_the_next_hermes_is_asked_where_one_fails(past: Past) -> None:
    async with hermes_server() as failing:
        failing.instead = of_bytes(b"", status=502)
        await past.backfill(Source.HERMES, before=[failing.url])
        assert await past.rows() == 90
        assert len(failing.seen) == 1


async def test_a_dry_run_writes_nothing(past: Past) -> None:
    reports = await past.backfill(Source.BENCHMARKS, dry_run=True)
    assert [report.tally.found for report in reports] == [30, 30, 30]
    assert await past.rows() == 0


async def test_a_refused_key_ends_it(past: Past) -> None:
    past.server.key = "another"
    with pytest.raises(HermesKeyError):
        await past.backfill(Source.BENCHMARKS)


@ON_CHAIN
async def test_of_a_market_on_the_chain_only_what_the_chain_cannot_fill_is_read(past: Past) -> None:
    market = past.markets[0]
    start, end = (NOW + 100) * SECOND, (NOW + 200) * SECOND
    for state, cause, begin in ((UNRECOVERABLE, "start", start), ("closed", "start", end)):
        key = FeedKey(market.symbol, market.feeds[0].pubkey)
        gap = Gap(key, cause, begin, begin + 100 * SECOND, 1, 2, state=state, reason="pruned")
        await open_gap(past.database, past.ids, gap)
    reports = await past.backfill(Source.BENCHMARKS)
    assert [report.tally.inserted for report in reports] == [5, 0, 0]
    assert "nothing that the chain's history cannot fill" in (reports[1].note or "")
    low, high = (
        await past.rows("extract(epoch FROM min(created_at))"),
        await past.rows("extract(epoch FROM max(created_at))"),
    )
    assert (low, high) == (NOW + 100, NOW + 180)


@ON_CHAIN
async def test_what_a_fallback_account_has_lost_lets_no_other_source_in(past: Past) -> None:
    market = past.markets[0]
    fallback = market.feeds[1]
    key = FeedKey(market.symbol, fallback.pubkey)
    start = (NOW + 100) * SECOND
    gap = Gap(key, "start", start, start + 100 * SECOND, 1, 2, state=UNRECOVERABLE, reason="pruned")
    await open_gap(past.database, past.ids, gap)
    reports = await past.backfill(Source.BENCHMARKS)
    assert [report.tally.inserted for report in reports] == [0, 0, 0]
