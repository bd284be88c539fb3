"""This machine's clock against the database's."""

from __future__ import annotations

from typing import Any

import pytest

from quantdesk_oracle.errors import DatabaseError
from quantdesk_oracle.model import SECOND, Severity
from quantdesk_oracle.workers import clock_guard
from quantdesk_oracle.workers.clock_guard import ClockGuard
from tests.clock import START, VirtualClock

TOLERANCE = 2 * SECOND


class Journal:
    def __init__(self) -> None:
        self.told: list[tuple[str, Severity]] = []

    def record(self, type_: str, severity: Severity = Severity.INFO, **_: Any) -> None:
        self.told.append((type_, severity))


class World:
    """A database whose clock is ``ahead`` of ours (µs), and takes ``takes`` (µs) to say so."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.journal = Journal()
        self.ahead = 0
        self.takes = 0
        self.away = False
        self.guard = ClockGuard(object(), self.journal, self.clock, TOLERANCE)  # type: ignore[arg-type]

    async def database_clock(self, _: object) -> int:
        if self.away:
            raise DatabaseError("away")
        theirs = self.clock.now() + self.ahead + self.takes // 2
        self.clock.set(self.clock.now() + self.takes)
        return theirs


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    world = World()
    monkeypatch.setattr(clock_guard, "database_clock", world.database_clock)
    return world


async def test_before_the_first_comparison_the_clocks_agree(world: World) -> None:
    assert world.guard.agrees


@pytest.mark.parametrize("ahead", [-TOLERANCE, -1, 0, 1, TOLERANCE])
async def test_within_the_tolerance_the_clocks_agree(world: World, ahead: int) -> None:
    world.ahead = ahead
    await world.guard.compare()
    assert world.guard.agrees
    assert world.guard.difference == -ahead
    assert world.journal.told == []


@pytest.mark.parametrize("ahead", [-TOLERANCE - 1, TOLERANCE + 1, 3_600 * SECOND])
async def test_beyond_the_tolerance_they_do_not_and_that_is_told_once(world: World, ahead: int) -> None:
    world.ahead = ahead
    for _ in range(3):
        await world.guard.compare()
    assert not world.guard.agrees
    assert world.journal.told == [("clock.skewed", Severity.CRITICAL)]
    world.ahead = 0
    await world.guard.compare()
    assert world.guard.agrees
    assert world.journal.told[1:] == [("clock.restored", Severity.INFO)]


async def test_a_slow_answer_is_no_difference(world: World) -> None:
    world.takes = 10 * SECOND
    await world.guard.compare()
    assert world.guard.difference == 0


async def test_of_a_slow_answer_only_what_lies_outside_counts(world: World) -> None:
    world.takes, world.ahead = 4 * SECOND, 5 * SECOND
    await world.guard.compare()
    assert world.guard.difference == -3 * SECOND
    assert world.clock.now() == START + 4 * SECOND


async def test_a_database_that_is_away_leaves_things_as_they_were(world: World) -> None:
    world.ahead = 60 * SECOND
    await world.guard.compare()
    world.away = True
    with pytest.raises(DatabaseError):
        await world.guard.compare()
    assert not world.guard.agrees
