"""Local nodes on real sockets of the loopback, in time that a test moves."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count
from typing import Any

import aiohttp
import pytest
from solana.rpc.async_api import AsyncClient

from quantdesk_oracle.localnet import LocalnetSettings, LocalNode
from quantdesk_oracle.localnet.faults import Drill, parse_schedule
from tests.clock import VirtualClock

PATIENCE = 10.0
"""Seconds that a socket of the loopback may take on a busy machine before a test gives up."""


class Websocket:
    """A plain websocket client."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self._next_id = count()
        self.notifications: list[dict[str, Any]] = []

    async def receive(self) -> dict[str, Any]:
        return json.loads(await self.socket.receive_str(timeout=PATIENCE))

    async def call(self, method: str, *params: Any) -> dict[str, Any]:
        """The answer; notifications that come before it are kept."""
        request_id = next(self._next_id)
        request = {"jsonrpc": "2.0", "id": request_id, "method": method, "params": list(params)}
        await self.socket.send_str(json.dumps(request))
        while (message := await self.receive()).get("id") != request_id:
            self.notifications.append(message)
        return message

    async def told(self) -> list[dict[str, Any]]:
        """Every notification so far: what was written before the answer to one more request."""
        await self.call("nothing")
        found, self.notifications = self.notifications, []
        return found


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


Start = Callable[..., Awaitable[LocalNode]]


@pytest.fixture
async def start(clock: VirtualClock) -> AsyncIterator[Start]:
    """Start a node with these faults and settings, on free ports; it is stopped after the test."""
    async with AsyncExitStack() as stack:

        async def start_node(*faults: dict[str, Any], **settings: Any) -> LocalNode:
            drill = Drill(parse_schedule({"faults": list(faults), "seed": 1}))
            node = LocalNode(
                LocalnetSettings(rpc_port=0, ws_port=0, **settings), clock, drill if faults else None
            )
            await node.start()
            stack.push_async_callback(node.stop)
            return node

        yield start_node


@asynccontextmanager
async def _connect(node: LocalNode) -> AsyncIterator[Websocket]:
    async with aiohttp.ClientSession() as session, session.ws_connect(node.ws_url) as socket:
        yield Websocket(socket)


@pytest.fixture
def connect() -> Callable[[LocalNode], Any]:
    """`async with connect(node) as websocket`."""
    return _connect


@asynccontextmanager
async def _client(node: LocalNode) -> AsyncIterator[AsyncClient]:
    client = AsyncClient(node.rpc_url)
    try:
        yield client
    finally:
        await client.close()


@pytest.fixture
def client_of() -> Callable[[LocalNode], Any]:
    """`async with client_of(node) as client`: solana-py, which parses every answer with solders."""
    return _client
