"""Where sources put what they see."""

from __future__ import annotations

from typing import Protocol

from quantdesk_oracle.model import Observation, PriceUpdate, Source


class Sink(Protocol):
    """Takes observations; never blocks, never raises for what an observation holds."""

    def observe(self, observation: Observation) -> None:
        """One delivery of an account's state."""

    def hear(self, update: PriceUpdate, source: Source, received: int) -> None:
        """One print that a source has decoded and verified itself; received at that instant, µs."""

    def saw_slot(self, slot: int) -> None:
        """A node has reached ``slot``."""
