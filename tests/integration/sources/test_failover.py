"""Several endpoints on real sockets: which one is followed, and how soon a bad one is left."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from quantdesk_oracle.model import SECOND
from quantdesk_oracle.sources.probe import Probe
from tests.integration.sources.conftest import FEED, Sources
from tests.integration.sources.faulty import DEVNET, FaultyNode, a_print, raw
from tests.virtual_time import SocketClock

Make = Callable[..., Sources]
NewNode = Callable[[], Awaitable[FaultyNode]]


async def pair(new_node: NewNode, sources: Make) -> tuple[FaultyNode, FaultyNode, Sources]:
    """A preferred node, another one, and sources with a probe on both."""
    first, second = await new_node(), await new_node()
    for node in (first, second):
        node.slot = 10_000
        node.accounts[FEED] = a_print(slot=9_990)
    ours = sources(first, second, weights=[2, 1])
    ours.run(ours.subscription, ours.poller, Probe(ours.client, [FEED], ours.clock))
    await ours.until_connected()
    assert ours.connected == ["node-0"]
    return first, second, ours


async def test_a_node_that_is_200_slots_behind_is_left_within_five_seconds(
    new_node: NewNode, sources: Make, clock: SocketClock
) -> None:
    _, second, ours = await pair(new_node, sources)
    behind_since = clock.now()
    second.slot = 10_200
    second.accounts[FEED] = a_print(slot=10_195)
    await clock.until(lambda: ours.client.endpoint == "node-1", step=0.1)
    await ours.until_connected(2)
    assert clock.now() - behind_since <= 5 * SECOND
    assert ours.connected[-1] == "node-1"
    assert ours.lost[-1].reason == "failover"


async def test_one_that_lies_about_its_slot_does_not_win(
    new_node: NewNode, sources: Make, clock: SocketClock
) -> None:
    _, second, ours = await pair(new_node, sources)
    second.slot = 1_000_000
    looks = second.count("getMultipleAccounts")
    await clock.until(lambda: second.count("getMultipleAccounts") >= looks + 5, step=0.5)
    assert ours.client.endpoint == "node-0"
    assert ours.lost == []


async def test_one_of_another_cluster_is_never_used(
    new_node: NewNode, sources: Make, clock: SocketClock
) -> None:
    first, second = await new_node(), await new_node()
    first.genesis = DEVNET
    second.accounts[FEED] = a_print()
    ours = sources(first, second, weights=[2, 1])
    ours.run(ours.poller, Probe(ours.client, [FEED], clock))
    await clock.until(lambda: bool(ours.sink.observations), step=0.2)
    assert ours.client.endpoint == "node-1"
    assert first.count("getMultipleAccounts") == 0


async def test_a_dead_endpoint_is_left_and_returned_to(
    new_node: NewNode, sources: Make, clock: SocketClock
) -> None:
    first, _, ours = await pair(new_node, sources)
    first.http_always = raw(b"", 503)
    await clock.until(lambda: ours.client.endpoint == "node-1", step=0.2)
    first.http_always = None
    await clock.until(lambda: ours.client.endpoint == "node-0", step=0.5)


async def test_the_poller_fails_over_at_once(new_node: NewNode, sources: Make, clock: SocketClock) -> None:
    first, second = await new_node(), await new_node()
    first.http_always = raw(b"", 429, Retry_After="1")
    second.accounts[FEED] = a_print()
    ours = sources(first, second, network="localnet")
    ours.run(ours.poller)
    await clock.until(lambda: bool(ours.sink.observations), step=0.2)
    assert ours.client.endpoint == "node-1"
