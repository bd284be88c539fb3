"""What the last minutes were like, for the status page: a few numbers a second, in bounded memory."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from quantdesk_oracle.model import Freshness

if TYPE_CHECKING:
    from decimal import Decimal

    from quantdesk_oracle.workers.state import MarketState

SECONDS = 300
"""How far back the charts go."""
_LETTERS = {
    Freshness.FRESH: "f",
    Freshness.STALE: "s",
    Freshness.DEAD: "d",
    Freshness.UNPROVEN: "u",
}


class Recent:
    """One market's last minutes, an entry a second. Numbers are for drawing: floats, rounded by nobody."""

    def __init__(self) -> None:
        self._prices: deque[float | None] = deque(maxlen=SECONDS)
        self._confidences: deque[float | None] = deque(maxlen=SECONDS)
        self._marks: deque[float | None] = deque(maxlen=SECONDS)
        self._states: deque[str] = deque(maxlen=SECONDS)

    def note(
        self, state: MarketState, price: Decimal | None, confidence: Decimal | None, freshness: Freshness
    ) -> None:
        """Take down how the market stands now."""
        self._prices.append(_drawn(price))
        self._confidences.append(_drawn(confidence))
        self._marks.append(_drawn(state.mark_price))
        self._states.append(_LETTERS[freshness])

    def shown(self) -> dict[str, Any]:
        """As /charts tells it: prices, confidences, marks and states a second each, oldest first.

        Any thread may ask: a deque is copied in one step of the interpreter.
        """
        return {
            "prices": list(self._prices),
            "confidences": list(self._confidences),
            "marks": list(self._marks),
            "states": "".join(list(self._states)),
        }


def _drawn(value: Decimal | None) -> float | None:
    return None if value is None else float(value)
