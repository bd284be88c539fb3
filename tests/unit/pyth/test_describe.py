"""Words and exact decimals."""

from __future__ import annotations

from decimal import Decimal

import pytest

from quantdesk_oracle.pyth.describe import LARGEST_EXPONENT, exact_decimal, iso_time


@pytest.mark.parametrize(
    ("raw", "exponent", "text"),
    [
        (12_276_250, -5, "122.76250"),
        (1_500, -5, "0.01500"),
        (0, -8, "0.00000000"),
        (-1, -8, "-0.00000001"),
        (1, 0, "1"),
        (5, 3, "5000"),
        (0, 3, "0"),
        (2**64 - 1, -12, "18446744.073709551615"),
        (-(2**63), 0, "-9223372036854775808"),
        (145_975, -10, "0.0000145975"),
    ],
)
def test_a_price_is_written_with_every_digit_of_its_exponent(raw, exponent, text):
    assert exact_decimal(raw, exponent) == text


@pytest.mark.parametrize("exponent", [-LARGEST_EXPONENT, LARGEST_EXPONENT])
def test_a_large_exponent_is_still_written_out_without_an_e(exponent):
    text = exact_decimal(7, exponent)
    assert text is not None
    assert "e" not in text.lower()
    assert Decimal(text) == Decimal(7).scaleb(exponent)


@pytest.mark.parametrize("exponent", [LARGEST_EXPONENT + 1, -LARGEST_EXPONENT - 1, 2**31 - 1, -(2**31)])
def test_an_absurd_exponent_gives_no_price_rather_than_gigabytes_of_zeros(exponent):
    assert exact_decimal(7, exponent) is None
    assert exact_decimal(0, exponent) is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (1_789_699_386, "2026-09-18T02:43:06Z"),
        (-1, "1969-12-31T23:59:59Z"),
        (253_402_300_799, "9999-12-31T23:59:59Z"),
        (-62_135_596_800, "0001-01-01T00:00:00Z"),
    ],
)
def test_a_time_is_utc_to_the_second(seconds, text):
    assert iso_time(seconds) == text


@pytest.mark.parametrize("seconds", [253_402_300_800, -62_135_596_801, 2**63 - 1, -(2**63)])
def test_a_time_beyond_the_calendar_has_no_text(seconds):
    assert iso_time(seconds) is None
