"""What the running funding intervals come to so far, for the status page: a few markets a turn."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Final

import structlog

from quantdesk_oracle.errors import DatabaseError
from quantdesk_oracle.store.settlement import estimate

if TYPE_CHECKING:
    from quantdesk_oracle.clock import Clock
    from quantdesk_oracle.store.database import Database
    from quantdesk_oracle.workers.state import Markets, MarketState

log = structlog.get_logger("workers.estimates")
TURN: Final = 5
"""Markets a turn: an hour's samples are some 700 rows, so the cost is bounded however many markets there are."""
EVERY_SECONDS: Final = 5.0


class EstimateWorker:
    """Keeps ``MarketState.estimate``, of the market that has waited longest first."""

    def __init__(self, markets: Markets, database: Database, clock: Clock) -> None:
        self._markets = markets
        self._database = database
        self._clock = clock
        self._order: Iterator[MarketState] = iter(())

    async def run(self) -> None:
        """Until cancelled. A database that is away is nothing to tell here: the writers do."""
        while True:
            try:
                await self.turn()
            except DatabaseError as error:
                log.debug("estimates.delayed", cause=str(error))
            await self._clock.sleep(EVERY_SECONDS)

    async def turn(self) -> None:
        """Make the estimates of the next few markets. Raises DatabaseError."""
        states = list(islice(self._order, TURN))
        if not states:
            self._order = iter(tuple(self._markets))
            states = list(islice(self._order, TURN))
        for state in states:
            now = self._clock.now()
            parameters, previous = state.parameters_at(now), state.funding_rate
            state.estimate = await estimate(self._database, state.id, parameters, now, previous)
