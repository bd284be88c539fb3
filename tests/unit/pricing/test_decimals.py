"""Exact arithmetic."""

from __future__ import annotations

from decimal import Decimal, DivisionByZero, FloatOperation, InvalidOperation, localcontext

import pytest

from quantdesk_oracle.pricing.decimals import CONTEXT, clamp, quantise, scaled

D = Decimal


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        ("0.0000000000005", "0.000000000000"),
        ("0.0000000000015", "0.000000000002"),
        ("0.0000000000025", "0.000000000002"),
        ("-0.0000000000015", "-0.000000000002"),
        ("1", "1.000000000000"),
        ("12345678901234567890123456.1234567890125", "12345678901234567890123456.123456789012"),
    ],
)
def test_what_is_stored_has_twelve_decimals_half_to_even(value, stored):
    assert f"{quantise(D(value)):f}" == stored


def test_a_value_too_large_to_store_exactly_raises_instead_of_losing_digits():
    with pytest.raises(InvalidOperation):
        quantise(D(10) ** 40)


@pytest.mark.parametrize(
    ("raw", "exponent", "price"),
    [
        (12_276_250, -5, "122.7625"),
        (1, -12, "0.000000000001"),
        (2**64 - 1, 0, "18446744073709551615"),
        (-(2**63), -12, "-9223372.036854775808"),
        (0, -8, "0"),
    ],
)
def test_a_raw_number_scales_exactly(raw, exponent, price):
    assert scaled(raw, exponent) == D(price)


def test_the_surrounding_context_changes_nothing():
    with localcontext() as context:
        context.prec = 3
        assert scaled(123_456_789, -8) == D("1.23456789")
        assert quantise(D("1.23456789")) == D("1.234567890000")


@pytest.mark.parametrize(
    ("value", "clamped"), [("-2", "-1"), ("-1", "-1"), ("0.5", "0.5"), ("3", "3"), ("4", "3")]
)
def test_clamp_keeps_both_edges(value, clamped):
    assert clamp(D(value), D(-1), D(3)) == D(clamped)


def test_a_float_raises_wherever_it_would_become_a_price():
    with pytest.raises(FloatOperation):
        scaled(1.5, -8)  # type: ignore[arg-type]
    with pytest.raises(AttributeError):
        quantise(1.5)  # type: ignore[arg-type]
    with localcontext(CONTEXT):
        with pytest.raises(FloatOperation):
            clamp(D(1), 0.5, D(2))  # type: ignore[arg-type]
        with pytest.raises(FloatOperation):
            D(0.1)
        with pytest.raises(TypeError):
            D(1) + 0.1  # type: ignore[operator]


def test_dividing_by_nothing_raises():
    with localcontext(CONTEXT), pytest.raises(DivisionByZero):
        D(1) / 0
