"""A Surfpool behind two ports that stay, whichever Surfpool is behind them, and real transactions that post prints."""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest
from solders.hash import Hash
from solders.keypair import Keypair
from solders.message import Message
from solders.transaction import Transaction

from quantdesk_oracle.localnet import DEFAULT_FEEDS
from tests.chaos.proxy import Link
from tests.e2e import truth
from tests.surfpool import receiver
from tests.vectors.encoder import price_update_v2

START = Path(__file__).with_name("surfnet.cjs")
FEED = DEFAULT_FEEDS[2]
RENT = 1_823_520
"""Lamports that keep an account of 134 bytes."""


@contextmanager
def surfpool_running(library: Path, slot_ms: int = 400) -> Iterator[dict[str, str]]:
    """A running Surfpool's rpcUrl and wsUrl."""
    command = ["node", str(START), str(library), str(slot_ms)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            pytest.skip("Surfpool does not start on this machine")
        try:
            yield json.loads(line)
        finally:
            process.stdin.close()
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()


class Chain:
    """What is posted, by whichever Surfpool is behind the ports now."""

    def __init__(self, library: Path, rpc: Link, ws: Link) -> None:
        self._library = library
        self.rpc, self.ws = rpc, ws
        self.variables = {
            "RPC_URL": f"http://127.0.0.1:{rpc.port}",
            "WS_URL": f"ws://127.0.0.1:{ws.port}",
            "SOLANA_NETWORK": "localnet",
        }
        self.posted: list[tuple[Any, ...]] = []
        """Every print that a transaction has written, as ``truth.stored_prints`` has them."""
        self._prices = count(10_000_000_000)
        self._payer = Keypair()
        self._url = ""

    @asynccontextmanager
    async def running(self, slot_ms: int = 400, *, before: int = 1) -> AsyncIterator[None]:
        """With a fresh Surfpool behind the ports, in which ``before`` prints have been posted, at least one."""
        with surfpool_running(self._library, slot_ms) as urls:
            self._url = urls["rpcUrl"]
            # The program writes prints, not what is around them.
            data = price_update_v2(feed_id=FEED.feed_id).hex()
            account = {"lamports": RENT, "data": data, "owner": receiver.ADDRESS, "rentEpoch": 0}
            await self.call("surfnet_writeProgram", receiver.ADDRESS, receiver.program().hex(), 0)
            await self.call("surfnet_setAccount", FEED.address, account)
            await self.call("requestAirdrop", str(self._payer.pubkey()), 10**9)
            await self.post(before)
            self.rpc.lead_to(urlsplit(urls["rpcUrl"]).port or 0)
            self.ws.lead_to(urlsplit(urls["wsUrl"]).port or 0)
            try:
                yield
            finally:
                self.cut()

    def cut(self) -> None:
        """Nobody reaches Surfpool through the ports."""
        self.rpc.cut()
        self.ws.cut()

    def restore(self) -> None:
        """Everybody does again."""
        self.rpc.restore()
        self.ws.restore()

    async def call(self, method: str, *params: Any) -> Any:
        """The result of a request to Surfpool itself, not through the ports."""
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        async with aiohttp.ClientSession() as session, session.post(self._url, json=body) as response:
            answer = await response.json()
        assert "result" in answer, answer
        return answer["result"]

    async def slot(self) -> int:
        found: int = await self.call("getSlot", {"commitment": "confirmed"})
        return found

    async def post(self, prints: int) -> None:
        """So many prints, a transaction and a slot each."""
        for _ in range(prints):
            await self._post(next(self._prices), int(time.time()))

    async def _post(self, price: int, publish_time: int) -> None:
        fields = {
            "price": price,
            "confidence": 1_000,
            "exponent": -8,
            "publish_time": publish_time,
            "prev_publish_time": publish_time - 1,
            "ema_price": price - 1,
            "ema_confidence": 2_000,
        }
        instruction = receiver.posting(self._payer.pubkey(), FEED.address, feed_id=FEED.feed_id, **fields)
        latest = await self.call("getLatestBlockhash")
        blockhash = Hash.from_string(latest["value"]["blockhash"])
        message = Message([instruction], self._payer.pubkey())
        wire = base64.b64encode(bytes(Transaction([self._payer], message, blockhash))).decode()
        signature = await self.call("sendTransaction", wire, {"encoding": "base64"})
        slot = await self._executed(signature)
        self.posted.append(truth.expected_print({"market": FEED.market, "slot": slot, **fields}))
        while await self.slot() <= slot:  # noqa: ASYNC110 (of another process)
            await asyncio.sleep(0.05)

    async def _executed(self, signature: str) -> int:
        """The slot of a transaction that has succeeded."""
        async with asyncio.timeout(20):
            while True:
                (status,) = (await self.call("getSignatureStatuses", [signature]))["value"]
                if status is not None:
                    assert status["err"] is None
                    slot: int = status["slot"]
                    return slot
                await asyncio.sleep(0.05)
