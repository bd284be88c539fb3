"""The named methods: one small module each, with the same functions, chosen per market by its parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final, Protocol

from quantdesk_oracle.model import PremiumSample
from quantdesk_oracle.pricing.funding import Average, FundingParameters
from quantdesk_oracle.pricing.mark import MarkInputs
from quantdesk_oracle.pricing.methods import binance, bitmex, drift, dydx_v4, hyperliquid, quantdesk
from quantdesk_oracle.pricing.premium import SampleInputs


class Method(Protocol):
    """What a method's module holds."""

    @property
    def BASIS_SECONDS(self) -> int:  # noqa: N802 (a module's constant)
        """The window of the basis mean."""

    @property
    def AVERAGES(self) -> bool:  # noqa: N802
        """Whether its marks carry moving averages."""

    @property
    def MARGINS(self) -> bool:  # noqa: N802
        """Whether its caps are made of the market's margins."""

    def defaults(self, interval: int, max_rate: Decimal) -> FundingParameters:
        """The parameters of a market that gives none of its own."""

    def mark(self, inputs: MarkInputs) -> Decimal:
        """The mark, quantised."""

    def premium(self, inputs: SampleInputs) -> Decimal:
        """One sample's premium, quantised."""

    def average(self, samples: Sequence[PremiumSample], parameters: FundingParameters) -> Average:
        """An interval's samples, added up."""

    def rate(self, premium: Decimal, parameters: FundingParameters, previous: Decimal = ...) -> Decimal:
        """The rate of an interval, quantised; ``previous`` is that of the interval before."""


METHODS: Final[Mapping[str, Method]] = {
    "quantdesk": quantdesk,
    "hyperliquid": hyperliquid,
    "binance": binance,
    "bitmex": bitmex,
    "dydx_v4": dydx_v4,
    "drift": drift,
}


def of(name: str) -> Method:
    """The method of that name. Raises KeyError: what stands in a row has been checked before."""
    return METHODS[name]
