"""Exact arithmetic: one context, and the scales of what is stored."""

from __future__ import annotations

from decimal import (
    ROUND_HALF_EVEN,
    Context,
    Decimal,
    DivisionByZero,
    FloatOperation,
    InvalidOperation,
    Overflow,
)
from typing import Final

CONTEXT: Final = Context(
    prec=50,
    rounding=ROUND_HALF_EVEN,
    traps=[InvalidOperation, DivisionByZero, Overflow, FloatOperation],
)
"""Used through ``localcontext(CONTEXT)``; a float that would become a Decimal, or meet one, raises."""

QUANTUM: Final = Decimal("1e-12")
"""The last digit of stored prices, NUMERIC(38,12), and of rates and premiums, NUMERIC(24,12)."""
LARGEST_FRACTION: Final = Decimal("999999999999.999999999999")
"""The largest rate or premium that NUMERIC(24,12) holds."""
TOTAL_QUANTUM: Final = Decimal("1e-6")
"""The last digit of stored funding totals, in quote units."""
ZERO: Final = Decimal(0)


def quantise(value: Decimal) -> Decimal:
    """``value`` as it is stored: twelve decimals, half to even."""
    return value.quantize(QUANTUM, context=CONTEXT)


def quantised_fraction(value: Decimal) -> Decimal:
    """A premium as it is stored: twelve decimals, and no larger than its column holds.

    One absurd order must not make a row that the database refuses: a rate's caps lie far below this bound.
    """
    return quantise(clamp(value, -LARGEST_FRACTION, LARGEST_FRACTION))


def scaled(raw: int, exponent: int) -> Decimal:
    """A raw integer of a print as the price it stands for: raw · 10**exponent, exactly."""
    return CONTEXT.create_decimal(raw).scaleb(exponent, context=CONTEXT)


def clamp(value: Decimal, low: Decimal, high: Decimal) -> Decimal:
    """``value``, but not below ``low`` nor above ``high``."""
    return max(low, min(value, high))
