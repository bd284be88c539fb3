"""How many requests a node was asked, and how many of them within a while: what a public endpoint counts."""

from __future__ import annotations

from collections import Counter, deque
from typing import Final, NamedTuple

from quantdesk_oracle.model import SECOND

WHILE: Final = 10 * SECOND
"""What public endpoints count over, µs."""
_LONGEST_MEMORY: Final = 100_000


class Count(NamedTuple):
    """Requests since the node's start, and the most of them within ten seconds."""

    total: int
    by_method: dict[str, int]
    most_in_ten_seconds: int
    most_of_one_method_in_ten_seconds: dict[str, int]


class Calls:
    """Counts requests over HTTP."""

    def __init__(self) -> None:
        self._by_method: Counter[str] = Counter()
        self._recent: deque[tuple[int, str]] = deque(maxlen=_LONGEST_MEMORY)
        self._lately: Counter[str] = Counter()
        self._most = 0
        self._most_of: Counter[str] = Counter()

    def note(self, method: str, now: int) -> None:
        """One more, at ``now`` (µs)."""
        while self._recent and (
            self._recent[0][0] <= now - WHILE or len(self._recent) == self._recent.maxlen
        ):
            self._lately[self._recent.popleft()[1]] -= 1
        self._recent.append((now, method))
        self._by_method[method] += 1
        self._lately[method] += 1
        self._most = max(self._most, len(self._recent))
        self._most_of[method] = max(self._most_of[method], self._lately[method])

    def count(self) -> Count:
        """All so far."""
        return Count(self._by_method.total(), dict(self._by_method), self._most, dict(self._most_of))


class Limit:
    """A public endpoint's: so many requests within a while, and so many of one method. What it refuses counts not."""

    def __init__(self, requests: int, per_method: int, within: int) -> None:
        self._requests = requests
        self._per_method = per_method
        self._within = within
        self._recent: deque[tuple[int, str]] = deque()
        self._lately: Counter[str] = Counter()

    def wait(self, method: str, now: int) -> int | None:
        """None where one more is allowed, and counted; otherwise how long to wait, µs."""
        while self._recent and self._recent[0][0] <= now - self._within:
            self._lately[self._recent.popleft()[1]] -= 1
        if len(self._recent) < self._requests and self._lately[method] < self._per_method:
            self._recent.append((now, method))
            self._lately[method] += 1
            return None
        return self._recent[0][0] + self._within - now
