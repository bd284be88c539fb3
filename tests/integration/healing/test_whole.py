"""A whole daemon through a dead oracle, clocks that lie, and a book that nobody can read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest
from typer.testing import CliRunner

from quantdesk_oracle.cli import app
from quantdesk_oracle.model import SECOND
from quantdesk_oracle.store.audit import audit_funding, audit_marks
from tests.integration.healing.whole import FIRST, INTERVAL, WholeWorld, WrongClock
from tests.integration.healing.world import START, Start
from tests.integration.pricing.world import with_virtual_clock

TO_FIRST = FIRST - START // SECOND
Begin = Callable[..., Awaitable[WholeWorld]]


@pytest.fixture
async def begin(start: Start) -> AsyncIterator[Begin]:
    """`await begin(**options)` is a chain and a database of one time; daemons are added to it."""
    begun: list[WholeWorld] = []

    async def make(**options: Any) -> WholeWorld:
        world = await start(**options)
        await world.database.close()
        await with_virtual_clock(world.dsn, world.dsn.rsplit("/", 1)[1])
        world.database = type(world.database)(world.dsn, pool_size=8, command_timeout=10)
        await world.database.open()
        begun.append(WholeWorld(world))
        await begun[-1].begin()
        return begun[-1]

    yield make
    for whole in begun:
        await whole.close()


async def assert_exact(whole: WholeWorld) -> None:
    """Every mark and every rate recomputes to the last digit, and there is one rate an interval, in order."""
    rates = await whole.rates()
    boundaries = [round(row["created_at"].timestamp()) for row in rates]
    assert boundaries == list(range(FIRST, FIRST + INTERVAL * len(rates), INTERVAL))
    (market,) = await whole.sql("SELECT id FROM markets WHERE symbol = 'BTC-PERP'")
    span = START, START + 3_600 * SECOND
    marks = await audit_marks(whole.world.database, market["id"], *span)
    funding = await audit_funding(whole.world.database, market["id"], *span)
    assert (marks.differences, funding.differences) == ((), ())


async def events(whole: WholeWorld) -> list[str]:
    rows = await whole.sql("SELECT event_type FROM system_events ORDER BY created_at, event_type")
    return [row["event_type"] for row in rows]


async def test_an_oracle_that_is_dead_for_ten_minutes(begin: Begin) -> None:
    dies, back = 30, 30 + 600
    whole = await begin(faults=[{"kind": "halt", "at": dies, "for": back - dies}])
    parts = await whole.daemon()
    await whole.run(dies + 300)
    dead_since = dies + 180
    (reason,) = parts.status.readiness().reasons
    assert (reason.code, reason.market) == ("oracle_dead", "BTC-PERP")
    assert "its newest print is" in reason.sentence
    why = await explained(whole, dies + 250)
    assert "BTC-PERP has no mark" in why
    assert "s old; the market's limits say what is dead" in why
    assert "feed.dead" in why
    await whole.run(back - dies - 300 + 70)
    marks = await whole.instants("mark_prices")
    before, after = [at for at in marks if at < back], [at for at in marks if at >= back]
    assert before[-1] <= dead_since
    assert before == list(range(before[0], before[-1] + 1))
    # Three prints prove the feed anew, or one that is read twice.
    assert after[0] in range(back + 1, back + 10)
    assert after == list(range(after[0], after[-1] + 1))
    assert parts.status.readiness().ready
    stale = await whole.sql("SELECT min(created_at), max(created_at) FROM mark_prices WHERE status = 'stale'")
    assert stale[0]["min"].timestamp() - START // SECOND in range(dies + 74, dies + 78)
    await assert_coverage(whole, dies, back, after[0])
    await assert_exact(whole)
    assert [event for event in await events(whole) if event.startswith("feed.")] == [
        "feed.recovered",
        "feed.stale",
        "feed.dead",
        "feed.recovered",
    ]


async def explained(whole: WholeWorld, at: int) -> str:
    """What `mark explain` says of an instant, seconds after START."""
    moment = datetime.fromtimestamp(START // SECOND + at, UTC).isoformat()
    runner = CliRunner(env={"DATABASE_URL": whole.world.dsn})
    arguments = ["mark", "explain", "--market", "BTC-PERP", "--at", moment]
    result = await asyncio.to_thread(runner.invoke, app, arguments)
    assert result.exit_code == 0
    return result.stdout


async def assert_coverage(whole: WholeWorld, dies: int, back: int, proven: int) -> None:
    """An interval is paid by what was fresh in it: samples without a fresh oracle are rows, and count as such."""
    rates = await whole.rates()
    for row in rates:
        end = round(row["created_at"].timestamp()) - START // SECOND
        grid = range(end - INTERVAL + (5 - (end - INTERVAL)) % 5, end, 5)
        fresh = [at for at in grid if 1 < at <= dies + 75 or at >= proven]
        assert abs(row["samples_used"] - len(fresh)) <= 1, end
        if end > INTERVAL:
            assert row["samples_used"] + row["samples_unusable"] == 12, end
        assert (row["status"] == "skipped") is (row["coverage"] < 0.5), end
    assert {row["reason"] for row in rates if dies + 160 < _end(row) < back} == {
        "coverage below 0.5: 0 of 12 samples"
    }


def _end(row: Any) -> int:
    return round(row["created_at"].timestamp()) - START // SECOND


@pytest.mark.parametrize("wrong", ["one", "both"])
@pytest.mark.parametrize("ahead", [-90, 600])
async def test_a_clock_that_steps_on_one_daemon_or_on_both(begin: Begin, ahead: int, wrong: str) -> None:
    whole = await begin(sweep_interval=60.0)
    clocks = [WrongClock(whole.world.clock) for _ in range(2)]
    daemons = [await whole.daemon(clock, "BTC", "ETH", "SOL") for clock in clocks]
    await whole.run(45)
    stepped = clocks if wrong == "both" else clocks[:1]
    for clock in stepped:
        clock.ahead = ahead * SECOND
    await whole.run(60)
    ready = [parts.status.readiness() for parts in daemons]
    skewed = [any(reason.code == "clock_skewed" for reason in each.reasons) for each in ready]
    assert skewed == [clock in stepped for clock in clocks]
    for clock in stepped:
        clock.ahead = 0
    await whole.run(30)
    assert all(parts.status.readiness().ready for parts in daemons)
    await whole.world.node.stop_pushing()
    await whole.run(70)  # a sweep finds what was rejected as of the future
    now = whole.world.clock.now() // SECOND - START // SECOND
    marks = await whole.instants("mark_prices")
    assert marks[0] >= 1
    assert marks[-1] <= now
    if wrong == "one":
        assert marks == list(range(marks[0], marks[-1] + 1))
    else:
        assert not [at for at in marks if 46 < at < 105]
    await assert_exact(whole)
    told = await events(whole)
    assert (told.count("clock.skewed"), told.count("clock.restored")) == (len(stepped), len(stepped))
    assert await whole.world.assert_table_is_the_ledger() > 100


async def test_a_gap_that_is_healed_by_a_clock_that_is_behind_lacks_nothing(begin: Begin) -> None:
    """What is live is of the future then, and is turned away; what the chain holds is not."""
    whole = await begin()
    clock = WrongClock(whole.world.clock)
    await whole.daemon(clock)
    await whole.run(45)
    await whole.daemons[0].kill()
    await whole.world.clock.advance(60)
    clock.ahead = -90 * SECOND
    whole.daemons.clear()
    parts = await whole.daemon(clock)
    await whole.run(20)
    closed = "SELECT found, inserted, rejected FROM oracle_gaps WHERE state = 'closed'"
    async with asyncio.timeout(30):
        while not (gaps := await whole.sql(closed)):
            await whole.run(1)
    assert [gap["rejected"] for gap in gaps] == [0] * len(gaps)
    assert parts.healing.inserted >= 60


async def test_a_book_that_cannot_be_read_for_a_minute(begin: Begin) -> None:
    whole = await begin()
    parts = await whole.daemon()
    books = parts.mark_worker._books
    await whole.run(TO_FIRST - 5)
    locking = await asyncpg.connect(whole.world.dsn)  # one that no timeout of the daemon's ends
    try:
        await locking.execute("BEGIN; LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
        patience, books._patience = books._patience, 0.02
        for _ in range(60):
            await whole.run(1)
            # A reading gives up in real time: each second's before the next one begins.
            await asyncio.sleep(0.1)
        (reason,) = parts.status.readiness().reasons
        assert reason.code == "book_unreadable"
    finally:
        await locking.close()
    books._patience = patience
    await whole.run(75)
    marks = await whole.instants("mark_prices")
    assert [at for at in marks if TO_FIRST - 5 < at <= TO_FIRST + 55] == []
    assert set(range(TO_FIRST + 57, TO_FIRST + 130)) <= set(marks)
    samples = await whole.instants("premium_samples")
    assert [at for at in samples if TO_FIRST - 5 < at <= TO_FIRST + 55] == []
    unobserved, observed = (await whole.rates())[1:3]
    assert (unobserved["status"], unobserved["funding_rate"]) == ("skipped", 0)
    assert unobserved["samples_used"] <= 1
    assert observed["samples_used"] >= 11
    await assert_exact(whole)
