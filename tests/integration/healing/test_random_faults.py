"""Ten minutes of whatever a network can do, at random; afterwards the table is the ledger, row for row.

A schedule that fails is shrunk to the faults that it takes. Twenty, or by hand two hundred: QUANTDESK_TEST_SEEDS=200,
or some of them: QUANTDESK_TEST_FIRST_SEED=121 besides.
"""

from __future__ import annotations

import os
import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.integration.healing.world import Start

MINUTES = 10
FIRST_SEED = int(os.environ.get("QUANTDESK_TEST_FIRST_SEED", "0"))
SEEDS = int(os.environ.get("QUANTDESK_TEST_SEEDS", "20"))
Fault = dict[str, Any]


def _kinds(chance: random.Random) -> Fault:
    """One fault of any kind that leaves the chain's own history true."""
    return chance.choice([
        {"kind": "drop"},
        {"kind": "drop", "methods": ["accountNotification"], "probability": 0.5},
        {"kind": "delay", "by": chance.uniform(0.1, 20)},
        {"kind": "duplicate", "times": 3},
        {"kind": "reorder", "within": chance.uniform(0.5, 5)},
        {"kind": "stall"},
        {"kind": "garbage"},
        {"kind": "garbage", "methods": ["*"], "probability": 0.5},
        {"kind": "unknown"},
        {"kind": "half_open"},
        {"kind": "close", "code": chance.choice([1000, 1001, 1006, 1011, 1012])},
        {"kind": "refuse", "status": chance.choice([429, 502, 503]), "retry_after": chance.choice([1, 7])},
        {"kind": "restart"},
        {"kind": "rate_limit", "shape": chance.choice(["status", "answer"]), "retry_after": 2},
        {"kind": "error", "code": chance.choice([-32005, -32016, -32603]), "data": chance.random() < 0.5},
        {"kind": "status", "status": chance.choice([429, 500, 502, 504])},
        {"kind": "null_accounts"},
        {"kind": "slot_shift", "by": chance.choice([-300, -50, 50, 1_000_000])},
        {"kind": "behind", "slots": chance.choice([20, 200])},
        {"kind": "halt"},
        {"kind": "failed_pushes", "probability": 0.4},
        {"kind": "stale_pushes", "probability": 0.4},
        {"kind": "address_tables"},
        {"kind": "shared_transactions"},
        {"kind": "kill"},
    ])  # fmt: skip


def random_faults(seed: int) -> list[Fault]:
    """Six to fourteen faults, all of them over a minute before the end."""
    chance = random.Random(seed)
    faults = []
    for _ in range(chance.randint(6, 14)):
        fault = {**_kinds(chance), "at": round(chance.uniform(20, 480), 1)}
        if fault["kind"] not in ("close", "kill"):
            fault["for"] = round(min(chance.expovariate(1 / 25), 60) + 0.5, 1)
        faults.append(fault)
    return faults


async def what_fails(start: Start, seed: int, faults: list[Fault], minutes: int = MINUTES) -> str | None:
    """What the table lacks after these faults; None: it is the ledger."""
    kills = sorted(fault["at"] for fault in faults if fault["kind"] == "kill")
    rest = [fault for fault in faults if fault["kind"] != "kill"]
    world = await start(faults=rest, seed=seed, sweep_interval=60.0, silence_limit=15.0)
    await world.start_daemon()
    now = 0.0
    for at in [*kills, 60.0 * minutes]:
        await world.run(max(at - now, 0.0))
        now = max(at, now)  # a kill may come while the daemon is still down of the last one
        await world.kill_daemon()
        await world.clock.advance(5)
        now += 5
        await world.start_daemon()
    await world.run(10)
    await world.until_healed()
    await world.node.stop_pushing()
    problem: str | None = None
    for _ in range(12):
        await world.run(20)  # a sweep is due every minute
        try:
            await world.assert_table_is_the_ledger()
        except AssertionError as error:
            problem = str(error)
        else:
            return None
    return problem


async def shrunk(faults: list[Fault], fails: Callable[[list[Fault]], Awaitable[object]]) -> list[Fault]:
    """Faults of which none can be left out without the failure going away."""
    at = 0
    while at < len(faults):
        fewer = faults[:at] + faults[at + 1 :]
        if await fails(fewer):
            faults, at = fewer, 0  # what could not be left out may be now
        else:
            at += 1
    return faults


async def test_a_failing_schedule_is_shrunk_to_what_it_takes() -> None:
    faults = random_faults(5)
    needed = [faults[1], faults[4]]
    tried = []

    async def fails(some: list[Fault]) -> bool:
        tried.append(some)
        return all(fault in some for fault in needed)

    assert await shrunk(faults, fails) == needed
    assert len(tried) < len(faults) ** 2


async def test_a_schedule_that_fails_without_any_fault_shrinks_to_none() -> None:
    async def fails(_some: list[Fault]) -> bool:
        return True

    assert await shrunk(random_faults(5), fails) == []


async def test_kills_that_come_while_the_daemon_is_down_are_of_the_schedule(start: Start) -> None:
    kills: list[Fault] = [{"kind": "kill", "at": at} for at in (20.0, 21.0, 23.5)]
    assert await what_fails(start, 1, kills, minutes=1) is None


@pytest.mark.parametrize("seed", range(FIRST_SEED, SEEDS))
async def test_after_ten_minutes_of_random_faults_the_table_is_the_ledger(start: Start, seed: int) -> None:
    faults = random_faults(seed)
    problem = await what_fails(start, seed, faults)
    if problem is not None:
        takes = await shrunk(faults, lambda fewer: what_fails(start, seed, fewer))
        pytest.fail(f"{problem}; it takes {takes}")
