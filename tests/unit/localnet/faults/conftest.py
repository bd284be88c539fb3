"""Nodes with faults, in virtual time, and a plain client for them."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from quantdesk_oracle.localnet import DEFAULT_FEEDS, InProcessNode, LocalnetSettings
from quantdesk_oracle.localnet.faults import Drill, parse_schedule
from quantdesk_oracle.localnet.inprocess import InProcessSocket
from quantdesk_oracle.localnet.ledger import LedgerEntry, read_ledger
from quantdesk_oracle.model import PriceUpdate
from quantdesk_oracle.pyth.accounts import decode_price
from tests.clock import VirtualClock

SOL = DEFAULT_FEEDS[2].address
Start = Callable[..., Awaitable["Drilled"]]


class Client:
    """A websocket client that keeps whatever comes."""

    def __init__(self, socket: InProcessSocket) -> None:
        self.socket = socket
        self._ids = count()

    async def call(self, method: str, *params: Any) -> None:
        request = {"jsonrpc": "2.0", "id": next(self._ids), "method": method, "params": list(params)}
        await self.socket.send(json.dumps(request))

    async def follow(self, pubkey: str = SOL, commitment: str = "confirmed") -> None:
        await self.call("accountSubscribe", pubkey, {"encoding": "base64", "commitment": commitment})
        assert "result" in json.loads(await self.socket.recv())

    def raw(self) -> list[bytes]:
        """The frames since the last call."""
        frames = list(self.socket._waiting)
        self.socket._waiting.clear()
        return frames

    def prints(self) -> list[PriceUpdate]:
        """The prints among the frames since the last call."""
        results = [json.loads(frame)["params"]["result"] for frame in self.raw()]
        return [
            decode_price(base64.b64decode(result["value"]["data"][0]))
            for result in results
            if "value" in result
        ]

    def times(self) -> list[int]:
        """Publish times of the prints, counted from the clock's start."""
        return [update.publish_time - 1_800_000_000 for update in self.prints()]


class Drilled:
    """A node under a drill."""

    def __init__(self, node: InProcessNode, drill: Drill, ledger: Path) -> None:
        self.node = node
        self.drill = drill
        self.ledger = ledger
        self._ids = count()

    async def client(self) -> Client:
        return Client(await self.node.connect())

    async def answer(self, method: str, *params: Any) -> tuple[int, Any]:
        """Status and parsed body of a POST."""
        request = {"jsonrpc": "2.0", "id": next(self._ids), "method": method, "params": list(params)}
        answer = await self.node.post(json.dumps(request))
        return answer.status, json.loads(answer.body)

    async def ask(self, method: str, *params: Any) -> Any:
        """The result of a POST that succeeds."""
        status, body = await self.answer(method, *params)
        assert status == 200
        return body["result"]

    def entries(self, pubkey: str = SOL) -> list[LedgerEntry]:
        return [one for one in read_ledger(self.ledger, 100_000)[0] if one.pubkey == pubkey]


@pytest.fixture
async def start(clock: VirtualClock, tmp_path: Path) -> AsyncIterator[Start]:
    """`await start({"kind": "drop"}, …, seed=1)`: a node with these faults; settings by name."""
    async with AsyncExitStack() as stack:

        async def start_node(*faults: dict[str, Any], seed: int = 1, **settings: Any) -> Drilled:
            drill = Drill(parse_schedule({"faults": list(faults), "seed": seed}))
            ledger = tmp_path / f"ledger-{seed}-{next(numbers)}.jsonl"
            node = InProcessNode(LocalnetSettings(ledger=ledger, **settings), clock, drill)
            await node.start()
            stack.push_async_callback(node.stop)
            return Drilled(node, drill, ledger)

        numbers = count()
        yield start_node
