"""Horizontal bars as SVG, drawn by hand: no plotting library for five rectangles."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape

from bench.measure import Case, Result, Spread

Scale = Callable[[float], float]
"""From a figure to pixels."""

_WIDTH, _LABELS, _FIGURES = 860, 290, 190
_ROW, _HEAD, _GAP = 22, 30, 16
_FONT = 'font-family="sans-serif" font-size="13"'
_OURS, _OTHERS, _WHISKER = "#2563eb", "#94a3b8", "#334155"
_WIDE = 30.0
"""Where the largest figure is so many times the smallest, the axis is logarithmic."""


def bars(title: str, cases: Sequence[Case]) -> str:
    """One group of bars a case: medians, with whiskers at the quartiles; ours in blue."""
    height = 40 + sum(_HEAD + _ROW * len(case.results) + _GAP for case in cases)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" {_FONT}>',
        f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
        _text(12, 24, title, "font-weight='bold' font-size='16'"),
    ]
    top = 40
    for case in cases:
        parts += _group(case, top)
        top += _HEAD + _ROW * len(case.results) + _GAP
    return "\n".join([*parts, "</svg>"]) + "\n"


def _group(case: Case, top: int) -> list[str]:
    scale, kind = _scale([result.value for result in case.results])
    better = "less is better" if case.lower_is_better else "more is better"
    lines = [_text(12, top + 18, f"{case.title} ({case.unit}; {better}{kind})", "font-weight='bold'")]
    for number, result in enumerate(case.results):
        lines += _bar(result, top + _HEAD + number * _ROW, scale, ours=number == 0)
    return lines


def _bar(result: Result, top: int, scale: Scale, *, ours: bool) -> list[str]:
    value, colour = result.value, _OURS if ours else _OTHERS
    left, middle = _LABELS, top + _ROW / 2 - 2
    low, high = (left + scale(edge) for edge in (value.low, value.high))
    factor = f"   {result.advantage.median:.3g} ×" if result.advantage else ""
    return [
        _text(left - 8, middle + 4, result.name, "text-anchor='end'"),
        f'<rect x="{left}" y="{top}" width="{scale(value.median):.1f}" height="{_ROW - 6}" fill="{colour}"/>',
        f'<path d="M{low:.1f} {middle}H{high:.1f}" stroke="{_WHISKER}" stroke-width="2"/>',
        _text(max(left + scale(value.median), high) + 8, middle + 4, f"{value.median:,.4g}{factor}", ""),
    ]


def _scale(values: Sequence[Spread]) -> tuple[Scale, str]:
    """A function from a figure to pixels, and what to say of the axis."""
    medians = [max(value.median, 1e-9) for value in values]
    largest = max(*medians, *(value.high for value in values))
    room = _WIDTH - _LABELS - _FIGURES
    if max(medians) / min(medians) < _WIDE:
        return lambda value: max(value, 0) / largest * room, ""
    start = math.log10(min(medians)) - 0.4
    return (
        lambda value: max(math.log10(max(value, 1e-9)) - start, 0) / (math.log10(largest) - start) * room,
        "; logarithmic",
    )


def _text(x: float, y: float, text: str, style: str) -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" {style}>{escape(text)}</text>'
