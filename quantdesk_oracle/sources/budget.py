"""How many requests an endpoint is asked in any ten seconds: live ones first, reading history with what is left.

Public nodes allow 100 requests in ten seconds, 40 of one method, and count as requests arrive, not as they are
sent. So a window here is half a second longer than theirs.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING, Final

from quantdesk_oracle.model import SECOND

if TYPE_CHECKING:
    from quantdesk_oracle.clock import Clock

WINDOW: Final = 10_500_000
"""µs."""
LIVE_SHARE: Final = 0.3
"""The part of the limit that history never touches."""
_PATIENCE: Final = 10.0
"""Seconds to hold history back after a refusal that does not say for how long."""


class Budget:
    """The requests that one endpoint may still be asked."""

    def __init__(self, clock: Clock, requests: int, method_requests: int) -> None:
        self._clock = clock
        self._requests = requests
        self._method_requests = method_requests
        self._sent: deque[tuple[int, str]] = deque()
        self._of_method: Counter[str] = Counter()
        self._paused_until = 0

    async def live(self, method: str) -> None:
        """Take a request for live data: it waits only where the endpoint's own limit is reached."""
        await self._take(method, self._requests, heed_pause=False)

    async def spare(self, method: str) -> None:
        """Take a request for history: it waits until live data cannot miss it."""
        await self._take(method, max(1, int(self._requests * (1 - LIVE_SHARE))), heed_pause=True)

    def pause(self, seconds: float | None) -> None:
        """The endpoint has asked for patience: no history before ``seconds`` have passed."""
        until = self._clock.now() + round((_PATIENCE if seconds is None else seconds) * SECOND)
        self._paused_until = max(self._paused_until, until)

    async def _take(self, method: str, limit: int, *, heed_pause: bool) -> None:
        while (free_at := self._free_at(method, limit, heed_pause=heed_pause)) > self._clock.now():
            await self._clock.sleep_until(free_at)
        self._sent.append((self._clock.now(), method))
        self._of_method[method] += 1

    def _free_at(self, method: str, limit: int, *, heed_pause: bool) -> int:
        """The instant at which one more request of ``method`` keeps every limit; now or earlier: at once."""
        now = self._clock.now()
        while self._sent and not 0 <= now - self._sent[0][0] < WINDOW:
            self._of_method[self._sent.popleft()[1]] -= 1
        at = self._paused_until if heed_pause else 0
        if len(self._sent) >= limit:
            at = max(at, self._sent[len(self._sent) - limit][0] + WINDOW)
        if self._of_method[method] >= self._method_requests:
            over = self._of_method[method] - self._method_requests
            instants = [instant for instant, sent in self._sent if sent == method]
            at = max(at, instants[over] + WINDOW)
        return at
