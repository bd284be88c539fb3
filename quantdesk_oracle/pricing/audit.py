"""Rows against their own inputs: what differs, in words. Pure; the rows are read by ``store.audit``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal, localcontext
from typing import NamedTuple

from quantdesk_oracle.model import SECOND, FundingRate, MarkPrice, PremiumSample
from quantdesk_oracle.pricing import methods
from quantdesk_oracle.pricing.averages import Averages
from quantdesk_oracle.pricing.book import TRADE_SECONDS, book_price
from quantdesk_oracle.pricing.decimals import CONTEXT, quantise
from quantdesk_oracle.pricing.digest import input_hash, mark_digest
from quantdesk_oracle.pricing.funding import SETTLED, SKIPPED, FundingParameters, next_boundary, total_funding
from quantdesk_oracle.pricing.mark import MarkInputs
from quantdesk_oracle.pricing.premium import SampleInputs
from quantdesk_oracle.pricing.settlement import HALTED, UNHEALED


class Difference(NamedTuple):
    """One value of one row that does not come out of the row's inputs."""

    instant: int
    """Of the row, µs."""
    column: str
    stored: object
    recomputed: object


class MarkRow(NamedTuple):
    """A stored mark, and what it is held against: parameters, rates, and its print (None where no longer kept)."""

    mark: MarkPrice
    digest: int | None
    """As it was written with the row; None in rows of before, or of other writers."""
    print_price: Decimal | None
    newest_rates: Sequence[Decimal]
    """What may have been the newest rate at the instant, of the newest boundary first; zero before any."""
    parameters: FundingParameters

    @property
    def touch(self) -> tuple[Decimal, Decimal] | None:
        """Best bid and ask as stored; None without a book."""
        bid, ask = self.mark.best_bid, self.mark.best_ask
        return None if bid is None or ask is None or bid >= ask else (bid, ask)

    def inputs(self) -> MarkInputs:
        """What the method's formula takes."""
        mark = self.mark
        averages = Averages.of_json(mark.ema_state, mark.instant) if mark.ema_state else None
        return MarkInputs(
            index_price=mark.index_price,
            funding_rate=mark.funding_rate,
            seconds_to_funding=mark.seconds_to_funding,
            funding_interval=self.parameters.interval,
            band=self.parameters.band,
            basis_mean=averages.basis.value if averages else mark.basis_mean,
            book_price=book_price(self.touch, mark.last_trade_price),
            last_trade=mark.last_trade_price,
            book_ema=averages.book.value if averages else None,
        )


def mark_differences(row: MarkRow) -> Iterator[Difference]:
    """Everything of a mark's row that its inputs contradict, its digest last: it alone does not say what changed."""
    mark = row.mark
    expected = {
        "mark_price": (mark.mark_price, methods.of(row.parameters.method).mark(row.inputs())),
        "basis_mean": (mark.basis_mean, _mean(mark)),
        "oracle_price": (mark.index_price, mark.index_price if row.print_price is None else row.print_price),
        "seconds_to_funding": (mark.seconds_to_funding, _until_funding(row)),
        "funding_interval": (mark.funding_interval, row.parameters.interval),
    }
    for column, (stored, recomputed) in expected.items():
        if stored != recomputed:
            yield Difference(mark.instant, column, stored, recomputed)
    # Which of them was known to its daemon depends on when the boundary was settled, seconds after it or later.
    if mark.funding_rate not in row.newest_rates:
        yield Difference(mark.instant, "funding_rate", mark.funding_rate, row.newest_rates[0])
    if (mark.best_bid is None) is not (mark.best_ask is None) or (mark.best_bid and row.touch is None):
        yield Difference(mark.instant, "best_bid", mark.best_bid, "a bid below the ask, or neither")
    traded = mark.last_trade_at
    if traded is not None and not 0 <= mark.instant - traded <= TRADE_SECONDS * SECOND:
        yield Difference(mark.instant, "last_trade_at", traded, "a trade of the last 60 s")
    if row.digest is not None and row.digest != (digest := mark_digest(mark)):
        yield Difference(mark.instant, "digest", row.digest, digest)


def _mean(mark: MarkPrice) -> Decimal | None:
    if mark.basis_sum is None or not mark.basis_count:
        return None
    with localcontext(CONTEXT):
        return quantise(mark.basis_sum / mark.basis_count)


def _until_funding(row: MarkRow) -> Decimal:
    instant = row.mark.instant
    return Decimal(next_boundary(instant, row.parameters.interval) - instant) / SECOND


class RateRow(NamedTuple):
    """A stored automatic rate with its parameters, and what it names (None where that is no longer kept)."""

    rate: FundingRate
    print_price: Decimal | None
    """Of the boundary's print."""
    stored_mark: Decimal | None
    """The mark at the boundary."""
    previous_rate: Decimal | None
    """Of the interval before."""
    parameters: FundingParameters


def rate_of(row: RateRow, premium: Decimal | None) -> Decimal:
    """The rate that a row's status, parameters and an average premium come to."""
    if row.rate.status == SKIPPED or premium is None:
        return Decimal(0)
    method = methods.of(row.parameters.method)
    return method.rate(premium, row.parameters, row.previous_rate or Decimal(0))


def rate_differences(row: RateRow, samples: Sequence[PremiumSample]) -> Iterator[Difference]:
    """Everything of a rate's row that its samples contradict, its hash last: it alone does not say what changed."""
    rate, average = row.rate, methods.of(row.parameters.method).average(samples, row.parameters)
    expected = {
        "samples_expected": (rate.samples_expected, average.expected),
        "samples_used": (rate.samples_used, average.used),
        "samples_unusable": (rate.samples_unusable, average.unusable),
        "premium_sum": (rate.premium_sum, average.premium_sum),
        "premium_index": (rate.premium_index, average.premium),
        "coverage": (rate.coverage, average.coverage),
        "funding_interval": (rate.funding_interval, row.parameters.interval),
        "funding_rate": (rate.funding_rate, rate_of(row, average.premium)),
    }
    for column, (stored, recomputed) in expected.items():
        if stored != recomputed:
            yield Difference(rate.boundary, column, stored, recomputed)
    yield from named_differences(row)
    low = average.coverage < row.parameters.min_coverage or rate.index_price is None
    withheld = (rate.reason or "").startswith((HALTED, UNHEALED))
    if (rate.status == SKIPPED) is not (low or withheld):
        yield Difference(rate.boundary, "status", rate.status, "skipped" if low else "not skipped")
    if (rate.status == SETTLED) is not (rate.long_size is not None):
        yield Difference(rate.boundary, "status", rate.status, "settled with open sizes, or neither")
    if rate.input_hash != (recomputed := input_hash(rate, samples, row.parameters)):
        yield Difference(rate.boundary, "input_hash", rate.input_hash, recomputed)


def expired_differences(row: RateRow) -> Iterator[Difference]:
    """What a rate's row says against itself, where its samples are no longer kept."""
    if row.rate.funding_rate != (recomputed := rate_of(row, row.rate.premium_index)):
        yield Difference(row.rate.boundary, "funding_rate", row.rate.funding_rate, recomputed)
    yield from named_differences(row)


def named_differences(row: RateRow) -> Iterator[Difference]:
    """The boundary's print and mark against the rows they are named by, and the total against its sizes."""
    rate = row.rate
    if row.print_price is not None and row.print_price != rate.index_price:
        yield Difference(rate.boundary, "oracle_price", rate.index_price, row.print_price)
    if row.stored_mark is not None and rate.mark_price is not None and rate.mark_price != row.stored_mark:
        yield Difference(rate.boundary, "mark_price", rate.mark_price, row.stored_mark)
    if rate.long_size is None or rate.short_size is None or rate.index_price is None:
        return
    total = total_funding(rate.long_size, rate.short_size, rate.index_price, rate.funding_rate)
    if rate.total_funding != total:
        yield Difference(rate.boundary, "total_funding", rate.total_funding, total)


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
