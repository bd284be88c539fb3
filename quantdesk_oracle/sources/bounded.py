"""What an HTTP answer may cost: its bytes, up to a limit; the events of a stream, each up to a limit.

Answers are asked for uncompressed, and compressed ones are not looked into: nothing that arrives is larger than it is.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Final

from quantdesk_oracle.errors import NodeProtocolError

if TYPE_CHECKING:
    import httpx

UNCOMPRESSED: Final = {"Accept-Encoding": "identity"}
"""Headers of every request whose answer is read here."""


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
