"""Averages over time that a mark carries from instant to instant: a window's mean, and a moving average."""

from __future__ import annotations

import json
from collections import deque
from decimal import Decimal, localcontext
from typing import NamedTuple

from quantdesk_oracle.model import SECOND
from quantdesk_oracle.pricing.decimals import CONTEXT, ZERO, quantise

LONGEST_SECONDS = 150
"""The longest window of any method."""


class Mean(NamedTuple):
    """A window added up: ``mean`` is quantised as stored, None where nothing is in it."""

    sum: Decimal | None
    number: int
    mean: Decimal | None


class Window:
    """Values of the newest 150 s, at most one a second.

    >>> window = Window()
    >>> window.take(1 * SECOND, Decimal(3))
    >>> window.take(2 * SECOND, Decimal(6))
    >>> window.mean(2 * SECOND, 150)
    Mean(sum=Decimal('9'), number=2, mean=Decimal('4.500000000000'))
    """

    def __init__(self) -> None:
        self._values: deque[tuple[int, Decimal]] = deque(maxlen=LONGEST_SECONDS)

    def take(self, instant: int, value: Decimal) -> None:
        """Add the value of an instant (µs); one less than a second after the newest changes nothing."""
        if not self._values or instant - self._values[-1][0] >= SECOND:
            self._values.append((instant, value))

    def mean(self, instant: int, seconds: int) -> Mean:
        """Of the values in the ``seconds`` up to and with ``instant`` (µs)."""
        oldest = instant - seconds * SECOND
        values = [value for at, value in self._values if oldest < at <= instant]
        if not values:
            return Mean(None, 0, None)
        with localcontext(CONTEXT):
            total = sum(values, ZERO)
            return Mean(total, len(values), quantise(total / len(values)))

    def clear_after(self, instant: int) -> None:
        """Forget what was taken after ``instant`` (µs): the clock has been set back."""
        while self._values and self._values[-1][0] > instant:
            self._values.pop()


class MovingAverage(NamedTuple):
    """num ← num·e^(−t/τ) + x·t, den ← den·e^(−t/τ) + t; both quantised, as they are stored."""

    numerator: Decimal = ZERO
    denominator: Decimal = ZERO

    @property
    def value(self) -> Decimal | None:
        """The average; None before the first value."""
        if self.denominator == 0:
            return None
        with localcontext(CONTEXT):
            return self.numerator / self.denominator

    def moved(self, value: Decimal, elapsed: Decimal, decay: int) -> MovingAverage:
        """The average after ``value`` has stood for ``elapsed`` seconds, with τ = ``decay`` seconds.

        >>> MovingAverage().moved(Decimal(7), Decimal(1), 150).value
        Decimal('7')
        """
        with localcontext(CONTEXT):
            weight = (-elapsed / decay).exp()
            return MovingAverage(
                quantise(self.numerator * weight + value * elapsed),
                quantise(self.denominator * weight + elapsed),
            )


class Averages(NamedTuple):
    """The moving averages of a mark: of mid − index, and of the book's price; and the instant (µs) they are of."""

    basis: MovingAverage = MovingAverage()
    book: MovingAverage = MovingAverage()
    instant: int | None = None

    def moved(
        self, instant: int, basis: Decimal | None, book: Decimal | None, decays: tuple[int, int]
    ) -> Averages:
        """The averages at ``instant`` (µs); a value that is not there leaves its average where it was."""
        if self.instant is not None and instant <= self.instant:
            return self
        with localcontext(CONTEXT):
            elapsed = Decimal(SECOND if self.instant is None else instant - self.instant) / SECOND
        return Averages(
            self.basis if basis is None else self.basis.moved(basis, elapsed, decays[0]),
            self.book if book is None else self.book.moved(book, elapsed, decays[1]),
            instant,
        )

    def as_json(self) -> str:
        """As it stands in a mark's row: numbers as decimal strings."""
        named = {"basis": self.basis, "book": self.book}
        return json.dumps({name: [f"{each:f}" for each in average] for name, average in named.items()})

    @classmethod
    def of_json(cls, text: str, instant: int) -> Averages:
        """Back from a mark's row of ``instant`` (µs)."""
        stored = json.loads(text)
        basis, book = (MovingAverage(*map(Decimal, stored[name])) for name in ("basis", "book"))
        return cls(basis, book, instant)
