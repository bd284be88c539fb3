"""Interleaved rounds: every contender once a round, in turns, so that the machine's mood meets all of them alike.

A round's ratio is taken within the round; what is told is the median of rounds with its quartiles.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

Round = Callable[[], float]
"""Runs once; what it cost or reached in the case's unit."""


@dataclass(frozen=True, slots=True)
class Contender:
    """Somebody who does the case's work."""

    name: str
    round: Round


@dataclass(frozen=True, slots=True)
class Spread:
    """Median and quartiles."""

    median: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Result:
    """One contender's figures. ``advantage``: by what factor the case's subject is better than it."""

    name: str
    value: Spread
    advantage: Spread | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """What was compared, in which unit, and how it came out. The first result is the subject's: ours."""

    benchmark: str
    title: str
    unit: str
    results: tuple[Result, ...]
    lower_is_better: bool = True
    target: str = ""
    met: bool | None = None
    notes: tuple[str, ...] = field(default=())


def interleaved(contenders: Sequence[Contender], rounds: int) -> dict[str, list[float]]:
    """Every contender's figures, one a round. One round before them warms up and is thrown away."""
    figures: dict[str, list[float]] = {contender.name: [] for contender in contenders}
    for number in range(-1, rounds):
        # Another order each round: nobody always runs behind the one who leaves the caches cold.
        turn = number % len(contenders)
        for contender in (*contenders[turn:], *contenders[:turn]):
            gc.collect()
            figure = contender.round()
            if number >= 0:
                figures[contender.name].append(figure)
    return figures


def compared(
    benchmark: str,
    title: str,
    unit: str,
    figures: dict[str, list[float]],
    *,
    lower_is_better: bool = True,
    target: tuple[str, float] | None = None,
    notes: Sequence[str] = (),
) -> Case:
    """The case that ``figures`` make; the first contender is the subject.

    ``target``: the name of a contender and the least advantage that the subject should have over it.
    """
    subject, *_ = figures
    results = [
        Result(
            name,
            spread(values),
            None if name == subject else _advantage(figures[subject], values, lower_is_better),
        )
        for name, values in figures.items()
    ]
    wish, met = "", None
    if target is not None:
        name, least = target
        reached = next((one.advantage for one in results if one.name == name), None)
        wish = f"≥ {least:g} × {name}"
        met = reached.median >= least if reached is not None else None
    return Case(benchmark, title, unit, tuple(results), lower_is_better, wish, met, tuple(notes))


def spread(values: Sequence[float]) -> Spread:
    """Median and quartiles of one or more figures."""
    if len(values) < 3:
        return Spread(statistics.median(values), min(values), max(values))
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(median, low, high)


def per_call(work: Callable[[], object], seconds: float = 0.1) -> Round:
    """A round of as many calls of ``work`` as take about ``seconds``; µs of this thread's CPU a call."""
    calls = _calls_in(work, seconds)

    def measured() -> float:
        started = time.thread_time_ns()
        for _ in range(calls):
            work()
        return (time.thread_time_ns() - started) / calls / 1_000

    return measured


def _calls_in(work: Callable[[], object], seconds: float) -> int:
    calls = 1
    while True:
        started = time.perf_counter()
        for _ in range(calls):
            work()
        took = time.perf_counter() - started
        if took > seconds / 10:
            return max(1, round(calls * seconds / took))
        calls *= 10


def _advantage(subject: Sequence[float], other: Sequence[float], lower_is_better: bool) -> Spread | None:
    pairs = zip(subject, other, strict=True)
    ratios = [b / a if lower_is_better else a / b for a, b in pairs if a and b]
    return spread(ratios) if ratios else None
