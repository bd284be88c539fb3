"""Windows and moving averages."""

from __future__ import annotations

from decimal import Decimal

from quantdesk_oracle.model import SECOND
from quantdesk_oracle.pricing.averages import Averages, MovingAverage, Window

D = Decimal


def test_a_window_takes_one_value_a_second_and_forgets_what_is_older():
    window = Window()
    for tenth in range(2_000):
        window.take(tenth * SECOND // 10, D(tenth // 10))
    mean = window.mean(199 * SECOND, 150)
    assert (mean.number, mean.sum, mean.mean) == (150, D(sum(range(50, 200))), D("124.5"))
    assert window.mean(199 * SECOND, 30).mean == D("184.5")


def test_what_is_not_yet_at_an_instant_does_not_count():
    window = Window()
    window.take(10 * SECOND, D(5))
    assert window.mean(9 * SECOND, 150).mean is None
    assert window.mean(160 * SECOND, 150).mean is None


def test_a_moving_average_decays_by_e_in_its_time_constant():
    average = MovingAverage().moved(D(100), D(1), 150)
    assert average.value == 100
    later = average.moved(D(0), D(150), 150)
    assert later.numerator == D("36.787944117144")  # 100 / e
    assert later.denominator == D("150.367879441171")


def test_averages_come_back_from_their_row_digit_for_digit():
    averages = (
        Averages().moved(SECOND, D("1.5"), D(9_999), (150, 30)).moved(2 * SECOND, None, D(10_001), (150, 30))
    )
    again = Averages.of_json(averages.as_json(), 2 * SECOND)
    assert again == averages
    assert averages.basis.value == D("1.5")


def test_an_instant_that_is_not_later_moves_nothing():
    averages = Averages().moved(2 * SECOND, D(1), D(1), (150, 30))
    assert averages.moved(2 * SECOND, D(9), D(9), (150, 30)) == averages
    assert averages.moved(SECOND, D(9), D(9), (150, 30)) == averages
