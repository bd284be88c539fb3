"""This daemon's row among those of all daemons, renewed every few seconds; the others' rows read with it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import structlog

from quantdesk_oracle.errors import DatabaseError
from quantdesk_oracle.store.instances import Beat, DaemonInstance, read_instances, renew_instance

if TYPE_CHECKING:
    from quantdesk_oracle.clock import Clock
    from quantdesk_oracle.ops.instance import Instance
    from quantdesk_oracle.store.database import Database

log = structlog.get_logger("workers.instances")
EVERY_SECONDS = 5.0


class InstanceWorker:
    """Renews this daemon's row. A database that is away is nothing to tell here: the writers do."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        instance: Instance,
        version: str,
        markets: Callable[[], Sequence[str]],
        *,
        ready: Callable[[], bool],
        spool_rows: Callable[[], int],
    ) -> None:
        self._database = database
        self._clock = clock
        self._instance = instance
        self._version = version
        self._markets = markets
        self._ready = ready
        self._spool_rows = spool_rows
        self._read_at = time.monotonic()
        self._known: list[DaemonInstance] = []

    async def run(self) -> None:
        """Renew until cancelled."""
        while True:
            try:
                await self.renew()
            except DatabaseError as error:
                log.debug("instance.not_renewed", cause=str(error))
            await self._clock.sleep(EVERY_SECONDS)

    async def renew(self, *, ends: bool = False) -> None:
        """Renew the row now; with ``ends`` it says that the daemon has ended in peace. Raises DatabaseError."""
        beat = Beat(
            id=self._instance.id,
            host=self._instance.host,
            version=self._version,
            markets=tuple(self._markets()),
            started=self._instance.started,
            ready=self._ready(),
            spool_rows=self._spool_rows(),
            ends=ends,
        )
        await renew_instance(self._database, beat)
        self._known = await read_instances(self._database)
        self._read_at = time.monotonic()

    def shown(self) -> list[dict[str, Any]]:
        """All daemons as of the last time that the database answered, for /status."""
        since = time.monotonic() - self._read_at
        return [{**one._asdict(), "seen_age": round(one.seen_age + since, 3)} for one in self._known]
