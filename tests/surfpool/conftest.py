"""A Surfpool, a real Solana runtime, installed by npm into pytest's cache; without Node.js or npm there is a skip."""

from __future__ import annotations

import asyncio
import json
import platform
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from quantdesk_oracle.clock import SystemClock
from quantdesk_oracle.localnet import LocalnetSettings, LocalNode
from tests.chaos.proxy import Link
from tests.e2e.conftest import program
from tests.surfpool.chain import Chain, surfpool_running

__all__ = ["program"]

VERSION = "1.5.0"
PACKAGE = "@solana/surfpool-linux-x64-gnu"
LIBRARY = "surfpool-sdk.linux-x64-gnu.node"


class Peer:
    """A node under comparison, and one websocket to it."""

    def __init__(
        self, session: aiohttp.ClientSession, rpc_url: str, ws: aiohttp.ClientWebSocketResponse
    ) -> None:
        self._session = session
        self._rpc_url = rpc_url
        self._ws = ws
        self._ids = count()
        self._notifications: list[dict[str, Any]] = []

    async def post(self, body: str) -> Any:
        headers = {"Content-Type": "application/json"}
        async with self._session.post(self._rpc_url, data=body, headers=headers) as response:
            return await response.json()

    async def call(self, method: str, *params: Any) -> Any:
        return await self.post(
            json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)})
        )

    async def ask(self, method: str, *params: Any) -> Any:
        """A call over the websocket; notifications that come before the answer are kept."""
        number = next(self._ids)
        await self._ws.send_json({"jsonrpc": "2.0", "id": number, "method": method, "params": list(params)})
        while (message := await self._ws.receive_json(timeout=30)).get("id") != number:
            self._notifications.append(message)
        return message

    async def notification(self, method: str) -> Any:
        """The next notification of this kind."""
        while True:
            for message in self._notifications:
                if message["method"] == method:
                    self._notifications.remove(message)
                    return message
            self._notifications.append(await self._ws.receive_json(timeout=30))


@pytest.fixture(scope="session")
def surfpool_library(pytestconfig: pytest.Config) -> Path:
    """The package's library, installed where it is not there yet (92 MB)."""
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        pytest.skip("Surfpool's package is for Linux on x86-64")
    for needed in ("node", "npm"):
        if shutil.which(needed) is None:
            pytest.skip(f"there is no {needed} on this machine")
    folder = pytestconfig.cache.mkdir(f"surfpool-{VERSION}")
    library = folder / "node_modules" / PACKAGE / LIBRARY
    if not library.exists():
        command = [
            "npm",
            "install",
            "--no-audit",
            "--no-fund",
            "--prefix",
            str(folder),
            f"{PACKAGE}@{VERSION}",
        ]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
        except subprocess.TimeoutExpired:
            pytest.skip("npm could not install Surfpool within four minutes")
        if done.returncode:
            pytest.skip(f"npm cannot install Surfpool: {done.stderr.strip().splitlines()[-1:]}")
    return library


@pytest.fixture
def surfpool_urls(surfpool_library: Path) -> Iterator[dict[str, str]]:
    """A running Surfpool's rpcUrl and wsUrl."""
    with surfpool_running(surfpool_library) as urls:
        yield urls


@pytest.fixture
async def chain(surfpool_library: Path) -> AsyncIterator[Chain]:
    """Two ports, and no Surfpool behind them yet."""
    async with Link(0).running() as rpc, Link(0).running() as ws:
        yield Chain(surfpool_library, rpc, ws)


async def _peer(session: aiohttp.ClientSession, rpc_url: str, ws_url: str) -> Peer:
    return Peer(session, rpc_url, await session.ws_connect(ws_url))


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as opened:
        yield opened
    await asyncio.sleep(0)


@pytest.fixture
async def surfpool(surfpool_urls: dict[str, str], session: aiohttp.ClientSession) -> Peer:
    return await _peer(session, surfpool_urls["rpcUrl"], surfpool_urls["wsUrl"])


@pytest.fixture
async def local_node() -> AsyncIterator[LocalNode]:
    node = LocalNode(LocalnetSettings(rpc_port=0, ws_port=0), SystemClock())
    await node.start()
    await node.stop_pushing()
    yield node
    await node.stop()


@pytest.fixture
async def ours(local_node: LocalNode, session: aiohttp.ClientSession) -> Peer:
    return await _peer(session, local_node.rpc_url, local_node.ws_url)
