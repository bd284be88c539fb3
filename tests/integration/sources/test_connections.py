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
TURNS = 60
"""Of the loop, after which a request is cancelled at the latest; most are answered within so many."""
IDLE = 2 * AT_ONCE
"""Connections that wait to be used again, both ends of each."""


@pytest.fixture
async def url() -> AsyncIterator[str]:
    """A server that answers in two pieces."""

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        with contextlib.suppress(OSError):  # the client has left
            await response.prepare(request)
            await asyncio.sleep(0)
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


async def until_open(most: int) -> None:
    """Until this process has no more descriptors open than ``most``.

    A server closes its end a little later; and where a request was cancelled while it connected, asyncio's own
    transport is left to the garbage collector, which must not come to it in the middle of another test.
    """
    async with asyncio.timeout(10):
        gc.collect()
        while sockets() > most:
            await asyncio.sleep(0.05)
            gc.collect()


# As an error, the warning of the collector keeps what it warns of from being closed.
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
async def test_a_request_that_is_cancelled_leaves_no_connection_behind(url: str) -> None:
    """httpx alone leaves some forty of these: taken, cancelled before they were used, and never given back."""
    connections = Connections(lambda: httpx.AsyncClient(verify=False))
    before = sockets()
    ends = await ask_and_cancel(connections, url)
    await until_open(before + IDLE)
    await connections.close()
    await until_open(before)
    assert min(ends["answered"], ends["cancelled"]) > REQUESTS / 20, ends


async def ask_and_cancel(connections: Connections, url: str) -> Counter[str]:
    """How requests have ended of which many were cancelled."""
    ends = Counter[str]()

    async def ask() -> None:
        async with connections.answer("GET", url) as response:
            await response.aread()

    async def cancel(task: asyncio.Task[None], turns: int) -> None:
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        [end] = await asyncio.gather(task, return_exceptions=True)
        ends["answered" if end is None else "cancelled"] += 1

    for _ in range(REQUESTS // AT_ONCE):
        tasks = [asyncio.create_task(ask()) for _ in range(AT_ONCE)]
        await asyncio.gather(*(cancel(task, random.randrange(TURNS)) for task in tasks))
    return ends


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
