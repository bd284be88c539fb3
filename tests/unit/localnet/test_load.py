"""A load for benchmarks: steady, exact, and repeatable."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from quantdesk_oracle.localnet import InProcessNode, LocalnetSettings, load_feeds
from quantdesk_oracle.localnet.ledger import read_ledger
from quantdesk_oracle.localnet.load import Load, encode_legacy_price
from quantdesk_oracle.localnet.node import Node
from quantdesk_oracle.model import SECOND
from quantdesk_oracle.pyth.accounts import decode_price
from tests.vectors import encoder


def settings(count: int, *, legacy: bool, ledger: Path | None = None) -> LocalnetSettings:
    return LocalnetSettings(feeds=load_feeds(count, legacy=legacy), load=True, ledger=ledger)


@pytest.mark.parametrize(("legacy", "expected"), [(True, 25), (False, 10)])
async def test_each_feed_prints_once_a_period_and_never_twice_the_same(
    clock, tmp_path: Path, legacy: bool, expected: int
) -> None:
    node = InProcessNode(settings(70, legacy=legacy, ledger=tmp_path / "ledger"), clock)
    await node.start()
    first = len(read_ledger(tmp_path / "ledger", 10_000)[0])
    await clock.advance(10)
    await node.stop()
    entries = read_ledger(tmp_path / "ledger", 10_000)[0]
    assert first == 70
    counts = Counter(entry.pubkey for entry in entries)
    assert set(counts.values()) == {expected + 1}
    assert len({(entry.pubkey, entry.update.identity) for entry in entries}) == len(entries)


@pytest.mark.parametrize("legacy", [True, False])
async def test_the_account_holds_the_newest_print_of_the_ledger(clock, tmp_path: Path, legacy: bool) -> None:
    node = InProcessNode(settings(3, legacy=legacy, ledger=tmp_path / "ledger"), clock)
    await node.start()
    await clock.advance(3)
    for entry in read_ledger(tmp_path / "ledger", 3)[0]:
        account = node.node.read(entry.pubkey)
        assert account is not None
        found = decode_price(account.data)
        assert found._replace(prev_publish_time=0, legacy=False) == entry.update._replace(prev_publish_time=0)
        assert found.legacy is legacy
        assert found.trading
    await node.stop()


def test_prints_are_spread_over_the_period_and_stamped_with_their_own_instant(clock) -> None:
    node = Node(settings(400, legacy=True), clock)
    load = Load(node)
    load.act()
    made = []
    for _ in range(40):
        before = load.prints
        clock.set(load.next_instant())
        load.act()
        made.append(load.prints - before)
    assert made == [10] * 40


def test_a_restarted_load_contradicts_nothing_that_it_said_before(clock, tmp_path: Path) -> None:
    def accounts() -> dict[str, bytes]:
        node = Node(settings(50, legacy=True), clock)
        Load(node).act()
        return {key: state.data for key, state in node.accounts.items()}

    assert accounts() == accounts()


def test_a_load_that_is_too_late_leaves_out_what_it_owes_and_counts_it(clock) -> None:
    node = Node(settings(100, legacy=True), clock)
    load = Load(node)
    load.act()
    clock.set(clock.now() + 60 * SECOND)
    load.act()
    assert load.left_out + load.prints == 100 + 60 * 250
    assert load.left_out > 14_000


def test_a_legacy_account_is_laid_out_as_oracle_h_says(clock) -> None:
    node = Node(settings(1, legacy=True), clock)
    load = Load(node)
    load.act()
    (state,) = node.accounts.values()
    update = decode_price(state.data)
    assert len(state.data) == 3_312
    fields = {
        "exponent": update.exponent,
        "timestamp": update.publish_time,
        "price": update.price,
        "confidence": update.confidence,
        "publish_slot": update.slot,
    }
    written = encoder.legacy_price(**fields)
    for start, end in ((0, 28), (96, 104), (208, 240)):
        assert state.data[start:end] == written[start:end]
    assert encode_legacy_price(update) == state.data
