import json
from contextlib import closing
from pathlib import Path

import pytest

from quantdesk_oracle.errors import DataError, UnavailableError
from quantdesk_oracle.localnet.ledger import Ledger, LedgerEntry, read_ledger, to_json
from quantdesk_oracle.model import PriceUpdate

KEYS = [
    "market", "feed_id", "pubkey", "slot", "publish_time", "price", "confidence", "exponent", "ema_price",
    "ema_confidence", "signature",
]  # fmt: skip


def entry(number: int, market: str | None = "BTC-PERP") -> LedgerEntry:
    update = PriceUpdate(bytes(32), 10**14 + number, 5, -8, 100 + number, 99 + number, 10**14, 4, slot=number)
    return LedgerEntry(market, "1" * 32, update, f"signature {number}")


def append(path: Path, entries: list[LedgerEntry]) -> None:
    with closing(Ledger(path)) as ledger:
        ledger.append(entries)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "ledger.jsonl"


def test_a_line_has_the_ledgers_keys_and_whole_numbers(path: Path) -> None:
    append(path, [entry(1)])
    line = json.loads(path.read_text())
    assert list(line) == KEYS
    assert all(isinstance(line[key], int) for key in KEYS[3:10])


def test_what_was_appended_is_on_the_disk_before_the_call_returns(path: Path) -> None:
    with closing(Ledger(path)) as ledger:
        ledger.append([entry(1), entry(2)])
        assert len(path.read_text().splitlines()) == 2


def test_entries_come_back_as_they_were_written(path: Path) -> None:
    written = [entry(number) for number in range(5)]
    append(path, written)
    assert read_ledger(path, newest=10)[0] == written


def test_the_newest_are_read_and_all_are_counted(path: Path) -> None:
    append(path, [entry(number, f"{'AB'[number % 2]}-PERP") for number in range(9)])
    entries, counts = read_ledger(path, newest=2)
    assert [one.update.slot for one in entries] == [7, 8]
    assert counts == {"A-PERP": 5, "B-PERP": 4}


def test_there_is_nothing_in_a_ledger_that_is_not_there(path: Path) -> None:
    assert read_ledger(path, newest=10) == ([], {})


def test_an_unfinished_last_line_is_cut_when_the_ledger_is_opened(path: Path) -> None:
    append(path, [entry(1)])
    with path.open("a") as file:
        file.write('{"market": "BTC-')
    append(path, [entry(2)])
    assert [one.update.slot for one in read_ledger(path, newest=10)[0]] == [1, 2]


def test_a_ledger_of_one_unfinished_line_is_empty(path: Path) -> None:
    path.parent.mkdir()
    path.write_text('{"market"')
    Ledger(path).close()
    assert path.read_text() == ""


@pytest.mark.parametrize("line", ["5", "{}", "not json", '{"market": "X", "feed_id": "zz"}'])
def test_a_line_that_is_no_print_is_named(path: Path, line: str) -> None:
    append(path, [entry(1)])
    with path.open("a") as file:
        file.write(line + "\n")
    with pytest.raises(DataError, match="line 2"):
        read_ledger(path, newest=10)


def test_two_nodes_never_share_a_ledger_and_the_second_is_told_so(path: Path) -> None:
    with closing(Ledger(path)) as first:
        with pytest.raises(UnavailableError, match="in use by another node"):
            Ledger(path)
        first.append([entry(1)])
    append(path, [entry(2)])
    assert [one.update.slot for one in read_ledger(path, newest=10)[0]] == [1, 2]


def test_a_refused_second_node_cuts_nothing_off_the_first_ones_line(path: Path) -> None:
    with closing(Ledger(path)):
        with path.open("a") as file:
            file.write('{"market": "half')
        with pytest.raises(UnavailableError):
            Ledger(path)
        assert path.read_text() == '{"market": "half'


@pytest.mark.parametrize("market", ["BTC-PERP", None, 'odd "name"\\'])
@pytest.mark.parametrize("signature", ["5h2k", None])
@pytest.mark.parametrize("feed_id", [bytes(range(32)), None])
def test_the_quick_way_to_write_a_line_gives_the_same_text(
    path: Path, market: str | None, signature: str | None, feed_id: bytes | None
) -> None:
    one = entry(1, market)
    one = one._replace(signature=signature, update=one.update._replace(feed_id=feed_id))
    append(path, [one])
    assert path.read_text() == json.dumps(to_json(one)) + "\n"
