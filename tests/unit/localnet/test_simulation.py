from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from quantdesk_oracle.localnet.ledger import Ledger, read_ledger
from quantdesk_oracle.localnet.node import Node
from quantdesk_oracle.localnet.settings import DEFAULT_FEEDS, LocalnetSettings
from quantdesk_oracle.localnet.simulation import Simulation
from quantdesk_oracle.localnet.subscriptions import AccountParameters
from quantdesk_oracle.model import SECOND, PriceUpdate
from quantdesk_oracle.pyth.accounts import decode_price

BTC = DEFAULT_FEEDS[0]
SETTINGS = LocalnetSettings()


def state(node: Node) -> PriceUpdate:
    account = node.read(BTC.address)
    assert account is not None
    return decode_price(account.data)


def run(node: Node, clock, pushes: int) -> Simulation:
    simulation = Simulation(node)
    push(simulation, clock, pushes)
    return simulation


def push(simulation: Simulation, clock, pushes: int) -> None:
    for _ in range(pushes):
        clock.set(simulation.next_instant())
        simulation.act()


def history(node: Node) -> list[str]:
    return [
        one.signature for one in node.history.of_address(BTC.address, limit=1000, before=None, until=None)
    ]


def test_a_push_has_the_second_and_the_slot_of_now(node, clock) -> None:
    run(node, clock, 3)
    assert state(node).publish_time == clock.now() // SECOND
    assert state(node).slot == node.slot


def test_pushes_come_once_a_second_on_the_second(node, clock) -> None:
    simulation = Simulation(node)
    clock.set(clock.now() + 123_456)
    assert simulation.next_instant() % SECOND == 0
    assert 0 < simulation.next_instant() - clock.now() <= SECOND


def test_nothing_is_pushed_twice_in_one_publish_second(node, clock, recorder) -> None:
    node.subscriptions.subscribe(recorder, AccountParameters(BTC.address, "base64", "confirmed", None))
    simulation = Simulation(node)
    for _ in range(4):
        simulation.act()
        clock.set(clock.now() + SECOND // 4)
    assert len(recorder.messages) == len(history(node)) == 1


def test_nothing_is_pushed_while_the_clock_is_behind_the_last_print(node, clock) -> None:
    simulation = run(node, clock, 2)
    clock.set(clock.now() - 60 * SECOND)
    simulation.act()
    assert len(history(node)) == 2


def test_the_ledger_is_the_history(clock, tmp_path: Path) -> None:
    node = Node(SETTINGS, clock)
    with closing(Ledger(tmp_path / "ledger")) as node.ledger:
        run(node, clock, 5)
    entries, counts = read_ledger(tmp_path / "ledger", newest=1000)
    assert [one.signature for one in entries if one.market == "BTC-PERP"][::-1] == history(node)
    assert counts == {"BTC-PERP": 5, "ETH-PERP": 5, "SOL-PERP": 5}


def interrupted(clock, ledger: Path, settings: LocalnetSettings = SETTINGS) -> Node:
    """A node that pushed three times, stopped, and was started again."""
    first = Node(settings, clock)
    with closing(Ledger(ledger)) as first.ledger:
        run(first, clock, 3)
    second = Node(settings, clock)
    Simulation(second).resume(ledger)
    return second


def test_after_a_restart_the_history_is_there_again(clock, tmp_path: Path) -> None:
    node = interrupted(clock, tmp_path / "ledger")
    entries, _ = read_ledger(tmp_path / "ledger", newest=1000)
    assert [one.signature for one in entries if one.pubkey == BTC.address][::-1] == history(node)


def test_after_a_restart_transactions_have_the_same_bytes(clock, tmp_path: Path) -> None:
    node = interrupted(clock, tmp_path / "ledger")
    pusher = Simulation(node).pusher
    for signature in history(node):
        pushed = node.history.find(signature)
        assert pushed is not None
        built = pusher.transaction_of(replace(pushed, signature=""))
        assert built.signature == signature


def test_a_restarted_market_goes_on_as_if_it_had_not_stopped(clock, tmp_path: Path) -> None:
    start = clock.now()
    whole = Node(SETTINGS, clock)
    run(whole, clock, 5)
    clock.set(start)
    resumed = interrupted(clock, tmp_path / "ledger")
    simulation = Simulation(resumed)
    simulation.resume(tmp_path / "ledger")
    push(simulation, clock, 2)
    assert state(resumed) == state(whole)
    assert history(resumed)[0] == history(whole)[0]


def test_a_pruned_history_keeps_whole_batches_provable(clock, tmp_path: Path) -> None:
    node = interrupted(clock, tmp_path / "ledger", replace(SETTINGS, history=4))
    assert len(node.history) == 4
    pusher = Simulation(node).pusher
    for feed in DEFAULT_FEEDS:
        for pushed in node.history.of_address(feed.address, limit=9, before=None, until=None):
            assert pusher.transaction_of(replace(pushed, signature="")).signature == pushed.signature


def test_a_ledger_from_the_future_lets_the_slots_start_at_its_last_one(clock, tmp_path: Path) -> None:
    node = interrupted(clock, tmp_path / "ledger")
    newest = state(node).slot
    clock.set(clock.now() - 3600 * SECOND)
    late = Node(SETTINGS, clock)
    Simulation(late).resume(tmp_path / "ledger")
    assert late.slot == newest


@pytest.mark.parametrize("push_every", [0.1, 1.0, 2.5])
def test_pushes_are_as_far_apart_as_the_settings_say(clock, push_every: float) -> None:
    node = Node(replace(SETTINGS, push_every=push_every), clock)
    simulation = Simulation(node)
    first = simulation.next_instant()
    clock.set(first)
    assert simulation.next_instant() - first == round(push_every * SECOND)
