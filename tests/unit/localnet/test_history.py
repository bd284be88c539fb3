from dataclasses import replace

from quantdesk_oracle.localnet.history import History, Leg, Push, Window
from quantdesk_oracle.localnet.settings import DEFAULT_FEEDS
from quantdesk_oracle.model import PriceUpdate

BTC, ETH, _ = DEFAULT_FEEDS
NOBODY = "1" * 32


def push(number: int, feed=BTC) -> Push:
    update = PriceUpdate(feed.feed_id, 1, 1, -8, number, number - 1, 1, 1, slot=number)
    return Push(feed, update, (update,), f"s{number}")


def history(count: int, limit: int = 100) -> History:
    kept = History(limit)
    for number in range(count):
        kept.add(push(number))
    return kept


def found(
    kept: History, *, limit: int = 1000, before: str | None = None, until: str | None = None
) -> list[str]:
    return [one.signature for one in kept.of_address(BTC.address, limit=limit, before=before, until=until)]


def test_signatures_come_newest_first() -> None:
    assert found(history(4)) == ["s3", "s2", "s1", "s0"]


def test_limit_takes_the_newest() -> None:
    assert found(history(4), limit=2) == ["s3", "s2"]


def test_before_and_until_are_exclusive() -> None:
    assert found(history(6), before="s4", until="s1") == ["s3", "s2"]


def test_pages_by_before_meet_without_gap_or_overlap() -> None:
    kept, pages = history(25), list[str]()
    while page := found(kept, limit=10, before=pages[-1] if pages else None):
        pages += page
    assert pages == [f"s{number}" for number in reversed(range(25))]


def test_an_unknown_before_finds_nothing_and_an_unknown_until_ends_nothing() -> None:
    assert found(history(3), before="nobody's") == []
    assert found(history(3), until="nobody's") == ["s2", "s1", "s0"]


def test_an_address_has_its_own_transactions_only() -> None:
    kept = history(2)
    kept.add(push(7, ETH))
    assert found(kept) == ["s1", "s0"]
    assert kept.of_address(NOBODY, limit=10, before=None, until=None) == []


def test_before_may_be_a_transaction_of_another_address() -> None:
    kept = history(2)
    kept.add(push(7, ETH))
    kept.add(push(8))
    assert found(kept, before="s7") == ["s1", "s0"]


def test_the_oldest_are_pruned() -> None:
    kept = history(10, limit=3)
    assert found(kept) == ["s9", "s8", "s7"]
    assert len(kept) == 3
    assert kept.find("s6") is None
    assert kept.find("s7") is not None


def test_paging_goes_on_after_pruning() -> None:
    assert found(history(10, limit=5), before="s7") == ["s6", "s5"]


def test_however_many_were_pruned_the_newest_are_there_and_no_others() -> None:
    kept = History(limit=50)
    for number in range(5_000):
        kept.add(push(number, (BTC, ETH)[number % 2]))
        oldest = max(0, number - 49)
        assert len(kept) == number - oldest + 1
        assert kept.first_slot == (push(oldest).slot if oldest else 0)
        assert kept.find(f"s{oldest}") is not None
        assert kept.find(f"s{oldest - 1}") is None
    assert found(kept) == [f"s{number}" for number in range(4_998, 4_949, -2)]
    assert found(kept, before="s4960") == ["s4958", "s4956", "s4954", "s4952", "s4950"]
    assert found(kept, before="s4000") == []
    assert found(kept, until="s4000", limit=2) == ["s4998", "s4996"]


def test_a_transaction_of_two_feeds_stands_once_in_the_history_of_each() -> None:
    kept = history(3)
    both = replace(push(3), second=Leg(ETH, push(3, ETH).update))
    kept.add(both)
    assert len(kept) == 4
    assert found(kept, limit=2) == ["s3", "s2"]
    assert kept.of_address(ETH.address, limit=9) == [both]


def test_a_window_hides_what_is_older_and_what_is_newer() -> None:
    kept, window = history(10), Window(oldest=3, newest=6)
    shown = kept.of_address(BTC.address, limit=3, window=window)
    assert [one.signature for one in shown] == ["s6", "s5", "s4"]
    assert [one.slot for one in kept.of_address(BTC.address, limit=99, window=window)] == [6, 5, 4, 3]
    assert [one.slot for one in kept.of_address(BTC.address, limit=99, before="s5", window=window)] == [4, 3]
    assert kept.find("s2", window) is None
    assert kept.find("s7", window) is None
    assert kept.find("s6", window) == push(6)
