"""Connections that end, or that only the client believes in; requests that are refused."""

from __future__ import annotations

import json

import pytest

from quantdesk_oracle.localnet import DEFAULT_FEEDS
from quantdesk_oracle.localnet.inprocess import SocketClosedError
from quantdesk_oracle.localnet.passage import NoAnswerError, RefusalError

BTC, ETH, SOL = (feed.address for feed in DEFAULT_FEEDS)


async def test_a_half_open_connection_is_silent_takes_everything_and_stays(start, clock) -> None:
    drilled = await start({"kind": "half_open", "at": 1.5, "for": 60})
    client = await drilled.client()
    await client.follow()
    await clock.advance(30)
    await client.call("slotSubscribe")
    assert client.times() == [1]
    assert client.socket.code is None
    later = await drilled.client()
    await later.follow()
    await clock.advance(2)
    assert len(later.raw()) == 2
    await clock.advance(60)
    assert client.socket.code == 1006
    assert later.socket.code is None


@pytest.mark.parametrize("code", [1000, 1001, 1006, 1013])
async def test_a_connection_ends_with_the_code_that_was_asked_for(start, clock, code: int) -> None:
    drilled = await start({"kind": "close", "at": 1, "code": code})
    client = await drilled.client()
    await client.follow()
    await clock.advance(2)
    assert client.socket.code == code
    assert (await drilled.client()).socket.code is None


async def test_some_of_the_connections_end_every_so_often(start, clock) -> None:
    drilled = await start({"kind": "close", "at": 1, "every": 10, "probability": 0.5})
    clients = [await drilled.client() for _ in range(40)]
    standing = []
    for _ in range(3):
        await clock.advance(10)
        standing.append(sum(client.socket.code is None for client in clients))
    assert 40 > standing[0] > standing[1] > standing[2]


async def test_a_handshake_is_refused_with_status_and_retry_after(start, clock) -> None:
    drilled = await start({"kind": "refuse", "for": 5, "retry_after": 7})
    with pytest.raises(RefusalError) as refused:
        await drilled.client()
    assert (refused.value.answer.status, refused.value.answer.headers["Retry-After"]) == (429, "7")
    assert await drilled.ask("getSlot")
    await clock.advance(5)
    await drilled.client()


async def test_a_restarted_node_is_away_and_comes_back_with_ids_from_0(start, clock) -> None:
    drilled = await start({"kind": "restart", "at": 1.5, "for": 3})
    client = await drilled.client()
    await client.follow(BTC)
    await client.follow(SOL)
    await clock.advance(2)
    assert client.socket.code == 1006
    with pytest.raises(NoAnswerError):
        await drilled.ask("getSlot")
    with pytest.raises(NoAnswerError):
        await drilled.client()
    await clock.advance(3)
    again = await drilled.client()
    await again.call("accountSubscribe", SOL, {"encoding": "base64"})
    assert json.loads(await again.socket.recv())["result"] == 0
    await clock.advance(1)
    assert again.times() == [6]
    assert [entry.update.publish_time - 1_800_000_000 for entry in drilled.entries()] == list(range(7))


async def test_429_as_a_status_has_a_retry_after(start) -> None:
    drilled = await start({"kind": "rate_limit", "retry_after": 2.5})
    answer = await drilled.node.post(json.dumps({"jsonrpc": "2.0", "id": 1, "method": "getSlot"}))
    assert (answer.status, answer.headers["Retry-After"]) == (429, "2.5")


async def test_429_inside_an_answer_is_an_http_200(start) -> None:
    drilled = await start({"kind": "rate_limit", "shape": "answer"})
    status, body = await drilled.answer("getSlot")
    assert (status, body["error"]["code"]) == (200, 429)
    assert "result" not in body


@pytest.mark.parametrize("code", [-32005, -32016])
async def test_a_node_that_is_behind_says_so_with_data_and_without(start, code: int) -> None:
    drilled = await start(
        {"kind": "error", "code": code, "methods": ["getSlot"]},
        {"kind": "error", "code": code, "data": False, "methods": ["getHealth"]},
    )
    assert (await drilled.answer("getSlot"))[1]["error"]["data"]
    error = (await drilled.answer("getHealth"))[1]["error"]
    assert error["code"] == code
    assert "data" not in error


async def test_a_subscription_may_be_refused_with_an_error(start) -> None:
    drilled = await start({"kind": "error", "code": -32603, "methods": ["accountSubscribe"]})
    client = await drilled.client()
    await client.call("accountSubscribe", SOL)
    assert json.loads(await client.socket.recv())["error"]["code"] == -32603
    await client.call("slotSubscribe")
    assert json.loads(await client.socket.recv())["result"] == 0


async def test_a_gateway_fails_with_its_status(start) -> None:
    drilled = await start({"kind": "status", "status": 502, "methods": ["getMultipleAccounts"]})
    answer = await drilled.node.post(
        json.dumps({"jsonrpc": "2.0", "id": 1, "method": "getMultipleAccounts", "params": [[SOL]]})
    )
    assert answer.status == 502
    assert b"<html>" in answer.body
    assert await drilled.ask("getSlot")


async def test_accounts_are_null_for_the_feeds_that_were_named(start) -> None:
    drilled = await start({"kind": "null_accounts", "feeds": ["SOL/USD"]})
    values = (await drilled.ask("getMultipleAccounts", [BTC, SOL, ETH]))["value"]
    assert [value is None for value in values] == [False, True, False]
    assert (await drilled.ask("getAccountInfo", SOL))["value"] is None
    assert (await drilled.ask("getAccountInfo", BTC))["value"] is not None


async def test_a_public_endpoints_limits_are_those_of_pyth_md(start, clock) -> None:
    drilled = await start({"kind": "limits"})
    statuses = [(await drilled.answer("getSlot"))[0] for _ in range(41)]
    assert statuses == [200] * 40 + [429]
    statuses = [
        (await drilled.answer(method))[0] for method in ("getHealth", "getVersion") for _ in range(31)
    ]
    assert statuses.count(429) == 2
    await clock.advance(10)
    assert (await drilled.answer("getSlot"))[0] == 200


async def test_requests_are_counted_whether_or_not_they_are_answered(start, clock) -> None:
    drilled = await start({"kind": "rate_limit", "methods": ["getHealth"]})
    for _ in range(3):
        await drilled.answer("getHealth")
        await drilled.answer("getSlot")
        await clock.advance(5)
    count = drilled.drill.calls.count()
    assert count.total == 6
    assert count.by_method == {"getHealth": 3, "getSlot": 3}
    assert count.most_in_ten_seconds == 4
    assert count.most_of_one_method_in_ten_seconds == {"getHealth": 2, "getSlot": 2}


async def test_a_refusal_on_a_websocket_that_stands_ends_it(start) -> None:
    drilled = await start({"kind": "rate_limit", "methods": ["slotSubscribe"]})
    client = await drilled.client()
    await client.call("slotSubscribe")
    with pytest.raises(SocketClosedError):
        await client.socket.recv()
