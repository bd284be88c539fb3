"""Prices from Hermes over HTTP: the latest ones, a stream of them, and those of a moment in the past.

Every answer is read from its accumulator update, whose Merkle proofs are verified; the parsed numbers beside it are
not looked at. Since August 2026 the price routes want a bearer key. Answers: Hermes' OpenAPI, 0.12.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeVar

import httpx
import msgspec

from quantdesk_oracle.config import endpoint_name
from quantdesk_oracle.errors import (
    DecodeError,
    NodeError,
    NodeProtocolError,
    NodeRefusesError,
    RateLimitedError,
)
from quantdesk_oracle.model import Reason
from quantdesk_oracle.pyth.accumulator import decode_accumulator_updates
from quantdesk_oracle.sources.bounded import UNCOMPRESSED, Connections, read_body, read_events
from quantdesk_oracle.sources.budget import Budget
from quantdesk_oracle.sources.rpc import patience_in, status_error

if TYPE_CHECKING:
    from pydantic import SecretStr

    from quantdesk_oracle.clock import Clock
    from quantdesk_oracle.config import HermesSettings
    from quantdesk_oracle.model import PriceUpdate

LATEST: Final = "/v2/updates/price/latest"
STREAM: Final = "/v2/updates/price/stream"
AT: Final = "/v2/updates/price/{publish_time}"
HISTORY: Final = "/v1/updates/price/{start}/{seconds}"
LONGEST_HISTORY: Final = 60
"""Seconds that one request may span; both ends are inside."""
FEEDS_AT_ONCE: Final = 50
"""Feeds in one request: some 4 KB of URL."""
KEY_VARIABLE: Final = "HERMES_API_KEY"
KEY_PATIENCE: Final = 300.0
"""Seconds between attempts with a key that is refused."""
LIMIT_PATIENCE: Final = 60.0
"""Seconds that a 429 lasts, where it does not say."""
_BYTES_OF_AN_UPDATE: Final = 8_192
"""A root's signatures, as text: some 1 KB of them, twice that in hexadecimal."""
_BYTES_OF_A_MESSAGE: Final = 2_048
"""A price and its proof, as text: 330 bytes today."""
_UPDATES_A_SECOND: Final = 4
"""Pythnet has a slot every 0.4 s."""
_T = TypeVar("_T")
_Parameter = tuple[str, str | int | float | bool | None]


class HermesKeyError(NodeRefusesError):
    """Hermes wants a key, or another one. Asking again soon will not help."""

    kind = "unauthorized"
    retry_after = KEY_PATIENCE


class HermesNothingError(NodeRefusesError):
    """Hermes has nothing of what was asked for (HTTP 404)."""

    kind = "nothing"


class Prints(NamedTuple):
    """What an answer of the past holds: verified prints, and how many of its updates could not be read, by reason."""

    updates: list[PriceUpdate]
    unreadable: Counter[Reason]


class _Binary(msgspec.Struct, frozen=True):
    encoding: Literal["hex", "base64"]
    data: list[str]


class _Answer(msgspec.Struct, frozen=True):
    binary: _Binary


class HermesClient:
    """Asks one Hermes, or one Benchmarks. Every failure is a NodeError; none of them tells the key.

    ``timeout`` is what a whole answer may take, ``silence`` what a stream may be without an event, both in seconds.
    """

    def __init__(
        self,
        url: str,
        key: SecretStr | None,
        *,
        timeout: float,
        silence: float,
        name: str | None = None,
        budget: Budget | None = None,
    ) -> None:
        headers = {**UNCOMPRESSED, **({"Authorization": f"Bearer {key.get_secret_value()}"} if key else {})}
        self._has_key = key is not None
        self._silence = silence
        self._timeout = timeout
        self._budget = budget
        self._connections = Connections(
            partial(
                httpx.AsyncClient, base_url=url, headers=headers, timeout=httpx.Timeout(timeout, read=None)
            )
        )
        self.name = name or httpx.URL(url).host
        self.requests = 0
        """How many requests have been sent."""

    async def latest(self, feed_ids: Sequence[bytes]) -> list[PriceUpdate]:
        """The newest print of each feed (ids of 32 bytes)."""
        if self._budget is not None:
            await self._budget.live(LATEST)
        return await self._get(
            LATEST, _of_hermes(feed_ids), feed_ids, lambda content: self._read(content, feed_ids)
        )

    async def at(self, publish_time: int, feed_ids: Sequence[bytes]) -> Prints:
        """Each feed's first print at or after ``publish_time`` (s). Raises HermesNothingError where there is none."""
        if self._budget is not None:
            await self._budget.spare(AT)
        path = AT.format(publish_time=publish_time)
        return await self._get(
            path, _of_hermes(feed_ids), feed_ids, lambda content: self._read_past(content, feed_ids, _Answer)
        )

    async def between(self, start: int, end: int, feed_ids: Sequence[bytes]) -> Prints:
        """Of Benchmarks: the prints of [start, end) (s), which may be 60 s long, each once."""
        if self._budget is not None:
            await self._budget.spare(HISTORY)
        seconds = end - 1 - start
        path = HISTORY.format(start=start, seconds=seconds)
        updates = (seconds + 1) * _UPDATES_A_SECOND
        return await self._get(
            path,
            _of_benchmarks(feed_ids),
            feed_ids,
            lambda content: self._read_past(content, feed_ids, list[_Answer]),
            updates,
        )

    async def stream(self, feed_ids: Sequence[bytes]) -> AsyncIterator[list[PriceUpdate]]:
        """Prints as they come, until the stream ends: then NodeError is raised, always.

        The first list is empty: it says that the stream stands. It ends after a day, for a slow reader, and here
        after a silence that is too long.
        """
        if self._budget is not None:
            await self._budget.live(STREAM)
        parameters = [*_of_hermes(feed_ids), ("benchmarks_only", "true")]
        async with self._answer(STREAM, parameters) as response:
            yield []
            events = read_events(response, _most_bytes(len(feed_ids), updates=1))
            # Not one timeout around all: between two events it is the reader's time.
            with contextlib.suppress(StopAsyncIteration):
                while True:
                    async with asyncio.timeout(self._silence):
                        event = await anext(events)
                    yield self._read(event, feed_ids)
        raise NodeError(f"{self.name} ended the stream")

    async def close(self) -> None:
        """Close every connection."""
        await self._connections.close()

    async def _get(
        self,
        path: str,
        parameters: list[_Parameter],
        feed_ids: Sequence[bytes],
        read: Callable[[bytes], _T],
        updates: int = 1,
    ) -> _T:
        most = _most_bytes(len(feed_ids), updates)
        async with self._answer(path, parameters) as response, asyncio.timeout(self._timeout):
            return read(await read_body(response, most))

    @asynccontextmanager
    async def _answer(self, path: str, parameters: list[_Parameter]) -> AsyncIterator[httpx.Response]:
        """An answer whose status is good, closed at the end of the block. What goes wrong inside is a NodeError."""
        self.requests += 1
        try:
            async with AsyncExitStack() as stack:
                # Not wait_for: in Python 3.11 it may swallow a cancellation.
                async with asyncio.timeout(self._timeout):
                    asked = self._connections.answer("GET", path, params=parameters)
                    response = await stack.enter_async_context(asked)
                self._check(response)
                yield response
        except NodeProtocolError as error:
            raise type(error)(f"{self.name}: {error}") from None
        except TimeoutError:
            raise NodeError(f"{self.name} is silent") from None
        except (httpx.HTTPError, httpx.StreamError) as error:
            # httpx' own text may hold the URL, and a URL may hold a key.
            raise NodeError(f"{self.name} does not answer ({type(error).__name__})") from None

    def _check(self, response: httpx.Response) -> None:
        status = response.status_code
        if status == httpx.codes.UNAUTHORIZED:
            what = (
                f"refuses the key in {KEY_VARIABLE}" if self._has_key else f"wants a key: set {KEY_VARIABLE}"
            )
            raise HermesKeyError(f"it {what} (HTTP 401)")
        if status == httpx.codes.FORBIDDEN:
            raise HermesKeyError(f"the key in {KEY_VARIABLE} does not cover one of the feeds (HTTP 403)")
        if status == httpx.codes.NOT_FOUND:
            raise HermesNothingError("it has no such prices (HTTP 404)")
        if status == httpx.codes.OK:
            return
        error = status_error(self.name, status, patience_in(response.headers.items()))
        if isinstance(error, RateLimitedError) and error.retry_after is None:
            error.retry_after = LIMIT_PATIENCE
        if isinstance(error, RateLimitedError) and self._budget is not None:
            self._budget.pause(error.retry_after)
        raise error

    def _read(self, content: bytes, feed_ids: Sequence[bytes]) -> list[PriceUpdate]:
        """The verified prints of the asked feeds in an answer of now."""
        try:
            updates = [_bytes(text) for text in _texts(content, _Answer)]
            return decode_accumulator_updates(updates, frozenset(feed_ids))
        except DecodeError as error:
            raise NodeProtocolError(f"no accumulator update: {error}") from None

    def _read_past(self, content: bytes, feed_ids: Sequence[bytes], kind: Any) -> Prints:
        """The same of the past: what cannot be read will not be another time, and is counted."""
        texts, wanted = _texts(content, kind), frozenset(feed_ids)
        with contextlib.suppress(DecodeError):
            updates = [_bytes(text) for text in texts]
            return Prints(decode_accumulator_updates(updates, wanted), Counter())  # a tenth of the work
        prints = Prints([], Counter())
        for text in texts:
            try:
                prints.updates.extend(decode_accumulator_updates([_bytes(text)], wanted))
            except DecodeError as error:
                prints.unreadable[error.reason] += 1
        return prints


class HermesHosts:
    """Several Hermes of which one is asked about the past until it fails, and then the next."""

    def __init__(self, clients: Sequence[HermesClient]) -> None:
        self._clients = tuple(clients)
        self._first = 0

    @property
    def requests(self) -> int:
        """How many requests have been sent to all of them."""
        return sum(client.requests for client in self._clients)

    async def at(self, publish_time: int, feed_ids: Sequence[bytes]) -> Prints:
        """As HermesClient.at, of the first that answers; its NodeError where none does."""
        for left in reversed(range(len(self._clients))):
            try:
                return await self._clients[self._first].at(publish_time, feed_ids)
            except HermesNothingError:
                raise
            except NodeError:
                self._first = (self._first + 1) % len(self._clients)
                if not left:
                    raise
        raise AssertionError("there is a Hermes in every configuration")

    async def close(self) -> None:
        """Close every connection."""
        for client in self._clients:
            await client.close()


def hermes_clients(settings: HermesSettings, clock: Clock) -> tuple[HermesClient, ...]:
    """A client for each Hermes of the settings, in order of preference."""
    clients: list[HermesClient] = []
    for url in settings.urls:
        name = endpoint_name(url.get_secret_value())
        again = sum(client.name.split("#")[0] == name for client in clients)
        clients.append(_client(settings, url, f"{name}#{again + 1}" if again else name, clock))
    return tuple(clients)


def benchmarks_client(settings: HermesSettings, clock: Clock) -> HermesClient:
    """A client for the Benchmarks of the settings."""
    url = settings.benchmarks_url
    return _client(settings, url, endpoint_name(url.get_secret_value()), clock)


def _client(settings: HermesSettings, url: SecretStr, name: str, clock: Clock) -> HermesClient:
    return HermesClient(
        url.get_secret_value(),
        settings.key,
        timeout=settings.request_timeout,
        silence=settings.silence_limit,
        name=name,
        budget=Budget(clock, settings.requests, settings.requests),
    )


class _Text(NamedTuple):
    """An update as it stands in an answer."""

    encoding: Literal["hex", "base64"]
    text: str


def _texts(content: bytes, kind: Any) -> list[_Text]:
    """The updates in an answer, ``kind``: one object, or a list of them. Raises NodeProtocolError."""
    try:
        found = msgspec.json.decode(content, type=kind)
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        raise NodeProtocolError(f"an answer that cannot be read: {error}") from None
    answers: list[_Answer] = found if isinstance(found, list) else [found]
    return [_Text(answer.binary.encoding, text) for answer in answers for text in answer.binary.data]


def _bytes(text: _Text) -> bytes:
    """Raises DecodeError for what is no text of its encoding."""
    try:
        if text.encoding == "hex":
            return bytes.fromhex(text.text)
        return base64.b64decode(text.text, validate=True)
    except ValueError:  # binascii.Error is one
        raise DecodeError(Reason.BAD_TEXT, 0, repr(text.text[:20]), f"text in {text.encoding}") from None


def _most_bytes(feeds: int, updates: int) -> int:
    """What an answer with so many updates of so many feeds may have."""
    return updates * (_BYTES_OF_AN_UPDATE + feeds * _BYTES_OF_A_MESSAGE)


def _of_hermes(feed_ids: Sequence[bytes]) -> list[_Parameter]:
    wanted: list[_Parameter] = [("ids[]", feed_id.hex()) for feed_id in feed_ids]
    return [*wanted, ("encoding", "hex"), ("parsed", "false"), ("ignore_invalid_price_ids", "true")]


def _of_benchmarks(feed_ids: Sequence[bytes]) -> list[_Parameter]:
    wanted: list[_Parameter] = [("ids", feed_id.hex()) for feed_id in feed_ids]
    return [*wanted, ("encoding", "hex"), ("parsed", "false"), ("unique", "true")]
