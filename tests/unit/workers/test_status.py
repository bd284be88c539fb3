"""How often a snapshot is taken: nobody who waits for a start waits for the next second."""

from __future__ import annotations

import asyncio
from typing import Any

from quantdesk_oracle.model import SECOND
from quantdesk_oracle.ops.readiness import Readiness
from quantdesk_oracle.workers.status import FIRST_PERIOD, PERIOD, Status
from tests.clock import START, VirtualClock


class Snapshots(Status):
    """Notes when it is asked for one, and becomes ready at the instants that it is told."""

    def __init__(self, clock: VirtualClock, ready: tuple[bool, ...]) -> None:
        nothing: Any = None
        super().__init__(nothing, nothing, nothing, nothing, clock, nothing, nothing)
        self.instants: list[float] = []
        self._ready = ready

    async def refresh(self) -> None:
        ready = self._ready[min(len(self.instants), len(self._ready) - 1)]
        self.instants.append(round((self._clock.now() - START) / SECOND, 3))
        self._readiness = Readiness(ready)


async def test_until_the_first_that_is_ready_they_come_ten_times_a_second() -> None:
    clock = VirtualClock()
    status = Snapshots(clock, (False, False, True, False))
    task = asyncio.create_task(status.run())
    await clock.advance(3)
    task.cancel()
    first = [0.0, FIRST_PERIOD, 2 * FIRST_PERIOD]
    assert status.instants[:3] == first
    assert status.instants[3:] == [first[-1] + PERIOD, first[-1] + 2 * PERIOD]
