"""Following feeds on Hermes: its stream, and the latest prices whenever a new one stands."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

import structlog

from quantdesk_oracle.model import SECOND, Source
from quantdesk_oracle.retry import STABLE_SECONDS
from quantdesk_oracle.sources.follow import follow
from quantdesk_oracle.sources.hermes import FEEDS_AT_ONCE

if TYPE_CHECKING:
    from quantdesk_oracle.clock import Clock
    from quantdesk_oracle.errors import NodeError
    from quantdesk_oracle.model import PriceUpdate
    from quantdesk_oracle.ops.metrics import Metrics
    from quantdesk_oracle.sources.hermes import HermesClient
    from quantdesk_oracle.sources.sink import Sink

log = structlog.get_logger("sources.hermes")
SOURCE: Final = Source.HERMES.value


class HermesStream:
    """Follows feeds (ids of 32 bytes) on the first of ``clients`` that serves them, for as long as it runs."""

    def __init__(
        self,
        clients: Sequence[HermesClient],
        feed_ids: Sequence[bytes],
        sink: Sink,
        clock: Clock,
        metrics: Metrics,
        *,
        on_connected: Callable[[str], None] = lambda _endpoint: None,
        on_lost: Callable[[str, NodeError], None] = lambda _endpoint, _error: None,
    ) -> None:
        self._clients = tuple(clients)
        self.feed_ids = tuple(dict.fromkeys(feed_ids))
        self._sink = sink
        self._clock = clock
        self._metrics = metrics
        self._on_connected = on_connected
        self._on_lost = on_lost
        self._at = 0
        self._last_print = 0
        self.had_worked = False
        self.connected_at: int | None = None
        """Since when the stream stands, µs; None: it does not."""
        self.streams = 0
        """How many streams have stood."""
        self.whole_from: int | None = None
        """The stream that stands holds every print published since (Unix seconds); None before its first one."""
        self.newest = (0, 0)
        """The newest publish time (Unix seconds) and slot that the stream has brought."""
        self.failing: str | None = None
        """Why there is no stream; None while there is one."""
        self.failing_kind = ""
        """The kind of that NodeError."""
        self.silent: frozenset[bytes] = frozenset()
        """Feeds that Hermes has nothing of."""

    @property
    def connected(self) -> bool:
        """Whether the stream stands."""
        return self.connected_at is not None

    @property
    def endpoint(self) -> str:
        """The name of the Hermes that is followed."""
        return self._clients[self._at].name

    async def run(self) -> None:
        """Follow until cancelled."""
        await follow(self, self._clock)

    async def deliver(self) -> None:
        """One stream, from its first moment to its last. Raises NodeError, always."""
        client = self._clients[self._at]
        self.had_worked = False
        try:
            async for updates in client.stream(self.feed_ids):
                if not self.connected:
                    # What was published last while no stream stood; the stream's own prints wait in its socket.
                    await self._latest(client)
                    self._established()
                self._hear(updates)
        finally:
            self._ended()

    def lost(self, error: NodeError, wait: float) -> None:
        """A stream has ended; where it had hardly begun, the next attempt is another Hermes', if there is one."""
        self._metrics.beside(SOURCE, self.endpoint).errors[error.kind].inc()
        if self.had_worked:
            # Every stream ends once a day.
            log.info("hermes.stream_ended", endpoint=self.endpoint, cause=str(error))
            return
        if self.failing is None:
            log.warning("hermes.lost", endpoint=self.endpoint, cause=str(error), retry_in=round(wait, 2))
            self._on_lost(self.endpoint, error)
        self.failing, self.failing_kind = str(error), error.kind
        self._at = (self._at + 1) % len(self._clients)

    async def close(self) -> None:
        """Close every connection."""
        for client in self._clients:
            await client.close()

    async def _latest(self, client: HermesClient) -> None:
        found: set[bytes] = set()
        for start in range(0, len(self.feed_ids), FEEDS_AT_ONCE):
            updates = await client.latest(self.feed_ids[start : start + FEEDS_AT_ONCE])
            found.update(update.feed_id for update in updates if update.feed_id is not None)
            self._hear(updates)
        self.silent = frozenset(self.feed_ids) - found
        for feed_id in self.silent:
            log.warning("hermes.feed_missing", endpoint=client.name, feed_id=feed_id.hex())

    def _hear(self, updates: Sequence[PriceUpdate]) -> None:
        if updates:
            self._last_print = self._clock.now()
            newest = max(update.identity for update in updates)
            self.newest = max(self.newest, newest)
            self.whole_from = newest[0] if self.whole_from is None else self.whole_from
        for update in updates:
            self._sink.hear(update, Source.HERMES, self._last_print)

    def _established(self) -> None:
        if self.failing is not None:
            log.info("hermes.restored", endpoint=self.endpoint)
        self.failing, self.connected_at, self.streams = None, self._clock.now(), self.streams + 1
        self._metrics.beside(SOURCE, self.endpoint).up.set(1)
        self._on_connected(self.endpoint)

    def _ended(self) -> None:
        since, self.connected_at = self.connected_at, None
        self.whole_from, self.newest = None, (0, 0)
        self.had_worked = since is not None and self._last_print - since >= STABLE_SECONDS * SECOND
        self._metrics.beside(SOURCE, self.endpoint).up.set(0)
