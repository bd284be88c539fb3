"""A node that pushes at a set pace, in a process of its own: what is measured never shares its interpreter.

    python -m bench.feeder FEEDS     says its ports as JSON, then obeys a JSON object a line:
        {"rate": 1000, "seconds": 5}     push at that pace (0: as fast as the client reads), evenly, and say how it went
        {"refresh": true}                let every account hold a print of this second, without a word
        {"ledger": "file"}               write what was pushed so far: market, publish time, slot, values, µs when sent

It never waits for a client at a set pace: what a client does not read piles up, and shows as lag.
"""

from __future__ import annotations

import asyncio
import csv
import json
import sys
import time
from typing import Any

from aiohttp import WSMsgType, web

from bench.feeds import EXPONENT, FIRST_SLOT, OWNER, feeds, market, notification
from quantdesk_oracle.localnet import wire
from quantdesk_oracle.localnet.server import text_frame
from quantdesk_oracle.localnet.settings import LOCALNET, genesis_hash
from quantdesk_oracle.localnet.wire import slot_notification
from quantdesk_oracle.pyth.dumps import AccountDump

TICK = 0.002
"""Seconds between two writes: at 1,000 a second they carry two prints each."""
_SLOT = 0.4
_MOST_WAITING = 64 << 20
_FLOOD_WAITING = 256 << 10


class Feeder:
    """The node: what it has pushed, and who listens (one client at a time)."""

    def __init__(self, count: int) -> None:
        self._feeds = feeds(count)
        self._by_address = {feed.address: feed for feed in self._feeds}
        self._pushed = 0
        self._accounts = self._polled()
        self._ledger: list[tuple[int, int, int, int, int, int, int, int]] = []
        self._transport: asyncio.Transport | None = None
        self._subscriptions: dict[int, int] = {}
        self._slots: int | None = None

    # ── what clients ask ─────────────────────────────────────────────────────────────────────────
    async def rpc(self, request: web.Request) -> web.Response:
        """JSON-RPC over HTTP, as far as the daemon asks."""
        body = await request.json()
        result = self._answer(body["method"], body.get("params") or [])
        return web.json_response({"jsonrpc": "2.0", "id": body["id"], "result": result})

    def _answer(self, method: str, params: list[Any]) -> Any:
        if method == "getGenesisHash":
            return genesis_hash(LOCALNET)
        if method == "getSlot":
            return self._slot
        if method == "getMultipleAccounts":
            states = [AccountDump(key, OWNER, self._accounts[key], 1_823_520) for key in params[0]]
            return {
                "context": {"slot": self._slot},
                "value": [wire.account(state, "base64") for state in states],
            }
        return []

    async def websocket(self, request: web.Request) -> web.WebSocketResponse:
        """One client; prints go straight to its transport."""
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        assert request.transport is not None
        self._subscriptions.clear()
        self._transport = request.transport
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                await socket.send_str(self._subscribe(json.loads(message.data)))
        self._transport = None
        return socket

    def _subscribe(self, body: dict[str, Any]) -> str:
        number = len(self._subscriptions)
        if body["method"] == "accountSubscribe":
            self._subscriptions[self._by_address[body["params"][0]].number] = number
        else:
            self._slots = number = 1_000_000
        return json.dumps({"jsonrpc": "2.0", "result": number, "id": body["id"]})

    @property
    def _slot(self) -> int:
        return FIRST_SLOT + self._pushed // len(self._feeds)

    async def tick_slots(self) -> None:
        """A slot notification every 400 ms, which keeps a connection from looking dead."""
        while True:
            await asyncio.sleep(_SLOT)
            if self._transport is not None and self._slots is not None:
                self._transport.write(text_frame(slot_notification(self._slot, self._slots)))

    # ── what the bench asks ──────────────────────────────────────────────────────────────────────
    async def push(self, rate: float, seconds: float) -> dict[str, Any]:
        """Push for ``seconds``; what was sent, and by how much it ever was behind its own schedule."""
        if not await self._followed():
            return {"error": "no client follows every feed", "sent": 0}
        before, started = self._pushed, time.monotonic()
        behind = 0.0
        while (elapsed := time.monotonic() - started) < seconds:
            if self._transport is None:
                return {"error": "no client is connected", "sent": self._pushed - before}
            waiting = self._transport.get_write_buffer_size()
            if waiting > _MOST_WAITING:
                return {"error": "the client is 64 MB behind", "sent": self._pushed - before}
            due = (
                round(rate * elapsed) - (self._pushed - before) if rate else 200 * (waiting < _FLOOD_WAITING)
            )
            if due > 0:
                behind = max(behind, due / rate if rate else 0.0)
                self._transport.write(b"".join([self._next() for _ in range(due)]))
            await asyncio.sleep(TICK if rate else 0)
        took = time.monotonic() - started
        return {
            "sent": self._pushed - before,
            "seconds": took,
            "behind": round(behind, 3),
            "cpu": time.process_time(),
        }

    async def _followed(self) -> bool:
        """Wait until a client follows every feed; False where none does within a minute."""
        deadline = time.monotonic() + 60
        while len(self._subscriptions) < len(self._feeds) and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        return len(self._subscriptions) == len(self._feeds)

    def _next(self) -> bytes:
        sweep, number = divmod(self._pushed, len(self._feeds))
        self._pushed += 1
        feed = self._feeds[number]
        now = time.time_ns() // 1_000
        one = feed.print_of(sweep + 1, now // 1_000_000)
        self._accounts[feed.address] = account = feed.account(one)
        self._ledger.append(
            (
                number,
                one.publish_time,
                one.slot,
                one.price,
                one.confidence,
                one.ema_price,
                one.ema_confidence,
                now,
            )
        )
        return text_frame(notification(one.slot, account, self._subscriptions[number]))

    def refresh(self) -> dict[str, Any]:
        """Let every account hold a print of this second, for those who poll; nobody is notified."""
        self._accounts = self._polled()
        return {"accounts": len(self._accounts)}

    def _polled(self) -> dict[str, bytes]:
        sweep, now = self._pushed // len(self._feeds), int(time.time())
        return {feed.address: feed.account(feed.print_of(sweep, now)) for feed in self._feeds}

    def write_ledger(self, file: str) -> dict[str, Any]:
        """CSV: market, publish time (s), slot, exponent, price, confidence, EMA price, EMA confidence, sent (µs)."""
        with open(file, "w", encoding="utf-8", newline="") as stream:
            csv.writer(stream).writerows(
                (market(number), publish_time, slot, EXPONENT, *values)
                for number, publish_time, slot, *values in self._ledger
            )
        return {"prints": len(self._ledger)}


async def _serve(count: int) -> None:
    feeder = Feeder(count)
    ports = []
    for route in (web.post("/", feeder.rpc), web.get("/", feeder.websocket)):
        application = web.Application()
        application.add_routes([route])
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        ports.append(runner.addresses[0][1])
    slots = asyncio.create_task(feeder.tick_slots())
    print(json.dumps({"rpc": ports[0], "ws": ports[1]}), flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        order = json.loads(line)
        if "refresh" in order:
            answer = feeder.refresh()
        elif "ledger" in order:
            answer = feeder.write_ledger(order["ledger"])
        else:
            answer = await feeder.push(order["rate"], order["seconds"])
        print(json.dumps(answer), flush=True)
    slots.cancel()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))
