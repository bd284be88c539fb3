"""Quarantined prints: what speaks for them, and what does not."""

from __future__ import annotations

from decimal import Decimal

import pytest

from quantdesk_oracle.model import PriceUpdate
from quantdesk_oracle.pricing.quarantine import Agreement, Quarantine, SecondOpinion, Way

START = 1_770_000_000


def a_print(price: float | str, at: int, slot: int | None = None) -> PriceUpdate:
    raw = int(Decimal(str(price)).scaleb(8))
    return PriceUpdate(bytes(32), raw, 1, -8, START + at, 0, raw, 1, START + at if slot is None else slot)


def offered(*prints: tuple[float, int]) -> tuple[list[bool], Way | None]:
    quarantine = Quarantine()
    return [quarantine.offer(a_print(*each)) for each in prints], quarantine.released


def test_three_prints_over_ten_seconds_within_one_per_cent_are_used_from_the_third_on():
    assert offered((100, 0), (100.5, 5), (101, 10)) == ([False, False, True], Way.AGREEMENT)


@pytest.mark.parametrize(
    "prints",
    [
        [(100, 0), (100, 10)],  # two
        [(100, 0), (100, 4), (100, 9)],  # nine seconds
        [(100, 0), (100.6, 5), (101.2, 10)],  # 1.2 % from first to last
        [(100, 0), (102, 5), (100, 10)],  # one in the middle that leaves the run
    ],
)
def test_less_than_that_does_not_speak_for_them(prints):
    usable, way = offered(*prints)
    assert not any(usable)
    assert way is None


def test_once_released_every_print_of_the_run_is_used():
    usable, _ = offered((100, 0), (100, 5), (100, 10), (100.9, 11), (101.8, 12))
    assert usable == [False, False, True, True, True]


def test_a_print_that_leaves_the_run_has_to_prove_itself_again():
    usable, _ = offered((100, 0), (100, 5), (100, 10), (110, 11), (110, 16), (110, 21))
    assert usable == [False, False, True, False, False, True]


def test_after_120_seconds_a_price_that_keeps_moving_is_used_anyway():
    prints = [(100 * 1.009**number, number * 20) for number in range(7)]
    assert offered(*prints) == ([False] * 6 + [True], Way.PATIENCE)


def test_one_print_that_a_second_source_confirms_is_used_at_once():
    quarantine = Quarantine()
    assert quarantine.offer(a_print(100, 0), second_source_agrees=True)
    assert quarantine.released is Way.SECOND_SOURCE


def test_an_accepted_print_ends_the_run():
    quarantine = Quarantine()
    for at in (0, 5):
        quarantine.offer(a_print(100, at))
    quarantine.clear()
    assert not quarantine.offer(a_print(100, 10))


def test_a_print_that_is_not_newer_says_nothing():
    quarantine = Quarantine()
    for at in (0, 10):
        quarantine.offer(a_print(100, at))
    assert not quarantine.offer(a_print(100, 10))
    assert not quarantine.offer(a_print(100, 5))
    assert quarantine.released is None


def test_exponents_may_change_between_prints():
    quarantine = Quarantine()
    quarantine.offer(a_print(100, 0))
    quarantine.offer(a_print(100, 5)._replace(price=100_000, exponent=-3))
    assert quarantine.offer(a_print(100, 10))


@pytest.mark.parametrize(
    ("price", "apart", "agreement"),
    [
        (100, 0, Agreement.AGREES),
        (100.5, 10, Agreement.AGREES),
        (100.51, 0, Agreement.DIFFERS),
        (99.49, 0, Agreement.DIFFERS),
        (100, 11, Agreement.SILENT),
    ],
)
def test_a_second_source_speaks_of_prints_of_about_its_own_time(price, apart, agreement):
    opinion = SecondOpinion()
    assert opinion.of(a_print(price, 0)) is Agreement.SILENT
    opinion.hear(a_print(100, 100))
    opinion.hear(a_print(500, 50))
    assert opinion.of(a_print(price, 100 + apart)) is agreement
