"""Prices from Hermes over HTTP: the latest ones, a stream of them, and those of a moment in the past.

Every answer is read from its accumulator update, whose Merkle proofs are verified; the parsed numbers beside it are
not looked at. Since August 2026 the price routes want a bearer key. Answers: design in Hermes' OpenAPI, 0.12.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Final, Literal

import httpx
import msgspec

from quantdesk_oracle.errors import DecodeError, NodeError, NodeProtocolError
from quantdesk_oracle.pyth.accumulator import decode_accumulator_update
from quantdesk_oracle.sources.rpc import status_error

if TYPE_CHECKING:
    from pydantic import SecretStr

    from quantdesk_oracle.model import PriceUpdate

LATEST: Final = "/v2/updates/price/latest"
STREAM: Final = "/v2/updates/price/stream"
AT: Final = "/v2/updates/price/{publish_time}"
LONGEST_EVENT: Final = 1 << 20
"""Characters of one event of the stream."""
_UNAUTHORIZED: Final = 401
_FORBIDDEN: Final = 403
_OK: Final = 200


class HermesKeyError(NodeError):
    """Hermes wants a key, or another one. Waiting will not help."""

    kind = "unauthorized"


class _Binary(msgspec.Struct, frozen=True):
    encoding: Literal["hex", "base64"]
    data: list[str]


class _Answer(msgspec.Struct, frozen=True):
    binary: _Binary


class HermesClient:
    """Asks one Hermes. Every failure is a NodeError; none of them tells the key."""

    def __init__(self, url: str, key: SecretStr | None, *, timeout: float, silence: float) -> None:
        headers = {"Authorization": f"Bearer {key.get_secret_value()}"} if key else {}
        self._silence = silence
        self._timeout = timeout
        self._client = httpx.AsyncClient(base_url=url, headers=headers, timeout=timeout)
        self.name = httpx.URL(url).host

    async def latest(self, feed_ids: Sequence[bytes]) -> list[PriceUpdate]:
        """The newest print of each feed (ids of 32 bytes)."""
        return await self._get(LATEST, feed_ids)

    async def at(self, publish_time: int, feed_ids: Sequence[bytes]) -> list[PriceUpdate]:
        """Each feed's first print at or after ``publish_time`` (s)."""
        return await self._get(AT.format(publish_time=publish_time), feed_ids)

    async def stream(self, feed_ids: Sequence[bytes]) -> AsyncIterator[list[PriceUpdate]]:
        """Prints as they come, until the stream ends: then NodeError is raised, always.

        It ends after a day, for a slow reader, and here after a silence that is too long.
        """
        timeout = httpx.Timeout(self._timeout, read=self._silence)
        try:
            async with self._client.stream(
                "GET", STREAM, params=_parameters(feed_ids), timeout=timeout
            ) as response:
                self._check(response)
                async for event in _events(response):
                    yield self._read(event)
        except (httpx.HTTPError, httpx.StreamError) as error:
            raise NodeError(f"{self.name} ended the stream ({type(error).__name__})") from None
        raise NodeError(f"{self.name} ended the stream")

    async def close(self) -> None:
        """Close every connection."""
        await self._client.aclose()

    async def _get(self, path: str, feed_ids: Sequence[bytes]) -> list[PriceUpdate]:
        try:
            response = await self._client.get(path, params=_parameters(feed_ids))
        except (httpx.HTTPError, httpx.StreamError) as error:
            raise NodeError(f"{self.name} does not answer ({type(error).__name__})") from None
        self._check(response)
        return self._read(response.content)

    def _check(self, response: httpx.Response) -> None:
        if response.status_code == _UNAUTHORIZED:
            raise HermesKeyError(f"{self.name} wants a key (HTTP 401): set HERMES_API_KEY")
        if response.status_code == _FORBIDDEN:
            raise HermesKeyError(f"{self.name} refuses the key for one of the feeds (HTTP 403)")
        if response.status_code != _OK:
            raise status_error(self.name, response.status_code, response.headers.get("retry-after"))

    def _read(self, content: bytes) -> list[PriceUpdate]:
        try:
            binary = msgspec.json.decode(content, type=_Answer).binary
            decode = bytes.fromhex if binary.encoding == "hex" else base64.b64decode
            return [price for text in binary.data for price in decode_accumulator_update(decode(text))]
        except (
            msgspec.MsgspecError,
            UnicodeDecodeError,
            RecursionError,
            binascii.Error,
            ValueError,
        ) as error:
            raise NodeProtocolError(f"{self.name} answers what cannot be read: {error}") from None
        except DecodeError as error:
            raise NodeProtocolError(f"{self.name} answers no accumulator update: {error}") from None


def _parameters(feed_ids: Sequence[bytes]) -> list[tuple[str, str | int | float | bool | None]]:
    wanted: list[tuple[str, str | int | float | bool | None]] = [
        ("ids[]", feed_id.hex()) for feed_id in feed_ids
    ]
    return [*wanted, ("encoding", "hex"), ("parsed", "false"), ("ignore_invalid_price_ids", "true")]


async def _events(response: httpx.Response) -> AsyncIterator[bytes]:
    """The data of each server-sent event. Source: WHATWG HTML, 9.2.6."""
    data: list[str] = []
    size = 0
    async for line in response.aiter_lines():
        if not line:
            if data:
                yield "\n".join(data).encode()
            data, size = [], 0
        elif line.startswith("data:"):
            data.append(line[5:].removeprefix(" "))
            size += len(line)
            if size > LONGEST_EVENT:
                raise NodeProtocolError(f"an event of more than {LONGEST_EVENT} characters")
