"""The node without sockets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from quantdesk_oracle.localnet import DEFAULT_FEEDS, InProcessNode, LocalnetSettings
from quantdesk_oracle.localnet.inprocess import InProcessSocket, SocketClosedError
from quantdesk_oracle.localnet.ledger import read_ledger
from quantdesk_oracle.model import SECOND

SOL = DEFAULT_FEEDS[2].address
OPTIONS = {"encoding": "base64", "commitment": "confirmed"}


@pytest.fixture
async def local(clock, tmp_path: Path) -> AsyncIterator[InProcessNode]:
    node = InProcessNode(LocalnetSettings(ledger=tmp_path / "ledger"), clock)
    await node.start()
    yield node
    await node.stop()


def request(method: str, *params: Any) -> str:
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)})


async def ask(socket: InProcessSocket, method: str, *params: Any) -> Any:
    await socket.send(request(method, *params))
    return json.loads(await socket.recv())["result"]


async def test_a_post_is_answered_as_over_http(local: InProcessNode) -> None:
    answer = await local.post(request("getSlot"))
    assert (answer.status, json.loads(answer.body)["result"]) == (200, local.node.slot)
    assert answer.headers["Content-Type"] == "application/json"
    assert (await local.post("[" + " " * 60_000 + "]")).status == 413


async def test_ten_minutes_of_frames_come_in_order_and_are_the_ledger(
    local: InProcessNode, clock, tmp_path: Path
) -> None:
    socket = await local.connect()
    assert await ask(socket, "accountSubscribe", SOL, OPTIONS) == 0
    await clock.advance(600)
    await local.stop_pushing()
    frames = [json.loads(await socket.recv()) for _ in range(600)]
    entries = [one for one in read_ledger(tmp_path / "ledger", 10_000)[0] if one.pubkey == SOL]
    assert [frame["params"]["result"]["context"]["slot"] for frame in frames] == [
        one.update.slot for one in entries[1:]
    ]


async def test_a_client_that_leaves_has_no_subscription_and_cannot_send(local: InProcessNode) -> None:
    socket = await local.connect()
    await ask(socket, "slotSubscribe")
    await socket.aclose()
    assert len(local.node.subscriptions) == 0
    with pytest.raises(SocketClosedError):
        await socket.send("{}")
    with pytest.raises(SocketClosedError):
        await socket.recv()


async def test_a_client_that_does_not_read_is_dropped(clock) -> None:
    node = InProcessNode(LocalnetSettings(send_buffer=5_000), clock)
    await node.start()
    socket = await node.connect()
    await socket.send(request("slotSubscribe"))
    await clock.advance(60)
    with pytest.raises(SocketClosedError) as closed:
        await socket.recv()
    assert closed.value.code == 1006
    await node.stop()


async def test_a_message_over_4096_bytes_ends_the_connection(local: InProcessNode) -> None:
    socket = await local.connect()
    await socket.send("x" * 4_097)
    assert socket.code == 1006


async def test_a_waiting_reader_gets_what_comes(local: InProcessNode, clock) -> None:
    socket = await local.connect()
    await ask(socket, "slotSubscribe")
    reading = asyncio.create_task(socket.recv())
    await clock.advance(0.4)
    assert json.loads(await reading)["params"]["result"]["slot"] == local.node.slot


async def test_a_fork_is_seen_at_processed_alone_and_gone_after_the_rollback(
    local: InProcessNode, clock
) -> None:
    stands = local.node.accounts[SOL]
    forked = stands.__class__(SOL, stands.owner, b"fork", stands.lamports)
    processed, confirmed = await local.connect(), await local.connect()
    await ask(processed, "accountSubscribe", SOL, {"encoding": "base64", "commitment": "processed"})
    await ask(confirmed, "accountSubscribe", SOL, OPTIONS)
    local.node.fork([forked])
    assert local.node.read(SOL, "processed") == forked
    assert local.node.read(SOL, "confirmed") == stands
    local.node.roll_back([SOL])
    assert local.node.read(SOL, "processed") == stands
    local.node.fork([forked])
    clock.set(clock.now() + SECOND)
    local.simulation.act()
    local.node.roll_back([SOL])
    # Fork, rollback, fork, the real push; and no second rollback.
    assert len(processed._waiting) == 4
    assert len(confirmed._waiting) == 1


async def test_a_stopped_node_has_closed_its_connections(local: InProcessNode) -> None:
    socket = await local.connect()
    await local.stop()
    assert socket.code == 1006
