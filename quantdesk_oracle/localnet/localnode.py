"""A local node, whole: state, sockets, and the clockwork that lets slots and pushes happen."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Protocol, TypedDict

from quantdesk_oracle.localnet.ledger import Ledger
from quantdesk_oracle.localnet.node import Node
from quantdesk_oracle.localnet.replay import Replay, load_dumps
from quantdesk_oracle.localnet.rpc import Methods
from quantdesk_oracle.localnet.server import Server
from quantdesk_oracle.localnet.simulation import Simulation

if TYPE_CHECKING:
    from quantdesk_oracle.clock import Clock
    from quantdesk_oracle.localnet.settings import LocalnetSettings
    from quantdesk_oracle.localnet.subscriptions import Passage

_LOG = logging.getLogger(__name__)


class Pushing(Protocol):
    """Where the accounts' changes come from."""

    def next_instant(self) -> int:
        """When it wants to act next, µs."""

    def act(self) -> None:
        """Commit what is due now."""


class ServedAccount(TypedDict):
    """One account; of a dump only its key is known."""

    market: str | None
    symbol: str | None
    feed_id: str | None
    pubkey: str
    """Base58."""


class LocalNode:
    """A local Solana node that serves Pyth accounts, inside the caller's event loop.

    The prices are simulated (or, with ``settings.accounts``, replayed from dumps). Example:

        node = LocalNode(LocalnetSettings(rpc_port=0, ws_port=0), SystemClock())
        await node.start()
        ...                       # node.rpc_url, node.ws_url
        await node.stop_pushing() # whatever was pushed has been written to every socket
        await node.stop()
    """

    def __init__(self, settings: LocalnetSettings, clock: Clock, passage: Passage | None = None) -> None:
        self.settings = settings
        self.node = Node(settings, clock, passage)
        self.simulation = Simulation(self.node)
        self._clock = clock
        self._accounts: Pushing = self.simulation
        self._pushing: Pushing | None = None
        self._server = Server(self.node, Methods(self.node, self.simulation.pusher))
        self._clockwork: asyncio.Task[None] | None = None

    @property
    def rpc_url(self) -> str:
        """JSON-RPC over HTTP; valid once started."""
        return f"http://{self._host}:{self._server.rpc_port}"

    @property
    def ws_url(self) -> str:
        """The websocket; valid once started."""
        return f"ws://{self._host}:{self._server.ws_port}"

    def served(self) -> list[ServedAccount]:
        """The accounts that this node serves, as its ready line has them."""
        if isinstance(self._accounts, Replay):
            return [
                ServedAccount(market=None, symbol=None, feed_id=None, pubkey=key)
                for key in self._accounts.pubkeys
            ]
        return [
            ServedAccount(
                market=feed.market, symbol=feed.symbol, feed_id=feed.feed_id.hex(), pubkey=feed.address
            )
            for feed in self.settings.feeds
        ]

    async def start(self) -> None:
        """Read the ledger or the dumps, listen, and let time run.

        Raises UnavailableError where a port is taken, DataError where the ledger or the dumps are none.
        """
        self._server.bind()
        try:
            self._prepare()
            await self._server.start()
        except BaseException:
            await self.stop()
            raise
        self._clockwork = asyncio.create_task(self._run(), name="localnet clockwork")
        self._clockwork.add_done_callback(_log_death)

    async def wait(self) -> None:
        """Until the node is stopped; raises what the clockwork died of, such as a full disk."""
        clockwork = self._clockwork
        if clockwork is not None:
            await asyncio.wait([clockwork])
            if not clockwork.cancelled():
                clockwork.result()

    async def stop_pushing(self) -> None:
        """No push after this; every earlier one has been written to its subscribers' sockets. Slots go on."""
        self._pushing = None
        # Writing to a socket is part of a push: there is none halfway. One turn lets the loop flush.
        await asyncio.sleep(0)

    async def stop(self) -> None:
        """Stop pushing, close every connection and the ledger. May be called twice.

        Raises nothing of what the clockwork may have died of: :meth:`wait` and the log have that.
        """
        await self.stop_pushing()
        clockwork, self._clockwork = self._clockwork, None
        try:
            if clockwork is not None:
                clockwork.cancel()
                await asyncio.wait([clockwork])
        finally:
            await self._server.stop()
            self._close_ledger()

    @property
    def _host(self) -> str:
        return f"[{self.settings.host}]" if ":" in self.settings.host else self.settings.host

    def _prepare(self) -> None:
        settings = self.settings
        if settings.ledger is not None:
            self.node.ledger = Ledger(settings.ledger)
        if settings.accounts is not None:
            self._accounts = Replay(self.node, load_dumps(settings.accounts))
        elif settings.ledger is not None:
            self.simulation.resume(settings.ledger)
        if settings.accounts is None:
            # The first client to ask finds every account there, as on a chain.
            self.simulation.act()
        self._pushing = self._accounts

    def _close_ledger(self) -> None:
        if self.node.ledger is not None:
            self.node.ledger.close()
            self.node.ledger = None

    async def _run(self) -> None:
        """Slots and pushes, in the order of their instants."""
        node = self.node
        push_at = self._pushing.next_instant() if self._pushing else None
        while True:
            slot_at = node.slot_instant(node.slot + 1)
            await self._clock.sleep_until(slot_at if push_at is None else min(slot_at, push_at))
            node.tell_slots()
            pushing = self._pushing
            if pushing is None:
                push_at = None
            elif push_at is not None and self._clock.now() >= push_at:
                pushing.act()
                push_at = pushing.next_instant()


def _log_death(clockwork: asyncio.Task[None]) -> None:
    if not clockwork.cancelled() and (error := clockwork.exception()) is not None:
        _LOG.error("localnet.died error=%r", error)
