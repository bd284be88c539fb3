"""Position health: at new marks, what open positions are worth and how near they are to liquidation.

Off unless the settings ask for it: the daemon's own role may read positions and no more (docs/pricing/positions.md).
It never liquidates.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from quantdesk_oracle.errors import DatabaseError
from quantdesk_oracle.model import Severity
from quantdesk_oracle.store.database import query

if TYPE_CHECKING:
    from decimal import Decimal

    from quantdesk_oracle.clock import Clock
    from quantdesk_oracle.store.database import Database
    from quantdesk_oracle.workers.journal import Journal
    from quantdesk_oracle.workers.state import Markets, MarketState

log = structlog.get_logger("workers.position_health")
EVERY_SECONDS = 1.0


class PositionHealth:
    """Brings the positions of every market to its newest mark."""

    def __init__(self, markets: Markets, database: Database, journal: Journal, clock: Clock) -> None:
        self._markets = markets
        self._database = database
        self._journal = journal
        self._clock = clock
        self._done: dict[str, Decimal] = {}
        self._failing = False

    async def run(self) -> None:
        """Refresh once a second until cancelled; a market without a mark is left as it was."""
        while True:
            for state in self._markets:
                await self._patiently(state)
            await self._clock.sleep(EVERY_SECONDS)

    async def _patiently(self, state: MarketState) -> None:
        try:
            await self.refresh(state)
        except DatabaseError as error:
            if not self._failing:
                log.warning("positions.failed", market=state.symbol, cause=str(error))
            self._failing = True
        else:
            self._failing = False

    async def refresh(self, state: MarketState) -> None:
        """Bring one market's positions to its mark, where that is new. Raises DatabaseError."""
        mark = state.mark_price
        if mark is None or self._done.get(state.symbol) == mark:
            return
        async with self._database.transaction("cannot refresh positions") as connection:
            await connection.execute(query("refresh_positions"), state.id, mark)
            alerts = await connection.fetch(query("raise_risk_alerts"), state.id)
        self._done[state.symbol] = mark
        for alert in alerts:
            severity = Severity.CRITICAL if alert["alert_type"] == "health_100" else Severity.WARNING
            self._journal.record(
                "position.endangered",
                severity,
                market=state.symbol,
                reason=alert["alert_type"],
                position=str(alert["position_id"]),
                message=alert["message"],
            )
