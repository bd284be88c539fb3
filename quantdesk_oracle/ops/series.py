"""Series that are many or hot: plain numbers that the event loop alone moves, written into a scrape by our own hand.

prometheus_client takes a lock for every increment and some 10 µs to write a line. With 2,000 feeds there are tens of
thousands of lines, and an increment for every print; what is neither many nor hot stays with the library.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from math import inf, isnan

from quantdesk_oracle.ops.metric_table import MetricSpec

_ESCAPED = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


class Number:
    """A gauge or a counter. Any thread may read it; ``ask``, where given, is asked for the value at each scrape."""

    __slots__ = ("_value", "ask")

    def __init__(self) -> None:
        self._value = 0.0
        self.ask: Callable[[], float] | None = None

    @property
    def value(self) -> float:
        """What a scrape shows."""
        return self._value if self.ask is None else self.ask()

    def inc(self, by: float = 1.0) -> None:
        """Count on."""
        self._value += by

    def set(self, value: float) -> None:
        """Stand at ``value``."""
        self._value = value

    def lines(self, name: str, labels: str) -> Iterator[str]:
        """As the text format has it."""
        yield f"{name}{{{labels}}} {_number(self.value)}"


class Distribution:
    """A histogram with these upper bounds, +Inf left out."""

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(self._bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Count one value in."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def lines(self, name: str, labels: str) -> Iterator[str]:
        """As the text format has it: each bucket with all below it."""
        before, total = f"{labels}," if labels else "", 0
        for bound, count in zip((*self._bounds, inf), self._counts, strict=True):
            total += count
            yield f'{name}_bucket{{{before}le="{_number(bound)}"}} {_number(total)}'
        whole = f"{{{labels}}}" if labels else ""
        yield f"{name}_count{whole} {_number(total)}"
        yield f"{name}_sum{whole} {_number(self._sum)}"


class Family:
    """All series of one metric of the table."""

    def __init__(self, spec: MetricSpec) -> None:
        self._spec = spec
        self._series: dict[tuple[str, ...], tuple[str, Number | Distribution]] = {}
        """By the labels' values, with the labels as a scrape writes them."""
        self.sparse = False
        """Whether series that stand at zero are left out."""

    def number(self, *values: str) -> Number:
        """The gauge or counter with these label values, made the first time."""
        series = self._made(values, Number)
        assert isinstance(series, Number)
        return series

    def distribution(self, *values: str) -> Distribution:
        """The histogram with these label values, made the first time."""
        series = self._made(values, lambda: Distribution(self._spec.buckets))
        assert isinstance(series, Distribution)
        return series

    def forget(self, subject: str) -> None:
        """Drop every series whose first label has this value."""
        for values in [each for each in self._series if each[:1] == (subject,)]:
            del self._series[values]

    def _made(
        self, values: tuple[str, ...], make: Callable[[], Number | Distribution]
    ) -> Number | Distribution:
        if values not in self._series:
            self._series[values] = self._labels(values), make()
        return self._series[values][1]

    def _labels(self, values: Sequence[str]) -> str:
        pairs = zip(self._spec.labels, values, strict=True)
        return ",".join(f'{name}="{value.translate(_ESCAPED)}"' for name, value in pairs)

    def lines(self) -> Iterator[str]:
        """Its part of a scrape."""
        name, kind, _, text, _ = self._spec
        yield f"# HELP {name} {text}"
        yield f"# TYPE {name} {kind}"
        # A copy: the loop may make a series meanwhile, when the settings are read anew.
        for labels, series in list(self._series.values()):
            if not (self.sparse and isinstance(series, Number) and series.value == 0):
                yield from series.lines(name, labels)


def _number(value: float) -> str:
    if isnan(value):
        return "NaN"
    return "+Inf" if value == inf else repr(float(value))
