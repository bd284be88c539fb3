"""Which endpoint is in use: the heaviest that is well; a lie about the slot does not win."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from quantdesk_oracle.config import EndpointSettings
from quantdesk_oracle.sources.budget import WINDOW, Budget
from quantdesk_oracle.sources.endpoints import Endpoints, Health, known_slot
from tests.clock import VirtualClock


def endpoints(*weights: int) -> Endpoints:
    url = SecretStr("http://unused")
    settings = [EndpointSettings(f"node-{at}", url, url, weight=weight) for at, weight in enumerate(weights)]
    return Endpoints(settings, VirtualClock())


def see(ours: Endpoints, at: int, slot: int, posted: int | None = None) -> None:
    """One look at an endpoint."""
    health = ours.healths[at]
    health.slot = slot
    health.posted = {} if posted is None else {"feed": posted}
    health.succeeded(0.1)


def test_the_heaviest_is_in_use_and_of_equals_the_first() -> None:
    assert endpoints(1, 3, 3).active == 1


def test_one_that_is_200_slots_behind_is_left() -> None:
    ours = endpoints(2, 1)
    see(ours, 0, 1_000, posted=990)
    see(ours, 1, 1_200, posted=1_190)
    ours.review()
    assert ours.active == 1


def test_a_lie_about_the_slot_does_not_win() -> None:
    ours = endpoints(2, 1)
    see(ours, 0, 1_200, posted=1_190)
    see(ours, 1, 50_000, posted=1_190)
    for _ in range(10):
        ours.review()
    assert ours.active == 0
    assert not ours.healths[1].well


def test_a_liar_in_use_is_left() -> None:
    ours = endpoints(2, 1)
    see(ours, 0, 50_000, posted=1_190)
    see(ours, 1, 1_200, posted=1_190)
    ours.review()
    assert ours.active == 1


def test_one_that_claims_to_be_past_a_print_that_it_does_not_hold_is_behind() -> None:
    ours = endpoints(2, 1)
    see(ours, 0, 1_200, posted=1_000)
    see(ours, 1, 1_200, posted=1_150)
    ours.review()
    assert ours.active == 1


def test_one_that_has_not_reached_a_print_yet_is_not_behind_for_it() -> None:
    ours = endpoints(2, 1)
    see(ours, 0, 1_195, posted=1_000)
    see(ours, 1, 1_200, posted=1_190)
    ours.review()
    assert ours.active == 0


def test_of_three_claims_the_lonely_one_is_not_believed() -> None:
    healths = [Health(slot=1_000), Health(slot=1_010), Health(slot=90_000)]
    assert known_slot(healths) == 1_010


def test_a_failing_endpoint_is_left_and_a_preferred_one_returned_to_once_it_is_well() -> None:
    ours = endpoints(2, 1)
    see(ours, 0, 1_000)
    see(ours, 1, 1_000)
    ours.review()
    for _ in range(3):
        ours.healths[0].failed()
    ours.review()
    assert ours.active == 1
    clock = ours._clock
    assert isinstance(clock, VirtualClock)
    for second in range(40):
        clock.set(clock.now() + 1_000_000)
        see(ours, 0, 1_000 + second)
        see(ours, 1, 1_000 + second)
        ours.review()
        assert ours.active == (1 if second < 30 else 0) or second in (29, 30, 31)
    assert ours.active == 0


def test_a_single_endpoint_is_never_left() -> None:
    ours = endpoints(1)
    for _ in range(10):
        ours.healths[0].failed()
        ours.review()
        ours.fail_over("it fails")
    assert ours.active == 0


def test_the_second_subscription_follows_the_best_of_the_others() -> None:
    ours = endpoints(3, 2, 1)
    assert [ours.follower(rank) for rank in (0, 1, 2)] == [0, 1, 2]
    ours.healths[1].error_rate = 1.0
    assert ours.follower(1) == 2


def test_whoever_listens_hears_of_a_change_with_its_reason() -> None:
    told: list[tuple[str, str, str]] = []
    ours = endpoints(2, 1)
    ours.on_change = lambda old, new, why: told.append((old, new, why))
    see(ours, 0, 1_000, posted=990)
    see(ours, 1, 1_200, posted=1_190)
    ours.review()
    assert told == [("node-0", "node-1", "node-0 is 200 slots away from the chain")]


async def test_a_budget_lets_no_window_hold_more_than_the_limits() -> None:
    clock = VirtualClock()
    budget = Budget(clock, requests=20, method_requests=8)
    sent: list[tuple[int, str]] = []
    import asyncio

    async def ask(method: str) -> None:
        for _ in range(20):
            await budget.spare(method)
            sent.append((clock.now(), method))

    tasks = [asyncio.ensure_future(ask(method)) for method in ("a", "b")]
    await clock.advance(120)
    assert all(task.done() for task in tasks)
    for instant, _ in sent:
        window = [method for when, method in sent if instant <= when < instant + WINDOW]
        assert len(window) <= 14  # 70 % of twenty: the rest is for live data
        assert max(window.count("a"), window.count("b")) <= 8


async def test_live_requests_do_not_wait_for_history() -> None:
    clock = VirtualClock()
    budget = Budget(clock, requests=20, method_requests=40)
    for _ in range(14):
        await budget.spare("history")
    before = clock.now()
    for _ in range(6):
        await budget.live("live")
    assert clock.now() == before


@pytest.mark.parametrize("seconds", [5.0, None])
async def test_history_rests_when_the_endpoint_asks_for_patience(seconds: float | None) -> None:
    import asyncio

    clock = VirtualClock()
    budget = Budget(clock, requests=20, method_requests=40)
    budget.pause(seconds)
    await budget.live("live")
    task = asyncio.ensure_future(budget.spare("history"))
    await clock.advance((seconds or 10.0) - 0.1)
    assert not task.done()
    await clock.advance(0.2)
    assert task.done()
