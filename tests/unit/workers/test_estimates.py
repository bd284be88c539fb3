"""Estimates are made a few markets a turn, each market in its turn, and a database that is away only delays."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest

from quantdesk_oracle.errors import DatabaseError
from quantdesk_oracle.workers import estimates
from quantdesk_oracle.workers.estimates import EVERY_SECONDS, TURN, EstimateWorker
from tests.clock import VirtualClock


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Of which markets, by their ids, an estimate was made."""
    made: list[int] = []

    async def estimate(_database: Any, market_id: int, *_rest: Any) -> int:
        made.append(market_id)
        return market_id

    monkeypatch.setattr(estimates, "estimate", estimate)
    return made


def worker(number: int, clock: VirtualClock | None = None) -> tuple[EstimateWorker, list[Any]]:
    states = [
        SimpleNamespace(id=each, parameters_at=lambda _now: None, funding_rate=Decimal(0), estimate=None)
        for each in range(number)
    ]
    return EstimateWorker(states, None, clock or VirtualClock(0)), states  # type: ignore[arg-type]


async def test_every_market_has_its_turn_before_one_has_its_second(asked):
    work, states = worker(TURN + 2)
    for _ in range(4):
        await work.turn()
    assert asked == [*range(TURN + 2), *range(TURN + 2)]
    assert [state.estimate for state in states] == list(range(TURN + 2))


async def test_a_few_markets_are_asked_about_each_turn(asked):
    work, _ = worker(2)
    for _ in range(3):
        await work.turn()
    assert asked == [0, 1] * 3


async def test_a_database_that_is_away_only_delays(monkeypatch):
    answers = iter([DatabaseError("cannot read the premium samples: away"), 7])

    async def estimate(*_arguments: Any) -> int:
        answer = next(answers)
        if isinstance(answer, DatabaseError):
            raise answer
        return answer

    monkeypatch.setattr(estimates, "estimate", estimate)
    clock = VirtualClock(0)
    work, states = worker(1, clock)
    running = asyncio.create_task(work.run())
    await clock.advance(EVERY_SECONDS)
    running.cancel()
    assert states[0].estimate == 7
