"""The ways out for prints that are far off their own average: stored at once, used when something speaks for them.

                 a quarantined print                    three agree within 1 % over 10 s,
    ┌───────┐ ─────────────────────────► ┌─────────┐    or a second source agrees,    ┌──────────┐
    │ empty │                            │ waiting │ ───────────────────────────────► │ released │ ──┐ each print
    └───────┘ ◄───────────────────────── └─────────┘    or 120 s of prints that each  └──────────┘ ◄─┘ is used
        ▲        an accepted print         │     ▲      follow the one before                │
        │                                  └─────┘                                           │
        │                         one that leaves the run                                    │
        │                         begins a new one      ◄────────────────────────────────────┤
        └────────────────────────────────────────────────────────────────────────────────────┘
                                    an accepted print

From every state three prints over ten seconds that agree lead to *released*: no price is refused for ever.
"""

from __future__ import annotations

from collections import deque
from decimal import Decimal, localcontext
from enum import StrEnum
from typing import NamedTuple

from quantdesk_oracle.model import SECOND, PriceUpdate
from quantdesk_oracle.pricing.decimals import CONTEXT, scaled

AGREEING = 3
OVER_SECONDS = 10
WITHIN = Decimal("0.01")
PATIENCE_SECONDS = 120
_REMEMBERED = 256
"""Prints of a run: at one a slot more than 100 s, where ten are asked for."""


class Way(StrEnum):
    """By which way a quarantined print came to be used."""

    AGREEMENT = "agreement"
    SECOND_SOURCE = "second_source"
    PATIENCE = "patience"


class _Waiting(NamedTuple):
    identity: tuple[int, int]
    price: Decimal

    @property
    def publish_time(self) -> int:
        return self.identity[0]


class Quarantine:
    """One feed's newest quarantined prints, as far as each follows the one before within 1 %."""

    def __init__(self) -> None:
        self._run: deque[_Waiting] = deque(maxlen=_REMEMBERED)
        self._since = 0
        self.released: Way | None = None
        """By which way prints of this run are used; None while they wait."""

    def clear(self) -> None:
        """An accepted print has come: what waited was wrong."""
        self._run.clear()
        self.released = None

    def offer(self, update: PriceUpdate, *, second_source_agrees: bool = False) -> bool:
        """Take a quarantined print; whether it may be used. One that is not newer than the newest is not."""
        waiting = _Waiting(update.identity, scaled(update.price, update.exponent))
        if self._run and waiting.identity <= self._run[-1].identity:
            return False
        if not self._run or not _close(waiting.price, self._run[-1].price):
            self.clear()
            self._since = waiting.publish_time
        self._run.append(waiting)
        if self.released is None:
            self.released = self._way(second_source_agrees)
        return self.released is not None

    @property
    def waits(self) -> bool:
        """Whether prints wait here that are not used."""
        return bool(self._run) and self.released is None

    def agreed(self, update: PriceUpdate) -> bool:
        """A second source agrees with ``update``: whether that releases it, as the newest of those that wait."""
        if self.released is not None or not self._run or self._run[-1].identity != update.identity:
            return False
        self.released = Way.SECOND_SOURCE
        return True

    def _way(self, second_source_agrees: bool) -> Way | None:
        if second_source_agrees:
            return Way.SECOND_SOURCE
        if self._agree():
            return Way.AGREEMENT
        if self._run[-1].publish_time - self._since >= PATIENCE_SECONDS:
            return Way.PATIENCE
        return None

    def _agree(self) -> bool:
        """Whether the newest prints, three at least and ten seconds of them, lie within 1 % of each other."""
        newest = self._run[-1]
        low = high = newest.price
        for number, each in enumerate(reversed(self._run), 1):
            low, high = min(low, each.price), max(high, each.price)
            if not _close(low, high):
                return False
            if number >= AGREEING and newest.publish_time - each.publish_time >= OVER_SECONDS:
                return True
        return False


def _close(one: Decimal, other: Decimal) -> bool:
    with localcontext(CONTEXT):
        return abs(one - other) <= WITHIN * min(one, other)


class Agreement(StrEnum):
    """What a second source says of a print."""

    AGREES = "agrees"
    DIFFERS = "differs"
    SILENT = "silent"


class SecondOpinion:
    """The newest print of a second source, such as Hermes. It is compared, never averaged.

    Whoever reads the source calls :meth:`hear`; prints of its own account ask :meth:`of`.
    """

    tolerance = Decimal("0.005")
    longest = 10 * SECOND
    """How far apart two publish times may be to be compared, µs."""

    def __init__(self) -> None:
        self._heard: PriceUpdate | None = None
        self.difference: Decimal | None = None
        """Our price over its one, less 1, when they were last compared; None before."""
        self.opinion = Agreement.SILENT
        """What it said then."""

    @property
    def heard(self) -> PriceUpdate | None:
        """The newest print of the second source."""
        return self._heard

    def hear(self, update: PriceUpdate) -> None:
        """Take the second source's print, if it is newer than the one known."""
        if self._heard is None or update.publish_time >= self._heard.publish_time:
            self._heard = update

    def of(self, update: PriceUpdate) -> Agreement:
        """Whether the second source's price of about the same time is the same within 0.5 %."""
        heard = self._heard
        if heard is None or abs(heard.publish_time - update.publish_time) * SECOND > self.longest:
            return Agreement.SILENT
        ours, theirs = scaled(update.price, update.exponent), scaled(heard.price, heard.exponent)
        with localcontext(CONTEXT):
            close = abs(ours - theirs) <= self.tolerance * theirs
            self.difference = ours / theirs - 1
        self.opinion = Agreement.AGREES if close else Agreement.DIFFERS
        return self.opinion
