"""Marks on their grid: one at every instant that deserves one, from what was known at it."""

from __future__ import annotations

import asyncio
import random
from decimal import Decimal

import pytest

from quantdesk_oracle.model import SECOND
from quantdesk_oracle.pricing.book import impact_price
from tests.clock import VirtualClock
from tests.integration.pricing.world import SLOT, START, World, a_print

D = Decimal


async def marks(world: World) -> list[tuple[int, Decimal, str]]:
    """(seconds after the start, mark, status) of BTC's rows."""
    rows = await world.sql(
        "SELECT extract(epoch FROM created_at)::bigint AS at, mark_price, status FROM mark_prices"
        " WHERE market_id = $1 ORDER BY created_at",
        world.btc.id,
    )
    return [(row["at"] - START // SECOND, row["mark_price"], row["status"]) for row in rows]


async def mark_row(world: World, second: int = 0):
    rows = await world.sql(
        "SELECT * FROM mark_prices WHERE market_id = $1 ORDER BY created_at OFFSET $2 LIMIT 1",
        world.btc.id,
        second,
    )
    return rows[0]


async def test_a_mark_stands_on_every_instant_of_the_grid_and_on_no_other(world):
    await world.prove()
    await world.ticks(30)
    assert [at for at, *_ in await marks(world)] == list(range(30))
    assert {(price, status) for _, price, status in await marks(world)} == {(D(10_000), "fresh")}


async def test_a_late_tick_uses_what_was_known_at_its_instant(world):
    await world.prove(10_000, START)
    await world.deliver(10_005, START + 2 * SECOND)
    await world.set_clocks(START + 2_900_000)
    for second in (1, 2):
        await world.mark_worker.tick(START + second * SECOND)
    await world.written()
    assert [price for _, price, _ in await marks(world)] == [D(10_000), D(10_005)]


class GridClock(VirtualClock):
    """Ends the run once ``moves`` are used up: each is where the clock stands after one sleep."""

    def __init__(self, *moves: float) -> None:
        super().__init__(START)
        self._moves = iter(moves)

    async def sleep_until(self, instant: int) -> None:
        move = next(self._moves, None)
        if move is None:
            raise asyncio.CancelledError
        self.set(START + round(move * SECOND))


async def run_grid(world: World, clock: GridClock) -> None:
    """The mark worker's own loop on ``clock``, with the database's clock far ahead."""
    await world.sql("UPDATE virtual.clock SET now = to_timestamp($1)", START // SECOND + 10_000)
    world.mark_worker._clock = clock
    with pytest.raises(asyncio.CancelledError):
        await world.mark_worker.run()
    await world.written()


async def test_a_loop_that_stood_still_says_what_it_skipped_and_fills_nothing_in(world):
    await world.prove()
    await run_grid(world, GridClock(1, 2, 9.5, 10, 11))
    assert [at for at, *_ in await marks(world)] == [1, 2, 10, 11]
    assert "marks.skipped" in await world.event_types()


async def test_an_instant_that_is_late_by_less_than_three_seconds_is_still_computed(world):
    await world.prove()
    await run_grid(world, GridClock(1, 4.5, 5))
    assert [at for at, *_ in await marks(world)] == [1, 2, 3, 4, 5]


async def test_a_clock_set_back_is_said_and_silences_nothing(world):
    await world.prove()
    # At the instant 3 the clock is set back by 90 s, as it notices within a second.
    await run_grid(world, GridClock(1, 2, -87, -87, -86, -85, 0, 1, 2, 3, 4))
    stood = [at for at, *_ in await marks(world)]
    assert stood == sorted(set(stood))
    assert {1, 2, 3, 4} <= set(stood)
    assert "marks.skipped" in await world.event_types()


async def test_a_mark_is_never_written_for_an_instant_that_the_database_has_not_reached(world):
    await world.prove()
    await world.set_clocks(START + 600 * SECOND, database=START)
    await world.mark_worker.tick(START + 600 * SECOND)
    await world.written()
    assert await marks(world) == []


async def test_nothing_is_written_while_the_clocks_differ(world):
    await world.prove()
    world.may_write = False
    await world.ticks(6)
    assert await marks(world) == []
    assert await world.value("SELECT count(*) FROM premium_samples") == 0


async def test_the_first_writers_row_of_an_instant_stands(new_world):
    first, second = await new_world(), await new_world()
    await first.prove(10_000)
    await second.prove(10_001, START - SECOND)
    await first.tick(START)
    await second.tick(START)
    assert [price for _, price, _ in await marks(first)] == [D(10_000)]
    assert second.marks.duplicates == 1


# ── Freshness ────────────────────────────────────────────────────────────────────────────────────


async def test_a_feed_that_is_not_proven_gives_no_mark(world):
    await world.deliver(10_000, START - SECOND)
    await world.deliver(10_000, START)
    await world.ticks(3, price=None)
    assert await marks(world) == []
    await world.deliver(10_000, START + 3 * SECOND)
    await world.ticks(2, price=None)
    assert [at for at, *_ in await marks(world)] == [3, 4]


async def test_one_fresh_print_read_twice_proves_a_feed(world):
    await world.deliver(10_000, START)
    use = world.btc.index.feeds[0]
    use.confirm(a_print(10_000, START), START, world.markets.highest_slot)
    await world.tick(START)
    assert len(await marks(world)) == 1


async def test_a_mark_of_a_stale_print_is_flagged_and_a_dead_one_gives_none(world):
    await world.prove()
    await world.ticks(190, price=None, step=5)
    found = await marks(world)
    assert {at: status for at, _, status in found} == {
        at: "fresh" if at <= 75 else "stale" for at in range(0, 181, 5)
    }
    types = await world.event_types()
    assert [each for each in types if each.startswith("feed.")] == [
        "feed.recovered",
        "feed.stale",
        "feed.dead",
    ]


async def test_the_chains_clock_makes_a_print_stale_too(world):
    await world.prove()
    world.markets.highest_slot += 76 * 5 // 2
    await world.tick(START)
    assert [status for *_, status in await marks(world)] == ["stale"]


async def test_after_an_outage_marks_resume_only_with_proof(world):
    await world.prove()
    await world.tick(START)
    await world.set_clocks(START + 600 * SECOND)
    await world.tick(START + 600 * SECOND)
    await world.deliver(9_000, START + 601 * SECOND)
    await world.tick(START + 601 * SECOND)
    assert [at for at, *_ in await marks(world)] == [0]
    for second in (602, 603):
        await world.deliver(9_000, START + second * SECOND)
    await world.tick(START + 603 * SECOND)
    assert [at for at, *_ in await marks(world)] == [0, 603]
    assert "feed.recovered" in await world.event_types()


# ── The book ─────────────────────────────────────────────────────────────────────────────────────


async def a_book(world: World, bid: object = 9_998, ask: object = 10_006, size: object = 50) -> None:
    await world.order("long", bid, size)
    await world.order("short", ask, size)


async def test_with_a_book_the_row_holds_every_input_of_its_own_formula(world):
    await world.prove()
    await a_book(world)
    await world.trade(10_005, START - SECOND)
    await world.ticks(3)
    row = await mark_row(world, 2)
    assert (row["best_bid"], row["best_ask"], row["last_trade_price"]) == (D(9_998), D(10_006), D(10_005))
    assert (row["basis_sum"], row["basis_count"], row["basis_mean"]) == (D(6), 3, D(2))
    # C1 = 10002, C2 = 10005, C3 = 10000
    assert row["mark_price"] == D(10_002)
    assert row["last_trade_at"].timestamp() == START // SECOND - 1
    assert (row["oracle_slot"], row["method"], row["parameter_version"]) == (SLOT, "quantdesk", 1)


@pytest.mark.parametrize(
    ("columns", "counts"),
    [
        ({}, True),
        ({"order_type": "post_only"}, True),
        ({"status": "partially_filled", "filled_size": 20}, True),
        ({"expires_at": "2026-01-10T00:00:30Z"}, True),
        ({"expires_at": "2026-01-10T00:00:00Z"}, False),
        ({"status": "partially_filled", "filled_size": 50}, False),
        ({"order_type": "ioc"}, False),
        ({"order_type": "stop_loss"}, False),
        ({"status": "cancelled"}, False),
        ({"status": "filled"}, False),
    ],
)
async def test_only_live_limit_orders_with_something_left_are_the_book(world, columns, counts):
    await world.prove()
    await world.order("long", 9_998, 50, **columns)
    await world.order("short", 10_006, 50)
    await world.tick(START)
    assert (await mark_row(world))["best_bid"] == (D(9_998) if counts else None)


@pytest.mark.parametrize(
    ("bid", "ask", "mark"),
    [
        ("9998", None, "10000"),  # one-sided: no book
        ("10006", "9998", "10000"),  # crossed: no book
        ("10004", "10004", "10000"),  # locked: no book
        ("0.00000001", "1000000000000", "10000"),  # a price of a million to one: a spread that says nothing
        ("10300", "10301", "10100"),  # far off: the band
    ],
)
async def test_a_book_that_is_none_or_nonsense_moves_no_mark_beyond_its_band(world, bid, ask, mark):
    await world.prove()
    await world.order("long", bid, 50)
    if ask is not None:
        await world.order("short", ask, 50)
    await world.tick(START)
    assert (await mark_row(world))["mark_price"] == D(mark)


async def test_a_crossed_book_is_said_once(world):
    await world.prove()
    await a_book(world, bid=10_006, ask=9_998)
    await world.ticks(5)
    assert (await world.event_types()).count("book.crossed") == 1


async def test_a_trade_counts_for_sixty_seconds(world):
    await world.prove(at=START)
    await world.trade(10_003, START)
    await world.ticks(70, step=5)
    rows = await world.sql(
        "SELECT last_trade_price IS NOT NULL AS known FROM mark_prices ORDER BY created_at"
    )
    assert [row["known"] for row in rows] == [True] * 13 + [False]


async def test_the_basis_is_a_mean_over_150_seconds(world):
    await world.prove()
    await a_book(world)
    await world.ticks(4)
    await world.sql("UPDATE orders SET price = price + 10")
    await world.ticks(156)
    last = await mark_row(world, 159)
    assert (last["basis_count"], last["basis_mean"]) == (150, D(12))


async def test_a_restart_does_not_forget_the_basis(new_world):
    first = await new_world()
    await first.prove()
    await a_book(first)
    await first.ticks(5)
    second = await new_world(start=START + 5 * SECOND)
    await second.prove()
    await second.ticks(1)
    assert (await mark_row(second, 5))["basis_count"] == 6


async def test_a_book_that_cannot_be_read_is_unknown_and_not_empty(new_world, dsn):
    world = await new_world(patience=0.3)
    await world.prove()
    await world.ticks(5)
    async with world.database.transaction("a lock") as connection:
        await connection.execute("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
        await world.ticks(6)
    await world.ticks(4)
    assert [at for at, *_ in await marks(world)] == [0, 1, 2, 3, 4, 11, 12, 13, 14]
    assert (
        await world.value("SELECT count(*) FROM premium_samples") == 1
    )  # of the start: 5 and 10 are unknown
    types = await world.event_types()
    assert (types.count("book.unreadable"), types.count("book.restored")) == (1, 1)


async def test_a_halted_market_has_neither_marks_nor_samples(world):
    await world.prove()
    await world.ticks(5)
    await world.sql("UPDATE markets SET halted_at = now(), halted_reason = 'maintenance'")
    await world.settle()
    await world.ticks(10)
    await world.sql("UPDATE markets SET halted_at = NULL, halted_reason = NULL")
    await world.set_clocks(world.clock.now() + 5 * SECOND)
    await world.settle()
    await world.prove()
    await world.ticks(1)
    stood = [at for at, *_ in await marks(world)]
    assert stood[:5] == [0, 1, 2, 3, 4]
    assert min(stood[5:]) >= 20
    assert (
        await world.value(
            "SELECT count(*) FROM premium_samples WHERE created_at < to_timestamp($1)", START // SECOND + 15
        )
        == 1
    )


async def test_the_depth_of_a_thousand_small_orders_is_found(world):
    await world.prove()
    await world.order("short", 10_001, 50)
    trader = await world._trader()
    await world.sql(
        "INSERT INTO orders (user_id, market_id, side, price, size, order_type)"
        " SELECT $1, $2, 'long', 10000 - n * 0.01, 0.002, 'limit' FROM generate_series(1, 2000) AS n",
        trader,
        world.btc.id,
    )
    await world.tick(START)
    sample = (await world.sql("SELECT * FROM premium_samples"))[0]
    assert sample["impact_bid"] is not None
    # 20,000 units at 10,000: a thousand orders of 0.002, down to 9,990
    assert D(9_994) < sample["impact_bid"] < D(9_996)
    assert sample["impact_ask"] == D(10_001)
    assert sample["mark_created_at"] is None


async def test_the_order_in_which_the_books_rows_were_written_changes_nothing(world):
    dice = random.Random(11)
    orders = [
        (side, D(10_000) + sign * D(dice.randrange(1, 400)) / 100, D(dice.randrange(1, 2_000)) / 1_000)
        for side, sign in (("long", -1), ("short", 1))
        for _ in range(40)
    ]
    found = set()
    for _ in range(4):
        dice.shuffle(orders)
        await world.sql("DELETE FROM orders")
        for side, price, size in orders:
            await world.order(side, price, size)
        (book,) = (await world.books.read(START)).values()
        bid, ask = (impact_price(side, D(20_000)) for side in (book.bids, book.asks))
        found.add((book.touch, book.mid, bid, ask))
    assert len(found) == 1
    assert None not in found.pop()


async def test_an_absurd_bid_stops_no_sample(world):
    await world.prove()
    await world.order("long", "1e17", 50)
    await world.ticks(6)
    premiums = await world.sql("SELECT premium FROM premium_samples ORDER BY created_at")
    assert len(premiums) == 2
    assert all(row["premium"] == D("999999999999.999999999999") for row in premiums)
