"""What the status page shows of a market's past: settled rates, and how a day is covered. The database knows."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import structlog

from quantdesk_oracle.errors import DatabaseError
from quantdesk_oracle.model import SECOND
from quantdesk_oracle.store.gaps import gaps_between, parts_with_prints
from quantdesk_oracle.store.instants import to_instant
from quantdesk_oracle.store.settlement import newest_rates
from quantdesk_oracle.workers.coverage import Cover, cover_parts

if TYPE_CHECKING:
    from quantdesk_oracle.clock import Clock
    from quantdesk_oracle.store.database import Database
    from quantdesk_oracle.workers.state import Markets, MarketState

log = structlog.get_logger("workers.past")
RATES: Final = 48
PARTS: Final = 96
PART: Final = 900 * SECOND
"""A quarter of an hour; PARTS of them are a day."""
AGAIN, SOON = 60 * SECOND, 5 * SECOND
"""How old what is held of a market may get, µs; and while the newest part has no print, as just after a start."""
ROUND_SECONDS: Final = 1.0
PAUSE_SECONDS: Final = 0.2
"""After each market that was read: some 15 short queries a second at most, however many markets there are."""
_LETTERS: Final = {
    Cover.PRINTS: "p",
    Cover.HEALED: "h",
    Cover.EMPTY: "e",
    Cover.UNRECOVERABLE: "u",
    Cover.OPEN: "o",
}


class SettledRate(NamedTuple):
    """One settled interval: its boundary (Unix seconds), a fraction of it, and what became of it."""

    boundary: int
    rate: Decimal
    status: str
    reason: str | None


class DayCoverage(NamedTuple):
    """How each quarter of an hour in [start, end) (Unix seconds) is covered, a letter each, as _LETTERS has them."""

    start: int
    end: int
    parts: str


class Past(NamedTuple):
    """What is held of one market. Bounded: RATES and PARTS."""

    at: int = 0
    """When it was read, µs."""
    last_funding: int | None = None
    """The newest boundary that was known then, µs."""
    rates: tuple[SettledRate, ...] = ()
    """Oldest first."""
    coverage: DayCoverage | None = None

    def holds(self, last_funding: int | None, now: int) -> bool:
        """Whether it need not be read again at ``now`` (µs), when ``last_funding`` (µs) is the newest boundary."""
        empty = self.coverage is not None and self.coverage.parts.endswith(_LETTERS[Cover.EMPTY])
        return self.last_funding == last_funding and 0 <= now - self.at < (SOON if empty else AGAIN)

    def shown(self) -> dict[str, Any]:
        """As /charts tells it."""
        covered = self.coverage
        return {
            "rates": [rate._asdict() for rate in self.rates],
            "coverage": None if covered is None else covered._asdict(),
        }


class PastWorker:
    """Keeps ``MarketState.past``: read once a minute, and again when an interval has been settled."""

    def __init__(self, markets: Markets, database: Database, clock: Clock) -> None:
        self._markets = markets
        self._database = database
        self._clock = clock

    async def run(self) -> None:
        """Until cancelled. A database that is away is nothing to tell here: the writers do."""
        while True:
            try:
                await self.round()
            except DatabaseError as error:
                log.debug("past.delayed", cause=str(error))
            await self._clock.sleep(ROUND_SECONDS)

    async def round(self) -> None:
        """Read what is out of date. Raises DatabaseError."""
        for state in self._markets:
            now = self._clock.now()
            if state.past.holds(state.last_funding, now):
                continue
            state.past = await self._read(state, now)
            await self._clock.sleep(PAUSE_SECONDS)

    async def _read(self, state: MarketState, now: int) -> Past:
        last_funding = state.last_funding
        rows = await newest_rates(self._database, state.id, RATES)
        return Past(now, last_funding, _settled(rows), await self._coverage(state, now))

    async def _coverage(self, state: MarketState, now: int) -> DayCoverage:
        end = (now // PART + 1) * PART
        start = end - PARTS * PART
        printed = await parts_with_prints(self._database, state.id, start, PART, PARTS)
        gaps = await gaps_between(self._database, {state.symbol: state.id}, state.symbol, start, end)
        parts = cover_parts(printed, gaps, start, end)
        return DayCoverage(start // SECOND, end // SECOND, "".join(_LETTERS[part] for part in parts))


def _settled(rows: Sequence[Any]) -> tuple[SettledRate, ...]:
    return tuple(
        SettledRate(
            to_instant(row["created_at"]) // SECOND, row["funding_rate"], row["status"], row["reason"]
        )
        for row in reversed(rows)
    )
