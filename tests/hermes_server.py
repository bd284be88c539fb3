"""A Hermes and a Benchmarks on a real socket: keys, limits, streams, and whatever answer a test wants instead."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, NamedTuple

from aiohttp import web

from tests.vectors import encoder

KEY = "a-secret-key"
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Published(NamedTuple):
    """One print that Pyth published."""

    feed_id: bytes
    publish_time: int
    slot: int
    price: int
    fields: dict[str, Any]
    damaged: bool = False
    """Whether its proof does not lead to the root."""
    text: str | None = None
    """What answers say instead of the update's hexadecimal digits; None: those."""

    @property
    def update(self) -> bytes:
        whole = encoder.accumulator_update([self.message], self.slot)
        message = self.message
        return whole.replace(message, message[:-1] + bytes([message[-1] ^ 1])) if self.damaged else whole

    @property
    def message(self) -> bytes:
        defaults = {"ema_price": self.price, "prev_publish_time": self.publish_time - 1}
        return encoder.price_message(
            feed_id=self.feed_id,
            publish_time=self.publish_time,
            price=self.price,
            **{**defaults, **self.fields},
        )


class HermesServer:
    """Serves what a test publishes."""

    def __init__(self) -> None:
        self.published: list[Published] = []
        self.key: str | None = KEY
        self.covered: set[bytes] | None = None
        """The feeds that the key covers; None: all."""
        self.refuse_after: int | None = None
        """Requests after which all are refused with 429."""
        self.instead: Answer | None = None
        """What every request is answered with, the key aside."""
        self.mute = False
        """Whether the streams, which stand, leave out what is published."""
        self.seen: list[web.Request] = []
        self.url = ""
        self._streams: list[tuple[set[bytes], asyncio.Queue[bytes | None]]] = []

    def publish(self, feed_id: bytes, publish_time: int, slot: int, price: int, **fields: Any) -> None:
        """Publish a print, into the streams that are open too."""
        made = Published(feed_id, publish_time, slot, price, fields)
        self.published.append(made)
        for wanted, queue in self._streams:
            if feed_id in wanted and not self.mute:
                queue.put_nowait(_event(made.update))

    def end_streams(self) -> None:
        """Close them, as after 24 hours."""
        for _, queue in self._streams:
            queue.put_nowait(None)

    @property
    def streams(self) -> int:
        """How many are open."""
        return len(self._streams)

    @property
    def paths(self) -> list[str]:
        return [request.path for request in self.seen]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.seen.append(request)
        ids = {bytes.fromhex(text) for name in ("ids[]", "ids") for text in request.query.getall(name, [])}
        if self.key is not None and request.headers.get("Authorization") != f"Bearer {self.key}":
            return web.Response(status=401, text="Unauthorized")
        if self.refuse_after is not None and len(self.seen) > self.refuse_after:
            return web.Response(status=429, text="Too many requests")
        if self.covered is not None and ids - self.covered:
            return web.Response(status=403, text="Forbidden")
        if self.instead is not None:
            return await self.instead(request)
        mine = [one for one in self.published if one.feed_id in ids]
        if request.path.endswith("/latest"):
            return _json(_answer([_newest(mine, feed_id) for feed_id in sorted(ids)]))
        if request.path.endswith("/stream"):
            return await self._stream(request, ids)
        words = request.path.split("/")
        if words[1] == "v1":
            start, seconds = int(words[-2]), int(words[-1])
            assert 0 <= seconds <= 60
            return _json([_answer([one]) for one in mine if start <= one.publish_time <= start + seconds])
        first = [_first(mine, feed_id, int(words[-1])) for feed_id in sorted(ids)]
        if not any(first):
            return web.Response(status=404, text="Update data not found")
        return _json(_answer(first))

    async def _stream(self, request: web.Request, ids: set[bytes]) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._streams.append((ids, queue))
        try:
            with suppress(ConnectionError):  # whoever listened has gone
                while (event := await queue.get()) is not None:
                    await response.write(event)
        finally:
            self._streams.remove((ids, queue))
        return response


def of_bytes(content: bytes, status: int = 200, **headers: str) -> Answer:
    """An answer of these bytes."""

    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.Response(body=content, status=status, headers=headers)

    return answer


def of_parts(parts: list[bytes], *, then_hang: bool = False, endless: bool = False, **headers: str) -> Answer:
    """An answer that comes in these parts, and perhaps goes on with the last one for ever, or hangs."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", **headers})
        await response.prepare(request)
        for part in parts:
            await response.write(part)
        while endless:
            await response.write(parts[-1])
        if then_hang:
            await asyncio.sleep(30)
        return response

    return answer


def body_of(*updates: bytes) -> bytes:
    """The object that Hermes answers with, of these updates."""
    return json.dumps({"binary": {"encoding": "hex", "data": [one.hex() for one in updates]}}).encode()


@asynccontextmanager
async def hermes_server() -> AsyncIterator[HermesServer]:
    """One that listens on loopback for the time of the block."""
    server = HermesServer()
    app = web.Application()
    app.router.add_get("/{path:.*}", server.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield server
    finally:
        server.end_streams()
        await runner.cleanup()


def _newest(prints: list[Published], feed_id: bytes) -> Published | None:
    of_feed = [one for one in prints if one.feed_id == feed_id]
    return max(of_feed, key=lambda one: one.publish_time, default=None)


def _first(prints: list[Published], feed_id: bytes, publish_time: int) -> Published | None:
    of_feed = [one for one in prints if one.feed_id == feed_id and one.publish_time >= publish_time]
    return min(of_feed, key=lambda one: one.publish_time, default=None)


def _answer(prints: list[Published | None]) -> dict[str, Any]:
    updates = [one.text or one.update.hex() for one in prints if one is not None]
    return {"binary": {"encoding": "hex", "data": updates}, "parsed": None}


def _json(value: Any) -> web.Response:
    return web.json_response(value)


def _event(update: bytes) -> bytes:
    return b"data:" + body_of(update) + b"\n\n"
