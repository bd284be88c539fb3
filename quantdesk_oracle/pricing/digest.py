"""Digests of stored inputs: what makes every digit of a row count, also one that its result does not depend on.

The worse of two votes, an impact price on the far side of the index, the slot of a print: none of them moves a mark
or a rate, and an audit is to find each of them changed. So a row keeps SHA-256 over one line per record, made of
its fields in the order written here, joined by `|`, each line ended by a newline. Decimals are written without an
exponent and without trailing zeros, instants in µs, nothing as `null`.

>>> line(Decimal("1.500"), None, 7, "settled")
b'1.5|null|7|settled\\n'
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from decimal import Decimal

from quantdesk_oracle.model import FundingRate, MarkPrice, PremiumSample
from quantdesk_oracle.pricing.funding import FundingParameters, in_time


def mark_digest(mark: MarkPrice) -> int:
    """The first eight bytes, a signed whole number as a bigint holds it: a mark is written every second.

    The line: ``created_at | mark_price | oracle_price | oracle_publish_time (s) | oracle_slot | funding_rate |
    seconds_to_funding | funding_interval | method | parameter_version | status | best_bid | best_ask |
    last_trade_price | last_trade_at | basis_sum | basis_count | basis_mean | ema_state (JSON, keys in order, no
    spaces)``.
    """
    states = None if mark.ema_state is None else _compact(mark.ema_state)
    of_book = mark.best_bid, mark.best_ask, mark.last_trade_price, mark.last_trade_at
    of_basis = mark.basis_sum, mark.basis_count, mark.basis_mean
    of_index = mark.index_price, mark.publish_time, mark.slot
    of_funding = mark.funding_rate, mark.seconds_to_funding, mark.funding_interval
    named = mark.method, mark.parameter_version, mark.status.value
    values = mark.instant, mark.mark_price, *of_index, *of_funding, *named, *of_book, *of_basis, states
    return int.from_bytes(hashlib.sha256(line(*values)).digest()[:8], "big", signed=True)


def input_hash(rate: FundingRate, samples: Iterable[PremiumSample], parameters: FundingParameters) -> str:
    """Hex, 64 characters, over everything that a rate is made of.

    A line for each sample that counted, in the order of their instants: ``created_at | premium | status |
    index_price | oracle_publish_time (s) | oracle_slot | mark_created_at | impact_bid | impact_ask``. Samples that
    came late are left out: an audit reads them too, and the settlement had not seen them. Then one for the boundary:
    ``created_at | oracle_price | oracle_publish_time (s) | oracle_slot | mark_price | long_size | short_size``. Then
    one for the parameters: ``version | method | interval | max_rate | interest | damping | cap | min_coverage | band |
    impact_notional | initial_margin | maintenance_margin | cap_factor``.
    """
    digest = hashlib.sha256()
    for sample in sorted(in_time(samples), key=lambda each: each.instant):
        digest.update(_line_of_sample(sample))
    of_print = rate.index_price, rate.publish_time, rate.slot
    digest.update(line(rate.boundary, *of_print, rate.mark_price, rate.long_size, rate.short_size))
    digest.update(_line_of_parameters(parameters))
    return digest.hexdigest()


def line(*values: Decimal | int | str | None) -> bytes:
    """One record's values as they enter a digest."""
    return ("|".join(map(_text, values)) + "\n").encode()


def _line_of_sample(sample: PremiumSample) -> bytes:
    return line(
        sample.instant,
        sample.premium,
        sample.status,
        sample.index_price,
        sample.publish_time,
        sample.slot,
        sample.mark_instant,
        sample.impact_bid,
        sample.impact_ask,
    )


def _line_of_parameters(of: FundingParameters) -> bytes:
    tuned = of.interest, of.damping, of.cap, of.min_coverage, of.band, of.impact_notional
    margins = of.initial_margin, of.maintenance_margin, of.cap_factor
    return line(of.version, of.method, of.interval, of.max_rate, *tuned, *margins)


def _text(value: Decimal | int | str | None) -> str:
    if isinstance(value, float):
        raise TypeError(f"{value!r} is a float: its digits are not those of what is stored")
    if not isinstance(value, Decimal):
        return "null" if value is None else str(value)
    # Not normalize(): a context would round what is longer than its precision.
    digits = f"{value:f}" if value else "0"
    return digits.rstrip("0").rstrip(".") if "." in digits else digits


def _compact(text: str) -> str:
    return json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"))
