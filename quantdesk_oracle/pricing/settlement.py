"""One interval of one market, settled from what is stored of it: what the daemon writes, and an audit again."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import NamedTuple

from quantdesk_oracle.model import SECOND, FundingRate, PremiumSample
from quantdesk_oracle.pricing import methods
from quantdesk_oracle.pricing.funding import (
    LATE,
    SETTLED,
    SKIPPED,
    Average,
    FundingParameters,
    input_hash,
)


class Interval(NamedTuple):
    """One funding interval of one market: [boundary − T, boundary)."""

    market: str
    boundary: int
    """µs."""
    parameters: FundingParameters

    @property
    def start(self) -> int:
        """µs."""
        return self.boundary - self.parameters.interval * SECOND


class BoundaryPrint(NamedTuple):
    """The stored print that prices a boundary."""

    price: Decimal
    publish_time: int
    slot: int


def settle_interval(
    interval: Interval,
    samples: list[PremiumSample],
    oracle: BoundaryPrint | None,
    mark_price: Decimal | None,
    *,
    late: bool,
    previous: Decimal = Decimal(0),
    halted: str | None = None,
) -> FundingRate:
    """The row of an interval; rate 0, status `skipped` and a reason where it must not be paid.

    ``previous`` is the rate of the interval before, ``halted`` why the market was halted at the boundary.
    """
    parameters = interval.parameters
    method = methods.of(parameters.method)
    average = method.average(samples, parameters)
    row = FundingRate(
        market=interval.market,
        boundary=interval.boundary,
        funding_rate=Decimal(0),
        premium_index=average.premium,
        index_price=oracle.price if oracle else None,
        publish_time=oracle.publish_time if oracle else None,
        slot=oracle.slot if oracle else None,
        mark_price=mark_price,
        premium_sum=average.premium_sum,
        samples_expected=average.expected,
        samples_used=average.used,
        samples_unusable=average.unusable,
        coverage=average.coverage,
        funding_interval=parameters.interval,
        method=parameters.method,
        parameter_version=parameters.version,
        status=SKIPPED,
        reason=_why_skipped(average, oracle, parameters, halted),
        input_hash=input_hash(samples, with_index=method.NEEDS_INDEX),
    )
    if row.reason is not None or average.premium is None:
        return row
    rate = method.rate(average.premium, parameters, previous)
    return replace(row, funding_rate=rate, status=LATE if late else SETTLED)


def _why_skipped(
    average: Average, oracle: BoundaryPrint | None, parameters: FundingParameters, halted: str | None
) -> str | None:
    if halted is not None:
        return f"halted: {halted}"
    if average.premium is None or average.coverage < parameters.min_coverage:
        return f"coverage below {parameters.min_coverage}: {average.used} of {average.expected} samples"
    if oracle is None:
        return "no usable oracle price at the boundary"
    return None
