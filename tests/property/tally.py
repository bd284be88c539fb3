"""How many malformed inputs each entrance is given, and what becomes of them.

Some thousands in the default run. By hand, a million, with what became of them:

    QUANTDESK_TEST_MALFORMED=1000000 python -m pytest -s -q tests/property/test_malformed_*.py
"""

from __future__ import annotations

import os
import time
from collections import Counter
from typing import Any

import pytest
import structlog

TOTAL = int(os.environ.get("QUANTDESK_TEST_MALFORMED", "10000"))
SHARES = {
    "accounts": 0.40, "answers": 0.16, "frames": 0.16, "streams": 0.14, "config": 0.05, "spool": 0.01, "parquet": 0.03,
    "csv": 0.05,
}  # fmt: skip
"""Of the total: a spool costs fifty times what a frame does."""

TIMEOUT = pytest.mark.timeout(120 + TOTAL // 500)


def share(entrance: str) -> int:
    return round(TOTAL * SHARES[entrance])


@pytest.fixture(autouse=True)
def silent() -> None:
    """Half of these would be a line of the log."""

    def drop(*_: object) -> Any:
        raise structlog.DropEvent

    structlog.configure(processors=[drop])


class Tally:
    """What became of the inputs of an entrance, and how long the slowest took."""

    def __init__(self, entrance: str) -> None:
        self.entrance = entrance
        self.ends: Counter[str] = Counter()
        self._slowest = 0.0
        self._last = time.monotonic()

    def end(self, how: str) -> None:
        now = time.monotonic()
        self._slowest, self._last = max(self._slowest, now - self._last), now
        self.ends[how] += 1

    def close(self, *, refused: float = 0.1) -> None:
        """All were looked at, and neither all nor none of them were refused: else the test would prove nothing."""
        print(
            f"\n{self.entrance}: {self.ends.total()}, slowest {self._slowest:.3f} s: {dict(self.ends.most_common())}"
        )
        assert self.ends.total() >= share(self.entrance)
        assert self.ends["refused"] > self.ends.total() * refused
        assert self.ends.total() > self.ends["refused"]
