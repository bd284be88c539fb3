"""Arithmetic of whole numbers as on-chain programs do it: division truncates towards zero, where ``//`` floors."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_DOWN, Decimal


def divide(numerator: int, denominator: int) -> int:
    """``numerator / denominator`` without its fraction.

    >>> divide(-7, 2), -7 // 2
    (-3, -4)
    """
    quotient = abs(numerator) // abs(denominator)
    return quotient if (numerator < 0) == (denominator < 0) else -quotient


def average(values: Sequence[int]) -> int:
    """The mean without its fraction; 0 of nothing."""
    return divide(sum(values), len(values)) if values else 0


def whole(value: Decimal) -> int:
    """``value`` without its fraction.

    >>> whole(Decimal("-2.9"))
    -2
    """
    return int(value.to_integral_value(rounding=ROUND_DOWN))


def clamped(value: int, low: int, high: int) -> int:
    """``value``, but not below ``low`` nor above ``high``."""
    return max(low, min(value, high))
