from quantdesk_oracle.localnet.history import History, Push
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
