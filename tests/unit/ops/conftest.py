"""What the tests of ops share."""

from __future__ import annotations

import asyncio

import pytest

from quantdesk_oracle.model import SECOND

START = 1_769_860_800 * SECOND
"""2026-01-31T12:00:00Z."""


class FakeClock:
    """A clock that moves only when a test, or a sleep, moves it."""

    def __init__(self) -> None:
        self.instant = START
        self.slept: list[float] = []
        self.late = 0.0
        """How many seconds too late the next sleeps end."""
        self.sleeps_left = 1_000_000
        """After how many more sleeps the sleeper is cancelled."""

    def now(self) -> int:
        return self.instant

    def monotonic(self) -> float:
        return self.instant / SECOND

    def forward(self, seconds: float) -> None:
        self.instant += round(seconds * SECOND)

    async def sleep(self, seconds: float) -> None:
        if self.sleeps_left == 0:
            raise asyncio.CancelledError
        self.sleeps_left -= 1
        self.slept.append(seconds)
        self.forward(seconds + self.late)
        await asyncio.sleep(0)

    async def sleep_until(self, instant: int) -> None:
        await self.sleep(max(0.0, (instant - self.instant) / SECOND))


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()
