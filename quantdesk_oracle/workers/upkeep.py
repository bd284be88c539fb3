"""The schema's own upkeep, now and then: partitions ahead, retention."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from quantdesk_oracle.errors import DatabaseError
from quantdesk_oracle.model import Severity
from quantdesk_oracle.store.series import upkeep

if TYPE_CHECKING:
    from quantdesk_oracle.clock import Clock
    from quantdesk_oracle.store.database import Database
    from quantdesk_oracle.workers.journal import Journal

log = structlog.get_logger("workers.upkeep")
EVERY_SECONDS = 3600.0


class UpkeepWorker:
    """Calls upkeep() every hour."""

    def __init__(self, database: Database, journal: Journal, clock: Clock) -> None:
        self._database = database
        self._journal = journal
        self._clock = clock

    async def run(self) -> None:
        """Until cancelled; a failure is told and tried again with the next hour."""
        while True:
            try:
                for table, action, objects in await upkeep(self._database):
                    log.info("upkeep.done", table=table, action=action, objects=objects)
            except DatabaseError as error:
                log.warning("upkeep.failed", cause=str(error))
                self._journal.record("upkeep.failed", Severity.WARNING, cause=str(error))
            await self._clock.sleep(EVERY_SECONDS)
