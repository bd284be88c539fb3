"""What a node may answer over HTTP, and what becomes of it. Every case is one of design/pyth.md, section 6."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from aiohttp import web

from quantdesk_oracle.errors import (
    NodeBehindError,
    NodeError,
    NodeProtocolError,
    RateLimitedError,
)
from quantdesk_oracle.model import Source
from quantdesk_oracle.sources.rpc import WrongClusterError
from tests.integration.sources.conftest import FEED, OTHER_FEED, Sources
from tests.integration.sources.faulty import DEVNET, FaultyNode, a_print, account, error_of, raw
from tests.virtual_time import SocketClock

Make = Callable[..., Sources]


@pytest.mark.parametrize("code", [-32005, -32016])
@pytest.mark.parametrize("data", [{}, {"data": {"numSlotsBehind": 42}}, {"data": None}, {"data": "what"}])
async def test_a_node_that_is_behind_is_an_ordinary_error(
    node: FaultyNode, sources: Make, code: int, data: dict[str, object]
) -> None:
    node.http = [error_of(code, "Node is behind by 42 slots", **data)]
    with pytest.raises(NodeBehindError, match="behind"):
        await sources(node).client.accounts([FEED])


@pytest.mark.parametrize("code", [-32005, -32016])
async def test_a_node_that_is_behind_does_not_end_the_poller(
    node: FaultyNode, sources: Make, clock: SocketClock, code: int
) -> None:
    ours = sources(node, network="localnet")
    node.accounts[FEED] = a_print()
    node.http = [error_of(code)] * 3
    ours.run(ours.poller)
    await clock.until(lambda: bool(ours.sink.observations), step=0.2)
    ours.assert_running()
    assert ours.errors("behind") == 3
    assert ours.sink.observations[0].source is Source.POLL


NOW, LATER = "Sun, 29 Nov 2026 23:59:50 GMT", "Mon, 30 Nov 2026 00:00:20 GMT"


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("7", 7.0), ("0.5", 0.5), ("-3", 0.0), ("inf", 600.0), ("nan", None), ("soon", None), ("", None)],
)
async def test_http_429_says_how_long_to_wait(
    node: FaultyNode, sources: Make, header: str, seconds: float | None
) -> None:
    node.http = [raw(b"slow down", 429, Retry_After=header)]
    with pytest.raises(RateLimitedError) as caught:
        await sources(node).client.accounts([FEED])
    assert caught.value.retry_after == seconds


@pytest.mark.parametrize(
    ("later", "now", "seconds"),
    [
        (LATER, NOW, 30.0),
        (NOW, LATER, 0.0),
        (LATER, "today", None),
        ("Mon, 99 Nov 2026 00:00:20 GMT", NOW, None),
    ],
)
async def test_a_retry_after_that_is_a_date_is_held_against_the_answers_own(
    node: FaultyNode, sources: Make, later: str, now: str, seconds: float | None
) -> None:
    node.http = [raw(b"slow down", 429, Retry_After=later, Date=now)]
    with pytest.raises(RateLimitedError) as caught:
        await sources(node).client.accounts([FEED])
    assert caught.value.retry_after == seconds


async def test_429_inside_an_http_200_is_waited_for_as_long_as_the_header_says(
    node: FaultyNode, sources: Make
) -> None:
    body = b'{"jsonrpc":"2.0","error":{"code":429,"message":"Too many requests"},"id":0}'
    node.http = [raw(body, Retry_After="9"), raw(b"{", Retry_After="9")]
    with pytest.raises(RateLimitedError) as caught:
        await sources(node).client.accounts([FEED])
    assert caught.value.retry_after == 9
    with pytest.raises(NodeProtocolError):
        await sources(node).client.accounts([FEED])


async def test_a_transaction_of_a_later_version_is_none_that_can_be_had(
    node: FaultyNode, sources: Make
) -> None:
    node.http = [error_of(-32015, "Transaction version (1) is not supported by the requesting client")]
    assert await sources(node).client.transaction("1" * 64) is None


async def test_a_retry_after_is_ten_minutes_at_most(node: FaultyNode, sources: Make) -> None:
    node.http = [raw(b"", 429, Retry_After="1e300")]
    with pytest.raises(RateLimitedError) as caught:
        await sources(node).client.accounts([FEED])
    assert caught.value.retry_after == 600


async def test_the_poller_waits_as_long_as_it_is_told_to(
    node: FaultyNode, sources: Make, clock: SocketClock
) -> None:
    ours = sources(node, network="localnet")
    node.http = [raw(b"", 429, Retry_After="17")]
    ours.run(ours.poller)
    await clock.until(lambda: 17.0 in clock.slept)
    await clock.advance(16.9)
    assert node.count("getMultipleAccounts") == 1
    await clock.until(lambda: node.count("getMultipleAccounts") == 2, step=0.1)


@pytest.mark.parametrize(
    "answer",
    [
        error_of(429, "Too many requests"),
        error_of(429, "Too many requests", data={"try_again_in": "1s"}),
        raw(b'{"jsonrpc":"2.0","error":429,"id":0}'),
    ],
)
async def test_429_inside_an_http_200_is_the_same_thing(
    node: FaultyNode, sources: Make, answer: Callable[..., web.Response]
) -> None:
    node.http = [answer]
    with pytest.raises(RateLimitedError):
        await sources(node).client.accounts([FEED])


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>bad gateway</html>",
        b"429",
        b"null",
        b"[]",
        b"{}",
        b'{"jsonrpc":"2.0","id":0}',
        b'{"jsonrpc":"2.0","id":0,"result":null}',
        b'{"jsonrpc":"2.0","id":0,"result":{"context":{"slot":1},"value":null}}',
        b'{"jsonrpc":"2.0","id":0,"result":{"context":{"slot":1},"value":[]}}',
        b'{"jsonrpc":"2.0","id":0,"result":{"context":{"slot":-0.5},"value":[null]}}',
        b'{"jsonrpc":"2.0","id":0,"result":{"value":[null]}}',
        b'{"jsonrpc":"2.0","id":0,"result":{"context":{"slot":1},"value":[{"data":"abc"}]}}',
        b'{"jsonrpc":"2.0","id":0,"result":"\xff\xfe"}',
        b'{"result":' + b"[" * 100_000,
        b'{"jsonrpc":"2.0","id":0,"error":{"code":-31999,"message":"nobody listed this one"}}',
        b'{"jsonrpc":"2.0","id":0,"error":"words"}',
        b'{"jsonrpc":"2.0","id":0,"error":{}}',
        b'{"jsonrpc":"2.0","id":0,"error":[1,2]}',
    ],
)
async def test_what_cannot_be_read_is_a_protocol_error(
    node: FaultyNode, sources: Make, content: bytes
) -> None:
    ours = sources(node)
    node.http = [raw(content)]
    with pytest.raises(NodeProtocolError):
        await ours.client.accounts([FEED])


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 410, 500, 502, 503, 504])
async def test_another_status_is_a_node_error(node: FaultyNode, sources: Make, status: int) -> None:
    node.http = [raw(b"{}", status)]
    with pytest.raises(NodeError, match=str(status)):
        await sources(node).client.accounts([FEED])


async def test_no_error_tells_the_url_and_its_key(node: FaultyNode, sources: Make) -> None:
    ours = sources(node, request_timeout=5.0)
    await node.stop()
    with pytest.raises(NodeError) as caught:
        await ours.client.accounts([FEED])
    assert "node-0" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "127.0.0.1" not in str(caught.value)
    await node.start()


async def test_a_node_that_does_not_answer_in_time_is_left_waiting(node: FaultyNode, sources: Make) -> None:
    ours = sources(node, request_timeout=0.05)
    node.http_always = None

    def slow(_body: object) -> web.Response:
        response = web.StreamResponse()
        response.content_length = 1_000  # promised, and never sent
        return response  # type: ignore[return-value]

    node.http = [slow]
    with pytest.raises(NodeError, match="does not answer"):
        await ours.client.accounts([FEED])


@pytest.mark.parametrize("state", [None, account(b"", owner="11111111111111111111111111111111", lamports=0)])
async def test_a_closed_account_has_no_data_in_either_shape(
    node: FaultyNode, sources: Make, state: dict[str, object] | None
) -> None:
    ours = sources(node)
    node.accounts[FEED] = state
    await ours.poller.poll()
    assert ours.sink.observations[0].data is None


async def test_one_unreadable_account_leaves_the_others_alone(node: FaultyNode, sources: Make) -> None:
    ours = sources(node, pubkeys=(FEED, OTHER_FEED))
    node.accounts = {FEED: {**a_print(), "data": ["%%%", "base64"]}, OTHER_FEED: a_print()}
    await ours.poller.poll()
    assert [one.pubkey for one in ours.sink.observations] == [OTHER_FEED]
    assert ours.errors("protocol") == 1


async def test_an_account_in_another_encoding_is_not_taken_for_bytes(node: FaultyNode, sources: Make) -> None:
    ours = sources(node)
    node.accounts = {FEED: {**a_print(), "data": ["3yZe7d", "base58"]}}
    await ours.poller.poll()
    assert ours.sink.observations == []
    assert ours.errors("protocol") == 1


async def test_another_cluster_is_told_by_its_genesis_hash(node: FaultyNode, sources: Make) -> None:
    ours = sources(node)
    node.genesis = DEVNET
    with pytest.raises(WrongClusterError, match="serves devnet, SOLANA_NETWORK says mainnet-beta"):
        await ours.client.verify_cluster()


async def test_no_print_of_another_cluster_is_delivered(
    node: FaultyNode, sources: Make, clock: SocketClock
) -> None:
    ours = sources(node)
    node.genesis = DEVNET
    node.accounts[FEED] = a_print()
    ours.run(ours.poller)
    await clock.until(lambda: node.count("getGenesisHash") >= 3, step=0.5)
    assert ours.sink.observations == []
    assert ours.poller.failing is not None
    assert "devnet" in ours.poller.failing
    node.genesis = "5eykt4UsFv8P8NJdTREpY1vzqKqZKvdpKuc147dw2N9d"
    await clock.until(lambda: bool(ours.sink.observations), step=0.5)


async def test_the_cluster_is_asked_for_once(node: FaultyNode, sources: Make) -> None:
    ours = sources(node)
    for _ in range(3):
        await ours.client.verify_cluster()
    assert node.count("getGenesisHash") == 1


async def test_a_hundred_and_one_accounts_are_two_requests(node: FaultyNode, sources: Make) -> None:
    pubkeys = tuple(FEED for _ in range(101))
    ours = sources(node, pubkeys=pubkeys)
    await ours.poller.poll()
    assert [len(request["params"][0]) for request in node.requests] == [100, 1]


async def test_the_poller_goes_on_after_anything(node: FaultyNode, sources: Make, clock: SocketClock) -> None:
    ours = sources(node, network="localnet")
    node.accounts[FEED] = a_print()
    node.http = [
        error_of(-32005),
        raw(b"<html>"),
        raw(b"", 503),
        error_of(-1),
        raw(b"", 429),
        raw(b'{"result": "\xff"}'),
    ]
    ours.run(ours.poller)
    await clock.until(lambda: bool(ours.sink.observations), step=1.0)
    ours.assert_running()
    assert ours.poller.failing is None or ours.sink.observations
