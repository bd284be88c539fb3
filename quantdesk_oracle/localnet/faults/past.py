"""What the accounts were in the last slots: what a node that lags behind shows."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from quantdesk_oracle.pyth.dumps import AccountDump

MOST_STATES: Final = 4_096
"""Of one account: with a push a second, more than an hour."""


class RecentStates:
    """The newest states of each account."""

    def __init__(self) -> None:
        self._states: dict[str, deque[tuple[int, AccountDump]]] = {}

    def note(self, pubkey: str, slot: int, state: AccountDump) -> None:
        """``pubkey`` has a new state."""
        self._states.setdefault(pubkey, deque(maxlen=MOST_STATES)).append((slot, state))

    def at(self, pubkey: str, slot: int) -> AccountDump | None:
        """The state in ``slot``; the oldest that is known, where that is younger."""
        states = self._states.get(pubkey)
        if not states:
            return None
        return next((state for since, state in reversed(states) if since <= slot), states[0][1])
