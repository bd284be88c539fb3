import asyncio
import json
import socket

import aiohttp
import pytest
from solana.rpc.websocket_api import connect as solana_connect
from solders.pubkey import Pubkey
from solders.rpc.responses import parse_websocket_message

from quantdesk_oracle.localnet import DEFAULT_FEEDS
from quantdesk_oracle.localnet.node import Change
from quantdesk_oracle.pyth.accounts import decode_price
from quantdesk_oracle.pyth.dumps import AccountDump

BTC, ETH, SOL = (feed.address for feed in DEFAULT_FEEDS)
OPTIONS = {"encoding": "base64", "commitment": "confirmed"}


async def test_a_subscriber_is_told_every_push_and_no_first_state(start, connect, clock) -> None:
    node = await start()
    async with connect(node) as websocket:
        assert (await websocket.call("accountSubscribe", SOL, OPTIONS))["result"] == 0
        assert await websocket.told() == []
        await clock.advance(3)
        told = await websocket.told()
    parsed = [parse_websocket_message(json.dumps(one))[0].result for one in told]
    updates = [decode_price(one.value.data) for one in parsed]
    assert [update.publish_time for update in updates] == [1_800_000_001, 1_800_000_002, 1_800_000_003]
    assert [update.slot for update in updates] == [one.context.slot for one in parsed]


async def test_solana_pys_own_client_reads_the_stream(start, clock) -> None:
    node = await start()
    async with solana_connect(node.ws_url) as client:
        await client.account_subscribe(Pubkey.from_string(SOL), "confirmed", "base64")
        assert (await client.recv())[0].result == 0
        await client.slot_subscribe()
        assert (await client.recv())[0].result == 1
        await clock.advance(0.4)
        assert (await client.recv())[0].result.slot == node.node.slot
        await clock.advance(0.6)
        kinds = [type((await client.recv())[0]).__name__ for _ in range(2)]
        await client.account_unsubscribe(0)
    assert kinds == ["SlotNotification", "AccountNotification"]


async def test_each_slot_is_told(start, connect, clock) -> None:
    node = await start()
    first = node.node.slot
    async with connect(node) as websocket:
        await websocket.call("slotSubscribe")
        await clock.advance(2)
        slots = [one["params"]["result"]["slot"] for one in await websocket.told()]
    assert slots == [first + number for number in range(1, 6)]


async def test_connections_share_a_subscription_and_its_bytes(start, connect, clock) -> None:
    node = await start()
    async with connect(node) as one, connect(node) as other:
        assert (await one.call("accountSubscribe", SOL, OPTIONS))["result"] == 0
        assert (await other.call("accountSubscribe", SOL, OPTIONS))["result"] == 0
        assert (await other.call("accountSubscribe", SOL, {"encoding": "base64"}))["result"] == 1
        await clock.advance(1)
        assert len(await one.told()) == 1
        assert len(await other.told()) == 2


async def test_feeds_come_in_their_order_and_only_those_asked_for(start, connect, clock) -> None:
    node = await start()
    async with connect(node) as websocket:
        await websocket.call("accountSubscribe", SOL, OPTIONS)
        await websocket.call("accountSubscribe", BTC, OPTIONS)
        await clock.advance(1)
        assert [one["params"]["subscription"] for one in await websocket.told()] == [1, 0]


async def test_after_unsubscribing_there_is_silence(start, connect, clock) -> None:
    node = await start()
    async with connect(node) as websocket:
        await websocket.call("accountSubscribe", SOL, OPTIONS)
        assert (await websocket.call("accountUnsubscribe", 0))["result"] is True
        assert (await websocket.call("accountUnsubscribe", 0))["error"]["code"] == -32602
        await clock.advance(2)
        assert await websocket.told() == []


async def test_a_client_that_goes_leaves_nothing_behind(start, connect, clock) -> None:
    node = await start()
    async with connect(node) as websocket:
        await websocket.call("accountSubscribe", SOL, OPTIONS)
    async with connect(node) as websocket:
        # A new connection to the same parameters is a new subscription once the old one has ended.
        while (await websocket.call("accountSubscribe", SOL, OPTIONS))["result"] == 0:
            await websocket.call("accountUnsubscribe", 0)
            await asyncio.sleep(0.01)
        assert len(node.node.subscriptions) == 1


async def test_a_message_over_4096_bytes_ends_the_connection_without_a_close_frame(start, connect) -> None:
    node = await start()
    async with connect(node) as websocket:
        await websocket.call("accountSubscribe", SOL, {**OPTIONS, "x": "y" * 3_500})
        await websocket.socket.send_str(json.dumps({"x": "y" * 4_096}))
        message = await websocket.socket.receive(timeout=10)
        assert message.type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)
        assert websocket.socket.close_code == 1006


@pytest.mark.parametrize("text", ["garbage", "{}", "[]"])
async def test_garbage_is_answered_and_the_connection_lives_on(start, connect, text: str) -> None:
    async with connect(await start()) as websocket:
        await websocket.socket.send_str(text)
        assert (await websocket.receive())["error"]["code"] in (-32700, -32600)
        assert (await websocket.call("slotSubscribe"))["result"] == 0


async def test_a_client_that_does_not_read_is_dropped_and_others_are_not_kept_waiting(start, connect) -> None:
    node = await start(send_buffer=20_000)
    slow = await raw_subscriber(node.settings.host, int(node.ws_url.rsplit(":", 1)[1]))
    async with connect(node) as websocket:
        await websocket.call("accountSubscribe", SOL, OPTIONS)
        subscription = next(iter(node.node.subscriptions.of_account(SOL)))
        assert len(subscription.subscribers) == 2
        written = 0
        while len(subscription.subscribers) == 2:
            # Large accounts, for the kernel's own buffers hold megabytes.
            node.node.commit([Change(AccountDump(SOL, SOL, bytes(200_000), lamports=1))])
            written += 1
            assert len(await websocket.told()) == 1
        assert written < 1_000
    slow.close()


async def raw_subscriber(host: str, port: int) -> socket.socket:
    """A websocket client that subscribes to SOL and then never reads."""
    client = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    client.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(client, (host, port))
    head = "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    key = "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    await loop.sock_sendall(client, (head + key).encode())
    assert b"101" in await loop.sock_recv(client, 4_096)
    request = {"jsonrpc": "2.0", "id": 1, "method": "accountSubscribe", "params": [SOL, OPTIONS]}
    text = json.dumps(request).encode()
    # Masked with a key of zeros, which leaves the text as it is.
    await loop.sock_sendall(client, b"\x81\xfe" + len(text).to_bytes(2, "big") + bytes(4) + text)
    assert b'"result":0' in await loop.sock_recv(client, 4_096)
    return client


async def test_after_stop_pushing_every_push_is_on_the_wire_and_no_more_come(
    start, connect, clock, tmp_path
) -> None:
    ledger = tmp_path / "ledger"
    node = await start(ledger=ledger)
    async with connect(node) as websocket:
        await websocket.call("accountSubscribe", SOL, OPTIONS)
        await clock.advance(5)
        await node.stop_pushing()
        written = sum(SOL in line for line in ledger.read_text().splitlines())
        await clock.advance(60)
        assert len(await websocket.told()) == written - 1 == 5
        assert sum(SOL in line for line in ledger.read_text().splitlines()) == written


async def test_slots_go_on_after_the_pushes_have_stopped(start, connect, clock) -> None:
    node = await start()
    async with connect(node) as websocket:
        await websocket.call("slotSubscribe")
        await node.stop_pushing()
        await clock.advance(2)
        assert len(await websocket.told()) == 5


async def test_a_stopped_node_has_closed_its_connections(start, connect) -> None:
    node = await start()
    async with connect(node) as websocket:
        await websocket.call("slotSubscribe")
        await node.stop()
        await node.stop()
        message = await websocket.socket.receive(timeout=10)
        assert message.type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)
