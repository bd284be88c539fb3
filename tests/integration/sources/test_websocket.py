"""What a node may do to a websocket, and what becomes of it. Every case is one of design/pyth.md, section 6."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import pytest
from websockets.asyncio.server import ServerConnection

from quantdesk_oracle.model import Source
from tests.integration.sources.conftest import FEED, OTHER_FEED, Sources
from tests.integration.sources.faulty import (
    SYSTEM,
    FaultyNode,
    a_print,
    account,
    quiet,
    refusal,
)
from tests.virtual_time import SocketClock

Make = Callable[..., Sources]


async def test_a_print_is_delivered(node: FaultyNode, sources: Make, clock: SocketClock) -> None:
    ours = sources(node)
    ours.run(ours.subscription)
    await ours.until_connected()
    await node.notify(FEED, a_print())
    await clock.until(lambda: bool(ours.sink.observations))
    assert ours.sink.observations[0].source is Source.SUBSCRIPTION
    assert len(ours.sink.observations[0].data or b"") == 134


async def test_slots_of_the_subscription_reach_the_sink(
    node: FaultyNode, sources: Make, clock: SocketClock
) -> None:
    ours = sources(node)
    ours.run(ours.subscription)
    await ours.until_connected()
    slots = node.subscribed[-1]["slots"]
    await node.send_notification("slotNotification", slots, {"parent": 1, "root": 0, "slot": 4_711})
    await clock.until(lambda: ours.sink.slots == [4_711])


async def test_each_account_is_a_request_of_its_own_below_4096_bytes(
    node: FaultyNode, sources: Make, clock: SocketClock
) -> None:
    sizes: list[int] = []

    async def measure(node: FaultyNode, socket: ServerConnection) -> None:
        for number in range(3):
            text = await socket.recv()
            sizes.append(len(text))
            await socket.send(json.dumps({"jsonrpc": "2.0", "result": number, "id": json.loads(text)["id"]}))
        await socket.wait_closed()

    node.script = measure
    ours = sources(node, pubkeys=(FEED, OTHER_FEED))
    ours.run(ours.subscription)
    await ours.until_connected()
    assert len(sizes) == 3
    assert max(sizes) < 4_096


@pytest.mark.parametrize("code", [1000, 1001, 1008, 1011, 1012, 1013])
async def test_a_close_of_any_code_is_followed_by_a_new_connection(
    node: FaultyNode, sources: Make, clock: SocketClock, code: int
) -> None:
    ours = sources(node)
    ours.run(ours.subscription)
    await ours.until_connected()
    await node.sockets[-1].close(code, "bye")
    await ours.until_connected(2)
    assert [error.reason for error in ours.lost] == ["closed"]
    ours.assert_running()


async def test_a_connection_that_breaks_without_a_close_frame_is_1006(
    node: FaultyNode, sources: Make
) -> None:
    ours = sources(node)
    ours.run(ours.subscription)
    await ours.until_connected()
    node.sockets[-1].transport.abort()
    await ours.until_connected(2)
    assert [error.reason for error in ours.lost] == ["closed"]


@pytest.mark.parametrize(
    "frame",
    [
        "",
        "garbage",
        "{",
        "[]",
        "17",
        "null",
        '{"jsonrpc":"2.0"}',
        '{"jsonrpc":"2.0","result":77,"id":4711}',
        '{"jsonrpc":"2.0","result":77,"id":null}',
        '{"jsonrpc":"2.0","result":true,"id":2}',
        '{"jsonrpc":"2.0","result":{"shape":"nobody knows"},"id":1}',
        '{"jsonrpc":"2.0","method":"rootNotification","params":{"result":5,"subscription":9}}',
        '{"jsonrpc":"2.0","method":"accountNotification","params":{"subscription":999,"result":{"context":{"slot":1},"value":null}}}',
        '{"jsonrpc":"2.0","method":"accountNotification","params":{"subscription":"x","result":{}}}',
        '{"jsonrpc":"2.0","method":"accountNotification","params":null}',
        '{"jsonrpc":"2.0","id":99999999999999999999999999,"result":1}',
        '{"x":' + "[" * 100_000,
        b"\x00\xff\xfe",
        b'{"method":"\xff"}',
    ],
)
async def test_a_frame_that_means_nothing_leaves_the_next_one_alone(
    node: FaultyNode, sources: Make, clock: SocketClock, frame: str | bytes
) -> None:
    ours = sources(node)
    ours.run(ours.subscription)
    await ours.until_connected()
    await node.sockets[-1].send(frame)
    await node.notify(FEED, a_print())
    await clock.until(lambda: bool(ours.sink.observations))
    assert ours.lost == []
    ours.assert_running()


async def test_a_text_frame_that_is_no_utf_8_leaves_the_next_one_alone(
    node: FaultyNode, sources: Make, clock: SocketClock
) -> None:
    ours = sources(node)
    ours.run(ours.subscription)
    await ours.until_connected()
    node.sockets[-1].transport.write(b"\x81\x0d" + b'{"method":"\xff"')
    await node.notify(FEED, a_print())
    await clock.until(lambda: bool(ours.sink.observations))
    assert ours.errors("protocol") == 1


async def test_unreadable_frames_are_counted(node: FaultyNode, sources: Make, clock: SocketClock) -> None:
    ours = sources(node)
    ours.run(ours.subscription)
    await ours.until_connected()
    for _ in range(5):
        await node.sockets[-1].send("garbage")
    await clock.until(lambda: ours.errors("protocol") == 5)


async def test_an_account_that_cannot_be_read_is_counted_and_left(
    node: FaultyNode, sources: Make, clock: SocketClock
) -> None:
    ours = sources(node)
    ours.run(ours.subscription)
    await ours.until_connected()
    await node.notify(FEED, {**a_print(), "data": ["?", "base64"]})
    await node.notify(FEED, a_print())
    await clock.until(lambda: bool(ours.sink.observations))
    assert ours.errors("protocol") == 1


@pytest.mark.parametrize("error", [
    {"code": -32005, "message": "Node is behind", "data": {"numSlotsBehind": 9}},
    {"code": -32005, "message": "Node is behind"},
    {"code": -32016, "message": "Minimum context slot has not been reached"},
    {"code": -32016, "message": "Minimum context slot", "data": {"contextSlot": 5}},
    {"code": -32603, "message": "Internal error: Subscription refused. Node subscription limit reached"},
    {"code": 429, "message": "Too many requests"},
    {"code": -31999, "message": "nobody listed this one"},
    {"message": "no code"},
    "words",
    17,
])  # fmt: skip
async def test_a_refused_subscription_is_tried_again_on_a_new_connection(
    node: FaultyNode, sources: Make, clock: SocketClock, error: object
) -> None:
    async def refuse_once(node: FaultyNode, socket: ServerConnection) -> None:
        request = json.loads(await socket.recv())
        await socket.send(json.dumps({"jsonrpc": "2.0", "error": error, "id": request["id"]}))
        node.script = quiet
        await socket.wait_closed()

    node.script = refuse_once
    ours = sources(node)
    ours.run(ours.subscription)
    await ours.until_connected()
    assert [lost.reason for lost in ours.lost] == ["refused"]
    ours.assert_running()


@pytest.mark.parametrize("code", [-32005, -32016])
async def test_an_error_without_an_id_in_the_middle_ends_the_connection_and_not_the_worker(
    node: FaultyNode, sources: Make, code: int
) -> None:
    ours = sources(node)
    ours.run(ours.subscription)
    await ours.until_connected()
    await node.sockets[-1].send(json.dumps({"jsonrpc": "2.0", "error": {"code": code}, "id": None}))
    await ours.until_connected(2)
    ours.assert_running()


async def test_a_node_without_slot_subscriptions_serves_accounts_all_the_same(
    node: FaultyNode, sources: Make, clock: SocketClock
) -> None:
    async def no_slots(node: FaultyNode, socket: ServerConnection) -> None:
        await node.accept(socket, requests=1)
        request = json.loads(await socket.recv())
        error = {"code": -32601, "message": "Method not found"}
        await socket.send(json.dumps({"jsonrpc": "2.0", "error": error, "id": request["id"]}))
        await socket.wait_closed()

    node.script = no_slots
    ours = sources(node)
    ours.run(ours.subscription)
    await ours.until_connected()
    await node.notify(FEED, a_print())
    await clock.until(lambda: bool(ours.sink.observations))


async def test_a_silent_connection_is_left(node: FaultyNode, sources: Make, clock: SocketClock) -> None:
    ours = sources(node, silence_limit=30.0)
    ours.run(ours.subscription)
    await ours.until_connected()
    await clock.advance(29)
    assert ours.lost == []
    await clock.advance(2)
    await clock.until(lambda: bool(ours.lost), step=0.1)
    assert ours.lost[0].reason == "stale"
    assert "silent for 30 s" in str(ours.lost[0])
    await ours.until_connected(2)


async def test_a_half_open_connection_is_left(node: FaultyNode, sources: Make, clock: SocketClock) -> None:
    ours = sources(node)
    ours.run(ours.subscription)
    await ours.until_connected()
    # The peer reads no more and writes no more: nothing here says so, and no close is answered.
    node.sockets[-1].transport.pause_reading()
    await ours.until_connected(2)
    assert [error.reason for error in ours.lost] == ["stale"]


async def test_a_handshake_that_is_never_answered_is_given_up(
    node: FaultyNode, sources: Make, clock: SocketClock
) -> None:
    stuck: list[asyncio.StreamWriter] = []

    async def hang(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        stuck.append(writer)

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    ours = sources(node, request_timeout=0.5)
    try:
        port = server.sockets[0].getsockname()[1]
        _redirect(ours, f"ws://127.0.0.1:{port}")
        ours.run(ours.subscription)
        # On a busy machine an attempt may be given up before the server has even seen it.
        await clock.until(lambda: bool(ours.lost) and bool(stuck), step=0.1)
        assert ours.lost[0].reason == "refused"
    finally:
        await ours.close()
        for writer in stuck:
            writer.transport.abort()
        server.close()
        await asyncio.sleep(0)


def _redirect(ours: Sources, url: str) -> None:
    from dataclasses import replace

    from pydantic import SecretStr

    endpoints = ours.client.endpoints
    endpoints.settings = (replace(endpoints.settings[0], ws_url=SecretStr(url)),)


async def test_subscriptions_that_are_never_answered_are_given_up(
    node: FaultyNode, sources: Make, clock: SocketClock
) -> None:
    async def slots_only(node: FaultyNode, socket: ServerConnection) -> None:
        """Answers one of three requests, and goes on ticking: the socket looks alive."""
        await node.accept(socket, requests=1)
        while True:
            await node.send_notification("slotNotification", 12_345, {"slot": 1, "parent": 0, "root": 0})
            await asyncio.sleep(0.005)

    node.script = slots_only
    ours = sources(node, pubkeys=(FEED, OTHER_FEED))
    ours.run(ours.subscription)
    await clock.until(lambda: bool(ours.lost), step=0.2)
    assert ours.lost[0].reason == "stale"
    assert "2 subscriptions unanswered" in str(ours.lost[0])


async def test_a_subscription_that_goes_quiet_while_polling_moves_on_is_left(
    node: FaultyNode, sources: Make, clock: SocketClock
) -> None:
    ours = sources(node, network="localnet")
    node.accounts[FEED] = a_print(1_800_000_000)
    ours.run(ours.subscription, ours.poller)
    await ours.until_connected()
    await node.notify(FEED, a_print(1_800_000_000))
    await clock.until(lambda: len(ours.sink.observations) >= 2, step=0.1)
    node.accounts[FEED] = a_print(1_800_000_001)
    lost = ours.lost
    while not lost:
        # Slots go on: the connection is not silent.
        slots = node.subscribed[-1]["slots"]
        await node.send_notification("slotNotification", slots, {"slot": 1, "parent": 0, "root": 0})
        await asyncio.sleep(0.003)
        await clock.advance(1)
    assert lost[0].reason == "stale"
    assert "what polling reads" in str(lost[0])
    await ours.until_connected(2)


async def test_a_subscription_that_keeps_up_with_polling_is_kept(
    node: FaultyNode, sources: Make, clock: SocketClock
) -> None:
    ours = sources(node, network="localnet")
    ours.run(ours.subscription, ours.poller)
    await ours.until_connected()
    for second in range(120):
        node.accounts[FEED] = a_print(1_800_000_000 + second)
        await node.notify(FEED, a_print(1_800_000_000 + second))
        await asyncio.sleep(0.003)
        await clock.advance(1)
    assert ours.lost == []


async def test_subscription_ids_change_with_the_connection(
    node: FaultyNode, sources: Make, clock: SocketClock
) -> None:
    ours = sources(node, pubkeys=(FEED, OTHER_FEED))
    ours.run(ours.subscription)
    await ours.until_connected()
    first = node.subscribed[-1]
    await node.sockets[-1].close()
    await ours.until_connected(2)
    second = node.subscribed[-1]
    assert set(first.values()).isdisjoint(second.values())
    # An id of the first connection means nothing on the second one.
    await node.send_notification(
        "accountNotification", first[OTHER_FEED], {"context": {"slot": 1}, "value": a_print()}
    )
    await node.notify(OTHER_FEED, a_print())
    await clock.until(lambda: bool(ours.sink.observations))
    assert [one.pubkey for one in ours.sink.observations] == [OTHER_FEED]


async def test_a_closed_account_is_lamports_0_with_the_system_owner(
    node: FaultyNode, sources: Make, clock: SocketClock
) -> None:
    ours = sources(node)
    ours.run(ours.subscription)
    await ours.until_connected()
    await node.notify(FEED, account(b"", owner=SYSTEM, lamports=0))
    await clock.until(lambda: bool(ours.sink.observations))
    assert ours.sink.observations[0].data is None


async def test_a_null_account_is_no_delivery(node: FaultyNode, sources: Make, clock: SocketClock) -> None:
    ours = sources(node)
    ours.run(ours.subscription)
    await ours.until_connected()
    result = {"context": {"slot": 1}, "value": None}
    await node.send_notification("accountNotification", node.subscribed[-1][FEED], result)
    await node.notify(FEED, a_print())
    await clock.until(lambda: bool(ours.sink.observations))
    assert len(ours.sink.observations) == 1


async def test_an_oversized_frame_ends_the_connection_and_not_the_worker(
    node: FaultyNode, sources: Make
) -> None:
    ours = sources(node)
    ours.run(ours.subscription)
    await ours.until_connected()
    await node.sockets[-1].send("x" * (1 << 20) + "x")
    await ours.until_connected(2)
    assert ours.lost[0].reason == "closed"
    ours.assert_running()


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 500, 502, 503])
async def test_a_refused_handshake_is_tried_again(node: FaultyNode, sources: Make, status: int) -> None:
    node.handshakes = [refusal(status)]
    ours = sources(node)
    ours.run(ours.subscription)
    await ours.until_connected()
    assert [lost.reason for lost in ours.lost] == ["refused"]


async def test_a_handshake_429_is_waited_out(node: FaultyNode, sources: Make, clock: SocketClock) -> None:
    node.handshakes = [refusal(429, Retry_After="23")]
    ours = sources(node)
    ours.run(ours.subscription)
    await clock.until(lambda: bool(ours.lost))
    assert ours.lost[0].retry_after == 23
    await clock.advance(22.9)
    assert node.sockets == []
    await ours.until_connected()


async def test_a_handshake_that_says_twice_how_long_to_wait_is_tried_again(
    node: FaultyNode, sources: Make
) -> None:
    twice = refusal(429, Retry_After="1")
    twice.headers["Retry-After"] = "2"
    node.handshakes = [twice]
    ours = sources(node)
    ours.run(ours.subscription)
    await ours.until_connected()
    assert [lost.retry_after for lost in ours.lost] == [2]


async def test_the_waits_between_connections_grow_and_reset_after_a_stable_minute(
    node: FaultyNode, sources: Make, clock: SocketClock
) -> None:
    node.handshakes = [refusal(503)] * 7
    ours = sources(node)
    ours.run(ours.subscription)
    await ours.until_connected()
    waits = [seconds for seconds in clock.slept if seconds not in (1.0,)]
    assert len(waits) == 7
    assert waits[6] >= 16
    for _ in range(61):
        await node.send_notification(
            "slotNotification", node.subscribed[-1]["slots"], {"slot": 1, "parent": 0, "root": 0}
        )
        await asyncio.sleep(0.003)
        await clock.advance(1)
    clock.slept.clear()
    await node.sockets[-1].close()
    await clock.until(lambda: len(ours.lost) == 8)
    await clock.until(lambda: bool(clock.slept))
    assert clock.slept[0] <= 0.5
    await ours.until_connected(2)


async def test_a_connection_that_lasted_seconds_does_not_reset_the_wait(
    node: FaultyNode, sources: Make, clock: SocketClock
) -> None:
    node.handshakes = [refusal(503)] * 5
    ours = sources(node)
    ours.run(ours.subscription)
    await ours.until_connected()
    clock.slept.clear()
    await node.sockets[-1].close()
    await clock.until(lambda: any(seconds != 1.0 for seconds in clock.slept))
    assert next(seconds for seconds in clock.slept if seconds != 1.0) >= 8


async def test_no_error_tells_the_url_and_its_key(
    node: FaultyNode, sources: Make, clock: SocketClock
) -> None:
    node.handshakes = [refusal(401)]
    ours = sources(node)
    ours.run(ours.subscription)
    await ours.until_connected()
    await node.sockets[-1].close(1008, "key revoked")
    await ours.until_connected(2)
    for error in ours.lost:
        assert "secret" not in str(error)
        assert "127.0.0.1" not in str(error)


async def test_drained_waits_for_what_the_node_has_sent(
    node: FaultyNode, sources: Make, clock: SocketClock
) -> None:
    ours = sources(node)
    ours.run(ours.subscription)
    await ours.until_connected()
    for second in range(50):
        await node.notify(FEED, a_print(1_800_000_000 + second))
    await ours.subscription.drained()
    assert len(ours.sink.observations) == 50


async def test_drained_returns_without_a_connection(node: FaultyNode, sources: Make) -> None:
    await sources(node).subscription.drained()
