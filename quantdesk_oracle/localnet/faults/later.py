"""What is to happen at an instant: in the order of the instants, then in the order in which it was asked for."""

from __future__ import annotations

import asyncio
import heapq
import logging
from itertools import count
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from quantdesk_oracle.clock import Clock

_LOG = logging.getLogger(__name__)
MOST: Final = 100_000
"""Actions that may wait at once."""


class Later:
    """One task that does what is due, and sleeps until the next."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._actions: list[tuple[int, int, Callable[[], None]]] = []
        self._order = count()
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._actions)

    @property
    def full(self) -> bool:
        """Whether no more should be asked for."""
        return len(self._actions) >= MOST

    def at(self, instant: int, action: Callable[[], None]) -> None:
        """Do ``action`` at ``instant`` (µs)."""
        heapq.heappush(self._actions, (instant, next(self._order), action))
        if self._actions[0][2] is action:
            self._changed.set()

    def do_due(self) -> None:
        """Do what is due now."""
        while self._actions and self._actions[0][0] <= self._clock.now():
            heapq.heappop(self._actions)[2]()

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._run(), name="localnet drill")
        self._task.add_done_callback(_log_death)

    async def stop(self) -> None:
        """End; what has not happened yet never will."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        self._actions.clear()

    async def _run(self) -> None:
        while True:
            self.do_due()
            self._changed.clear()
            waiting: list[asyncio.Future[Any]] = [asyncio.ensure_future(self._changed.wait())]
            if self._actions:
                waiting.append(asyncio.ensure_future(self._clock.sleep_until(self._actions[0][0])))
            try:
                await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for one in waiting:
                    one.cancel()


def _log_death(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _LOG.error("drill.died error=%r", error)
