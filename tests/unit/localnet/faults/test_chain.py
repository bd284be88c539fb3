"""How the chain is shown, and what is done to it: the ledger stays the truth."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from quantdesk_oracle.localnet import DEFAULT_FEEDS, InProcessNode, LocalnetSettings, load_feeds
from quantdesk_oracle.localnet.faults.journal import journal_path
from quantdesk_oracle.localnet.simulation import price_account
from quantdesk_oracle.pyth.messages import decode_instruction, decode_price_message

BTC, ETH, SOL = (feed.address for feed in DEFAULT_FEEDS)
V0 = {"maxSupportedTransactionVersion": 0}


async def test_a_slot_goes_backwards_everywhere_and_comes_back(start, clock) -> None:
    drilled = await start({"kind": "slot_shift", "at": 0.9, "for": 4, "by": -50})
    client = await drilled.client()
    await client.follow()
    before = await drilled.ask("getSlot")
    await clock.advance(1)
    shown = await drilled.ask("getSlot")
    assert before - 50 <= shown < before
    assert (await drilled.ask("getAccountInfo", SOL))["context"]["slot"] == shown
    (frame,) = client.raw()
    assert json.loads(frame)["params"]["result"]["context"]["slot"] == shown
    await clock.advance(5)
    assert await drilled.ask("getSlot") == drilled.node.node.slot


async def test_a_node_that_is_behind_shows_the_past_and_tells_it_late(start, clock) -> None:
    drilled = await start({"kind": "behind", "slots": 10, "at": 5.1, "for": 10})
    client = await drilled.client()
    await client.follow()
    await clock.advance(9)
    assert client.times() == [1, 2, 3, 4, 5]
    assert await drilled.ask("getSlot") == drilled.node.node.slot - 10
    value = (await drilled.ask("getAccountInfo", SOL, {"encoding": "base64"}))["value"]
    before = drilled.entries()[-5].update
    assert (await drilled.ask("getSignaturesForAddress", SOL))[0]["slot"] == before.slot
    assert value["data"][0] == encoded(drilled, before)
    await clock.advance(1.5)
    assert client.times() == [6]
    await clock.advance(4.7)
    assert client.times() == list(range(7, 16))
    assert await drilled.ask("getSlot") == drilled.node.node.slot


def encoded(drilled, update) -> str:
    data = price_account(DEFAULT_FEEDS[2], update._replace(prev_publish_time=update.publish_time - 1)).data
    return base64.b64encode(data).decode()


async def test_a_node_that_is_behind_answers_a_subscription_at_once(start, clock) -> None:
    drilled = await start({"kind": "behind", "slots": 200})
    client = await drilled.client()
    await client.follow()
    await clock.advance(79)
    assert client.raw() == []
    await clock.advance(3)
    assert client.times() == [1, 2]


async def test_a_load_keeps_no_past_and_its_notifications_lag_all_the_same(start, clock) -> None:
    feeds = load_feeds(2, legacy=True)
    drilled = await start({"kind": "behind", "slots": 10}, feeds=feeds, load=True)
    client = await drilled.client()
    await client.follow(feeds[0].address)
    await clock.advance(5)
    assert drilled.node.node.view.past is None
    assert len(client.raw()) == 2
    assert (await drilled.ask("getAccountInfo", feeds[0].address))["value"] is not None


async def test_history_that_was_pruned_is_neither_listed_nor_found(start, clock) -> None:
    drilled = await start({"kind": "prune", "at": 30.5, "for": 10, "keep": 10})
    await clock.advance(30)
    everything = await drilled.ask("getSignaturesForAddress", SOL)
    assert len(everything) == 31
    await clock.advance(1)
    kept = await drilled.ask("getSignaturesForAddress", SOL)
    assert len(kept) == 11
    assert await drilled.ask("getTransaction", everything[-1]["signature"], V0) is None
    assert await drilled.ask("getTransaction", kept[-1]["signature"], V0) is not None
    await clock.advance(10)
    assert len(await drilled.ask("getSignaturesForAddress", SOL)) == 42


async def test_a_fork_is_told_at_processed_rolled_back_and_not_in_the_ledger(start, clock) -> None:
    drilled = await start({"kind": "fork", "at": 1.3, "for": 0.5, "feeds": ["SOL/USD"]})
    processed, confirmed = await drilled.client(), await drilled.client()
    await processed.follow(commitment="processed")
    await confirmed.follow()
    await clock.advance(1.5)
    real, forked = processed.prints()
    assert real == confirmed.prints()[0] == drilled.entries()[-1].update
    assert forked.identity > real.identity
    assert forked.price != real.price
    account = ("getAccountInfo", SOL, {"encoding": "base64"})
    shown = (await drilled.ask(*account[:2], {**account[2], "commitment": "processed"}))["value"]
    assert shown != (await drilled.ask(*account))["value"]
    await clock.advance(0.4)
    assert processed.prints() == [real]
    await clock.advance(1)
    assert len(processed.prints()) == len(confirmed.prints()) == 1
    assert forked.identity not in {entry.update.identity for entry in drilled.entries()}
    assert [entry.update for entry in drilled.drill.journal.forked] == [forked]
    lines = [json.loads(line) for line in journal_path(drilled.ledger).read_text().splitlines()]
    assert [line["event"] for line in lines] == ["fault.began", "print.forked", "fault.ended"]
    assert lines[1]["price"] == forked.price


async def test_a_halted_feed_has_no_prints_and_the_others_have(start, clock) -> None:
    drilled = await start({"kind": "halt", "feeds": ["SOL/USD"], "at": 2.5, "for": 3})
    await clock.advance(8)
    seconds = [entry.update.publish_time - 1_800_000_000 for entry in drilled.entries()]
    assert seconds == [0, 1, 2, 6, 7, 8]
    assert len(drilled.entries(BTC)) == 9


async def read_back(drilled, pubkey: str) -> list[Any]:
    """The prints of ``pubkey`` as a careful reader finds them in the history, oldest first."""
    found = []
    for listed in await drilled.ask("getSignaturesForAddress", pubkey):
        if listed["err"] is None:
            transaction = await drilled.ask("getTransaction", listed["signature"], V0)
            found += prints_of(transaction, pubkey)
    return found[::-1]


def prints_of(transaction: Any, pubkey: str) -> list[Any]:
    loaded = transaction["meta"]["loadedAddresses"]
    keys = [
        *transaction["transaction"]["message"]["accountKeys"],
        *loaded["writable"],
        *loaded["readonly"],
    ]
    inner = [call for one in transaction["meta"]["innerInstructions"] for call in one["instructions"]]
    decoded = [(decode_instruction(unbase58(call["data"])), call["accounts"]) for call in inner]
    return [
        decode_price_message(post.message, transaction["slot"])
        for post, accounts in decoded
        if keys[accounts[post.account_index]] == pubkey
    ]


def unbase58(text: str) -> bytes:
    alphabet = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
    number = 0
    for letter in text:
        number = number * 58 + alphabet.index(letter)
    return number.to_bytes((number.bit_length() + 7) // 8, "big")


ALL = [
    {"kind": kind, "probability": 0.4}
    for kind in ("failed_pushes", "stale_pushes", "address_tables", "shared_transactions")
]


@pytest.mark.parametrize("pubkey", [BTC, ETH, SOL])
async def test_a_careful_reader_finds_the_ledger_in_the_hardest_history(start, clock, pubkey: str) -> None:
    drilled = await start(*ALL)
    await clock.advance(20)
    expected = [
        entry.update._replace(prev_publish_time=entry.update.publish_time - 1)
        for entry in drilled.entries(pubkey)
    ]
    assert await read_back(drilled, pubkey) == expected


async def test_failed_pushes_are_listed_with_their_error_and_hold_a_price_that_never_was(
    start, clock
) -> None:
    drilled = await start({"kind": "failed_pushes"})
    client = await drilled.client()
    await client.follow()
    await clock.advance(3)
    listed = await drilled.ask("getSignaturesForAddress", SOL)
    failed = [one for one in listed if one["err"] is not None]
    assert len(failed) == 3
    transaction = await drilled.ask("getTransaction", failed[0]["signature"], V0)
    (never,) = prints_of(transaction, SOL)
    assert never.identity not in {entry.update.identity for entry in drilled.entries()}
    assert len(client.raw()) == 3


async def test_stale_pushes_succeed_make_no_call_and_tell_the_account_as_it_was(start, clock) -> None:
    drilled = await start({"kind": "stale_pushes", "at": 0.5})
    client = await drilled.client()
    await client.follow()
    await clock.advance(2)
    assert client.times() == [1, 1, 2, 2]
    listed = await drilled.ask("getSignaturesForAddress", SOL)
    assert len(listed) == 5
    assert all(one["err"] is None for one in listed)
    transaction = await drilled.ask("getTransaction", listed[0]["signature"], V0)
    assert transaction["meta"]["innerInstructions"] == []
    assert len(drilled.entries()) == 3


async def test_two_feeds_may_share_a_transaction(start, clock) -> None:
    drilled = await start({"kind": "shared_transactions"})
    await clock.advance(1)
    btc, eth, sol = [
        (await drilled.ask("getSignaturesForAddress", key))[0]["signature"] for key in (BTC, ETH, SOL)
    ]
    assert btc == eth != sol
    assert drilled.entries(BTC)[-1].signature == drilled.entries(ETH)[-1].signature == btc


async def test_a_shared_transaction_is_one_again_after_a_restart_from_the_ledger(start, clock) -> None:
    drilled = await start({"kind": "shared_transactions"})
    await clock.advance(3)
    await drilled.node.stop()
    again = InProcessNode(LocalnetSettings(ledger=drilled.ledger), clock)
    await again.start()
    restored = again.node.history.find(drilled.entries(BTC)[-1].signature or "")
    assert restored is not None
    assert [leg.feed.address for leg in restored.legs] == [BTC, ETH]
    built = again.simulation.pusher.transaction_of(restored)
    assert [call.outer for call in built.calls] == [2, 3]
    await again.stop()
