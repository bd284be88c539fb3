"""The one clock. Instants are whole microseconds since the Unix epoch (UTC), as PostgreSQL keeps them."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol

from quantdesk_oracle.model import SECOND


class Clock(Protocol):
    """What a worker may know of time; pure code is handed a ``now`` instead."""

    def now(self) -> int:
        """The instant now, µs."""

    async def sleep(self, seconds: float) -> None:
        """Wait that long."""

    async def sleep_until(self, instant: int) -> None:
        """Wait until the clock shows ``instant`` (µs) or later."""


async def sleep_unless(event: asyncio.Event, clock: Clock, seconds: float) -> None:
    """Wait that long, or until ``event`` is set."""
    sleeping, asked = asyncio.ensure_future(clock.sleep(seconds)), asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait({sleeping, asked}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        sleeping.cancel()
        asked.cancel()


class SystemClock:
    """The machine's clock."""

    def now(self) -> int:
        return time.time_ns() // 1_000

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def sleep_until(self, instant: int) -> None:
        # In steps of a second at most: a clock that is set back or forward is noticed within one.
        while (left := instant - self.now()) > 0:  # noqa: ASYNC110
            await asyncio.sleep(min(left / SECOND, 1.0))
