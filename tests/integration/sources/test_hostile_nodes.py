"""An endpoint that answers with a gigabyte, a bomb, or without end: a real process, its real memory, a real clock.

The client is a process of its own: its peak is measured by the kernel (VmHWM), whatever allocates.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web

MEGABYTE = 1 << 20
ALLOWED_MEGABYTES = 60
"""What one answer may cost at its peak: 16 MB, a few copies of it, and what the allocator keeps."""
SECONDS = 2.0
"""The client's request_timeout."""

Answer = Callable[[web.StreamResponse], Awaitable[None]]

CLIENT = """
import asyncio, json, re, sys, time
from pathlib import Path
from pydantic import SecretStr
from quantdesk_oracle.clock import SystemClock
from quantdesk_oracle.config import EndpointSettings
from quantdesk_oracle.config.settings import NodeSettings
from quantdesk_oracle.errors import NodeError
from quantdesk_oracle.ops.metrics import Metrics
from quantdesk_oracle.sources.rpc import RpcClient

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024

async def main(url, timeout):
    endpoint = EndpointSettings("hostile", SecretStr(url), SecretStr("ws://127.0.0.1:1"))
    settings = NodeSettings(endpoints=(endpoint,), network="localnet", commitment="confirmed",
                            poll_interval=2.0, request_timeout=timeout, silence_limit=30.0)
    client = RpcClient(settings, Metrics([], [], ["hostile"], "test"), SystemClock())
    before, began = peak(), time.monotonic()
    try:
        await client.slot()
        said = "an answer was taken"
    except NodeError as error:
        said = str(error)
    print(json.dumps({"said": said, "megabytes": peak() - before, "seconds": time.monotonic() - began}))
    await client.close()

asyncio.run(main(sys.argv[1], float(sys.argv[2])))
"""


async def gigabyte(response: web.StreamResponse) -> None:
    await response.write(b'{"jsonrpc": "2.0", "id": 1, "result": "')
    for _ in range(1_024):
        await response.write(b"x" * MEGABYTE)


async def drip(response: web.StreamResponse) -> None:
    while True:
        await response.write(b" ")
        await asyncio.sleep(0.05)


async def bomb(response: web.StreamResponse) -> None:
    await response.write(gzip.compress(bytes(256 * MEGABYTE), compresslevel=1))


async def nothing(_response: web.StreamResponse) -> None:
    await asyncio.sleep(60)


HOSTILE: dict[str, tuple[Answer, dict[str, str]]] = {
    "a gigabyte": (gigabyte, {}),
    "a bomb": (bomb, {"Content-Encoding": "gzip"}),
    "a drip without end": (drip, {}),
    "nothing": (nothing, {}),
}


@pytest.fixture
async def serve() -> AsyncIterator[Callable[[str], Awaitable[str]]]:
    """Starts a server of one kind; its URL."""
    runners: list[web.ServerRunner] = []

    async def start(kind: str) -> str:
        answer, headers = HOSTILE[kind]

        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            response = web.StreamResponse(headers={"Content-Type": "application/json", **headers})
            await response.prepare(request)
            with contextlib.suppress(OSError):  # the client leaves
                await answer(response)
            return response

        runner = web.ServerRunner(web.Server(handle, access_log=None), shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        runners.append(runner)
        return f"http://127.0.0.1:{runner.addresses[0][1]}/?api-key=secret"

    yield start
    for runner in runners:
        await runner.cleanup()


@pytest.mark.parametrize("kind", HOSTILE)
async def test_whatever_a_node_answers_costs_bounded_memory_and_time(
    serve: Callable[[str], Awaitable[str]], kind: str
) -> None:
    url = await serve(kind)
    began = time.monotonic()
    client = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CLIENT, url, str(SECONDS), stdout=subprocess.PIPE
    )
    out, _ = await asyncio.wait_for(client.communicate(), 60)
    found = json.loads(out)
    assert "taken" not in found["said"]
    assert "secret" not in found["said"]
    assert found["megabytes"] < ALLOWED_MEGABYTES, found
    # A hang would be as long as the server likes; a slow machine is not.
    assert found["seconds"] < SECONDS + 20, found
    assert time.monotonic() - began < 60
