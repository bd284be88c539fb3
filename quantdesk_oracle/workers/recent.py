"""What the last minutes were like, for the status page: a few numbers a second, in bounded memory."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

from quantdesk_oracle.model import SECOND, Freshness

if TYPE_CHECKING:
    from quantdesk_oracle.workers.state import MarketState

SECONDS = 300
"""How far back the charts go."""
RATES = 48
_LETTERS = {
    Freshness.FRESH: "f",
    Freshness.STALE: "s",
    Freshness.DEAD: "d",
    Freshness.UNPROVEN: "u",
}


class Rate(NamedTuple):
    """A settled funding rate and its boundary (Unix seconds)."""

    boundary: int
    rate: float


class Recent:
    """One market's last minutes, an entry a second. Numbers are for drawing: floats, rounded by nobody."""

    def __init__(self) -> None:
        self._prices: deque[float | None] = deque(maxlen=SECONDS)
        self._marks: deque[float | None] = deque(maxlen=SECONDS)
        self._states: deque[str] = deque(maxlen=SECONDS)
        self._rates: deque[Rate] = deque(maxlen=RATES)

    def note(self, state: MarketState, price: float | None, freshness: Freshness) -> None:
        """Take down how the market stands now."""
        self._prices.append(price)
        self._marks.append(None if state.mark_price is None else float(state.mark_price))
        self._states.append(_LETTERS[freshness])
        if state.last_funding is not None:
            rate = Rate(state.last_funding // SECOND, float(state.funding_rate))
            if not self._rates or self._rates[-1].boundary < rate.boundary:
                self._rates.append(rate)

    def shown(self) -> dict[str, Any]:
        """As /status tells it: prices, marks and states a second each, oldest first; settled rates.

        Any thread may ask: a deque is copied in one step of the interpreter.
        """
        return {
            "prices": list(self._prices),
            "marks": list(self._marks),
            "states": "".join(list(self._states)),
            "rates": [rate._asdict() for rate in list(self._rates)],
        }
