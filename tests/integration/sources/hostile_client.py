"""A process that asks one hostile server once, and prints what that has cost it.

python tests/integration/sources/hostile_client.py rpc|websocket|hermes|stream URL SECONDS
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from pathlib import Path

from pydantic import SecretStr

from quantdesk_oracle.clock import SystemClock
from quantdesk_oracle.config import EndpointSettings
from quantdesk_oracle.config.settings import NodeSettings
from quantdesk_oracle.errors import NodeError
from quantdesk_oracle.model import Observation, PriceUpdate, Source
from quantdesk_oracle.ops.metrics import Metrics
from quantdesk_oracle.sources.hermes import HermesClient
from quantdesk_oracle.sources.rpc import RpcClient
from quantdesk_oracle.sources.subscription import Subscription

FEED = "7AviUf9nL62mcxNbQGKm4nKDQnPjswo6c5MX4D57HmyE"
FEED_ID = bytes(32)


class Nobody:
    """A sink that keeps nothing."""

    def observe(self, observation: Observation) -> None: ...

    def hear(self, update: PriceUpdate, source: Source, received: int) -> None: ...

    def saw_slot(self, slot: int) -> None: ...


async def ask_node(what: str, url: str, seconds: float) -> None:
    """A request, or a connection from its first moment to its last. Raises NodeError."""
    endpoint = EndpointSettings("hostile", SecretStr(url), SecretStr(url.replace("http:", "ws:")))
    settings = NodeSettings(
        endpoints=(endpoint,),
        network="localnet",
        commitment="confirmed",
        poll_interval=2.0,
        request_timeout=seconds,
        silence_limit=seconds,
    )
    metrics = Metrics([], [], ["hostile"], "test")
    clock = SystemClock()
    client = RpcClient(settings, metrics, clock)
    if what == "rpc":
        await client.slot()
        return
    subscription = Subscription(
        settings,
        client,
        [FEED],
        Nobody(),
        clock,
        metrics,
        on_connected=lambda _endpoint: None,
        on_lost=lambda _endpoint, _error: None,
    )
    await subscription.deliver()


async def ask_hermes(what: str, url: str, seconds: float) -> None:
    """The latest price, or a stream from its first event to its last. Raises NodeError."""
    base, _, key = url.partition("?api-key=")
    client = HermesClient(base, SecretStr(key), timeout=seconds, silence=seconds)
    if what == "hermes":
        await client.latest([FEED_ID])
        return
    async for _updates in client.stream([FEED_ID]):
        pass


def peak() -> float:
    """The most memory that this process has had, MB: the kernel's word, whatever allocates."""
    found = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) / 1_024


async def main(what: str, seconds: float, urls: list[str]) -> None:
    ask = ask_node if what in ("rpc", "websocket") else ask_hermes
    before = peak()
    for url in urls:
        began = time.monotonic()
        try:
            await ask(what, url, seconds)
            said = "an answer was taken"
        except NodeError as error:
            said = str(error)
        spent = {"megabytes": peak() - before, "seconds": time.monotonic() - began}
        print(json.dumps({"said": said, **spent}))


asyncio.run(main(sys.argv[1], float(sys.argv[2]), sys.argv[3:]))
