"""A local node without sockets, for tests in virtual time: the same answers and frames, in the same order.

    clock = VirtualClock()
    node = InProcessNode(LocalnetSettings(), clock)
    await node.start()
    answer = await node.post('{"jsonrpc": "2.0", "id": 1, "method": "getSlot"}')
    assert answer.status == 200                       # answer.body, answer.headers
    socket = await node.connect()
    await socket.send('{"jsonrpc": "2.0", "id": 1, "method": "slotSubscribe"}')
    assert json.loads(await socket.recv())["result"] == 0
    await clock.advance(600)                          # ten minutes of slots and pushes
    frame = await socket.recv()                       # SocketClosedError where it has ended
    await node.stop()

With faults: ``InProcessNode(settings, clock, Drill(schedule))``. A half-open socket's ``recv`` never returns and a
stalled POST waits in the node's clock, as on a wire; so whoever asks needs a timer of its own, in the same clock.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING, Final, Protocol, TypedDict
from weakref import WeakSet

from quantdesk_oracle.localnet.doors import Doors
from quantdesk_oracle.localnet.ledger import Ledger
from quantdesk_oracle.localnet.load import Load
from quantdesk_oracle.localnet.node import Node
from quantdesk_oracle.localnet.passage import NoAnswerError, RefusalError
from quantdesk_oracle.localnet.replay import Replay, load_dumps
from quantdesk_oracle.localnet.rpc import Methods
from quantdesk_oracle.localnet.simulation import Simulation

if TYPE_CHECKING:
    from quantdesk_oracle.clock import Clock
    from quantdesk_oracle.localnet.doors import Session
    from quantdesk_oracle.localnet.passage import HttpAnswer, Passage
    from quantdesk_oracle.localnet.settings import LocalnetSettings

_LOG = logging.getLogger(__name__)
ABNORMAL: Final = 1006
"""The close code of a connection that ended without a close frame."""
_INVALID_TEXT: Final = 1007


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
    generation: str | None


class SocketClosedError(Exception):
    """A connection has ended; ``code`` is the close code, 1006 where there was no close frame."""

    def __init__(self, code: int) -> None:
        self.code = code
        super().__init__(f"the connection has ended with code {code}")


class InProcessNode:
    """A local Solana node that serves Pyth accounts, inside the caller's event loop, and without sockets.

    The prices are simulated (or, with ``settings.accounts``, replayed from dumps).
    """

    def __init__(self, settings: LocalnetSettings, clock: Clock, passage: Passage | None = None) -> None:
        self.settings = settings
        self.node = Node(settings, clock, passage)
        self.simulation = Simulation(self.node)
        self.doors = Doors(self.node, Methods(self.node, self.simulation.pusher))
        self._clock = clock
        self._accounts: Pushing = self.simulation
        self._pushing: Pushing | None = None
        self._clockwork: asyncio.Task[None] | None = None
        self._sockets: WeakSet[InProcessSocket] = WeakSet()
        self.node.passage.attach(self)

    # ── clients ──────────────────────────────────────────────────────────────────────────────────
    async def post(self, body: str | bytes) -> HttpAnswer:
        """What the HTTP port answers to ``body``. Raises NoAnswerError where the connection ends instead."""
        return await self.doors.post(body.encode() if isinstance(body, str) else body)

    async def connect(self) -> InProcessSocket:
        """A websocket. Raises RefusalError (its ``answer`` has status and headers), NoAnswerError."""
        self.doors.knock()
        socket = InProcessSocket(self.settings.send_buffer)
        socket.session = self.doors.open(socket)
        self._sockets.add(socket)
        return socket

    def served(self) -> list[ServedAccount]:
        """The accounts that this node serves, as its ready line has them."""
        if isinstance(self._accounts, Replay):
            return [
                ServedAccount(market=None, symbol=None, feed_id=None, pubkey=key, generation=None)
                for key in self._accounts.pubkeys
            ]
        return [
            ServedAccount(
                market=feed.market,
                symbol=feed.symbol,
                feed_id=feed.feed_id.hex(),
                pubkey=feed.address,
                generation=feed.generation.value,
            )
            for feed in self.settings.feeds
        ]

    # ── life ─────────────────────────────────────────────────────────────────────────────────────
    async def start(self) -> None:
        """Read the ledger or the dumps, and let time run.

        Raises DataError where the ledger or the dumps are none, UnavailableError where the ledger is in use.
        """
        try:
            self._prepare()
            await self._open()
        except BaseException:
            await self.stop()
            raise
        await self.node.passage.start()
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
        """No push after this; every earlier one has been written to its subscribers' sockets. Slots go on.

        What a drill holds back is not written yet: it comes when its fault ends.
        """
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
            await self.node.passage.stop()
            await self._close()
            self._close_ledger()

    async def _open(self) -> None:
        """Let clients in; here they come by themselves."""

    async def _close(self) -> None:
        """Turn every client out."""
        for socket in tuple(self._sockets):
            socket.drop()

    def _prepare(self) -> None:
        settings = self.settings
        if settings.ledger is not None:
            self.node.ledger = Ledger(settings.ledger)
        if settings.accounts is not None:
            self._accounts = Replay(self.node, load_dumps(settings.accounts))
        elif settings.load:
            self._accounts = Load(self.node)
        elif settings.ledger is not None:
            self.simulation.resume(settings.ledger)
        if settings.accounts is None:
            # The first client to ask finds every account there, as on a chain.
            self._accounts.act()
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
                # A clock that is past the next instant already does not wait: let the others have a turn all the same.
                await asyncio.sleep(0)


class InProcessSocket:
    """A websocket of an :class:`InProcessNode`: the client's side, and the node's (``Client``)."""

    def __init__(self, limit: int) -> None:
        self.session: Session | None = None
        self._limit = limit
        self._waiting: deque[bytes] = deque()
        self._bytes = 0
        self._came = asyncio.Event()
        self._frozen = False
        self._code: int | None = None

    @property
    def code(self) -> int | None:
        """The close code; None while the connection stands."""
        return self._code

    # ── the client's side ────────────────────────────────────────────────────────────────────────
    async def send(self, message: str | bytes) -> None:
        """Send one message. Raises SocketClosedError."""
        if self._code is not None:
            raise SocketClosedError(self._code)
        if self.session is not None and not self._frozen:
            self.session.receive(message.encode() if isinstance(message, str) else message)

    async def recv(self) -> str:
        """The next message; those that came before the end come before SocketClosedError does."""
        while not self._waiting:
            if self._code is not None:
                raise SocketClosedError(self._code)
            self._came.clear()
            await self._came.wait()
        message = self._waiting.popleft()
        self._bytes -= len(message)
        try:
            return message.decode()
        except UnicodeDecodeError:
            # As a websocket library does with a text frame that is no UTF-8.
            self._end(_INVALID_TEXT)
            raise SocketClosedError(_INVALID_TEXT) from None

    async def aclose(self) -> None:
        """Leave."""
        self._end(1000)

    # ── the node's side ──────────────────────────────────────────────────────────────────────────
    def deliver(self, message: bytes) -> None:
        """Hand over one message; a client that lets too much of it lie is dropped."""
        if self._code is not None:
            return
        self._waiting.append(message)
        self._bytes += len(message)
        self._came.set()
        if self._bytes > self._limit:
            self.drop()

    def drop(self) -> None:
        """End it without a close frame: what the client has not read yet is lost with it."""
        self._waiting.clear()
        self._end(ABNORMAL)

    def close(self, code: int) -> None:
        """End it with a close frame."""
        self._end(code)

    def freeze(self) -> None:
        """Take nothing that the client sends."""
        self._frozen = True

    def thaw(self) -> None:
        """Take it again; what was sent meanwhile is lost."""
        self._frozen = False

    def _end(self, code: int) -> None:
        if self._code is None:
            self._code = code
            self._came.set()
            if self.session is not None:
                self.session.close()


def _log_death(clockwork: asyncio.Task[None]) -> None:
    if not clockwork.cancelled() and (error := clockwork.exception()) is not None:
        _LOG.error("localnet.died error=%r", error)


__all__ = [
    "HttpAnswer",
    "InProcessNode",
    "InProcessSocket",
    "NoAnswerError",
    "Pushing",
    "RefusalError",
    "ServedAccount",
    "SocketClosedError",
]
