"""How a market's history is covered, and the picture of it."""

from __future__ import annotations

from xml.etree import ElementTree

from quantdesk_oracle.cli.gaps import MarketCoverage, draw_svg
from quantdesk_oracle.store.gaps import FeedKey, Gap
from quantdesk_oracle.workers.coverage import Cover, cover_parts


def gap(start: int, end: int, state: str, cause: str = "start") -> Gap:
    return Gap(FeedKey("BTC-PERP", "account"), cause, start, end, state=state)


def test_parts_with_prints_are_covered_and_others_are_empty() -> None:
    assert cover_parts([1, 0, 3], [], 0, 300) == [Cover.PRINTS, Cover.EMPTY, Cover.PRINTS]


def test_an_open_gap_is_the_worst_and_reaches_as_far_as_it_goes() -> None:
    known = [gap(50, 150, "healing"), gap(0, 350, "unrecoverable")]
    assert cover_parts([1, 1, 1, 1, 1], known, 0, 500) == [
        Cover.OPEN,
        Cover.OPEN,
        Cover.UNRECOVERABLE,
        Cover.UNRECOVERABLE,
        Cover.PRINTS,
    ]


def test_a_closed_gap_is_healed_where_there_are_prints() -> None:
    assert cover_parts([1, 0, 1], [gap(0, 150, "closed")], 0, 300) == [
        Cover.HEALED,
        Cover.EMPTY,
        Cover.PRINTS,
    ]


def test_a_finished_backfill_says_nothing_of_what_was_missed() -> None:
    assert cover_parts([1], [gap(0, 100, "closed", "backfill")], 0, 100) == [Cover.PRINTS]


def test_a_gap_outside_of_the_time_touches_its_edge_only() -> None:
    assert cover_parts([1, 1], [gap(-500, 10, "open")], 0, 200) == [Cover.OPEN, Cover.PRINTS]


def test_the_picture_is_well_formed_and_escapes_what_it_is_told() -> None:
    one = MarketCoverage("<BTC>&", 3, [Cover.PRINTS, Cover.OPEN], [])
    root = ElementTree.fromstring(draw_svg([one], 0, 3_600_000_000))
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert texts[0] == "<BTC>&"
    fills = [element.get("fill") for element in root.iter("{http://www.w3.org/2000/svg}rect")]
    assert fills[:2] == ["#2e7d32", "#f9a825"]
