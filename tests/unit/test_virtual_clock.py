"""The tests' own clock: whoever builds on it must be able to trust it."""

from __future__ import annotations

import asyncio

from quantdesk_oracle.model import SECOND
from tests.clock import START, VirtualClock


async def test_sleepers_wake_in_the_order_of_their_instants_and_each_at_its_own() -> None:
    clock, woken = VirtualClock(), []

    async def sleeper(name: str, seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append((name, clock.now() - START))

    async with asyncio.TaskGroup() as group:
        for name, seconds in (("late", 3), ("early", 1), ("early too", 1), ("between", 2.5)):
            group.create_task(sleeper(name, seconds))
        await clock.advance(3)
    assert woken == [
        ("early", SECOND),
        ("early too", SECOND),
        ("between", 2_500_000),
        ("late", 3 * SECOND),
    ]


async def test_what_follows_from_a_wake_happens_in_the_same_instant_however_long_the_chain() -> None:
    clock, instants = VirtualClock(), []

    async def chain() -> None:
        await clock.sleep(1)
        for _ in range(500):
            await asyncio.sleep(0)
        instants.append(clock.now() - START)
        await clock.sleep(1)
        instants.append(clock.now() - START)

    task = asyncio.create_task(chain())
    await clock.advance(60)
    await task
    assert instants == [SECOND, 2 * SECOND]
    assert clock.now() == START + 60 * SECOND


async def test_a_sleeper_that_was_cancelled_holds_nobody_up() -> None:
    clock = VirtualClock()
    task = asyncio.create_task(clock.sleep(5))
    await clock.advance(1)
    task.cancel()
    await clock.advance(10)
    assert task.cancelled()
    assert clock.now() == START + 11 * SECOND


async def test_time_that_was_set_forward_wakes_at_the_next_step_and_does_not_go_back() -> None:
    clock = VirtualClock()
    task = asyncio.create_task(clock.sleep(5))
    await clock.advance(1)
    clock.set(START + 100 * SECOND)
    assert not task.done()
    await clock.advance(0)
    assert task.done()
    assert clock.now() == START + 100 * SECOND
