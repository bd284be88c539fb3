"""A clock that stands still until a test moves it.

clock = VirtualClock()
worker = asyncio.create_task(run(clock))   # sleeps by clock.sleep or clock.sleep_until
await clock.advance(600)                   # ten minutes pass, in no time
"""

from __future__ import annotations

import asyncio
import heapq
from itertools import count

from quantdesk_oracle.model import SECOND

START = 1_800_000_000 * SECOND
_FEWEST_TURNS = 5
"""Of the event loop after each step, so that sockets of the loopback get theirs."""
_MOST_TURNS = 100_000
"""A task that is still busy then is spinning without a sleep."""


class VirtualClock:
    """A ``Clock`` whose time passes only by :meth:`advance`, which wakes sleepers in the order of their instants.

    Two that sleep until the same instant wake in the order in which they fell asleep.
    """

    def __init__(self, now: int = START) -> None:
        self._now = now
        self._sleepers: list[tuple[int, int, asyncio.Future[None]]] = []
        self._order = count()

    def now(self) -> int:
        return self._now

    async def sleep(self, seconds: float) -> None:
        await self.sleep_until(self._now + round(seconds * SECOND))

    async def sleep_until(self, instant: int) -> None:
        if instant <= self._now:
            await asyncio.sleep(0)
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (instant, next(self._order), woken))
        await woken

    def set(self, instant: int) -> None:
        """Move time, forward or back, without waking anybody."""
        self._now = instant

    async def advance(self, seconds: float) -> None:
        """Let ``seconds`` pass; everybody acts at the instant that they sleep until, and all that follows from it
        in the same instant, before time goes on."""
        await self.advance_to(self._now + round(seconds * SECOND))

    async def advance_to(self, instant: int) -> None:
        """Let time pass until ``instant`` (µs)."""
        await settle()
        while self._sleepers and self._sleepers[0][0] <= instant:
            wakes_at, _, woken = heapq.heappop(self._sleepers)
            if woken.done():
                continue
            # One that was set over by set() wakes now: time does not go back for it.
            self._now = max(self._now, wakes_at)
            woken.set_result(None)
            await settle()
        self._now = max(self._now, instant)


async def settle() -> None:
    """Let every task run until it waits for something: time, or a socket."""
    ready = asyncio.get_running_loop()._ready  # type: ignore[attr-defined]
    for turn in range(_MOST_TURNS):
        if turn >= _FEWEST_TURNS and not ready:
            return
        await asyncio.sleep(0)
    raise AssertionError(f"a task is still busy after {_MOST_TURNS} turns: it spins without sleeping")
