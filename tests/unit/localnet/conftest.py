"""A clock that stands still until a test moves it, and a subscriber that remembers what it was told."""

from __future__ import annotations

import asyncio
import heapq
import json
from itertools import count
from typing import Any

import pytest

from quantdesk_oracle.localnet.node import Node
from quantdesk_oracle.localnet.settings import LocalnetSettings
from quantdesk_oracle.model import SECOND

START = 1_800_000_000 * SECOND


class VirtualClock:
    """Time passes only by :meth:`advance`, which wakes sleepers in the order of their instants."""

    def __init__(self, now: int = START) -> None:
        self._now = now
        self._sleepers: list[tuple[int, int, asyncio.Future[None]]] = []
        self._order = count()

    def now(self) -> int:
        return self._now

    async def sleep(self, seconds: float) -> None:
        await self.sleep_until(self._now + round(seconds * SECOND))

    async def sleep_until(self, instant: int) -> None:
        if instant > self._now:
            woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            heapq.heappush(self._sleepers, (instant, next(self._order), woken))
            await woken

    def set(self, instant: int) -> None:
        """Move time without waking anybody."""
        self._now = instant

    async def advance(self, seconds: float) -> None:
        """Let ``seconds`` pass, and everybody act at the instant that they sleep until."""
        end = self._now + round(seconds * SECOND)
        await _settle()
        while self._sleepers and self._sleepers[0][0] <= end:
            self._now, _, woken = heapq.heappop(self._sleepers)
            if not woken.done():
                woken.set_result(None)
            await _settle()
        self._now = end


async def _settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


class Recorder:
    """A subscriber."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []

    def deliver(self, message: bytes) -> None:
        self.messages.append(json.loads(message))

    def results(self, method: str = "accountNotification") -> list[Any]:
        return [one["params"]["result"] for one in self.messages if one.get("method") == method]


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def new_recorder() -> type[Recorder]:
    return Recorder


@pytest.fixture
def node(clock: VirtualClock) -> Node:
    return Node(LocalnetSettings(), clock)
