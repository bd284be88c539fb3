"""Malformed accounts, answers, frames and events: nothing crashes or hangs, and no wrong row comes of it."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from websockets.exceptions import ConnectionClosedError

from quantdesk_oracle.config import EndpointSettings
from quantdesk_oracle.config.settings import NodeSettings
from quantdesk_oracle.errors import (
    NodeBehindError,
    NodeError,
    NodeProtocolError,
    NodeRefusesError,
    RateLimitedError,
)
from quantdesk_oracle.model import SECOND, Observation, PriceUpdate, Source
from quantdesk_oracle.ops.metrics import Metrics
from quantdesk_oracle.pyth import idl
from quantdesk_oracle.pyth.accumulator import decode_accumulator_update
from quantdesk_oracle.sources.bounded import read_events
from quantdesk_oracle.sources.chain_history import prints_of
from quantdesk_oracle.sources.hermes import HermesClient
from quantdesk_oracle.sources.rpc import RpcClient
from quantdesk_oracle.sources.subscription import Subscription
from tests.clock import VirtualClock
from tests.property.damage import JSON, damaged
from tests.property.tally import TIMEOUT, Tally, share, silent
from tests.unit.sources.test_ingest import GENERATION_3, RECEIVER_3, Intake
from tests.vectors import encoder
from tests.vectors.references import decode_legacy_reference

__all__ = ["silent"]

pytestmark = TIMEOUT
NOW = 1_800_000_100 * SECOND
KEY = GENERATION_3.pubkey


# ── account bytes ────────────────────────────────────────────────────────────────────────────────
ACCOUNTS = (
    encoder.price_update_v2(),
    encoder.price_update_v2(publish_time=1_799_999_000, slot=999),
    encoder.price_update_v2(signatures=5),
    encoder.price_update_v2(price=10_000, confidence=24, ema_price=9_100),
    encoder.legacy_price(),
    encoder.legacy_price(240, status=0),
)


def reference(data: bytes) -> PriceUpdate | None:
    """What an independent decoder says of an account that is one."""
    return decode_legacy_reference(data) if data[:4] == b"\xd4\xc3\xb2\xa1" else idl.decode_reference(data)


def test_of_a_damaged_account_no_other_row_comes_than_what_its_bytes_say() -> None:
    tally, intake = Tally("accounts"), Intake()
    for number, data in enumerate(damaged(ACCOUNTS, share("accounts"))):
        if number % 100 == 0:  # it remembers what it has seen
            intake = Intake()
        before = len(intake.rows)
        intake.ingest.observe(Observation(KEY, RECEIVER_3, data, Source.POLL, NOW))
        for row in intake.rows[before:]:
            assert row.update == reference(data), data.hex()
        tally.end("row" if len(intake.rows) > before else "refused")
    tally.close()


# ── answers over HTTP ────────────────────────────────────────────────────────────────────────────
SIGNATURE = "5h6xBEauJ3PK6SWCZ1PGjBvj8vDdWG3KpwATGy1ARAXFSDwt8GFXM7W5Ncn16wmqokgpiKRLuS83KUxyZyv2sUYv"


def account(data: bytes) -> dict[str, Any]:
    return {"data": [base64.b64encode(data).decode(), "base64"], "owner": RECEIVER_3, "lamports": 1_823_520}


def base58(data: bytes) -> str:
    alphabet = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
    number, text = int.from_bytes(data, "big"), ""
    while number:
        number, digit = divmod(number, 58)
        text = alphabet[digit] + text
    return text


def answer(result: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": 1, "result": result}).encode()


PUSHED = encoder.update_price_feed(encoder.price_message(), [bytes([n] * 20) for n in range(12)])
TRANSACTION = {
    "slot": 400_000_000,
    "blockTime": 1_800_000_000,
    "meta": {"err": None, "innerInstructions": []},
    "transaction": {
        "signatures": [SIGNATURE],
        "message": {
            "accountKeys": [SIGNATURE[:44], KEY, RECEIVER_3],
            "instructions": [
                {"programIdIndex": 2, "accounts": [0, 0, 0, 1, 1, 1, 1], "data": base58(PUSHED)}
            ],
        },
    },
}
ANSWERS = {
    "accounts": answer({"context": {"slot": 400_000_000}, "value": [account(ACCOUNTS[0])]}),
    "slot": answer(400_000_000),
    "signatures": answer(
        [{"signature": SIGNATURE, "slot": 400_000_000, "err": None, "blockTime": 1_800_000_000}] * 3
    ),
    "transaction": answer(TRANSACTION),
    "error": json.dumps(
        {"jsonrpc": "2.0", "id": 1, "error": {"code": -32005, "message": "behind", "data": {}}}
    ).encode(),
}


class Told:
    """A transport that answers what it is told to."""

    text = ""

    async def post(self, at: int, request: object) -> str:
        return self.text

    async def close(self) -> None: ...


def node_settings() -> NodeSettings:
    endpoint = EndpointSettings("node", SecretStr("http://node"), SecretStr("ws://node"), 1, 10**9, 10**9)
    return NodeSettings(
        endpoints=(endpoint,), network="localnet", commitment="confirmed", poll_interval=2.0, request_timeout=10.0,
        silence_limit=30.0,
    )  # fmt: skip


async def test_a_damaged_answer_is_what_it_says_or_a_node_error() -> None:
    tally, told = Tally("answers"), Told()
    client = None
    for number, data in enumerate(damaged(list(ANSWERS.values()), share("answers"), JSON)):
        if client is None or number % 1_000 == 0:
            client = RpcClient(node_settings(), Metrics([], [], ["node"], "test"), VirtualClock(), told)
        used = 0
        try:
            for ask in (accounts, slot, signatures, transaction):
                told.text = data.decode(errors="replace")
                with suppress(NodeProtocolError, NodeBehindError, NodeRefusesError):
                    await ask(client, told)
                    used += 1
        except RateLimitedError:
            client = None  # it waits, for as long as it was told to
        tally.end("used" if used else "refused")
    tally.close()


async def accounts(client: RpcClient, told: Told) -> None:
    found = await client.accounts([KEY])
    said = json.loads(told.text)["result"]
    for state, written in zip(found.value, said["value"], strict=True):
        data = state.raw() if state is not None else None
        assert data is None or data == base64.b64decode(written["data"][0]), told.text


async def slot(client: RpcClient, told: Told) -> None:
    assert await client.slot() == json.loads(told.text)["result"]


async def signatures(client: RpcClient, told: Told) -> None:
    listed = await client.signatures(KEY)
    told.text = '{"result": null}'
    for info in listed:  # what is listed is asked for
        assert await client.transaction(info.signature) is None


async def transaction(client: RpcClient, told: Told) -> None:
    found = await client.transaction(SIGNATURE)
    for update in prints_of(found, GENERATION_3) if found is not None else ():
        written = base58_decoded(json.loads(told.text)["result"])
        assert (
            encoder.price_message(**{name: getattr(update, name) for name in encoder.PRICE_FIELDS})[:85]
            in written
        )


def base58_decoded(said: dict[str, Any]) -> bytes:
    """All instructions' data, by a decoder of the test's own."""
    alphabet = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
    groups = [said["transaction"]["message"]["instructions"]]
    groups += [group["instructions"] for group in said["meta"].get("innerInstructions") or ()]
    found = b""
    for one in (one for group in groups for one in group):
        number = 0
        for letter in one["data"]:
            number = number * 58 + alphabet.index(letter)
        found += number.to_bytes((number.bit_length() + 7) // 8, "big")
    return found


# ── websocket frames ─────────────────────────────────────────────────────────────────────────────
def notification(subscription: int, result: Any) -> bytes:
    params = {"result": result, "subscription": subscription}
    return json.dumps({"jsonrpc": "2.0", "method": "accountNotification", "params": params}).encode()


FRAMES = (
    notification(0, {"context": {"slot": 400_000_000}, "value": account(ACCOUNTS[0])}),
    notification(0, {"context": {"slot": 400_000_001}, "value": account(ACCOUNTS[3])}),
    notification(1, {"parent": 1, "root": 0, "slot": 400_000_000}),
    b'{"jsonrpc": "2.0", "result": 0, "id": 0}',
    b'{"jsonrpc": "2.0", "error": {"code": 429, "message": "slow"}, "id": 0}',
)


class Wire:
    """A connection on which damaged frames come, after every subscription has been answered."""

    def __init__(self, frames: Iterator[bytes], tally: Tally) -> None:
        self._frames, self._tally = frames, tally
        self._asked = 0
        self._answered = 0
        self.frame = b""

    async def send(self, message: str) -> None:
        self._asked += 1

    async def ping(self) -> Any:
        raise AssertionError

    async def recv(self, *, decode: bool) -> bytes:
        if self._answered < self._asked:
            self._answered += 1
            number = self._answered - 1
            return json.dumps({"jsonrpc": "2.0", "result": number, "id": number}).encode()
        await asyncio.sleep(0)
        self.frame = next(self._frames, b"")
        if not self.frame:
            raise ConnectionClosedError(None, None)
        return self.frame


class Heard:
    """A sink that holds what it is given against the frame that it came in."""

    def __init__(self) -> None:
        self.wire: Wire
        self.taken = 0

    def observe(self, observation: Observation) -> None:
        self.taken += 1
        said = json.loads(self.wire.frame.decode(errors="replace"))["params"]["result"]["value"]
        assert observation.pubkey == KEY
        assert observation.data is None or observation.data == base64.b64decode(said["data"][0]), (
            self.wire.frame
        )
        assert observation.owner == said["owner"]

    def hear(self, update: PriceUpdate, source: Source, received: int) -> None:
        raise AssertionError

    def saw_slot(self, slot: int) -> None:
        self.taken += 1
        assert slot == json.loads(self.wire.frame.decode(errors="replace"))["params"]["result"]["slot"]


async def test_a_damaged_frame_is_what_it_says_or_nothing() -> None:
    tally, heard = Tally("frames"), Heard()

    def frames() -> Iterator[bytes]:
        for data in damaged(FRAMES, share("frames"), JSON):
            before = heard.taken
            if data:
                yield data
            tally.end("used" if heard.taken > before else "refused")

    source = frames()

    @asynccontextmanager
    async def connect(_endpoint: EndpointSettings, _limit: float) -> AsyncIterator[Wire]:
        heard.wire = Wire(source, tally)
        yield heard.wire

    metrics, clock = Metrics([], [], ["node"], "test"), VirtualClock()
    subscription = Subscription(
        node_settings(), RpcClient(node_settings(), metrics, clock, Told()), [KEY], heard, clock, metrics,
        on_connected=lambda _endpoint: None, on_lost=lambda _endpoint, _error: None, connector=connect,
    )  # fmt: skip
    while tally.ends.total() < share("frames"):
        with pytest.raises(NodeError):
            await subscription.deliver()
    tally.close()


# ── server-sent events ───────────────────────────────────────────────────────────────────────────
FEED = encoder.SOL_FEED
UPDATES = [
    encoder.accumulator_update([encoder.price_message(feed_id=FEED, publish_time=1_800_000_000 + n)], 400 + n)
    for n in range(3)
]
STREAM = b"".join(
    b"data:" + json.dumps({"binary": {"encoding": "hex", "data": [update.hex()]}}).encode() + b"\r\n\n"
    for update in UPDATES
)
PUBLISHED = [update._replace(slot=0) for data in UPDATES for update in decode_accumulator_update(data)]
"""Without their slots: those are proven by the guardians' signatures, which are not verified."""


class Pieces(httpx.AsyncByteStream):
    """A body that comes in pieces, cut anywhere."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 1 + len(self._data) % 97
        for start in range(0, len(self._data), size):
            yield self._data[start : start + size]


async def test_of_a_damaged_stream_no_other_print_comes_than_was_published() -> None:
    tally = Tally("streams")
    client = HermesClient("http://hermes", None, timeout=1, silence=1)
    for data in damaged(
        [STREAM, STREAM.replace(b"\r\n\n", b"\n\n")], share("streams"), (*JSON, b"\n", b"\r\n", b"data:")
    ):
        events, refused = 0, False
        try:
            async for event in read_events(httpx.Response(200, stream=Pieces(data)), 10_240):
                found = client._read(event, [FEED])
                events += 1
                for update in found:
                    assert update._replace(slot=0) in PUBLISHED, data
        except NodeProtocolError:
            refused = True
        tally.end("refused" if refused or events < len(UPDATES) else "used")
    await client.close()
    tally.close()
