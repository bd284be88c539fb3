"""Is the event loop still moving, how late is it, and how many tasks does it hold?

Ages are taken from a monotonic clock: the clock of the wall may be set, and a loop is not stuck for that.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from prometheus_client import Gauge

    from quantdesk_oracle.clock import Clock

INTERVAL = 1.0
"""Seconds between two beats."""
REMEMBERED = 60
"""Beats whose delay is remembered: a minute's, so that a scrape every minute misses none."""


class Heartbeat:
    """Beats on the event loop, and tells any thread how long ago.

    ``gauge`` is set to the lag, seconds; ``tasks`` to the number of tasks.
    """

    def __init__(
        self,
        clock: Clock,
        gauge: Gauge | None = None,
        tasks: Gauge | None = None,
        *,
        interval: float = INTERVAL,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock, self._interval, self._monotonic = clock, interval, monotonic
        self._delays: deque[float] = deque(maxlen=REMEMBERED)
        self._worst = 0.0
        self._tasks = tasks
        self._last = monotonic()
        if gauge is not None:
            # Computed by the scrape, in its own thread: a loop that is stuck cannot set a gauge.
            gauge.set_function(self.lag)

    def age(self) -> float:
        """Seconds since the last beat, or since this was made. Any thread may ask."""
        return self._monotonic() - self._last

    def lag(self) -> float:
        """The worst delay, seconds, of the last minute's beats and of the one that is due. Any thread may ask."""
        return max(self._worst, self.age() - self._interval)

    def beat(self) -> None:
        """The loop is here now. Called on the loop only."""
        self._delays.append(max(0.0, self.age() - self._interval))
        self._worst = max(self._delays)
        self._last = self._monotonic()
        if self._tasks is not None:
            self._tasks.set(len(asyncio.all_tasks()))

    async def run(self) -> None:
        """Beat until cancelled."""
        self._last = self._monotonic()
        while True:
            await self._clock.sleep(self._interval)
            self.beat()
