"""What holds for every method and any input: caps, signs, monotony, order, and no float anywhere."""

from __future__ import annotations

import random
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantdesk_oracle.model import SECOND, PremiumSample
from quantdesk_oracle.pricing.book import Level, impact_price
from quantdesk_oracle.pricing.funding import FundingParameters
from quantdesk_oracle.pricing.mark import MarkInputs
from quantdesk_oracle.pricing.methods import METHODS, of
from quantdesk_oracle.pricing.premium import SampleInputs

NAMES = st.sampled_from(sorted(METHODS))


def decimals(low: str, high: str, places: int = 12) -> st.SearchStrategy[Decimal]:
    return st.decimals(low, high, places=places, allow_nan=False, allow_infinity=False)


INDEX = decimals("1", "1000000", 6)
PREMIUMS = decimals("-0.2", "0.2")
AROUND = decimals("-0.5", "0.5", 6)


def parameters(name: str, max_rate: Decimal = Decimal(1), interval: int = 3600) -> FundingParameters:
    chosen = of(name).defaults(interval, max_rate)
    return replace(chosen, initial_margin=Decimal("0.05"), maintenance_margin=Decimal("0.03"))


def inputs(index: Decimal, basis: Decimal | None, book: Decimal | None, last: Decimal | None) -> MarkInputs:
    def at(share: Decimal | None) -> Decimal | None:
        return None if share is None else index * (1 + share)

    return MarkInputs(
        index_price=index,
        funding_rate=Decimal("0.001"),
        seconds_to_funding=Decimal(1800),
        funding_interval=3600,
        band=Decimal("0.01"),
        basis_mean=None if basis is None else index * basis,
        book_price=at(book),
        last_trade=at(last),
        book_ema=at(book),
    )


@given(NAMES, PREMIUMS, PREMIUMS, decimals("0.0000001", "0.05"))
def test_a_rate_never_exceeds_the_markets_cap_and_never_falls_with_its_premium(name, one, other, max_rate):
    method, chosen = of(name), parameters(name, max_rate)
    low, high = (method.rate(each, chosen) for each in sorted((one, other)))
    assert max(abs(low), abs(high)) <= max_rate.quantize(Decimal("1e-12"))
    assert low <= high
    assert low.as_tuple().exponent == -12


@given(st.sampled_from(["dydx_v4"]) | NAMES, PREMIUMS)
def test_without_interest_a_rate_is_antisymmetric(name, premium):
    method, chosen = of(name), replace(parameters(name), interest=Decimal(0))
    assert method.rate(-premium, chosen) == -method.rate(premium, chosen)


@given(NAMES, INDEX, AROUND | st.none(), AROUND | st.none(), AROUND | st.none())
def test_a_mark_is_a_positive_decimal_and_quantdesks_is_within_its_band(name, index, basis, book, last):
    given_inputs = inputs(index, basis, book, last)
    mark = of(name).mark(given_inputs)
    assert mark > 0
    assert mark.as_tuple().exponent == -12
    if name == "quantdesk":
        assert abs(mark - index) <= (index * Decimal("0.01")).quantize(Decimal("1e-12")) + Decimal("1e-12")


@given(INDEX, INDEX, AROUND, AROUND, st.integers(1, 1000))
def test_a_mark_never_falls_when_the_oracle_rises_and_all_else_is_equal(index, fixed, basis, book, step):
    """Basis, book and last trade keep their prices; only the index moves."""
    before = inputs(fixed, basis, book, book)._replace(index_price=index)
    after = before._replace(index_price=index + step)
    for name in ("quantdesk", "binance", "bitmex", "dydx_v4"):
        assert of(name).mark(after) >= of(name).mark(before), name


@given(
    st.lists(st.tuples(decimals("1", "1000", 2), decimals("0.001", "10", 3)), min_size=1, max_size=12),
    st.randoms(),
)
def test_an_impact_price_lies_between_best_and_worst_and_levels_may_be_split(pairs, dice: random.Random):
    side = tuple(sorted((Level(*pair) for pair in pairs), reverse=True))
    notional = sum((price * size for price, size in side), Decimal(0)) / 2
    price = impact_price(side, notional)
    assert price is not None
    assert side[-1].price - 1 <= price <= side[0].price + 1
    halves = [Level(each.price, each.size / 2) for each in side for _ in (0, 1)]
    dice.shuffle(halves)
    assert impact_price(sorted(halves, reverse=True), notional) == price


@given(NAMES, st.lists(st.none() | PREMIUMS, min_size=12, max_size=12), st.randoms())
def test_the_order_in_which_samples_are_read_changes_nothing(name, premiums, dice: random.Random):
    rows = [
        PremiumSample("BTC-PERP", place * 5 * SECOND, premium, "used", index_price=Decimal(10_000))
        for place, premium in enumerate(premiums)
    ]
    chosen = parameters(name, interval=60)
    assert of(name).average(rows, chosen) == of(name).average(dice.sample(rows, len(rows)), chosen)


@pytest.mark.parametrize("name", sorted(METHODS))
def test_a_float_poisons_every_method(name):
    good = inputs(Decimal(100), Decimal("0.001"), Decimal("0.001"), Decimal("0.001"))
    with pytest.raises((TypeError, AttributeError, ArithmeticError)):
        of(name).mark(good._replace(index_price=100.5, book_price=100.5))
    with pytest.raises((TypeError, AttributeError, ArithmeticError)):
        of(name).premium(SampleInputs(100.5, Decimal(100), Decimal(101), Decimal(102), True))
    with pytest.raises((TypeError, AttributeError, ArithmeticError)):
        of(name).rate(0.001, parameters(name))
