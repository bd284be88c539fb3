"""Reading the feed accounts on a timer, and at once whenever somebody asks for a snapshot."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import structlog

from quantdesk_oracle.clock import sleep_unless
from quantdesk_oracle.errors import NodeProtocolError
from quantdesk_oracle.model import Observation, Source
from quantdesk_oracle.sources.follow import follow
from quantdesk_oracle.sources.rpc import ACCOUNTS_PER_REQUEST

if TYPE_CHECKING:
    from quantdesk_oracle.clock import Clock
    from quantdesk_oracle.errors import NodeError
    from quantdesk_oracle.sources.rpc import RpcClient
    from quantdesk_oracle.sources.sink import Sink
    from quantdesk_oracle.sources.wire import AccountState

log = structlog.get_logger("sources.polling")


class Poller:
    """Polls all accounts every ``interval`` seconds for as long as it runs."""

    def __init__(
        self,
        client: RpcClient,
        pubkeys: Sequence[str],
        sink: Sink,
        clock: Clock,
        interval: float,
        *,
        on_read: Callable[[str, bytes | None], None] = lambda _pubkey, _data: None,
    ) -> None:
        self._client = client
        self.pubkeys = tuple(pubkeys)
        """May be replaced while it runs."""
        self._sink = sink
        self._clock = clock
        self._interval = interval
        self._on_read = on_read
        self._asked = asyncio.Event()
        self.had_worked = False
        self.failing: str | None = None
        """Why the last poll failed; None when it did not."""
        self.failing_kind = ""
        """The kind of that NodeError."""

    def snapshot(self) -> None:
        """Read the accounts now, not when the timer says so."""
        self._asked.set()

    async def run(self) -> None:
        """Poll until cancelled; trouble with the node is waited out."""
        await follow(self, self._clock)

    async def deliver(self) -> None:
        """Poll, again and again, until that fails. Raises NodeError, always."""
        self.had_worked = False
        while True:
            await self._client.verify_cluster()
            await self.poll()
            self.had_worked = True
            if self.failing is not None:
                log.info("polling.restored", endpoint=self._client.endpoint)
                self.failing = None
            await sleep_unless(self._asked, self._clock, self._interval)

    def lost(self, error: NodeError, wait: float) -> None:
        """A poll has failed."""
        if self.failing is None:
            log.warning(
                "polling.failed", endpoint=self._client.endpoint, cause=str(error), retry_in=round(wait, 2)
            )
        self.failing, self.failing_kind = str(error), error.kind
        self._client.forget_cluster(self._client.endpoints.active)
        self._client.endpoints.fail_over(str(error))

    async def poll(self) -> None:
        """Read every account once and hand the states to the sink. Raises NodeError."""
        self._asked.clear()
        wanted = self.pubkeys
        for start in range(0, len(wanted), ACCOUNTS_PER_REQUEST):
            pubkeys = wanted[start : start + ACCOUNTS_PER_REQUEST]
            answer = await self._client.accounts(pubkeys)
            received = self._clock.now()
            self._sink.saw_slot(answer.context.slot)
            for pubkey, state in zip(pubkeys, answer.value, strict=True):
                self._deliver(pubkey, state, received)

    def _deliver(self, pubkey: str, state: AccountState | None, received: int) -> None:
        try:
            data = state.raw() if state is not None else None
        except NodeProtocolError as error:
            self._client.count_error(error)
            log.warning("account.unreadable", pubkey=pubkey, cause=str(error))
            return
        owner = state.owner if state is not None else ""
        self._sink.observe(Observation(pubkey, owner, data, Source.POLL, received))
        self._on_read(pubkey, data)
