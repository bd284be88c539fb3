"""An endpoint that answers with a gigabyte, a bomb, or without end: a real process, its real memory, a real clock."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gzip
import hashlib
import json
import subprocess
import sys
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import cast

import pytest

MEGABYTE = 1 << 20
ALLOWED_MEGABYTES = 40
"""What one answer may cost at its peak: 16 MB, a few copies of it, and what the allocator keeps."""
SECONDS = 1.0
"""The client's limits."""
MORE_SECONDS = 20.0
"""A hang would be as long as the server likes; a slow machine is not."""
CLIENT = Path(__file__).with_name("hostile_client.py")
SECRET = "pl4nted"
_WEBSOCKET = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

Hostile = Callable[[asyncio.StreamWriter, str], Awaitable[None]]
"""Answers a request; the text is its head."""


async def write(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(data)
    await writer.drain()


async def gigabyte(writer: asyncio.StreamWriter) -> None:
    for _ in range(1_024):
        await write(writer, b"x" * MEGABYTE)


async def drip(writer: asyncio.StreamWriter, drop: bytes) -> None:
    while True:
        await write(writer, drop)
        await asyncio.sleep(0.05)


def ok(*headers: str) -> bytes:
    return "\r\n".join(["HTTP/1.1 200 OK", "Content-Type: text/event-stream", *headers, "\r\n"]).encode()


def upgraded(head: str, *headers: str) -> bytes:
    """The end of a websocket's handshake."""
    key = next(
        line.split(": ")[1] for line in head.split("\r\n") if line.lower().startswith("sec-websocket-key")
    )
    accept = base64.b64encode(hashlib.sha1((key + _WEBSOCKET).encode()).digest()).decode()
    lines = [
        "HTTP/1.1 101 Switching",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Accept: {accept}",
    ]
    return "\r\n".join([*lines, *headers, "\r\n"]).encode()


def frame(first: int, size: int) -> bytes:
    """The head of a frame: ``first`` holds its flags and its opcode."""
    return bytes([first, 127]) + size.to_bytes(8, "big")


async def a_gigabyte(writer: asyncio.StreamWriter, _head: str) -> None:
    await write(writer, ok() + b'{"result": "')
    await gigabyte(writer)


async def a_gigabyte_with_an_error(writer: asyncio.StreamWriter, _head: str) -> None:
    await write(writer, b"HTTP/1.1 500 Oh\r\n\r\n")
    await gigabyte(writer)


async def a_bomb(writer: asyncio.StreamWriter, _head: str) -> None:
    await write(writer, ok("Content-Encoding: gzip"))
    await write(writer, gzip.compress(bytes(256 * MEGABYTE), compresslevel=1))


async def a_drip(writer: asyncio.StreamWriter, _head: str) -> None:
    await write(writer, ok())
    await drip(writer, b" ")


async def comments(writer: asyncio.StreamWriter, _head: str) -> None:
    await write(writer, ok())
    await drip(writer, b":\n")


async def lines_without_an_event(writer: asyncio.StreamWriter, _head: str) -> None:
    await write(writer, ok())
    line = b"data: " + b"x" * 1_000 + b"\n"
    for _ in range(1_024):
        await write(writer, line * 1_000)


async def headers_without_end(writer: asyncio.StreamWriter, _head: str) -> None:
    await write(writer, b"HTTP/1.1 200 OK\r\n")
    for number in range(1 << 20):
        await write(writer, f"X-{number}: {'x' * 1_000}\r\n".encode())


async def a_drip_of_headers(writer: asyncio.StreamWriter, _head: str) -> None:
    await write(writer, b"HTTP/1.1 200 OK\r\nX-Slow: ")
    await drip(writer, b"x")


async def nothing(_writer: asyncio.StreamWriter, _head: str) -> None:
    await asyncio.sleep(60)


async def a_frame_of_a_gigabyte(writer: asyncio.StreamWriter, head: str) -> None:
    await write(writer, upgraded(head) + frame(0x81, 1 << 30))
    await gigabyte(writer)


async def fragments_without_end(writer: asyncio.StreamWriter, head: str) -> None:
    await write(writer, upgraded(head) + frame(0x01, 1_000) + b"x" * 1_000)
    for _ in range(1 << 20):
        await write(writer, frame(0x00, 1_000) + b"x" * 1_000)


async def a_frame_that_inflates(writer: asyncio.StreamWriter, head: str) -> None:
    deflate = zlib.compressobj(1, wbits=-15)
    bomb = deflate.compress(bytes(256 * MEGABYTE)) + deflate.flush(zlib.Z_SYNC_FLUSH)
    await write(writer, upgraded(head, "Sec-WebSocket-Extensions: permessage-deflate"))
    await write(writer, frame(0xC1, len(bomb) - 4) + bomb[:-4])


async def a_frame_that_drips(writer: asyncio.StreamWriter, head: str) -> None:
    await write(writer, upgraded(head) + frame(0x81, 1_000_000))
    await drip(writer, b" ")


async def pings_that_drip(writer: asyncio.StreamWriter, head: str) -> None:
    """Alive, and of no use: no request is ever answered."""
    await write(writer, upgraded(head))
    await drip(writer, b"\x89\x00")


async def frames_of_no_use(writer: asyncio.StreamWriter, head: str) -> None:
    """So fast that nobody could keep them: whoever reads without a limit, does."""
    await write(writer, upgraded(head))
    useless = b'{"jsonrpc": "2.0", "method": "slotNotification", "params": ' + b" " * 60_000 + b"null}"
    while True:
        await write(writer, frame(0x81, len(useless)) + useless)


HTTP = (a_gigabyte, a_gigabyte_with_an_error, a_bomb, a_drip, headers_without_end, a_drip_of_headers, nothing)
WEBSOCKET = (
    a_frame_of_a_gigabyte,
    fragments_without_end,
    a_frame_that_inflates,
    a_frame_that_drips,
    pings_that_drip,
    frames_of_no_use,
    a_gigabyte_with_an_error,
    headers_without_end,
    a_drip_of_headers,
    nothing,
)
HOSTILE = {
    "rpc": HTTP,
    "hermes": HTTP,
    "stream": (*HTTP, comments, lines_without_an_event),
    "websocket": WEBSOCKET,
}


@pytest.fixture
async def serve() -> AsyncIterator[Callable[[Hostile], Awaitable[str]]]:
    """Starts a hostile server; its URL."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(hostile: Hostile) -> str:
            answers: set[asyncio.Task[None]] = set()

            async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                answers.add(cast("asyncio.Task[None]", asyncio.current_task()))
                try:
                    with contextlib.suppress(OSError):  # the client leaves
                        await hostile(writer, (await reader.readuntil(b"\r\n\r\n")).decode())
                finally:
                    writer.transport.abort()

            async def stop() -> None:
                server.close()
                for task in answers:
                    task.cancel()
                await asyncio.gather(*answers, return_exceptions=True)

            server = await asyncio.start_server(handle, "127.0.0.1", 0)
            stack.push_async_callback(stop)
            return f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/?api-key={SECRET}"

        yield start


@pytest.mark.parametrize("what", HOSTILE)
async def test_whatever_an_endpoint_answers_costs_bounded_memory_and_time(
    serve: Callable[[Hostile], Awaitable[str]], what: str
) -> None:
    urls = [await serve(hostile) for hostile in HOSTILE[what]]
    client = await asyncio.create_subprocess_exec(
        sys.executable, CLIENT, what, str(SECONDS), *urls, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        out, _ = await asyncio.wait_for(client.communicate(), 240)
    finally:
        if client.returncode is None:
            client.kill()
            await client.wait()
    lines = [json.loads(line) for line in out.splitlines()]
    for hostile, found in zip(HOSTILE[what], lines, strict=True):
        assert "taken" not in found["said"], hostile
        assert SECRET not in found["said"], hostile
        assert found["megabytes"] < ALLOWED_MEGABYTES, (hostile, found)
        assert found["seconds"] < SECONDS + MORE_SECONDS, (hostile, found)
