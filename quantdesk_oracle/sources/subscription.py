"""The account subscription: a websocket connection of our own, watched, renewed and never trusted.

A connection counts as dead when it is silent for too long (a slot subscription makes a healthy one tick),
when a request of ours goes unanswered for as long, and when the poller has known for as long of a state that
the subscription has not delivered. A watch beside the reader decides that, by the clock it is given.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, Literal, Protocol

import structlog
from solders.pubkey import Pubkey
from solders.rpc.requests import AccountSubscribe, SlotSubscribe
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from quantdesk_oracle.errors import NodeError, NodeProtocolError, RateLimitedError
from quantdesk_oracle.model import SECOND, Observation, Source
from quantdesk_oracle.retry import STABLE_SECONDS
from quantdesk_oracle.sources import wire
from quantdesk_oracle.sources.follow import follow
from quantdesk_oracle.sources.rpc import account_config, patience_in

if TYPE_CHECKING:
    from quantdesk_oracle.clock import Clock
    from quantdesk_oracle.config.settings import EndpointSettings, NodeSettings
    from quantdesk_oracle.ops.metrics import Metrics
    from quantdesk_oracle.sources.rpc import RpcClient
    from quantdesk_oracle.sources.sink import Sink

log = structlog.get_logger("sources.subscription")
MAX_FRAME = 1 << 20
"""Bytes: the largest Pyth account is 12,576 bytes, 17 KiB in base64."""
_SLOTS = "slots"
_TOO_MANY_REQUESTS = 429


class Connection(Protocol):
    """A websocket, as websockets' ClientConnection is one; its methods raise ConnectionClosed at its end."""

    async def send(self, message: str) -> None: ...

    async def recv(self, *, decode: Literal[False]) -> bytes: ...

    async def ping(self) -> Awaitable[object]: ...


class Connector(Protocol):
    """Opens a connection to an endpoint within ``limit`` seconds, and closes it at the end of the block."""

    def __call__(
        self, endpoint: EndpointSettings, limit: float
    ) -> AbstractAsyncContextManager[Connection]: ...


def _connect(endpoint: EndpointSettings, limit: float) -> AbstractAsyncContextManager[Connection]:
    url = endpoint.ws_url.get_secret_value()
    return connect(url, open_timeout=limit, close_timeout=1, max_size=MAX_FRAME)


class SubscriptionLostError(NodeError):
    """The connection ended. ``reason`` is a word of ops.metrics.RECONNECT_REASONS."""

    kind = "subscription"

    def __init__(self, reason: str, message: str, retry_after: float | None = None) -> None:
        self.reason = reason
        self.retry_after = retry_after
        super().__init__(message)


class Subscription:
    """Follows all accounts over one connection at a time, for as long as it runs.

    Number ``rank`` follows the endpoint in use (0) or the best of the others (1).
    """

    def __init__(
        self,
        settings: NodeSettings,
        client: RpcClient,
        pubkeys: Sequence[str],
        sink: Sink,
        clock: Clock,
        metrics: Metrics,
        *,
        on_connected: Callable[[str], None],
        on_lost: Callable[[str, SubscriptionLostError], None],
        rank: int = 0,
        connector: Connector | None = None,
    ) -> None:
        self._connector: Connector = connector or _connect
        self._rank = rank
        self._settings = settings
        self._client = client
        self.pubkeys = tuple(dict.fromkeys(pubkeys))
        """May be replaced while it runs: those that are new are asked for within a second."""
        self._sink = sink
        self._clock = clock
        self._metrics = metrics
        self._on_connected = on_connected
        self._on_lost = on_lost
        self._asked: set[str] = set()
        self._asked_at = 0
        self._requested: dict[int, str] = {}
        """What was asked for on this connection and not answered yet, by the number of the request."""
        self._subscribed: dict[int, str] = {}
        self._delivered: dict[str, bytes | None] = {}
        self._ahead_since: dict[str, int] = {}
        self._connection: Connection | None = None
        self._judged = False
        """Whether this connection is known to be of the endpoint's own network."""
        self._last_frame = 0
        self.connected_at: int | None = None
        """Since when the connection stands, all its subscriptions answered, µs; None: none does."""
        self._at = client.endpoints.follower(rank)
        self._endpoint = client.endpoints.names[self._at]
        self.failing: str | None = None
        """Why the last connection ended or did not come about; None while one stands."""
        self.had_worked = False
        self.connections = 0
        """How many connections have been made."""

    @property
    def connected(self) -> bool:
        """Whether a connection stands."""
        return self.connected_at is not None

    def polled(self, pubkey: str, data: bytes | None) -> None:
        """What a poll has just read; a subscription that keeps lacking it has gone quiet."""
        if self.connected and self._delivered.setdefault(pubkey, data) != data:
            self._ahead_since.setdefault(pubkey, self._clock.now())
        else:
            self._ahead_since.pop(pubkey, None)

    async def drained(self) -> None:
        """Wait until everything that the node has sent so far is with the sink."""
        for _ in range(2):
            # Frames are answered in order; the second pong finds the reader past what the first one left behind.
            if self._connection is not None:
                with contextlib.suppress(ConnectionClosed):
                    await (await self._connection.ping())
            await asyncio.sleep(0)

    async def run(self) -> None:
        """Keep a connection until cancelled."""
        await follow(self, self._clock)

    async def deliver(self) -> None:
        """One connection, from its first moment to its last. Raises SubscriptionLostError, always."""
        self.had_worked = False
        try:
            await self._one_connection()
        finally:
            self.had_worked = self._was_stable()
            self._forget()

    def lost(self, error: NodeError, wait: float) -> None:
        """A connection has ended."""
        assert isinstance(error, SubscriptionLostError)
        self.failing = str(error)
        self._metrics.reconnects[error.reason].inc()
        log.info("subscription.retried", endpoint=self._endpoint, cause=str(error), retry_in=round(wait, 2))
        self._on_lost(self._endpoint, error)

    def _was_stable(self) -> bool:
        """Whether the connection that has just ended had worked for a minute, its last silence left out."""
        since = self.connected_at
        return since is not None and self._last_frame - since >= STABLE_SECONDS * SECOND

    async def _one_connection(self) -> None:
        """Connect, subscribe and deliver until the connection ends: it always ends with the error raised."""
        endpoints = self._client.endpoints
        self._at = endpoints.follower(self._rank)
        self._endpoint = endpoints.names[self._at]
        limit = self._settings.request_timeout
        await self._verify_cluster()
        try:
            async with self._connector(endpoints.settings[self._at], limit) as connection:
                self._connection = connection
                self._last_frame = self._clock.now()
                await self._subscribe(connection)
                await _first_to_end(self._deliver(connection), self._watch(connection))
        except ConnectionClosed as error:
            raise SubscriptionLostError(
                "closed", f"{self._endpoint} closed the connection ({error})"
            ) from None
        except InvalidStatus as error:
            raise self._refused(error) from None
        except (WebSocketException, OSError, TimeoutError, EOFError) as error:
            raise SubscriptionLostError(
                "refused", f"{self._endpoint} takes no connection ({type(error).__name__})"
            ) from None

    async def _verify_cluster(self) -> None:
        """A websocket does not tell whose it is; prints of another network would look like any."""
        try:
            await self._client.verify_cluster(self._at)
        except NodeError as error:
            patience = error.retry_after if isinstance(error, RateLimitedError) else None
            raise SubscriptionLostError("refused", str(error), patience) from None
        if not self._client.has_told_its_slot(self._at):
            # What the websocket's slots are held against; as a rule a poll has asked by now. It stands without, too.
            with contextlib.suppress(NodeError):
                await self._client.slot(self._at)

    def _refused(self, error: InvalidStatus) -> SubscriptionLostError:
        status = error.response.status_code
        patience = patience_in(error.response.headers.raw_items()) if status == _TOO_MANY_REQUESTS else None
        return SubscriptionLostError(
            "refused", f"{self._endpoint} refuses the connection (HTTP {status})", patience
        )

    async def _subscribe(self, connection: Connection) -> None:
        """Ask for what has not been asked for on this connection: everything at first, later what has come anew."""
        config = account_config(self._settings.commitment)
        # One account a request: nodes take no message over 4096 bytes.
        for subject in (*self.pubkeys, _SLOTS):
            if subject in self._asked:
                continue
            number = len(self._asked)
            self._asked.add(subject)
            self._asked_at, self._requested[number] = self._clock.now(), subject
            if subject == _SLOTS:
                await connection.send(SlotSubscribe(number).to_json())
            else:
                pubkey = Pubkey.from_string(subject)
                await connection.send(AccountSubscribe(pubkey, config, number).to_json())

    def follows(self, pubkey: str) -> bool:
        """Whether the node sends this account's changes now."""
        return self.connected and pubkey in self._subscribed.values()

    async def _deliver(self, connection: Connection) -> None:
        while True:
            message = await connection.recv(decode=False)
            self._last_frame = self._clock.now()
            self._handle(message)

    async def _watch(self, connection: Connection) -> None:
        """End the connection once it has been silent, unanswering or quiet for longer than the limit."""
        limit = self._settings.silence_limit
        while True:
            await self._clock.sleep(min(limit / 4, 1.0))
            now = self._clock.now()
            allowed = limit * SECOND
            if now - self._last_frame > allowed:
                raise SubscriptionLostError("stale", f"{self._endpoint} has been silent for {limit:g} s")
            await self._subscribe(connection)
            if self._requested and now - self._asked_at > allowed:
                raise SubscriptionLostError(
                    "stale", f"{self._endpoint} has left {len(self._requested)} subscriptions unanswered"
                )
            if self._ahead_since:
                self._check_quiet(now, allowed)
            if self._at != self._client.endpoints.follower(self._rank):
                raise SubscriptionLostError("failover", f"{self._endpoint} is no longer the one to follow")

    def _handle(self, message: bytes) -> None:
        try:
            frame = wire.read_frame(message)
        except NodeProtocolError as error:
            # One frame that cannot be read says nothing about the next one.
            self._unreadable("frame.unreadable", error)
            return
        if frame.params is not None:
            self._notified(frame.params)
        elif frame.error is not None:
            self._answered_with_error(frame)
        elif frame.id is not None and isinstance(frame.result, int):
            self._answered(frame.id, frame.result)

    def _unreadable(self, event: str, error: NodeProtocolError, **what: str) -> None:
        self._metrics.endpoint(self._endpoint).errors[error.kind].inc()
        log.warning(event, endpoint=self._endpoint, cause=str(error), **what)

    def _notified(self, params: wire.Params) -> None:
        subject = self._subscribed.get(params.subscription)
        result = params.result
        if not self._judged and subject is not None:
            self._judge_chain(result)
        if subject == _SLOTS:
            if result.slot is not None:
                self._sink.saw_slot(result.slot)
        elif subject is not None and result.value is not None:
            self._observed(subject, result.value)

    def _judge_chain(self, result: wire.Notified) -> None:
        """A websocket of another network than the endpoint's own brings prints that look like any; slots tell."""
        slot = result.slot if result.context is None else result.context.slot
        another = None if slot is None else self._client.on_another_chain(slot, self._at)
        if another:
            raise SubscriptionLostError(
                "protocol",
                f"the websocket of {self._endpoint} is at slot {slot}, the endpoint itself elsewhere: WS_URL leads to "
                "another network than RPC_URL",
            )
        self._judged = another is not None

    def _observed(self, pubkey: str, state: wire.AccountState) -> None:
        try:
            data = state.raw()
        except NodeProtocolError as error:
            self._unreadable("account.unreadable", error, pubkey=pubkey)
            return
        self._delivered[pubkey] = data
        self._ahead_since.pop(pubkey, None)
        observation = Observation(pubkey, state.owner, data, Source.SUBSCRIPTION, self._clock.now())
        self._sink.observe(observation)

    def _answered(self, number: int, subscription: int) -> None:
        subject = self._requested.pop(number, None)
        if subject is None:
            log.warning("frame.unasked", endpoint=self._endpoint, id=number)
            return
        self._subscribed[subscription] = subject
        if not self._requested and not self.connected:
            self._established()

    def _answered_with_error(self, frame: wire.Frame) -> None:
        error = wire.error_of(frame.error, self._endpoint)
        asked = self._requested.get(frame.id) if frame.id is not None else None
        if asked == _SLOTS:
            # A node without slot subscriptions serves accounts all the same; polling tells the slots.
            del self._requested[frame.id or 0]
            if not self._requested and not self.connected:
                self._established()
            return
        patience = error.retry_after if isinstance(error, RateLimitedError) else None
        raise SubscriptionLostError("refused", str(error), patience)

    def _established(self) -> None:
        self.connections += 1
        self.connected_at, self.failing = self._clock.now(), None
        self._metrics.endpoint(self._endpoint).subscription_up.set(1)
        self._on_connected(self._endpoint)

    def _check_quiet(self, now: int, allowed: float) -> None:
        pubkey, since = min(self._ahead_since.items(), key=lambda item: item[1])
        if now - since > allowed:
            raise SubscriptionLostError(
                "stale",
                f"{self._endpoint} has not delivered for {allowed / SECOND:g} s what polling reads of {pubkey}",
            )

    def _forget(self) -> None:
        if self.connected:
            self._metrics.endpoint(self._endpoint).subscription_up.set(0)
        self._connection = None
        self._judged = False
        self.connected_at = None
        self._asked.clear()
        for known in (self._requested, self._subscribed, self._delivered, self._ahead_since):
            known.clear()


async def _first_to_end(*works: Coroutine[Any, Any, None]) -> None:
    """Run ``works`` side by side until one of them ends, which here means: raises."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
