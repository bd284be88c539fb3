"""Sources as the daemon runs them, against faulty nodes on real sockets, in time that a test moves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from typing import Any

import pytest

from quantdesk_oracle.config.settings import NodeSettings
from quantdesk_oracle.model import Observation, PriceUpdate, Source
from quantdesk_oracle.ops.metrics import Metrics
from quantdesk_oracle.sources.polling import Poller
from quantdesk_oracle.sources.rpc import RpcClient
from quantdesk_oracle.sources.subscription import Subscription, SubscriptionLostError
from tests.integration.sources.faulty import FaultyNode
from tests.virtual_time import SocketClock

FEED = "7AviUf9nL62mcxNbQGKm4nKDQnPjswo6c5MX4D57HmyE"
OTHER_FEED = "APgzQGGdv2qCgBkX6aHVkrGePtBVDDg68GiqaM7rmtf5"


class Recorder:
    """A sink that remembers."""

    def __init__(self) -> None:
        self.observations: list[Observation] = []
        self.slots: list[int] = []
        self.heard: list[PriceUpdate] = []

    def observe(self, observation: Observation) -> None:
        self.observations.append(observation)

    def hear(self, update: PriceUpdate, source: Source, received: int) -> None:
        self.heard.append(update)

    def saw_slot(self, slot: int) -> None:
        self.slots.append(slot)


class Sources:
    """A client, a subscription and a poller on some nodes."""

    def __init__(self, nodes: list[FaultyNode], clock: SocketClock, **settings: Any) -> None:
        weights = settings.pop("weights", [1] * len(nodes))
        endpoints = tuple(
            node.endpoint(f"node-{number}", weight=weight)
            for number, (node, weight) in enumerate(zip(nodes, weights, strict=True))
        )
        self.pubkeys = settings.pop("pubkeys", (FEED,))
        defaults = {
            "network": "mainnet-beta",
            "commitment": "confirmed",
            "poll_interval": 2.0,
            "request_timeout": 10.0,
            "silence_limit": 30.0,
        }
        self.settings = NodeSettings(endpoints=endpoints, **{**defaults, **settings})
        self.clock = clock
        self.sink = Recorder()
        self.metrics = Metrics(["feed"], ["market"], [one.name for one in endpoints], "test")
        self.client = RpcClient(self.settings, self.metrics, clock)
        self.lost: list[SubscriptionLostError] = []
        self.connected: list[str] = []
        self.subscription = Subscription(
            self.settings,
            self.client,
            self.pubkeys,
            self.sink,
            clock,
            self.metrics,
            on_connected=self.connected.append,
            on_lost=lambda _endpoint, error: self.lost.append(error),
        )
        self.poller = Poller(
            self.client,
            self.pubkeys,
            self.sink,
            clock,
            self.settings.poll_interval,
            on_read=self.subscription.polled,
        )
        self._tasks: list[asyncio.Task[None]] = []

    def run(self, *works: Any) -> asyncio.Task[None]:
        """Run sources until the test ends; the last one's task."""
        self._tasks.extend(asyncio.ensure_future(work.run()) for work in works)
        return self._tasks[-1]

    async def until_connected(self, times: int = 1) -> None:
        await self.clock.until(lambda: len(self.connected) >= times, step=0.1)

    def errors(self, kind: str, node: int = 0) -> float:
        """How many errors of ``kind`` have been counted."""
        name = self.settings.endpoints[node].name
        found = self.metrics.registry.get_sample_value(
            "quantdesk_oracle_rpc_errors_total", {"endpoint": name, "kind": kind}
        )
        assert found is not None
        return found

    def assert_running(self) -> None:
        """No worker has died of what it was told."""
        for task in self._tasks:
            assert not task.done(), task

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        await self.client.close()


@pytest.fixture
def clock() -> SocketClock:
    return SocketClock()


@pytest.fixture
async def new_node() -> AsyncIterator[Callable[[], Awaitable[FaultyNode]]]:
    """Starts faulty nodes; they are stopped after the test."""
    async with AsyncExitStack() as stack:

        async def start() -> FaultyNode:
            node = FaultyNode()
            await node.start()
            stack.push_async_callback(node.stop)
            return node

        yield start


@pytest.fixture
async def node(new_node: Callable[[], Awaitable[FaultyNode]]) -> FaultyNode:
    return await new_node()


@pytest.fixture
async def sources(clock: SocketClock) -> AsyncIterator[Callable[..., Sources]]:
    """`sources(node, …, **settings)`; what they run is cancelled after the test."""
    made: list[Sources] = []

    def make(*nodes: FaultyNode, **settings: Any) -> Sources:
        made.append(Sources(list(nodes), clock, **settings))
        return made[-1]

    yield make
    for one in made:
        await one.close()
