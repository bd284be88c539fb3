"""Requests that are cancelled at any moment leave no connection behind."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import random
from collections import Counter
from collections.abc import AsyncIterator

import httpx
import pytest
from aiohttp import web

from quantdesk_oracle.sources.bounded import Connections

REQUESTS = 400
AT_ONCE = 4
IDLE = 2 * AT_ONCE
"""Connections that wait to be used again, both ends of each."""


@pytest.fixture
async def url() -> AsyncIterator[str]:
    """A server that takes a few milliseconds for everything."""

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await asyncio.sleep(random.random() / 500)
        with contextlib.suppress(OSError):  # the client has left
            await response.prepare(request)
            await asyncio.sleep(random.random() / 500)
            await response.write(b"{}")
        return response

    runner = web.ServerRunner(web.Server(handle, access_log=None), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    await runner.cleanup()


def sockets() -> int:
    """How many descriptors this process has open."""
    return len(os.listdir("/proc/self/fd"))


# Cancelled while it connects: asyncio's own transport is left to the garbage collector, which closes it.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_a_request_that_is_cancelled_leaves_no_connection_behind(url: str) -> None:
    """httpx alone leaves some forty of these: taken, cancelled before they were used, and never given back."""
    connections = Connections(lambda: httpx.AsyncClient(verify=False))
    before, ends = sockets(), Counter[str]()

    async def ask(limit: float) -> None:
        try:
            async with asyncio.timeout(limit), connections.answer("GET", url) as response:
                await response.aread()
            ends["answered"] += 1
        except TimeoutError:
            ends["cancelled"] += 1

    for _ in range(REQUESTS // AT_ONCE):
        await asyncio.gather(*(ask(random.random() / 50) for _ in range(AT_ONCE)))
    for _ in range(200):  # the server's ends are closed a little later
        if sockets() <= before + IDLE:
            break
        await asyncio.sleep(0.05)
    assert sockets() <= before + IDLE
    await connections.close()
    gc.collect()
    assert ends["answered"] > 0
    assert ends["cancelled"] > REQUESTS / 10


async def test_who_is_cancelled_disturbs_nobody_else(url: str) -> None:
    connections = Connections(lambda: httpx.AsyncClient(verify=False))
    async with connections.answer("GET", url) as kept:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0), connections.answer("GET", url):
                pass
        assert await kept.aread() == b"{}"
    async with connections.answer("GET", url) as next_one:
        assert await next_one.aread() == b"{}"
    await connections.close()
