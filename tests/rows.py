"""Rows for tests of the store and of everything above it."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

from quantdesk_oracle.model import (
    Freshness,
    MarkPrice,
    PremiumSample,
    PriceUpdate,
    Source,
    StoredPrint,
    Verdict,
)

PUBLISHED = 1_769_860_800


def a_print(number: int = 0, market: str = "BTC-PERP", **values: Any) -> StoredPrint:
    """A print of the given second after PUBLISHED; ``values`` replace those of its update."""
    update = PriceUpdate(
        feed_id=bytes(32),
        price=10_000_000_000_000 + number,
        confidence=3_000_000_000,
        exponent=-8,
        publish_time=PUBLISHED + number,
        prev_publish_time=PUBLISHED + number - 1,
        ema_price=10_000_000_000_001,
        ema_confidence=3_000_000_001,
        slot=400_000_000 + number,
    )._replace(**values)
    return StoredPrint(
        market, update, Verdict.ACCEPTED, Source.SUBSCRIPTION, (PUBLISHED + number) * 1_000_000
    )


_MARK = MarkPrice(
    market="BTC-PERP",
    instant=0,
    mark_price=Decimal("100000.000000000001"),
    index_price=Decimal("99999.5"),
    publish_time=PUBLISHED,
    slot=400_000_000,
    funding_rate=Decimal("0.0000125"),
    seconds_to_funding=Decimal("59.5"),
    funding_interval=3600,
    method="quantdesk",
    parameter_version=1,
    status=Freshness.FRESH,
)


def a_mark(instant: int, **values: Any) -> MarkPrice:
    """A mark of ``instant`` (µs)."""
    return replace(_MARK, instant=instant, **values)


def a_sample(instant: int, **values: Any) -> PremiumSample:
    """A used sample of ``instant`` (µs)."""
    sample = PremiumSample(
        "BTC-PERP", instant, Decimal("0.00005"), "used", Decimal("99999.5"), PUBLISHED, 400_000_000, instant
    )
    return replace(sample, **values)
