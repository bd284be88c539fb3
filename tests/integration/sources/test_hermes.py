"""Hermes over real HTTP and SSE: real answers, own ones, and those of a server that means harm."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from quantdesk_oracle.errors import NodeError, NodeProtocolError, RateLimitedError
from quantdesk_oracle.model import PriceUpdate
from quantdesk_oracle.sources.hermes import HermesClient, HermesKeyError, HermesNothingError
from tests.hermes_server import KEY, HermesServer, body_of, hermes_server, of_bytes, of_parts
from tests.vectors import encoder

BTC = bytes.fromhex("e62df6c8b4a85fe1a67db44dc12de5db330f7ac66b72dc658afedf0f4a415b43")
SOL = encoder.SOL_FEED
NOW = 1_790_000_000
MEGABYTE = 1 << 20


@pytest.fixture
async def hermes() -> AsyncIterator[HermesServer]:
    async with hermes_server() as server:
        yield server


@pytest.fixture
async def client(hermes: HermesServer) -> AsyncIterator[HermesClient]:
    made = HermesClient(hermes.url, SecretStr(KEY), timeout=0.6, silence=0.3)
    yield made
    await made.close()


async def collect(stream: Any) -> tuple[list[PriceUpdate], NodeError]:
    """Every print that a stream brings, and what it ends with."""
    found = []
    try:
        async for prices in stream:
            found.extend(prices)
    except NodeError as error:
        return found, error
    raise AssertionError("a stream ends with an error")


# ── what it serves ───────────────────────────────────────────────────────────────────────────────
async def test_the_latest_prices_are_read_and_verified(hermes: HermesServer, client: HermesClient) -> None:
    hermes.publish(BTC, NOW, 42, 6_500_000_000_000)
    hermes.publish(SOL, NOW - 5, 40, 10_000_000_000)
    prices = {one.feed_id: one for one in await client.latest([BTC, SOL])}
    assert (prices[BTC].price, prices[BTC].publish_time, prices[BTC].slot) == (6_500_000_000_000, NOW, 42)
    assert prices[SOL].identity == (NOW - 5, 40)


async def test_a_real_answer_is_read(hermes: HermesServer, client: HermesClient, shared: Path) -> None:
    answer = (shared / "hermes/v2_updates_price_latest_docs_2024-05-03.json").read_bytes()
    hermes.instead = of_bytes(answer)
    (price,) = await client.latest([BTC])
    assert (price.feed_id, price.price, price.slot) == (BTC, 6_140_993_501_000, 138_881_186)
    assert hermes.seen[0].query.getall("ids[]") == [BTC.hex()]


async def test_feeds_that_nobody_asked_for_are_left_out(hermes: HermesServer, client: HermesClient) -> None:
    messages = [encoder.price_message(feed_id=feed_id) for feed_id in (BTC, SOL)]
    hermes.instead = of_bytes(body_of(encoder.accumulator_update(messages, 7)))
    assert [one.feed_id for one in await client.latest([SOL])] == [SOL]


async def test_base64_is_read_as_well(hermes: HermesServer, client: HermesClient) -> None:
    update = encoder.accumulator_update([encoder.price_message(feed_id=BTC)], 7)
    text = base64.b64encode(update).decode()
    hermes.instead = of_bytes(json.dumps({"binary": {"encoding": "base64", "data": [text]}}).encode())
    assert [one.slot for one in await client.latest([BTC])] == [7]


async def test_a_moment_of_the_past_has_its_own_route(hermes: HermesServer, client: HermesClient) -> None:
    for second in (10, 20):
        hermes.publish(BTC, NOW + second, second, 1_000_000)
    assert [one.publish_time for one in (await client.at(NOW + 11, [BTC])).updates] == [NOW + 20]
    assert hermes.paths == [f"/v2/updates/price/{NOW + 11}"]
    with pytest.raises(HermesNothingError):
        await client.at(NOW + 21, [BTC])


async def test_benchmarks_gives_every_print_of_a_minute(hermes: HermesServer, client: HermesClient) -> None:
    for second in range(0, 120, 10):
        hermes.publish(BTC, NOW + second, second, 1_000_000)
    prices, _ = await client.between(NOW, NOW + 60, [BTC])
    assert [one.publish_time - NOW for one in prices] == [0, 10, 20, 30, 40, 50]
    assert hermes.paths == [f"/v1/updates/price/{NOW}/59"]
    assert (hermes.seen[0].query["unique"], hermes.seen[0].query["ids"]) == ("true", BTC.hex())


async def test_a_stream_is_followed_to_its_end(hermes: HermesServer, client: HermesClient) -> None:
    stream = client.stream([BTC])
    assert await anext(stream) == []  # it stands
    for second in range(3):
        hermes.publish(BTC, NOW + second, second, 1_000_000 + second)
    await asyncio.sleep(0.05)
    hermes.end_streams()
    found, error = await collect(stream)
    assert [one.identity for one in found] == [(NOW, 0), (NOW + 1, 1), (NOW + 2, 2)]
    assert "ended the stream" in str(error)


@pytest.mark.parametrize("size", [1, 7, 700])
async def test_a_real_stream_is_read_however_the_network_cuts_it(
    hermes: HermesServer, client: HermesClient, shared: Path, size: int
) -> None:
    text = (shared / "hermes/v2_stream_docs.sse").read_bytes()
    hermes.instead = of_parts([text[at : at + size] for at in range(0, len(text), size)] + [b"\n\n"])
    found, _ = await collect(client.stream([BTC]))
    assert found[0].price == 6_163_260_000_000


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
async def test_lines_end_in_any_of_the_three_ways(
    hermes: HermesServer, client: HermesClient, end: bytes
) -> None:
    data = body_of(encoder.accumulator_update([encoder.price_message(feed_id=BTC)], 7))
    event = b": comment" + end + b"id: 1" + end + b"data: " + data + end + end
    hermes.instead = of_parts([(event * 2)[at : at + 3] for at in range(0, 2 * len(event), 3)])
    found, _ = await collect(client.stream([BTC]))
    assert [one.slot for one in found] == [7, 7]


# ── what it refuses ──────────────────────────────────────────────────────────────────────────────
async def test_without_a_key_the_sentence_to_act_on_is_said(hermes: HermesServer) -> None:
    keyless = HermesClient(hermes.url, None, timeout=5.0, silence=5.0)
    with pytest.raises(HermesKeyError, match="set HERMES_API_KEY"):
        await keyless.latest([BTC])
    await keyless.close()


async def test_a_wrong_key_is_told_from_none_and_from_one_that_does_not_cover_a_feed(
    hermes: HermesServer, client: HermesClient
) -> None:
    hermes.key = "another"
    with pytest.raises(HermesKeyError, match="refuses the key") as caught:
        await client.latest([BTC])
    assert KEY not in str(caught.value)
    hermes.key, hermes.covered = KEY, {SOL}
    with pytest.raises(HermesKeyError, match="403"):
        await client.latest([BTC, SOL])


@pytest.mark.parametrize(("header", "seconds"), [({"Retry-After": "7"}, 7), ({}, 60)])
async def test_429_is_waited_for_as_long_as_it_says_or_a_minute(
    hermes: HermesServer, client: HermesClient, header: dict[str, str], seconds: float
) -> None:
    hermes.instead = of_bytes(b"", 429, **header)
    with pytest.raises(RateLimitedError) as caught:
        await client.latest([BTC])
    assert caught.value.retry_after == seconds


async def test_a_key_is_not_carried_along_a_redirection(hermes: HermesServer, client: HermesClient) -> None:
    hermes.instead = of_bytes(b"", 302, Location=f"{hermes.url}/elsewhere")
    with pytest.raises(NodeError, match="HTTP 302"):
        await client.latest([BTC])
    assert len(hermes.seen) == 1


# ── what a hostile one sends ─────────────────────────────────────────────────────────────────────
def damaged() -> bytes:
    return encoder.accumulator_update([encoder.price_message(feed_id=BTC)], 7, damage=-1)


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"null", b'{"binary":{"encoding":"hex","data":["zz"]}}',
    b'{"binary":{"encoding":"hex","data":["504e4155"]}}', b'{"binary":{"encoding":"base64","data":["?"]}}',
    b'{"binary":{"encoding":"words","data":[]}}', b"\xff\xfe", b'{"x":' + b"[" * 9_000,
    '{"binary":{"encoding":"hex","data":["é"]}}'.encode(), body_of(damaged())])  # fmt: skip
async def test_what_is_no_update_is_a_protocol_error(
    hermes: HermesServer, client: HermesClient, content: bytes
) -> None:
    hermes.instead = of_bytes(content)
    with pytest.raises(NodeProtocolError):
        await client.latest([BTC])
    hermes.instead = of_parts([b"data:" + content + b"\n\n"])
    found, error = await collect(client.stream([BTC]))
    assert (found, type(error)) == ([], NodeProtocolError) or content == b""


async def test_a_proof_of_absurd_depth_is_not_climbed(hermes: HermesServer, client: HermesClient) -> None:
    update = encoder.accumulator_update([encoder.price_message(feed_id=BTC)], 7)
    head = update[: update.rindex(encoder.price_message(feed_id=BTC)) + 85]
    hermes.instead = of_bytes(body_of(head + bytes([40]) + bytes(20 * 40)))
    with pytest.raises(NodeProtocolError, match="40 nodes"):
        await client.latest([BTC])


HOSTILE = {
    "an answer without end": of_parts([b'{"binary":', b"x" * 60_000], endless=True),
    "a line without end": of_parts([b"data:", b"x" * 60_000], endless=True),
    "an event without end": of_parts([b"data:" + b"x" * 60_000 + b"\n"], endless=True),
    "comments without end": of_parts([b": " + b"x" * 60 + b"\n"] * 5, then_hang=True),
    "a bomb": of_bytes(gzip.compress(bytes(16 * MEGABYTE)), **{"Content-Encoding": "gzip"}),
    "an answer that never comes": of_parts([], then_hang=True),
    "a big answer": of_bytes(bytes(8 * MEGABYTE)),
}


@pytest.mark.parametrize("way", ["latest", "stream", "between"])
@pytest.mark.parametrize("kind", HOSTILE)
async def test_whatever_it_sends_costs_bounded_memory_and_time(
    hermes: HermesServer, client: HermesClient, kind: str, way: str
) -> None:
    hermes.instead = HOSTILE[kind]
    tracemalloc.start()
    try:
        # The limit of the whole: silence, or the time that one answer may take.
        async with asyncio.timeout(10):
            if way == "stream":
                found, _ = await collect(client.stream([BTC]))
                assert found == []
            elif way == "latest":
                with pytest.raises(NodeError):
                    await client.latest([BTC])
            else:
                with pytest.raises(NodeError):
                    await client.between(NOW, NOW + 60, [BTC])
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 20 * MEGABYTE, f"{most / MEGABYTE:.0f} MB"
