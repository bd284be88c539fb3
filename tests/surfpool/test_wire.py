"""Our wire held against a real runtime's: the same account on both, the same questions, answers of the same shape.

Where Surfpool differs from a public node, the difference is taken out by name.
"""

from __future__ import annotations

from typing import Any

import pytest

from quantdesk_oracle.localnet import DEFAULT_FEEDS
from quantdesk_oracle.localnet.node import Change
from quantdesk_oracle.localnet.pushes import encode_price_update_v2
from quantdesk_oracle.model import PriceUpdate
from quantdesk_oracle.pyth.addresses import RECEIVERS
from quantdesk_oracle.pyth.dumps import AccountDump

pytestmark = pytest.mark.surfpool

SOL = DEFAULT_FEEDS[2]
NOBODY = "4uQeVj5tqViQh7yWWGStvkEG1Zmhx6uasJtWCJziofM"
LATE = 10**12


def shape(value: Any) -> Any:
    """Keys and types of values, without the values."""
    if isinstance(value, dict):
        return {key: shape(entry) for key, entry in sorted(value.items())}
    if isinstance(value, list):
        return [shape(entry) for entry in value]
    return type(value).__name__


def account(price: int) -> AccountDump:
    update = PriceUpdate(SOL.feed_id, price, 5, -8, 1_800_000_000, 1_799_999_999, price, 5, slot=1)
    data = encode_price_update_v2(SOL.address, update)
    return AccountDump(SOL.address, RECEIVERS[SOL.generation], data, lamports=1_823_520, rent_epoch=0)


@pytest.fixture
def put(surfpool, local_node):
    """Write the same account on both nodes."""

    async def write(state: AccountDump) -> None:
        fields = {"lamports": state.lamports, "data": state.data.hex(), "owner": state.owner, "rentEpoch": 0}
        assert "result" in await surfpool.call("surfnet_setAccount", state.pubkey, fields)
        local_node.node.commit([Change(state)])

    return write


@pytest.fixture
async def both(surfpool, ours, put):
    """The two answers to one question, after the same account was written on both."""
    await put(account(100))

    async def ask(method: str, *params: Any) -> tuple[Any, Any]:
        return await surfpool.call(method, *params), await ours.call(method, *params)

    return ask


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("getHealth", []),
        ("getGenesisHash", []),
        ("getSlot", []),
        ("getSlot", [{"commitment": "confirmed"}]),
        ("getAccountInfo", [SOL.address, {"encoding": "base64"}]),
        ("getAccountInfo", [SOL.address, {"encoding": "jsonParsed"}]),
        ("getAccountInfo", [SOL.address, {"encoding": "base58", "dataSlice": {"offset": 0, "length": 8}}]),
        ("getAccountInfo", [NOBODY, {"encoding": "base64"}]),
        ("getMultipleAccounts", [[SOL.address, NOBODY], {"encoding": "base64"}]),
        ("getSignaturesForAddress", [NOBODY]),
        ("getTransaction", ["1" * 64]),
    ],
)
async def test_answers_have_the_shape_of_a_real_runtimes(both, method: str, params: list[Any]) -> None:
    theirs, ours = await both(method, *params)
    assert shape(ours) == shape(theirs)


async def test_the_version_has_the_same_keys_but_surfpools_own(both) -> None:
    theirs, ours = await both("getVersion")
    theirs["result"].pop("surfnet-version")
    assert ours == theirs


@pytest.mark.parametrize("encoding", ["base64", "jsonParsed"])
async def test_an_accounts_value_is_equal_to_the_last_letter(both, encoding: str) -> None:
    theirs, ours = await both("getAccountInfo", SOL.address, {"encoding": encoding})
    assert ours["result"]["value"] == theirs["result"]["value"]


async def test_a_slice_in_base58_is_equal_to_the_last_letter(both) -> None:
    config = {"encoding": "base58", "dataSlice": {"offset": 3, "length": 60}}
    theirs, ours = await both("getAccountInfo", SOL.address, config)
    assert ours["result"]["value"] == theirs["result"]["value"]


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("nothing", []),
        ("getAccountInfo", []),
        ("getAccountInfo", [5]),
        ("getMultipleAccounts", []),
        ("getTransaction", []),
    ],
)
async def test_errors_are_equal_to_the_last_letter(both, method: str, params: list[Any]) -> None:
    theirs, ours = await both(method, *params)
    assert ours == theirs


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("getAccountInfo", ["abc"]),
        ("getAccountInfo", [SOL.address, {"encoding": "base65"}]),
        ("getTransaction", ["abc"]),
        ("getSlot", [{"minContextSlot": LATE}]),
    ],
)
async def test_errors_of_other_words_have_the_same_code(both, method: str, params: list[Any]) -> None:
    theirs, ours = await both(method, *params)
    assert ours["error"]["code"] == theirs["error"]["code"]


async def test_a_slot_that_has_not_come_is_refused_in_the_same_shape(both) -> None:
    theirs, ours = await both("getSlot", {"minContextSlot": LATE})
    assert shape(ours) == shape(theirs)


async def test_what_is_no_json_is_answered_alike(surfpool, ours) -> None:
    assert await ours.post("{") == await surfpool.post("{")


async def test_a_subscription_and_its_notifications_are_alike(surfpool, ours, put) -> None:
    for peer in (surfpool, ours):
        answer = await peer.ask("accountSubscribe", SOL.address, {"encoding": "base64"})
        assert answer["result"] == 0
    await put(account(101))
    theirs = await surfpool.notification("accountNotification")
    mine = await ours.notification("accountNotification")
    # A public node's notification has no version, unlike its answers; Surfpool's has one.
    theirs["params"]["result"]["context"].pop("apiVersion")
    assert shape(mine) == shape(theirs)
    assert mine["params"]["result"]["value"] == theirs["params"]["result"]["value"]


async def test_slots_are_told_alike(surfpool, ours) -> None:
    for peer in (surfpool, ours):
        assert (await peer.ask("slotSubscribe"))["result"] == 0
    theirs, mine = (
        await surfpool.notification("slotNotification"),
        await ours.notification("slotNotification"),
    )
    assert shape(mine) == shape(theirs)


@pytest.mark.parametrize(
    ("method", "params"),
    [("accountSubscribe", []), ("accountUnsubscribe", [99]), ("slotUnsubscribe", [99]), ("nothing", [])],
)
async def test_websocket_errors_are_equal_to_the_last_letter(
    surfpool, ours, method: str, params: list[Any]
) -> None:
    assert await ours.ask(method, *params) == await surfpool.ask(method, *params)


async def test_unsubscribing_is_alike(surfpool, ours) -> None:
    for peer in (surfpool, ours):
        await peer.ask("slotSubscribe")
    assert await ours.ask("slotUnsubscribe", 0) == await surfpool.ask("slotUnsubscribe", 0)
