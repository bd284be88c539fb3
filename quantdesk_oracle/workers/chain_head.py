"""How far the chain is, by what nodes say: a slot that no chain can have reached by now is not believed.

Ages and watermarks are measured against it; so one node's wrong slot must not be taken for the chain's.
"""

from __future__ import annotations

from typing import Final

from quantdesk_oracle.model import SECOND

FASTEST_SLOT: Final = 300_000
"""µs; slots take 400 ms, and a node may catch up a little."""
SLACK: Final = 150
"""Slots by which nodes may differ, and a chain's pace may vary."""
PATIENCE: Final = 60 * SECOND
"""How long nothing plausible must have been heard before anything is believed, µs."""


class ChainHead:
    """The highest slot that is believed. Pure: it is told the instant, µs."""

    def __init__(self) -> None:
        self.slot = 0
        self.heard_at = 0
        """When something plausible was heard last, µs."""
        self._raised_at = 0

    def see(self, slot: int, now: int) -> int:
        """Take a node's claim in; the slot that is believed afterwards."""
        most = self.slot + max(now - self._raised_at, 0) // FASTEST_SLOT + SLACK
        plausible = self.slot - SLACK <= slot <= most
        if plausible:
            self.heard_at = now
        if (plausible and slot > self.slot) or (not plausible and self._has_lost_track(now)):
            self.slot, self._raised_at, self.heard_at = slot, now, now
        return self.slot

    def _has_lost_track(self, now: int) -> bool:
        """Whether what is believed has had no support for so long that anything is better; so at the start."""
        return self.slot == 0 or now - self.heard_at > PATIENCE
