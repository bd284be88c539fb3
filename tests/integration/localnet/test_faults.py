"""Faults over real sockets, and the control endpoint."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest

from quantdesk_oracle.localnet import DEFAULT_FEEDS, LocalNode

SOL = DEFAULT_FEEDS[2].address
OPTIONS = {"encoding": "base64", "commitment": "confirmed"}
GET_SLOT = {"jsonrpc": "2.0", "id": 1, "method": "getSlot"}


async def control(node: LocalNode, method: str, path: str = "", body: Any = None, **headers: str) -> Any:
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, f"{node.rpc_url}/control{path}", json=body, headers=headers) as response,
    ):
        return response.status, await response.json(content_type=None)


async def test_a_half_open_connection_answers_no_ping(start, clock) -> None:
    node = await start({"kind": "half_open", "at": 1})
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(node.ws_url, autoping=False) as websocket,
    ):
        await websocket.ping()
        assert (await websocket.receive(timeout=10)).type is aiohttp.WSMsgType.PONG
        await clock.advance(2)
        await websocket.ping()
        with pytest.raises(TimeoutError):
            await websocket.receive(timeout=0.3)
        # Leaving would wait for the node's part of the closing handshake.
        await node.stop()


@pytest.mark.parametrize("code", [1000, 1011])
async def test_a_close_frame_has_its_code(start, connect, clock, code: int) -> None:
    node = await start({"kind": "close", "at": 1, "code": code})
    async with connect(node) as websocket:
        await clock.advance(1)
        message = await websocket.socket.receive(timeout=10)
        assert message.type is aiohttp.WSMsgType.CLOSE
        assert websocket.socket.close_code == code


async def test_a_dropped_connection_has_no_close_frame(start, connect, clock) -> None:
    node = await start({"kind": "close", "at": 1})
    async with connect(node) as websocket:
        await clock.advance(1)
        await websocket.socket.receive(timeout=10)
        assert websocket.socket.close_code == 1006


async def test_a_refused_handshake_has_status_and_retry_after(start, connect) -> None:
    node = await start({"kind": "refuse", "retry_after": 3})
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        async with connect(node):
            pass
    assert refused.value.status == 429
    assert refused.value.headers is not None
    assert refused.value.headers["Retry-After"] == "3"


async def test_a_node_that_is_away_ends_every_connection_without_a_word(start, connect) -> None:
    node = await start({"kind": "restart", "for": 60})
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientConnectionError):
            await session.post(node.rpc_url, json=GET_SLOT)
    with pytest.raises(aiohttp.ClientConnectionError):
        async with connect(node):
            pass


async def test_a_429_over_http_says_how_long_to_wait(start) -> None:
    node = await start({"kind": "rate_limit", "retry_after": 4})
    async with aiohttp.ClientSession() as session, session.post(node.rpc_url, json=GET_SLOT) as response:
        assert (response.status, response.headers["Retry-After"]) == (429, "4")


async def test_a_stalled_request_is_answered_when_the_stall_ends(start, clock) -> None:
    node = await start({"kind": "stall", "for": 5})
    async with aiohttp.ClientSession() as session:
        asking = asyncio.create_task(session.post(node.rpc_url, json=GET_SLOT))
        await asyncio.wait([asking], timeout=0.3)
        assert not asking.done()
        await clock.advance(5)
        assert "result" in await (await asking).json()


async def test_a_stalled_websocket_is_answered_when_the_stall_ends(start, connect, clock) -> None:
    node = await start({"kind": "stall", "for": 5})
    async with connect(node) as websocket:
        calling = asyncio.create_task(websocket.call("slotSubscribe"))
        await asyncio.wait([calling], timeout=0.3)
        assert not calling.done()
        await clock.advance(5)
        assert (await calling)["result"] == 0


async def test_there_is_no_control_unless_it_was_asked_for(start) -> None:
    node = await start({"kind": "drop"})
    async with aiohttp.ClientSession() as session, session.get(f"{node.rpc_url}/control") as response:
        assert response.status == 405


async def test_a_fault_can_be_made_looked_at_and_ended_by_hand(start, connect, clock) -> None:
    node = await start(control=True)
    async with connect(node) as websocket:
        await websocket.call("accountSubscribe", SOL, OPTIONS)
        await clock.advance(10)
        assert len(await websocket.told()) == 10
        assert await control(node, "POST", "/faults", {"kind": "drop", "at": 1.5}) == (201, {"numbers": [0]})
        await clock.advance(5)
        assert len(await websocket.told()) == 1
        _, status = await control(node, "GET")
        (fault,) = status["faults"]
        assert (fault["kind"], fault["state"], fault["struck"]) == ("drop", "acting", 4)
        assert await control(node, "DELETE", "/faults/0") == (200, {"ended": 0})
        await clock.advance(2)
        assert len(await websocket.told()) == 2


async def test_several_faults_end_together(start) -> None:
    node = await start(control=True)
    faults = {"faults": [{"kind": "drop"}, {"kind": "status", "status": 500}]}
    assert await control(node, "POST", "/faults", faults) == (201, {"numbers": [0, 1]})
    assert (await control(node, "DELETE", "/faults"))[0] == 200
    _, status = await control(node, "GET")
    assert [fault["state"] for fault in status["faults"]] == ["over", "over"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/faults", {"kind": "earthquake"}, 400),
        ("POST", "/faults", {"kind": "drop", "feeds": ["DOGE/USD"]}, 400),
        ("POST", "/faults", "text", 400),
        ("DELETE", "/faults/7", None, 404),
        ("GET", "/nothing", None, 404),
    ],
)
async def test_control_says_what_is_wrong(start, method: str, path: str, body: Any, status: int) -> None:
    found, answer = await control(await start(control=True), method, path, body)
    assert found == status
    assert answer["error"]


async def test_no_page_in_a_browser_controls_the_node(start) -> None:
    node = await start(control=True)
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            f"{node.rpc_url}/control/faults", json={"kind": "drop"}, headers={"Origin": "https://example.org"}
        ) as response,
    ):
        assert response.status == 403
    assert (await control(node, "GET"))[1]["faults"] == []


async def test_control_counts_what_clients_have_asked(start) -> None:
    node = await start(control=True)
    async with aiohttp.ClientSession() as session:
        for _ in range(3):
            await (await session.post(node.rpc_url, json=GET_SLOT)).read()
    _, status = await control(node, "GET")
    assert status["calls"]["by_method"] == {"getSlot": 3}
    assert status["calls"]["most_in_ten_seconds"] == 3
