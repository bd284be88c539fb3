"""The schema's own upkeep, now and then: partitions ahead, retention, the statistics of a day."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import structlog

from quantdesk_oracle.errors import DatabaseError
from quantdesk_oracle.model import Severity
from quantdesk_oracle.store.series import refresh_statistics, upkeep

if TYPE_CHECKING:
    from quantdesk_oracle.clock import Clock
    from quantdesk_oracle.store.database import Database
    from quantdesk_oracle.workers.journal import Journal

log = structlog.get_logger("workers.upkeep")
STATISTICS_SECONDS = 300.0
ROUNDS_OF_AN_HOUR = 12


class UpkeepWorker:
    """Calls refresh_statistics() every five minutes and upkeep() every hour."""

    def __init__(self, database: Database, journal: Journal, clock: Clock) -> None:
        self._database = database
        self._journal = journal
        self._clock = clock

    async def run(self) -> None:
        """Until cancelled; what fails is told, and tried again when its time comes round."""
        while True:
            await self._try(self._upkeep)
            for _ in range(ROUNDS_OF_AN_HOUR):
                await self._try(self._statistics)
                await self._clock.sleep(STATISTICS_SECONDS)

    async def _upkeep(self) -> None:
        for table, action, objects in await upkeep(self._database):
            log.info("upkeep.done", table=table, action=action, objects=objects)

    async def _statistics(self) -> None:
        days = await refresh_statistics(self._database)
        log.debug("statistics.refreshed", days=days)

    async def _try(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except DatabaseError as error:
            log.warning("upkeep.failed", cause=str(error))
            self._journal.record("upkeep.failed", Severity.WARNING, cause=str(error))
