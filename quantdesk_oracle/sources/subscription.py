"""The account subscription: a websocket connection of our own, watched, renewed and never trusted.

A connection counts as dead when it is silent for too long (a slot subscription makes a healthy one tick),
and when the poller has known for as long of a state that it has not delivered.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import msgspec
import structlog
from solders.pubkey import Pubkey
from solders.rpc.requests import AccountSubscribe, SlotSubscribe
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI

from quantdesk_oracle.config import endpoint_name
from quantdesk_oracle.errors import NodeError, NodeProtocolError, RateLimitedError
from quantdesk_oracle.model import SECOND, Observation, Source
from quantdesk_oracle.retry import STABLE_SECONDS, start_over, until_it_works
from quantdesk_oracle.sources import wire
from quantdesk_oracle.sources.rpc import account_config

if TYPE_CHECKING:
    from quantdesk_oracle.clock import Clock
    from quantdesk_oracle.config.settings import NodeSettings
    from quantdesk_oracle.ops.metrics import Metrics
    from quantdesk_oracle.sources.rpc import RpcClient
    from quantdesk_oracle.sources.sink import Sink

log = structlog.get_logger("sources.subscription")
MAX_FRAME = 1 << 20
"""Bytes: the largest Pyth account is 12,576 bytes, 17 KiB in base64."""
_SLOTS = "slots"
_TOO_MANY_REQUESTS = 429


class SubscriptionLostError(NodeError):
    """The connection ended. ``reason`` is a word of ops.metrics.RECONNECT_REASONS."""

    kind = "subscription"

    def __init__(self, reason: str, message: str, retry_after: float | None = None) -> None:
        self.reason = reason
        self.retry_after = retry_after
        super().__init__(message)


class Subscription:
    """Follows all accounts over one connection at a time, for as long as it runs."""

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
    ) -> None:
        self._urls = [url.get_secret_value() for url in settings.ws_urls]
        self._settings = settings
        self._client = client
        self._pubkeys = tuple(dict.fromkeys(pubkeys))
        self._sink = sink
        self._clock = clock
        self._metrics = metrics
        self._on_connected = on_connected
        self._on_lost = on_lost
        self._decode = msgspec.json.Decoder(wire.Frame).decode
        self._requested: dict[int, str] = {}
        self._subscribed: dict[int, str] = {}
        self._delivered: dict[str, bytes | None] = {}
        self._ahead_since: dict[str, int] = {}
        self._connection: ClientConnection | None = None
        self._endpoint = endpoint_name(self._urls[0])
        self.connected = False
        self.connections = 0
        """How many connections have been made."""

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
        async for attempt in until_it_works(self._clock, (SubscriptionLostError,), on_failure=self._announce):
            with attempt:
                started = self._clock.now()
                try:
                    await self._one_connection()
                finally:
                    self._forget()
                    if self._clock.now() - started >= STABLE_SECONDS * SECOND:
                        start_over(attempt.retry_state)

    async def _one_connection(self) -> None:
        """Connect, subscribe and deliver until the connection ends: it always ends with the error raised."""
        url = self._urls[self._client.active % len(self._urls)]
        self._endpoint = endpoint_name(url)
        limit = self._settings.request_timeout
        try:
            async with connect(url, open_timeout=limit, close_timeout=1, max_size=MAX_FRAME) as connection:
                self._connection = connection
                await self._subscribe(connection)
                await self._deliver(connection)
        except ConnectionClosed as error:
            raise SubscriptionLostError(
                "closed", f"{self._endpoint} closed the connection ({error})"
            ) from None
        except InvalidStatus as error:
            raise self._refused(error) from None
        except (InvalidHandshake, InvalidURI, OSError, TimeoutError, EOFError) as error:
            raise SubscriptionLostError(
                "refused", f"{self._endpoint} takes no connection ({type(error).__name__})"
            ) from None

    def _refused(self, error: InvalidStatus) -> SubscriptionLostError:
        status = error.response.status_code
        patience = error.response.headers.get("Retry-After", "") if status == _TOO_MANY_REQUESTS else ""
        return SubscriptionLostError(
            "refused",
            f"{self._endpoint} refuses the connection (HTTP {status})",
            float(patience) if patience.isdecimal() else None,
        )

    async def _subscribe(self, connection: ClientConnection) -> None:
        config = account_config(self._settings.commitment)
        # One account a request: nodes take no message over 4096 bytes.
        for number, pubkey in enumerate(self._pubkeys):
            self._requested[number] = pubkey
            await connection.send(AccountSubscribe(Pubkey.from_string(pubkey), config, number).to_json())
        number = len(self._pubkeys)
        self._requested[number] = _SLOTS
        await connection.send(SlotSubscribe(number).to_json())

    async def _deliver(self, connection: ClientConnection) -> None:
        limit = self._settings.silence_limit
        while True:
            try:
                async with asyncio.timeout(limit):
                    message = await connection.recv()
            except TimeoutError:
                raise SubscriptionLostError(
                    "stale", f"{self._endpoint} has been silent for {limit:g} s"
                ) from None
            self._handle(message)
            if self._ahead_since:
                self._check_quiet(limit)

    def _handle(self, message: str | bytes) -> None:
        try:
            frame = self._decode(message)
        except msgspec.MsgspecError as error:
            # One frame that cannot be read says nothing about the next one.
            self._metrics.endpoint(self._endpoint).errors[NodeProtocolError.kind].inc()
            log.warning("frame.unreadable", endpoint=self._endpoint, cause=str(error))
            return
        if frame.params is not None:
            self._notified(frame.params)
        elif frame.error is not None:
            self._answered_with_error(frame)
        elif frame.id is not None and isinstance(frame.result, int):
            self._answered(frame.id, frame.result)

    def _notified(self, params: wire.Params) -> None:
        subject = self._subscribed.get(params.subscription)
        result = params.result
        if subject == _SLOTS:
            if result.slot is not None:
                self._sink.saw_slot(result.slot)
        elif subject is not None and result.value is not None:
            self._observed(subject, result.value)

    def _observed(self, pubkey: str, state: wire.AccountState) -> None:
        try:
            data = state.raw()
        except NodeProtocolError as error:
            log.warning("account.unreadable", pubkey=pubkey, cause=str(error))
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
        if not self._requested:
            self._established()

    def _answered_with_error(self, frame: wire.Frame) -> None:
        error = wire.error_of(frame.error, self._endpoint)
        asked = self._requested.get(frame.id) if frame.id is not None else None
        if asked == _SLOTS:
            # A node without slot subscriptions serves accounts all the same; polling tells the slots.
            del self._requested[frame.id or 0]
            if not self._requested:
                self._established()
            return
        patience = error.retry_after if isinstance(error, RateLimitedError) else None
        raise SubscriptionLostError("refused", str(error), patience)

    def _established(self) -> None:
        self.connected = True
        self.connections += 1
        self._metrics.endpoint(self._endpoint).subscription_up.set(1)
        self._on_connected(self._endpoint)

    def _check_quiet(self, limit: float) -> None:
        pubkey, since = min(self._ahead_since.items(), key=lambda item: item[1])
        if self._clock.now() - since > limit * SECOND:
            raise SubscriptionLostError(
                "stale", f"{self._endpoint} has not delivered for {limit:g} s what polling reads of {pubkey}"
            )

    def _forget(self) -> None:
        if self.connected:
            self._metrics.endpoint(self._endpoint).subscription_up.set(0)
        self.connected = False
        self._connection = None
        for known in (self._requested, self._subscribed, self._delivered, self._ahead_since):
            known.clear()

    def _announce(self, error: BaseException, wait: float) -> None:
        assert isinstance(error, SubscriptionLostError)
        self._metrics.reconnects[error.reason].inc()
        log.info("subscription.retried", endpoint=self._endpoint, cause=str(error), retry_in=round(wait, 2))
        self._on_lost(self._endpoint, error)
