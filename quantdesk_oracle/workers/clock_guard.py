"""This machine's clock against the database's: where they disagree, no daemon writes marks or funding."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from quantdesk_oracle.errors import DatabaseError
from quantdesk_oracle.model import SECOND, Severity
from quantdesk_oracle.store.series import database_clock

if TYPE_CHECKING:
    from quantdesk_oracle.clock import Clock
    from quantdesk_oracle.store.database import Database
    from quantdesk_oracle.workers.journal import Journal

log = structlog.get_logger("workers.clock_guard")
CHECK_SECONDS = 5.0


class ClockGuard:
    """Compares the clocks every few seconds."""

    def __init__(self, database: Database, journal: Journal, clock: Clock, tolerance: int) -> None:
        self._database = database
        self._journal = journal
        self._clock = clock
        self._tolerance = tolerance
        self.difference = 0
        """This clock minus the database's at the last comparison, µs."""

    @property
    def agrees(self) -> bool:
        """Whether the clocks agree within the tolerance."""
        return abs(self.difference) <= self._tolerance

    async def run(self) -> None:
        """Compare until cancelled; a database that is away leaves things as they were."""
        while True:
            await self._clock.sleep(CHECK_SECONDS)
            try:
                await self.compare()
            except DatabaseError as error:
                log.debug("clock.not_compared", cause=str(error))

    async def compare(self) -> None:
        """Compare now. Raises DatabaseError."""
        before = self._clock.now()
        theirs = await database_clock(self._database)
        after = self._clock.now()
        agreed = self.agrees
        # Their reading was taken between ours: only what lies outside is a difference.
        self.difference = max(before - theirs, 0) + min(after - theirs, 0)
        if agreed is not self.agrees:
            self._tell()

    def _tell(self) -> None:
        seconds = round(self.difference / SECOND, 3)
        if self.agrees:
            log.info("clock.restored", difference_seconds=seconds)
            self._journal.record("clock.restored", difference_seconds=seconds)
            return
        log.error("clock.skewed", difference_seconds=seconds)
        self._journal.record("clock.skewed", Severity.CRITICAL, difference_seconds=seconds)
