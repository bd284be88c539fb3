"""One interval of one market, settled from what is stored of it: what the daemon writes, and an audit again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Final, NamedTuple

from quantdesk_oracle.model import SECOND, FundingRate, PremiumSample
from quantdesk_oracle.pricing import methods
from quantdesk_oracle.pricing.digest import input_hash
from quantdesk_oracle.pricing.funding import (
    LATE,
    SETTLED,
    SKIPPED,
    Average,
    FundingParameters,
    next_boundary,
    total_funding,
)

HALTED: Final = "halted"
UNHEALED: Final = "unhealed"
"""How the reasons begin of what is skipped whatever its samples and its boundary's print say."""


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


class OpenSizes(NamedTuple):
    """Open positions of a market, base units."""

    long: Decimal
    short: Decimal


def settle_interval(
    interval: Interval,
    samples: Sequence[PremiumSample],
    oracle: BoundaryPrint | None,
    mark_price: Decimal | None,
    *,
    late: bool,
    previous: Decimal = Decimal(0),
    halted: str | None = None,
    unhealed: bool = False,
    sizes: OpenSizes | None = None,
) -> FundingRate:
    """The row of an interval; rate 0, status `skipped` and a reason where it must not be paid.

    ``previous`` is the rate of the interval before, ``halted`` why the market was halted at the boundary, ``unhealed``
    whether prints up to it are still missing, ``sizes`` what is open now: in a row that is settled in time, and in no
    other.
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
        reason=_why_skipped(average, oracle, parameters, halted, unhealed=unhealed),
        input_hash="",
    )
    if row.reason is None and average.premium is not None:
        rate = method.rate(average.premium, parameters, previous)
        row = replace(row, funding_rate=rate, status=LATE if late else SETTLED)
    if row.status == SETTLED and sizes is not None:
        row = _with_total(row, sizes)
    return replace(row, input_hash=input_hash(row, samples, parameters))


def _with_total(row: FundingRate, sizes: OpenSizes) -> FundingRate:
    assert row.index_price is not None, "a settled interval has a boundary price"
    total = total_funding(sizes.long, sizes.short, row.index_price, row.funding_rate)
    return replace(row, long_size=sizes.long, short_size=sizes.short, total_funding=total)


class Estimate(NamedTuple):
    """What a running interval would be settled with if no more samples came: those not taken count as 0."""

    at: int
    """When it was made, µs."""
    boundary: int
    """The interval's end, µs."""
    rate: Decimal | None
    """A fraction per interval; None where nothing of the interval is observable any more."""
    average: Average


def estimate_interval(
    samples: Sequence[PremiumSample], parameters: FundingParameters, now: int, previous: Decimal
) -> Estimate:
    """The interval that runs at ``now`` (µs) from its samples so far, by the method that will settle it.

    ``previous`` is the rate of the interval before.
    """
    method = methods.of(parameters.method)
    average = method.average(samples, parameters)
    rate = None if average.premium is None else method.rate(average.premium, parameters, previous)
    return Estimate(now, next_boundary(now, parameters.interval), rate, average)


def _why_skipped(
    average: Average,
    oracle: BoundaryPrint | None,
    parameters: FundingParameters,
    halted: str | None,
    *,
    unhealed: bool,
) -> str | None:
    if halted is not None:
        return f"{HALTED}: {halted}"
    if average.premium is None or average.coverage < parameters.min_coverage:
        return f"coverage below {parameters.min_coverage}: {average.used} of {average.expected} samples"
    if unhealed:
        return f"{UNHEALED}: prints up to the boundary were not read back in time"
    if oracle is None:
        return "no usable oracle price at the boundary"
    return None
