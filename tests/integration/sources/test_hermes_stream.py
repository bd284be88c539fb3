"""Following Hermes: latest and stream, keys and limits waited for, another host where one does not serve."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, suppress
from typing import Any

import pytest
from pydantic import SecretStr

from quantdesk_oracle.clock import SystemClock
from quantdesk_oracle.errors import NodeError
from quantdesk_oracle.ops.metrics import Metrics
from quantdesk_oracle.sources.hermes import HermesClient
from quantdesk_oracle.sources.hermes_stream import HermesStream
from tests.hermes_server import KEY, HermesServer, hermes_server, of_bytes
from tests.integration.sources.conftest import Recorder

BTC, SOL = bytes([1]) * 32, bytes([2]) * 32
NOW = 1_790_000_000


class Following:
    """A stream of some servers, and what it told."""

    def __init__(self, servers: list[HermesServer], silence: float) -> None:
        self.sink = Recorder()
        self.metrics = Metrics([], [], [], "test")
        self.lost: list[NodeError] = []
        self.clock = _Hasty()
        clients = [
            HermesClient(one.url, SecretStr(KEY), timeout=1.0, silence=silence, name=f"hermes-{number}")
            for number, one in enumerate(servers)
        ]
        self.stream = HermesStream(
            clients,
            [BTC, SOL, BTC],
            self.sink,
            self.clock,
            self.metrics,
            on_lost=lambda _endpoint, error: self.lost.append(error),
        )
        self.task = asyncio.ensure_future(self.stream.run())

    @property
    def identities(self) -> list[tuple[int, int]]:
        return [update.identity for update in self.sink.heard]

    def value(self, name: str, endpoint: str = "hermes-0", **labels: str) -> float | None:
        labels = {"source": "hermes", "endpoint": endpoint, **labels}
        return self.metrics.registry.get_sample_value(f"quantdesk_oracle_{name}", labels)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                assert not self.task.done(), self.task
                await asyncio.sleep(0.01)

    async def close(self) -> None:
        self.task.cancel()
        with suppress(asyncio.CancelledError):
            await self.task
        await self.stream.close()


class _Hasty(SystemClock):
    """Real time, in which waiting is short; what was waited for is remembered."""

    def __init__(self) -> None:
        self.waits: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        await asyncio.sleep(0.02)


@pytest.fixture
async def follow() -> AsyncIterator[Any]:
    """`await follow(servers, published)`: that many servers, and a stream that follows them."""
    async with AsyncExitStack() as stack:

        async def begin(
            servers: int = 1, silence: float = 5.0, **state: Any
        ) -> tuple[list[HermesServer], Following]:
            started = [await stack.enter_async_context(hermes_server()) for _ in range(servers)]
            for name, value in state.items():
                setattr(started[0], name, value)
            for server in started:
                server.publish(BTC, NOW, 1, 1_000_000)
            following = Following(started, silence)
            stack.push_async_callback(following.close)
            return started, following

        yield begin


async def test_the_latest_prints_come_first_then_each_as_it_is_published(follow: Any) -> None:
    (server,), following = await follow()
    await following.until(lambda: following.stream.connected)
    server.publish(SOL, NOW + 1, 2, 2_000_000)
    server.publish(BTC, NOW + 2, 3, 1_000_001)
    await following.until(lambda: len(following.sink.heard) == 3)
    assert following.identities == [(NOW, 1), (NOW + 1, 2), (NOW + 2, 3)]
    assert (following.value("source_up"), following.stream.failing) == (1, None)
    assert sorted(server.seen[0].query.getall("ids[]")) == [BTC.hex(), SOL.hex()]


async def test_a_feed_that_hermes_does_not_have_is_named_and_the_others_come(follow: Any) -> None:
    _, following = await follow()
    await following.until(lambda: following.stream.connected)
    assert following.stream.silent == {SOL}


async def test_a_stream_that_ends_is_made_anew_and_what_came_meanwhile_is_read(follow: Any) -> None:
    (server,), following = await follow()
    await following.until(lambda: following.stream.connected)
    server.end_streams()
    server.publish(BTC, NOW + 9, 9, 1_000_002)
    await following.until(lambda: (NOW + 9, 9) in following.identities)
    assert following.value("source_errors_total", kind="unreachable") == 1


async def test_a_silent_stream_is_left(follow: Any) -> None:
    (server,), following = await follow(silence=0.1)
    await following.until(lambda: server.paths.count("/v2/updates/price/stream") > 1)
    assert "silent" in str(following.lost[0])


async def test_a_refused_key_is_told_and_tried_again_only_after_minutes(follow: Any) -> None:
    _, following = await follow(key="another")
    await following.until(lambda: bool(following.clock.waits))
    assert following.clock.waits[0] >= 300
    assert "refuses the key" in (following.stream.failing or "")
    assert (following.value("source_errors_total", kind="unauthorized"), len(following.lost)) == (1, 1)


async def test_a_used_up_limit_is_waited_for(follow: Any) -> None:
    (server,), following = await follow(refuse_after=0)
    await following.until(lambda: bool(following.clock.waits))
    assert following.clock.waits[0] >= 60
    server.refuse_after = None
    await following.until(lambda: following.stream.connected)
    assert following.stream.failing is None


async def test_another_host_is_used_where_the_first_does_not_serve(follow: Any) -> None:
    (_, second), following = await follow(servers=2, instead=of_bytes(b"", 500))
    await following.until(lambda: following.stream.connected)
    assert (following.stream.endpoint, second.streams) == ("hermes-1", 1)
    assert (following.value("source_up", "hermes-1"), following.value("source_up")) == (1, 0)
