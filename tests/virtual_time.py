"""Virtual time beside real sockets: it passes in steps, between which the sockets get theirs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tests.clock import VirtualClock

PATIENCE = 20.0
"""Seconds that real sockets may take on a busy machine before a test gives up."""


class SocketClock(VirtualClock):
    """A virtual clock that remembers what was slept for, and can wait for sockets."""

    def __init__(self) -> None:
        super().__init__()
        self.slept: list[float] = []
        """Every wait that somebody asked for, seconds."""

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await super().sleep(seconds)

    async def until(self, condition: Callable[[], bool], *, step: float = 0.0) -> None:
        """Let sockets work, and ``step`` seconds pass at a time, until ``condition`` holds."""
        async with asyncio.timeout(PATIENCE):
            while not condition():
                await asyncio.sleep(0.002)
                if step:
                    await self.advance(step)
