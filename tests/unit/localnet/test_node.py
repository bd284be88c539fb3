from pathlib import Path

import pytest

from quantdesk_oracle.localnet.ledger import Ledger, LedgerEntry
from quantdesk_oracle.localnet.node import Change, Node
from quantdesk_oracle.localnet.settings import LocalnetSettings, genesis_hash
from quantdesk_oracle.localnet.subscriptions import AccountParameters, SlotParameters
from quantdesk_oracle.model import SECOND, PriceUpdate
from quantdesk_oracle.pyth.addresses import SYSTEM_PROGRAM
from quantdesk_oracle.pyth.dumps import AccountDump

KEY = "7AviUf9nL62mcxNbQGKm4nKDQnPjswo6c5MX4D57HmyE"
WATCHED = AccountParameters(KEY, "base64", "confirmed", None)


def account(data: bytes = b"\1\2\3") -> AccountDump:
    return AccountDump(pubkey=KEY, owner=KEY, data=data, lamports=9)


def test_a_slot_takes_400_ms(node, clock) -> None:
    before = node.slot
    clock.set(clock.now() + 10 * SECOND)
    assert node.slot == before + 25


def test_a_restarted_node_goes_on_counting(node, clock) -> None:
    clock.set(clock.now() + 60 * SECOND)
    assert Node(LocalnetSettings(), clock).slot == node.slot


def test_a_slot_has_the_time_at_which_it_began(node, clock) -> None:
    assert 0 <= clock.now() / SECOND - node.block_time(node.slot) < 1.4
    assert node.slot_instant(node.slot) <= clock.now() < node.slot_instant(node.slot + 1)


def test_a_node_can_start_above_a_slot_that_is_to_come(node, clock) -> None:
    late = node.slot + 1_000_000
    node.start_above(late)
    assert node.slot == late + 1
    assert node.slot_instant(node.slot) <= clock.now() < node.slot_instant(node.slot + 1)
    node.start_above(5)
    assert node.slot == late + 1


def test_before_the_first_slot_the_slot_is_0(clock) -> None:
    clock.set(0)
    assert Node(LocalnetSettings(), clock).slot == 0


def test_each_slot_is_told_once(node, clock, recorder) -> None:
    node.subscriptions.subscribe(recorder, SlotParameters())
    first = node.slot
    for milliseconds in (400, 100, 300, 800):
        clock.set(clock.now() + milliseconds * 1000)
        node.tell_slots()
    assert [one["slot"] for one in recorder.results("slotNotification")] == [
        first + number for number in (1, 2, 3, 4)
    ]


def test_after_a_long_sleep_only_the_newest_slots_are_told(node, clock, recorder) -> None:
    node.subscriptions.subscribe(recorder, SlotParameters())
    clock.set(clock.now() + 86_400 * SECOND)
    node.tell_slots()
    slots = [one["slot"] for one in recorder.results("slotNotification")]
    assert slots[-1] == node.slot
    assert len(slots) < 200


def test_a_subscription_begins_without_a_state(node, recorder) -> None:
    node.commit([Change(account())])
    node.subscriptions.subscribe(recorder, WATCHED)
    assert recorder.messages == []


def test_a_change_is_told_with_the_slot_in_which_it_happened(node, recorder) -> None:
    node.subscriptions.subscribe(recorder, WATCHED)
    node.commit([Change(account())])
    (result,) = recorder.results()
    assert result["context"] == {"slot": node.slot}
    assert result["value"]["data"] == ["AQID", "base64"]


def test_a_closed_account_is_null_to_a_reader_and_empty_to_a_subscriber(node, recorder) -> None:
    node.commit([Change(account())])
    node.subscriptions.subscribe(recorder, WATCHED)
    node.close_account(KEY)
    (result,) = recorder.results()
    assert (result["value"]["lamports"], result["value"]["owner"]) == (0, SYSTEM_PROGRAM)
    assert node.read(KEY) is None


def test_the_ledger_has_a_print_before_any_subscriber_does(node, tmp_path: Path) -> None:
    node.ledger = Ledger(tmp_path / "ledger")
    lines_when_told: list[int] = []

    class Reader:
        def deliver(self, message: bytes) -> None:
            lines_when_told.append(len((tmp_path / "ledger").read_text().splitlines()))

    node.subscriptions.subscribe(Reader(), WATCHED)
    update = PriceUpdate(bytes(32), 1, 1, -8, 1, 0, 1, 1, 1)
    node.commit([Change(account(), LedgerEntry("X", KEY, update, None))] * 2)
    node.ledger.close()
    assert lines_when_told == [2, 2]


def test_a_print_that_the_ledger_does_not_take_is_seen_by_nobody(node, recorder) -> None:
    class FullDisk:
        def append(self, entries: object) -> None:
            raise OSError(28, "No space left on device")

    node.ledger = FullDisk()
    node.subscriptions.subscribe(recorder, WATCHED)
    update = PriceUpdate(bytes(32), 1, 1, -8, 1, 0, 1, 1, 1)
    with pytest.raises(OSError, match="No space"):
        node.commit([Change(account(), LedgerEntry("X", KEY, update, None))])
    assert (node.read(KEY), recorder.messages) == (None, [])


def test_the_local_genesis_is_no_public_clusters() -> None:
    hashes = {genesis_hash(cluster) for cluster in ("localnet", "mainnet-beta", "devnet", "testnet")}
    assert len(hashes) == 4
    assert LocalnetSettings().genesis_hash == genesis_hash("localnet")


def test_an_unknown_cluster_is_named() -> None:
    with pytest.raises(ValueError, match="moonnet"):
        genesis_hash("moonnet")
