"""After any outage, the table holds what the chain holds."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from solders.rpc.requests import GetSignaturesForAddress

from quantdesk_oracle.model import SECOND, Generation
from tests.e2e import truth
from tests.integration.healing.world import START, HealingWorld, Start


async def prints_of(world: HealingWorld) -> list[tuple[object, ...]]:
    async with world.database.connection("test") as connection:
        return await truth.stored_prints(connection)


async def causes(world: HealingWorld) -> list[tuple[str, str]]:
    """(cause, state) of every gap, each once."""
    return sorted({(row["cause"], row["state"]) for row in await world.fetch("SELECT * FROM oracle_gaps")})


async def test_a_first_start_has_missed_nothing(start: Start) -> None:
    world = await start()
    await world.start_daemon()
    await world.run(20)
    assert await causes(world) == []
    assert await world.assert_table_is_the_ledger() > 50


BLIND = [{"kind": "refuse", "at": 0, "for": 20}, {"kind": "drop", "at": 0, "for": 20}]
"""A node that is polled for twenty seconds before it takes a subscription."""


async def test_what_came_between_the_first_poll_and_the_first_subscription_is_found_after_a_kill(
    start: Start,
) -> None:
    world = await start(faults=BLIND, poll_interval=5.0)
    parts = await world.start_daemon()
    while not parts.watch.begun:
        await world.run(1)
    await world.kill_daemon()
    await world.start_daemon()
    await world.run(3)
    await world.until_healed()
    await world.assert_table_is_the_ledger_later()


async def test_what_came_between_the_first_poll_and_the_first_subscription_is_found_by_the_sweep(
    start: Start,
) -> None:
    world = await start(faults=BLIND, poll_interval=5.0, sweep_interval=60.0)
    await world.start_daemon()
    await world.run(130)
    await world.assert_table_is_the_ledger_later()


async def test_a_daemon_that_is_killed_before_it_ever_watched_leaves_no_hole(start: Start) -> None:
    world = await start(faults=BLIND)
    parts = await world.start_daemon()
    await world.run(10)
    assert not parts.watch.begun
    await world.kill_daemon()
    await world.clock.advance(60)
    await world.start_daemon()
    await world.run(20)
    await world.until_healed()
    assert await causes(world) == [("start", "closed")]
    await world.assert_table_is_the_ledger_later()


async def test_a_connection_is_watched_from_the_first_slot_on_that_it_tells(start: Start) -> None:
    """Just connected again, the newest slot that is known is the one from before the outage."""
    faults: list[dict[str, object]] = [{"kind": "close", "at": 60}, {"kind": "refuse", "at": 60, "for": 40}]
    faults.append({"kind": "status", "at": 60, "for": 70, "methods": ["getMultipleAccounts", "getSlot"]})
    faults.append({"kind": "drop", "at": 60, "for": 70, "methods": ["slotNotification"]})
    world = await start(faults=faults)
    parts = await world.start_daemon()
    await world.run(60)
    while not parts.subscription.connected:
        await world.run(1)
    assert world.clock.now() < START + 130 * SECOND  # nothing has told of a slot yet
    await world.run(200)
    await world.until_healed()
    assert await causes(world) == [("disconnected", "closed")]
    await world.assert_table_is_the_ledger_later()


async def test_what_was_pushed_while_the_daemon_was_down_is_read_back(start: Start) -> None:
    world = await start()
    await world.start_daemon()
    await world.run(40)
    await world.kill_daemon()
    await world.clock.advance(300)
    parts = await world.start_daemon()
    await world.run(3)
    await world.until_healed()
    assert await causes(world) == [("start", "closed")]
    assert parts.healing.inserted >= 3 * 290
    await world.assert_table_is_the_ledger_later()


async def test_an_outage_of_the_connection_is_a_gap_and_is_closed(start: Start) -> None:
    faults = [{"kind": "refuse", "at": 60, "for": 120}, {"kind": "close", "at": 60}]
    faults.append({"kind": "status", "at": 60, "for": 70, "methods": ["getMultipleAccounts", "getSlot"]})
    world = await start(faults=faults)
    await world.start_daemon()
    await world.run(240)
    await world.until_healed()
    assert ("disconnected", "closed") in await causes(world)
    await world.assert_table_is_the_ledger_later()


async def test_what_a_silent_socket_dropped_is_found_by_the_sweep(start: Start) -> None:
    faults = [
        {"kind": "drop", "at": 60, "for": 20, "methods": ["accountNotification"]},
        {"kind": "status", "at": 60, "for": 20, "methods": ["getMultipleAccounts"]},
    ]
    world = await start(faults=faults, sweep_interval=120.0, silence_limit=60.0)
    await world.start_daemon()
    await world.run(300)
    assert ("sweep", "closed") in await causes(world)
    await world.node.stop_pushing()
    await world.run(160)
    await world.assert_table_is_the_ledger()


@pytest.mark.parametrize("lags_at", [101, 103])
async def test_a_node_that_falls_behind_while_a_gap_is_read_hides_nothing(start: Start, lags_at: int) -> None:
    """Before it lists what was missed, and after: then it lists what it does not serve."""
    lag = {"kind": "behind", "slots": 200, "at": lags_at, "for": 60}
    world = await start(faults=[lag], requests=100)
    await world.start_daemon()
    await world.run(40)
    await world.kill_daemon()
    await world.clock.advance(60)
    await world.start_daemon()
    await world.run(160)
    await world.until_healed()
    assert {state for _, state in await causes(world)} == {"closed"}
    gap = await world.fetch("SELECT max(to_slot) AS end FROM oracle_gaps WHERE cause = 'start'")
    stored = {row["slot"] for row in await world.fetch("SELECT slot FROM oracle_prices")}
    pushed = {line["slot"] for line in truth.ledger_rows(world.ledger) if line["slot"] <= gap[0]["end"]}
    assert pushed <= stored


async def test_what_a_database_has_lost_that_it_had_committed_is_read_back(start: Start) -> None:
    """As after the promotion of a standby that was a minute and a half behind."""
    world = await start(sweep_interval=3_600.0)
    await world.start_daemon()
    await world.run(200)
    (mark,) = await world.fetch("SELECT min(watched_slot) AS slot FROM oracle_watermarks")
    kept = mark["slot"] - 200
    await world.fetch(f"DELETE FROM oracle_prices WHERE slot > {kept + 30} RETURNING 1")
    await world.fetch(f"UPDATE oracle_watermarks SET watched_slot = {kept} RETURNING 1")
    await world.run(20)
    await world.until_healed()
    assert await causes(world) == [("dropped", "closed")]
    await world.assert_table_is_the_ledger_later()


async def test_a_node_without_history_leaves_gaps_open_and_prices_served(start: Start) -> None:
    """Whether it has no such method is found out again and again: another endpoint, or plan, may have it."""
    methods = ["getSignaturesForAddress", "getTransaction"]
    faults = [
        {"kind": "error", "code": -32601, "at": 40, "for": 100, "methods": methods},
        {"kind": "close", "at": 45},
    ]
    world = await start(faults=faults)
    await world.start_daemon()
    await world.run(130)
    assert await causes(world) == [("disconnected", "open")]
    newest = await world.fetch("SELECT max(created_at) AS at FROM oracle_prices")
    assert world.clock.now() // 1_000_000 - newest[0]["at"].timestamp() < 5
    await world.run(60)
    await world.until_healed()
    assert await causes(world) == [("disconnected", "closed")]
    await world.assert_table_is_the_ledger_later()


async def test_failed_and_stale_pushes_are_no_prints(start: Start) -> None:
    faults = [
        {"kind": "failed_pushes", "probability": 0.3},
        {"kind": "stale_pushes", "probability": 0.3},
        {"kind": "address_tables", "probability": 0.3},
        {"kind": "shared_transactions", "probability": 0.3},
    ]
    world = await start(faults=faults)
    await world.start_daemon()
    await world.run(35)
    await world.kill_daemon()
    await world.clock.advance(120)
    await world.start_daemon()
    await world.run(3)
    await world.until_healed()
    await world.assert_table_is_the_ledger_later()


async def test_history_that_is_not_kept_closes_a_gap_as_unrecoverable_with_an_event(start: Start) -> None:
    world = await start(history=90)
    await world.start_daemon()
    await world.run(40)
    await world.kill_daemon()
    await world.clock.advance(200)
    await world.start_daemon()
    await world.run(3)
    await world.until_healed()
    assert await causes(world) == [("start", "unrecoverable")]
    reasons = [row["reason"] for row in await world.fetch("SELECT reason FROM oracle_gaps")]
    assert all("history of the account begins at slot" in reason for reason in reasons)
    await world.run(2)
    events = await world.fetch("SELECT FROM system_events WHERE event_type = 'gap.unrecoverable'")
    assert len(events) == 3


async def test_healing_never_exceeds_a_public_nodes_limits(start: Start) -> None:
    world = await start(requests=100, method_requests=40)
    await world.start_daemon()
    await world.run(40)
    await world.kill_daemon()
    await world.clock.advance(120)
    world.wire.requests.clear()
    await world.start_daemon()
    await world.run(3)
    await world.until_healed()
    sent = world.wire.requests
    assert Counter(method for _, method in sent)["getTransaction"] >= 350
    for at, (instant, _) in enumerate(sent):
        window = [method for when, method in sent[at:] if when < instant + 10_000_000]
        assert len(window) <= 100
        assert max(Counter(window).values()) <= 40
    await world.assert_table_is_the_ledger_later()


async def test_a_boundary_waits_for_the_gap_that_its_print_may_lie_in_and_for_no_other(start: Start) -> None:
    world = await start(requests=100, method_requests=40)
    await world.start_daemon()
    await world.run(40)
    await world.kill_daemon()
    down = world.clock.now()
    await world.clock.advance(200)
    parts = await world.start_daemon()
    healing, btc = parts.healing, parts.markets.by_symbol["BTC-PERP"]
    stale = btc.market.use.stale
    assert not healing.healed(btc, down - 10**9)  # nothing is known before the watch has begun
    while not parts.watch.begun or healing.open_gaps.total() < 3:
        await world.run(1)
    now = world.clock.now()
    for boundary, healed in [
        (down - 40_000_000, True),
        (down + 1, False),
        (now, False),
        (now + 2 * stale, True),
    ]:
        assert healing.healed(btc, boundary) is healed
    await world.until_healed()
    await world.run(5)
    assert healing.healed(btc, down + 1)


async def test_a_connection_that_is_back_prices_no_boundary_before_what_it_missed_is_noted(
    start: Start,
) -> None:
    faults: list[dict[str, object]] = [{"kind": "close", "at": 60}, {"kind": "refuse", "at": 60, "for": 20}]
    world = await start(faults=faults)
    parts = await world.start_daemon()
    await world.run(70)
    btc, boundary = parts.markets.by_symbol["BTC-PERP"], world.clock.now()
    assert not parts.subscription.connected
    unnoted = 0
    while not await world.fetch("SELECT FROM oracle_gaps"):
        await world.clock.advance(0.1)
        if parts.subscription.connected and not await world.fetch("SELECT FROM oracle_gaps"):
            unnoted += 1
            assert not parts.healing.healed(btc, boundary)
    assert unnoted
    await world.run(2)
    await world.until_healed()
    await world.run(6)
    assert parts.healing.healed(btc, boundary)


async def test_live_polling_goes_on_while_a_gap_heals_under_a_tight_budget(start: Start) -> None:
    world = await start(requests=100, method_requests=40)
    await world.start_daemon()
    await world.run(40)
    await world.kill_daemon()
    await world.clock.advance(120)
    await world.start_daemon()
    world.wire.requests.clear()
    begun = world.clock.now()
    await world.run(60)
    polls = [when for when, method in world.wire.requests if method == "getMultipleAccounts"]
    assert len(polls) >= 29
    assert all(later - earlier <= 2_100_000 for earlier, later in zip([begun, *polls], polls, strict=False))


async def test_a_healing_that_is_killed_goes_on_and_asks_for_nothing_twice(start: Start) -> None:
    world = await start(requests=100, method_requests=40)
    await world.start_daemon()
    await world.run(40)
    await world.kill_daemon()
    await world.clock.advance(300)
    world.wire.requests.clear()
    for _ in range(4):
        await world.start_daemon()
        await world.run(25)
        await world.kill_daemon()
    await world.start_daemon()
    await world.run(3)
    await world.until_healed()
    fetched = Counter(method for _, method in world.wire.requests)["getTransaction"]
    pushed = await world.assert_table_is_the_ledger_later()
    # A piece that was under way when it was killed is fetched again: at most one a kill and feed.
    assert fetched <= pushed + 5 * 20 * 3


async def test_a_feed_without_any_history_beside_one_that_has_it_is_no_loss(start: Start) -> None:
    world = await start(generations=(Generation.CORE_UPGRADED, Generation.CORE))
    await world.start_daemon()
    await world.run(40)
    await world.kill_daemon()
    await world.clock.advance(60)
    await world.start_daemon()
    await world.run(3)
    await world.until_healed()
    assert await causes(world) == [("start", "closed")]
    await world.assert_table_is_the_ledger_later()


async def test_a_legacy_feed_says_that_its_history_is_not_in_transactions(start: Start) -> None:
    world = await start(generations=(Generation.CORE_UPGRADED, Generation.LEGACY))
    await world.start_daemon()
    await world.run(40)
    await world.kill_daemon()
    await world.clock.advance(30)
    await world.start_daemon()
    await world.run(5)
    await world.until_healed()
    lost = await world.fetch("SELECT reason FROM oracle_gaps WHERE state = 'unrecoverable'")
    assert {row["reason"] for row in lost} == {"legacy accounts keep no history in transactions"}
    assert len(lost) == 3
    await world.assert_table_is_the_ledger_later()


async def test_a_daemon_that_is_blind_while_another_watches_leaves_one_row_a_print(start: Start) -> None:
    world = await start()
    await world.start_daemon()
    first = world._tasks
    await world.start_daemon()
    world._tasks += first
    await world.run(60)
    await world.kill_daemon()
    await world.clock.advance(60)
    await world.start_daemon()
    first = world._tasks
    await world.start_daemon()
    world._tasks += first
    await world.run(5)
    await world.until_healed()
    await world.assert_table_is_the_ledger_later()


async def test_a_node_that_takes_min_context_slot_for_a_filter_hides_nothing(start: Start) -> None:
    world = await start()
    answer = world.wire.post

    async def filtered(at: int, request: GetSignaturesForAddress) -> str:
        body = json.loads(await answer(at, request))
        least = json.loads(request.to_json())["params"][-1].get("minContextSlot")
        if isinstance(request, GetSignaturesForAddress) and least is not None:
            body["result"] = [info for info in body["result"] if info["slot"] >= least]
        return json.dumps(body)

    world.wire.post = filtered
    await world.start_daemon()
    await world.run(20)
    await world.kill_daemon()
    await world.clock.advance(30)
    await world.start_daemon()
    await world.run(3)
    await world.until_healed()
    await world.assert_table_is_the_ledger_later()


async def test_slots_that_were_a_lie_for_minutes_leave_no_hole(start: Start) -> None:
    silent = ["getMultipleAccounts", "getSlot", "getSignaturesForAddress"]
    faults: list[dict[str, object]] = [
        {"kind": "slot_shift", "by": 1_000_000, "at": 30, "for": 170},
        {"kind": "close", "at": 120},
        {"kind": "refuse", "at": 120, "for": 25},
        {"kind": "status", "at": 120, "for": 25, "methods": silent},
        {"kind": "status", "at": 145, "for": 200, "methods": silent[2:]},
    ]
    world = await start(faults=faults)
    await world.start_daemon()
    await world.run(600)
    await world.until_healed()
    (gaps,) = await world.fetch("SELECT count(*) AS anew FROM oracle_gaps WHERE from_slot > to_slot")
    assert gaps["anew"] == 3
    await world.assert_table_is_the_ledger_later()


async def test_a_chain_that_began_anew_is_watched_anew_and_what_it_forgot_is_unrecoverable(
    start: Start,
) -> None:
    mute = [{"kind": "status", "at": 50, "for": 600, "methods": ["getSignaturesForAddress"]}]
    world = await start(faults=mute)
    await world.start_daemon()
    await world.run(50)
    await world.kill_daemon()
    await world.clock.advance(40)
    await world.start_daemon()
    await world.run(20)
    await world.kill_daemon()
    assert await causes(world) == [("start", "open")]
    forgotten = {truth.expected_print(line) for line in truth.ledger_rows(world.ledger)}
    await world.begin_anew()
    await world.clock.advance(40)
    await world.start_daemon()
    await world.run(100)
    await world.until_healed()
    gaps = await world.fetch(
        "SELECT DISTINCT cause, state, reason, from_slot > to_slot AS anew FROM oracle_gaps"
    )
    told = sorted((gap["anew"], gap["cause"], gap["state"], gap["reason"][:21]) for gap in gaps)
    assert told == [
        (False, "start", "unrecoverable", "the chain began anew,"),
        (True, "disconnected", "unrecoverable", "the chain began anew;"),
    ]
    await world.node.stop_pushing()
    await world.run(5)
    stored = set(await prints_of(world))
    posted = {truth.expected_print(line) for line in truth.ledger_rows(world.ledger)}
    assert posted <= stored
    assert stored <= posted | forgotten
