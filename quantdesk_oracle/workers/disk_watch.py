"""The room under the state directory: without it, rows that wait for the database have nowhere to go."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

import structlog

from quantdesk_oracle.model import Severity
from quantdesk_oracle.ops.disk import MIB, TOO_LITTLE, free_bytes

if TYPE_CHECKING:
    from quantdesk_oracle.clock import Clock
    from quantdesk_oracle.workers.journal import Journal

log = structlog.get_logger("workers.disk_watch")
EVERY_SECONDS: Final = 5.0


class DiskWatch:
    """Looks every few seconds; ``on_free`` is told the bytes that are left."""

    def __init__(
        self,
        folder: Path,
        journal: Journal,
        clock: Clock,
        on_free: Callable[[int], None] = lambda _free: None,
    ) -> None:
        self._folder = folder
        self._journal = journal
        self._clock = clock
        self._on_free = on_free
        self.trouble: str | None = None
        """What is the matter; None where there is room enough."""

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await self.look()
            await self._clock.sleep(EVERY_SECONDS)

    async def look(self) -> None:
        """Look now. In a thread: a disk that hangs must not stop the loop."""
        try:
            free = await asyncio.to_thread(free_bytes, self._folder)
        except OSError as error:
            self._found(f"the state directory cannot be looked at ({error.strerror})")
            return
        self._on_free(free)
        full = free < TOO_LITTLE
        self._found(f"the state directory has {free / MIB:,.0f} MiB left" if full else None)

    def _found(self, trouble: str | None) -> None:
        before, self.trouble = self.trouble, trouble
        if (before is None) is (trouble is None):
            return
        if trouble is None:
            log.info("disk.restored")
            self._journal.record("disk.restored")
        else:
            log.warning("disk.full", cause=trouble)
            self._journal.record("disk.full", Severity.WARNING, cause=trouble)
