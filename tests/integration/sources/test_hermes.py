"""Hermes over real HTTP and SSE, with real answers and broken ones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from pydantic import SecretStr

from quantdesk_oracle.errors import NodeError, NodeProtocolError, RateLimitedError
from quantdesk_oracle.sources.hermes import HermesClient, HermesKeyError

BTC = bytes.fromhex("e62df6c8b4a85fe1a67db44dc12de5db330f7ac66b72dc658afedf0f4a415b43")
KEY = "a-secret-key"


class Hermes:
    """A server with one answer for everything; it wants a key."""

    def __init__(self) -> None:
        self.answer: Callable[[web.Request], web.StreamResponse] | None = None
        self.stream: list[bytes] = []
        self.hang = False
        self.seen: list[web.Request] = []
        self.url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.seen.append(request)
        if request.headers.get("Authorization") != f"Bearer {KEY}":
            return web.Response(status=401)
        if self.answer is not None:
            return self.answer(request)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for part in self.stream:
            await response.write(part)
        if self.hang:
            await asyncio.sleep(5)
        return response


@pytest.fixture
async def hermes() -> AsyncIterator[Hermes]:
    server = Hermes()
    app = web.Application()
    app.router.add_get("/{path:.*}", server.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield server
    await runner.cleanup()


@pytest.fixture
async def client(hermes: Hermes) -> AsyncIterator[HermesClient]:
    made = HermesClient(hermes.url, SecretStr(KEY), timeout=5.0, silence=0.3)
    yield made
    await made.close()


def body(content: bytes, status: int = 200, **headers: str) -> Callable[[web.Request], web.StreamResponse]:
    return lambda _request: web.Response(body=content, status=status, headers=headers)


async def collect(stream: Any) -> tuple[list[Any], NodeError]:
    """Everything that a stream brings, and what it ends with."""
    found = []
    try:
        async for prices in stream:
            found.append(prices)  # noqa: PERF401 (it ends with an exception)
    except NodeError as error:
        return found, error
    raise AssertionError("a stream ends with an error")


async def test_the_latest_prices_are_read_and_verified(
    hermes: Hermes, client: HermesClient, shared: Path
) -> None:
    answer = (shared / "hermes/v2_updates_price_latest_docs_2024-05-03.json").read_bytes()
    hermes.answer = body(answer)
    prices = await client.latest([BTC])
    assert (prices[0].feed_id, prices[0].price, prices[0].slot) == (BTC, 6_140_993_501_000, 138_881_186)
    assert hermes.seen[0].path == "/v2/updates/price/latest"
    assert hermes.seen[0].query.getall("ids[]") == [BTC.hex()]


async def test_a_moment_of_the_past_has_its_own_route(
    hermes: Hermes, client: HermesClient, shared: Path
) -> None:
    hermes.answer = body((shared / "hermes/v2_updates_price_latest_docs_2024-05-03.json").read_bytes())
    assert await client.at(1_714_746_101, [BTC])
    assert hermes.seen[0].path == "/v2/updates/price/1714746101"


async def test_a_real_stream_is_followed_to_its_end(
    hermes: Hermes, client: HermesClient, shared: Path
) -> None:
    text = (shared / "hermes/v2_stream_docs.sse").read_bytes()
    hermes.stream = [text[at : at + 700] for at in range(0, len(text), 700)] + [b"\n\n"]
    found, error = await collect(client.stream([BTC]))
    assert len(found) == text.count(b"data:")
    assert found[0][0].price == 6_163_260_000_000
    assert "ended the stream" in str(error)


async def test_a_silent_stream_is_given_up(hermes: Hermes, client: HermesClient) -> None:
    hermes.stream, hermes.hang = [b": keep-alive\n\n"], True
    found, error = await collect(client.stream([BTC]))
    assert found == []
    assert "ReadTimeout" in str(error)


async def test_an_endless_event_is_given_up(hermes: Hermes, client: HermesClient) -> None:
    hermes.stream = [b"data: " + b"x" * 100_000 + b"\n"] * 12
    _, error = await collect(client.stream([BTC]))
    assert isinstance(error, NodeProtocolError)


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"binary":{"encoding":"hex","data":["zz"]}}',
    b'{"binary":{"encoding":"hex","data":["504e4155"]}}', b'{"binary":{"encoding":"base64","data":["?"]}}',
    b'{"binary":{"encoding":"words","data":[]}}', b"\xff\xfe", b'{"x":' + b"[" * 50_000])  # fmt: skip
async def test_what_is_no_update_is_a_protocol_error(
    hermes: Hermes, client: HermesClient, content: bytes
) -> None:
    hermes.answer = body(content)
    with pytest.raises(NodeProtocolError):
        await client.latest([BTC])


async def test_without_a_key_the_sentence_to_act_on_is_said(hermes: Hermes) -> None:
    keyless = HermesClient(hermes.url, None, timeout=5.0, silence=5.0)
    with pytest.raises(HermesKeyError, match="set HERMES_API_KEY"):
        await keyless.latest([BTC])
    await keyless.close()


async def test_a_key_that_does_not_cover_a_feed_is_told_apart(hermes: Hermes, client: HermesClient) -> None:
    hermes.answer = body(b"", 403)
    with pytest.raises(HermesKeyError, match="403") as caught:
        await client.latest([BTC])
    assert KEY not in str(caught.value)


async def test_429_says_how_long_to_wait(hermes: Hermes, client: HermesClient) -> None:
    hermes.answer = body(b"", 429, **{"Retry-After": "60"})
    with pytest.raises(RateLimitedError) as caught:
        await client.latest([BTC])
    assert caught.value.retry_after == 60
