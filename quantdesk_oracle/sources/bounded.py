"""What an HTTP answer may cost: its bytes, up to a limit; the events of a stream, each up to a limit; no connection.

Answers are asked for uncompressed, and compressed ones are not looked into: nothing that arrives is larger than it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from quantdesk_oracle.errors import NodeProtocolError

if TYPE_CHECKING:
    import httpx

UNCOMPRESSED: Final = {"Accept-Encoding": "identity"}
"""Headers of every request whose answer is read here."""


class Connections:
    """Connections to one server, which none outlives that nobody will use again.

    A request that is cancelled, as a timeout does, may leave httpx' pool with a connection that is neither idle nor
    in use, for good (httpcore 1.0: cancelled between taking it and sending); a hundred of them, and no request gets
    any. So such a pool takes no more requests, and is closed when those under way have ended.
    """

    def __init__(self, make: Callable[[], httpx.AsyncClient]) -> None:
        self._make = make
        self._pool: _Pool | None = None  # made for the first request: a client takes tens of milliseconds

    @asynccontextmanager
    async def answer(self, method: str, url: str, **options: Any) -> AsyncIterator[httpx.Response]:
        """An answer whose body is unread, closed at the end of the block. ``options``: those of httpx' requests."""
        pool = self._pool = self._pool or _Pool(self._make())
        pool.under_way += 1
        try:
            request = pool.client.build_request(method, url, **options)
            response = await pool.client.send(request, stream=True)
            try:
                yield response
            finally:
                await response.aclose()
        except (asyncio.CancelledError, TimeoutError):
            if pool is self._pool:
                self._pool = None
            raise
        finally:
            pool.under_way -= 1
            if pool is not self._pool and not pool.under_way:
                await pool.client.aclose()

    async def close(self) -> None:
        """Close them all."""
        if self._pool is not None:
            await self._pool.client.aclose()


class _Pool:
    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client
        self.under_way = 0


async def read_body(response: httpx.Response, most: int) -> bytes:
    """The whole body. Raises NodeProtocolError where it has more than ``most`` bytes."""
    _check_encoding(response)
    body = bytearray()
    async for part in response.aiter_raw():
        body += part
        if len(body) > most:
            raise NodeProtocolError(f"an answer of more than {most} bytes")
    return bytes(body)


async def read_events(response: httpx.Response, most: int) -> AsyncIterator[bytes]:
    """The data of each server-sent event, to the end of the answer. Source: WHATWG HTML, 9.2.6.

    Raises NodeProtocolError for an event, or a line, of more than ``most`` bytes.
    """
    _check_encoding(response)
    data: list[bytes] = []
    size = 0
    async for line in _lines(response, most):
        if not line:
            if data:
                yield b"\n".join(data)
            data, size = [], 0
        elif line.startswith(b"data:"):
            data.append(line[5:].removeprefix(b" "))
            size += len(line)
            if size > most:
                raise NodeProtocolError(f"an event of more than {most} bytes")


async def _lines(response: httpx.Response, most: int) -> AsyncIterator[bytes]:
    """Lines that end in CR LF, LF or CR, without their ends."""
    rest, after_return = bytearray(), False
    async for part in response.aiter_raw():
        # The LF of a CR LF that was cut in two by the network.
        chunk = part[1:] if after_return and part.startswith(b"\n") else part
        after_return = part.endswith(b"\r") if part else after_return
        ends = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        for line in ends[:-1]:
            yield bytes(rest) + line
            rest.clear()
        rest += ends[-1]
        if len(rest) > most:
            raise NodeProtocolError(f"a line of more than {most} bytes")


def _check_encoding(response: httpx.Response) -> None:
    encoding = response.headers.get("content-encoding", "identity")
    if encoding != "identity":
        raise NodeProtocolError(f"an answer compressed by {encoding[:20]!r}, asked for none")
