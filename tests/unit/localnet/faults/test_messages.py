"""What faults do to messages, and that they do nothing else."""

from __future__ import annotations

import asyncio
import base64
import json

import pytest

from quantdesk_oracle.errors import DecodeError
from quantdesk_oracle.localnet import DEFAULT_FEEDS
from quantdesk_oracle.localnet.passage import NoAnswerError
from quantdesk_oracle.pyth.accounts import decode_price

BTC, ETH, SOL = (feed.address for feed in DEFAULT_FEEDS)


async def test_without_faults_every_push_is_told(start, clock) -> None:
    drilled = await start()
    client = await drilled.client()
    await client.follow()
    await clock.advance(5)
    assert client.times() == [1, 2, 3, 4, 5]


async def test_drop_takes_notifications_away_in_its_window_and_the_ledger_has_them(start, clock) -> None:
    drilled = await start({"kind": "drop", "at": 2.5, "for": 3})
    client = await drilled.client()
    await client.follow()
    await clock.advance(8)
    assert client.times() == [1, 2, 6, 7, 8]
    assert len(drilled.entries()) == 9


async def test_a_fault_hits_the_feeds_it_is_aimed_at_and_no_others(start, clock) -> None:
    drilled = await start({"kind": "drop", "feeds": ["SOL/USD", "BTC-PERP"]})
    followers = {key: await drilled.client() for key in (BTC, ETH, SOL)}
    for key, client in followers.items():
        await client.follow(key)
    await clock.advance(3)
    assert [len(client.raw()) for client in followers.values()] == [0, 3, 0]


async def test_slots_go_on_while_account_notifications_are_dropped(start, clock) -> None:
    drilled = await start({"kind": "drop"})
    client = await drilled.client()
    await client.call("slotSubscribe")
    client.raw()
    await clock.advance(2)
    assert len(client.raw()) == 5


async def test_a_fault_comes_again_every_so_often(start, clock) -> None:
    drilled = await start({"kind": "drop", "at": 0.5, "for": 1, "every": 3})
    client = await drilled.client()
    await client.follow()
    await clock.advance(9)
    assert client.times() == [2, 3, 5, 6, 8, 9]


async def test_a_fault_may_begin_at_a_slot(start, clock) -> None:
    drilled = await start({"kind": "drop", "slot": 5})
    client = await drilled.client()
    await client.follow()
    await clock.advance(4)
    assert client.times() == [1]


async def test_the_same_seed_drops_the_same_and_another_seed_others(start, clock) -> None:
    async def run(seed: int) -> list[bool]:
        drilled = await start({"kind": "drop", "probability": 0.5}, seed=seed)
        client = await drilled.client()
        await client.follow()
        first = clock.now()
        await clock.advance(60)
        seen = {update.publish_time for update in client.prints()}
        return [first // 1_000_000 + second in seen for second in range(1, 61)]

    one, same, other = await run(1), await run(1), await run(2)
    assert one == same != other
    assert 15 < sum(one) < 45


async def test_duplicates_are_the_same_bytes(start, clock) -> None:
    drilled = await start({"kind": "duplicate", "times": 3})
    client = await drilled.client()
    await client.follow()
    await clock.advance(1)
    first, *others = client.raw()
    assert others == [first, first]


async def test_delay_is_late_by_as_much_and_loses_nothing(start, clock) -> None:
    drilled = await start({"kind": "delay", "by": 2.5, "for": 3.5})
    client = await drilled.client()
    await client.follow()
    await clock.advance(3.4)
    assert client.times() == []
    await clock.advance(0.1)
    assert client.times() == [1]
    await clock.advance(3)
    assert client.times() == [4, 2, 5, 3, 6]


async def test_reorder_changes_the_order_and_nothing_else(start, clock) -> None:
    drilled = await start({"kind": "reorder", "within": 5, "for": 40})
    client = await drilled.client()
    await client.follow()
    await clock.advance(60)
    times = client.times()
    assert times != sorted(times) == list(range(1, 61))


async def test_a_stall_holds_everything_back_and_lets_it_go_in_order(start, clock) -> None:
    drilled = await start({"kind": "stall", "at": 1.5, "for": 3})
    client = await drilled.client()
    await client.follow()
    await clock.advance(2)
    asking = asyncio.create_task(drilled.ask("getSlot"))
    await clock.advance(2)
    assert client.times() == [1]
    assert not asking.done()
    await clock.advance(1)
    assert client.times() == [2, 3, 4, 5]
    assert await asking < drilled.node.node.slot


async def test_a_stalled_connection_reads_no_request(start, clock) -> None:
    drilled = await start({"kind": "stall", "at": 1, "for": 2})
    client = await drilled.client()
    await clock.advance(2)
    await client.call("slotSubscribe")
    assert len(drilled.node.node.subscriptions) == 0


@pytest.mark.parametrize("seed", range(20))
async def test_garbage_holds_no_print_that_is_not_the_ledgers(start, clock, seed: int) -> None:
    drilled = await start({"kind": "garbage"}, seed=seed)
    client = await drilled.client()
    await client.follow()
    await clock.advance(30)
    frames = client.raw()
    assert len(frames) == 30
    assert not any(holds_a_print(frame) for frame in frames)


def holds_a_print(frame: bytes) -> bool:
    try:
        data, encoding = json.loads(frame)["params"]["result"]["value"]["data"]
        decode_price(base64.b64decode(data, validate=True))
    except (ValueError, LookupError, TypeError, RecursionError, DecodeError):
        return False
    return bool(encoding == "base64")


async def test_unknown_frames_come_beside_the_true_ones(start, clock) -> None:
    drilled = await start({"kind": "unknown"})
    client = await drilled.client()
    await client.follow()
    await clock.advance(50)
    frames = [json.loads(frame) for frame in client.raw()]
    true = [
        one
        for one in frames
        if one.get("method") == "accountNotification" and one["params"]["subscription"] == 0
    ]
    assert len(frames) == 100
    assert len(true) == 50


async def test_http_answers_are_dropped_late_or_garbage_as_well(start, clock) -> None:
    drilled = await start(
        {"kind": "drop", "methods": ["getVersion"]},
        {"kind": "delay", "methods": ["getSlot"], "by": 4},
        {"kind": "garbage", "methods": ["getHealth"]},
    )
    with pytest.raises(NoAnswerError):
        await drilled.ask("getVersion")
    asking = asyncio.create_task(drilled.ask("getSlot"))
    await clock.advance(3.9)
    assert not asking.done()
    await clock.advance(0.2)
    assert await asking
    with pytest.raises((ValueError, KeyError, TypeError, AttributeError)):
        assert await drilled.ask("getHealth") is object()
    assert await drilled.ask("getGenesisHash") == drilled.node.settings.genesis_hash


async def test_an_answer_to_a_subscription_may_be_lost_or_come_after_the_first_notification(
    start, clock
) -> None:
    drilled = await start(
        {"kind": "drop", "methods": ["slotSubscribe"]},
        {"kind": "delay", "methods": ["accountSubscribe"], "by": 1.5},
    )
    client = await drilled.client()
    await client.call("slotSubscribe")
    await client.call("accountSubscribe", SOL, {"encoding": "base64"})
    await clock.advance(2)
    kinds = ["id" in (frame := json.loads(raw)) or frame["method"] for raw in client.raw()]
    assert kinds.index("accountNotification") < kinds.index(True)
    assert kinds.count(True) == 1
    assert kinds.count("slotNotification") == 5


async def test_a_client_for_whom_too_much_is_held_back_is_dropped(start, clock, monkeypatch) -> None:
    monkeypatch.setattr("quantdesk_oracle.localnet.faults.outbox.MOST_HELD", 3)
    drilled = await start({"kind": "stall", "at": 0.5})
    client = await drilled.client()
    await client.follow()
    await clock.advance(3)
    assert client.socket.code is None
    await clock.advance(1)
    assert client.socket.code == 1006
