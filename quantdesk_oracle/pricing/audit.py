"""Rows against their own inputs: what differs, in words. Pure; the rows are read by ``store.audit``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal, localcontext
from typing import NamedTuple

from quantdesk_oracle.model import SECOND, PremiumSample
from quantdesk_oracle.pricing import methods
from quantdesk_oracle.pricing.averages import Averages
from quantdesk_oracle.pricing.book import TRADE_SECONDS, book_price
from quantdesk_oracle.pricing.decimals import CONTEXT, quantise
from quantdesk_oracle.pricing.funding import (
    FundingParameters,
    input_hash,
    next_boundary,
    total_funding,
)
from quantdesk_oracle.pricing.mark import MarkInputs
from quantdesk_oracle.pricing.premium import SampleInputs


class Difference(NamedTuple):
    """One value of one row that does not come out of the row's inputs."""

    instant: int
    """Of the row, µs."""
    column: str
    stored: object
    recomputed: object


class MarkRow(NamedTuple):
    """A stored mark with its inputs, and the print that it names (None where that is no longer kept)."""

    instant: int
    mark_price: Decimal
    index_price: Decimal
    print_price: Decimal | None
    funding_rate: Decimal
    newest_rates: Sequence[Decimal]
    """What may have been the newest rate at the instant, of the newest boundary first; zero before any."""
    seconds_to_funding: Decimal
    best_bid: Decimal | None
    best_ask: Decimal | None
    last_trade: Decimal | None
    last_trade_at: int | None
    basis_sum: Decimal | None
    basis_count: int
    basis_mean: Decimal | None
    ema_state: str | None
    parameters: FundingParameters

    @property
    def touch(self) -> tuple[Decimal, Decimal] | None:
        """Best bid and ask as stored; None without a book."""
        if self.best_bid is None or self.best_ask is None or self.best_bid >= self.best_ask:
            return None
        return self.best_bid, self.best_ask

    def inputs(self) -> MarkInputs:
        """What the method's formula takes."""
        averages = Averages.of_json(self.ema_state, self.instant) if self.ema_state else None
        return MarkInputs(
            index_price=self.index_price,
            funding_rate=self.funding_rate,
            seconds_to_funding=self.seconds_to_funding,
            funding_interval=self.parameters.interval,
            band=self.parameters.band,
            basis_mean=averages.basis.value if averages else self.basis_mean,
            book_price=book_price(self.touch, self.last_trade),
            last_trade=self.last_trade,
            book_ema=averages.book.value if averages else None,
        )


def mark_differences(row: MarkRow) -> Iterator[Difference]:
    """Everything of a mark's row that its inputs contradict."""
    expected = {
        "mark_price": (row.mark_price, methods.of(row.parameters.method).mark(row.inputs())),
        "basis_mean": (row.basis_mean, _mean(row)),
        "oracle_price": (row.index_price, row.index_price if row.print_price is None else row.print_price),
        "seconds_to_funding": (row.seconds_to_funding, _until_funding(row)),
    }
    for column, (stored, recomputed) in expected.items():
        if stored != recomputed:
            yield Difference(row.instant, column, stored, recomputed)
    # Which of them was known to its daemon depends on when the boundary was settled, seconds after it or later.
    if row.funding_rate not in row.newest_rates:
        yield Difference(row.instant, "funding_rate", row.funding_rate, row.newest_rates[0])
    if (row.best_bid is None) is not (row.best_ask is None) or (row.best_bid and row.touch is None):
        yield Difference(row.instant, "best_bid", row.best_bid, "a bid below the ask, or neither")
    if row.last_trade_at is not None and not 0 <= row.instant - row.last_trade_at <= TRADE_SECONDS * SECOND:
        yield Difference(row.instant, "last_trade_at", row.last_trade_at, "a trade of the last 60 s")


def _mean(row: MarkRow) -> Decimal | None:
    if row.basis_sum is None or not row.basis_count:
        return None
    with localcontext(CONTEXT):
        return quantise(row.basis_sum / row.basis_count)


def _until_funding(row: MarkRow) -> Decimal:
    return Decimal(next_boundary(row.instant, row.parameters.interval) - row.instant) / SECOND


class RateRow(NamedTuple):
    """A stored automatic rate with its parameters, and what it names (None where that is no longer kept)."""

    instant: int
    funding_rate: Decimal
    premium_index: Decimal | None
    premium_sum: Decimal | None
    samples_expected: int
    samples_used: int
    samples_unusable: int
    coverage: Decimal
    status: str
    reason: str | None
    input_hash: str | None
    index_price: Decimal | None
    print_price: Decimal | None
    mark_price: Decimal | None
    stored_mark: Decimal | None
    long_size: Decimal | None
    short_size: Decimal | None
    total_funding: Decimal | None
    previous_rate: Decimal | None
    parameters: FundingParameters


def rate_of(row: RateRow, premium: Decimal | None) -> Decimal:
    """The rate that a row's status, parameters and an average premium come to."""
    if row.status == "skipped" or premium is None:
        return Decimal(0)
    method = methods.of(row.parameters.method)
    return method.rate(premium, row.parameters, row.previous_rate or Decimal(0))


def rate_differences(row: RateRow, samples: Sequence[PremiumSample]) -> Iterator[Difference]:
    """Everything of a rate's row that its samples contradict."""
    method = methods.of(row.parameters.method)
    average = method.average(samples, row.parameters)
    expected = {
        "samples_expected": (row.samples_expected, average.expected),
        "samples_used": (row.samples_used, average.used),
        "samples_unusable": (row.samples_unusable, average.unusable),
        "premium_sum": (row.premium_sum, average.premium_sum),
        "premium_index": (row.premium_index, average.premium),
        "coverage": (row.coverage, average.coverage),
        "input_hash": (row.input_hash, input_hash(samples, with_index=method.NEEDS_INDEX)),
        "funding_rate": (row.funding_rate, rate_of(row, average.premium)),
    }
    for column, (stored, recomputed) in expected.items():
        if stored != recomputed:
            yield Difference(row.instant, column, stored, recomputed)
    yield from named_differences(row)
    low = average.coverage < row.parameters.min_coverage or row.index_price is None
    halted = (row.reason or "").startswith("halted")
    if (row.status == "skipped") is not (low or halted):
        yield Difference(row.instant, "status", row.status, "skipped" if low else "not skipped")


def expired_differences(row: RateRow) -> Iterator[Difference]:
    """What a rate's row says against itself, where its samples are no longer kept."""
    if row.funding_rate != (recomputed := rate_of(row, row.premium_index)):
        yield Difference(row.instant, "funding_rate", row.funding_rate, recomputed)
    yield from named_differences(row)


def named_differences(row: RateRow) -> Iterator[Difference]:
    """The boundary's print and mark against the rows they are named by, and the total against its sizes."""
    if row.print_price is not None and row.print_price != row.index_price:
        yield Difference(row.instant, "oracle_price", row.index_price, row.print_price)
    if row.stored_mark is not None and row.mark_price is not None and row.mark_price != row.stored_mark:
        yield Difference(row.instant, "mark_price", row.mark_price, row.stored_mark)
    if row.long_size is None or row.short_size is None or row.index_price is None:
        return
    total = total_funding(row.long_size, row.short_size, row.index_price, row.funding_rate)
    if row.total_funding != total:
        yield Difference(row.instant, "total_funding", row.total_funding, total)


def sample_differences(
    sample: PremiumSample, mark: Decimal | None, index: Decimal | None, method: str
) -> Iterator[Difference]:
    """A used sample against the impact prices in its row, and ``mark`` and ``index`` of the mark it was taken from.

    These are None where that is no longer kept.
    """
    if sample.status != "used" or sample.index_price is None:
        return
    if index is not None and index != sample.index_price:
        yield Difference(sample.instant, "index_price", sample.index_price, index)
    has_book = sample.mark_instant is None
    if mark is None and (not has_book or method in ("bitmex", "drift")):
        return
    inputs = SampleInputs(
        sample.index_price, mark or sample.index_price, sample.impact_bid, sample.impact_ask, has_book
    )
    if (premium := methods.of(method).premium(inputs)) != sample.premium:
        yield Difference(sample.instant, "premium", sample.premium, premium)
