import base64
import json
import logging
from pathlib import Path

import pytest

from quantdesk_oracle.errors import DataError
from quantdesk_oracle.localnet.node import Node
from quantdesk_oracle.localnet.pushes import encode_price_update_v2
from quantdesk_oracle.localnet.replay import READER_SLOTS, Replay, load_dumps
from quantdesk_oracle.localnet.settings import DEFAULT_FEEDS
from quantdesk_oracle.localnet.subscriptions import AccountParameters
from quantdesk_oracle.model import PriceUpdate
from quantdesk_oracle.pyth.addresses import RECEIVERS

SOL = DEFAULT_FEEDS[2]
OWNER = RECEIVERS[SOL.generation]
WATCHED = AccountParameters(SOL.address, "base64", "confirmed", None)


def price(slot: int, publish_time: int) -> bytes:
    update = PriceUpdate(SOL.feed_id, 10**10, 10**6, -8, publish_time, publish_time - 1, 10**10, 10**6, slot)
    return encode_price_update_v2(SOL.address, update)


def dump(data: bytes, pubkey: str = SOL.address, **account: object) -> dict[str, object]:
    encoded = [base64.b64encode(data).decode(), "base64"]
    return {"pubkey": pubkey, "account": {"lamports": 7, "data": encoded, "owner": OWNER, **account}}


FIRST, SECOND_, THIRD, BROKEN = price(100, 50), price(200, 40), price(200, 60), b"no account"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a.json").write_text(json.dumps([dump(THIRD), dump(FIRST)]))
    (tmp_path / "b.json").write_text(json.dumps(dump(SECOND_)))
    (tmp_path / "z.json").write_text(json.dumps(dump(BROKEN)))
    return tmp_path


IN_ORDER = [BROKEN, FIRST, SECOND_, THIRD]


def start(node: Node, folder: Path) -> Replay:
    return Replay(node, load_dumps(folder))


def slots(replay: Replay, clock, count: int) -> None:
    for _ in range(count):
        clock.set(replay.next_instant())
        replay.act()


def subscribe(node: Node, recorder) -> None:
    node.subscriptions.subscribe(recorder, WATCHED)
    assert node.audience is not None
    node.audience.touched(SOL.address, subscribed=True)


def told(recorder) -> list[bytes]:
    return [base64.b64decode(one["value"]["data"][0]) for one in recorder.results()]


def read(node: Node) -> bytes:
    state = node.read(SOL.address)
    assert state is not None
    return state.data


def test_a_subscriber_is_told_each_dump_in_a_slot_of_its_own_oldest_first(
    node, clock, folder, recorder
) -> None:
    replay = start(node, folder)
    subscribe(node, recorder)
    seen = []
    for _ in range(6):
        slots(replay, clock, 1)
        seen.append(len(told(recorder)))
    assert seen == [1, 2, 3, 4, 4, 4]
    assert told(recorder) == IN_ORDER


def test_nothing_is_served_before_somebody_asks(node, clock, folder, recorder) -> None:
    replay = start(node, folder)
    slots(replay, clock, 20)
    subscribe(node, recorder)
    slots(replay, clock, 4)
    assert told(recorder) == IN_ORDER


def test_a_reader_gets_the_first_one_at_once_and_it_stays_a_while(node, clock, folder) -> None:
    replay = start(node, folder)
    assert read(node) == BROKEN
    slots(replay, clock, READER_SLOTS - 1)
    assert read(node) == BROKEN
    later = []
    for _ in range(4):
        slots(replay, clock, 1)
        later.append(read(node))
    assert later == [FIRST, SECOND_, THIRD, THIRD]


def test_a_client_that_reads_before_it_subscribes_misses_nothing(node, clock, folder, recorder) -> None:
    replay = start(node, folder)
    first = read(node)
    slots(replay, clock, 2)
    subscribe(node, recorder)
    slots(replay, clock, 4)
    assert [first, *told(recorder)] == IN_ORDER


def test_a_client_that_subscribes_and_reads_at_once_misses_nothing(node, clock, folder, recorder) -> None:
    replay = start(node, folder)
    subscribe(node, recorder)
    assert read(node) == BROKEN
    slots(replay, clock, 4)
    assert told(recorder) == IN_ORDER


def test_reading_again_changes_nothing(node, folder) -> None:
    start(node, folder)
    assert [read(node) for _ in range(5)] == [BROKEN] * 5


def test_the_node_starts_above_every_slot_that_it_serves(node, folder, tmp_path: Path) -> None:
    high = node.slot + 10**6
    (tmp_path / "high.json").write_text(json.dumps(dump(price(high, 60))))
    start(node, folder)
    assert node.slot == high + 1


def test_a_slot_that_no_chain_reaches_does_not_move_the_node(node, folder, tmp_path: Path) -> None:
    (tmp_path / "high.json").write_text(json.dumps(dump(price(2**64 - 1, 60))))
    before = node.slot
    start(node, folder)
    assert node.slot == before


def test_a_file_that_is_no_dump_is_skipped_with_one_line(folder: Path, caplog) -> None:
    (folder / "README.md").write_text("# words")
    (folder / "list.json").write_text(json.dumps([1, 2, dump(FIRST)]))
    (folder / "bytes.bin").write_bytes(b"\xff\xfe")
    with caplog.at_level(logging.WARNING):
        scenes = load_dumps(folder)
    assert len(scenes) == 5
    assert [record.getMessage().split()[1] for record in caplog.records] == [
        "file=README.md",
        "file=bytes.bin",
        "file=list.json",
    ]


def test_a_dump_without_lamports_is_no_closed_account(node, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(dump(FIRST, lamports=0)))
    start(node, tmp_path)
    state = node.read(SOL.address)
    assert state is not None
    assert state.lamports > 0


@pytest.mark.parametrize("name", ["missing", "empty"])
def test_a_folder_without_dumps_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=name):
        load_dumps(tmp_path / name)


def test_prints_of_dumps_are_in_the_ledger_without_a_signature(node, folder, clock) -> None:
    lines = []

    class Lines:
        def append(self, entries) -> None:
            lines.extend(entries)

    node.ledger = Lines()
    replay = start(node, folder)
    read(node)
    slots(replay, clock, 10)
    assert [(one.market, one.update.slot, one.signature) for one in lines] == [
        ("SOL-PERP", 100, None),
        ("SOL-PERP", 200, None),
        ("SOL-PERP", 200, None),
    ]
