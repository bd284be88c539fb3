"""How thorough a run is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Plan:
    """Rounds, and about how many seconds one of a contender takes where it can be chosen."""

    rounds: int = 9
    seconds: float = 0.1
    long: bool = False
    """With what takes many minutes: tens of millions of rows."""


QUICK = Plan(rounds=3, seconds=0.03)
FULL = Plan()
