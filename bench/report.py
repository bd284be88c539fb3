"""What a run leaves: a table on the terminal, a JSON file and a plot a benchmark in bench/results."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench import machine
from bench.measure import Case, Result, Spread
from bench.plot import bars

RESULTS = Path(__file__).parent / "results"


def show(console: Console, cases: Iterable[Case]) -> None:
    """Print one table a case."""
    for case in cases:
        table = Table(title=f"{case.benchmark}: {case.title}", title_justify="left", show_edge=False)
        table.add_column("", min_width=34)
        table.add_column(case.unit, justify="right")
        table.add_column("quartiles", justify="right", style="dim")
        table.add_column("ours is better by", justify="right")
        for result in case.results:
            table.add_row(result.name, figure(result.value.median), _quartiles(result.value), _factor(result))
        console.print(table)
        if case.target:
            verdict = {True: "[green]met[/]", False: "[yellow]not met[/]", None: "not measured"}[case.met]
            console.print(f"  target {case.target}: {verdict}")
        for note in case.notes:
            console.print(f"  [dim]{note}[/]")
        console.print()


def write(benchmark: str, cases: Sequence[Case], folder: Path = RESULTS) -> None:
    """Write ``benchmark``.json and ``benchmark``.svg."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {"machine": machine.described(), "cases": [_plain(asdict(case)) for case in cases]}
    (folder / f"{benchmark}.json").write_text(
        json.dumps(content, indent=1, ensure_ascii=False) + "\n", "utf-8"
    )
    (folder / f"{benchmark}.svg").write_text(bars(benchmark, cases), "utf-8")


def figure(value: float) -> str:
    """Three significant digits, no exponent."""
    if value >= 1_000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _quartiles(value: Spread) -> str:
    return "" if value.low == value.high else f"{figure(value.low)} – {figure(value.high)}"


def _factor(result: Result) -> str:
    if result.advantage is None:
        return ""
    quartiles = _quartiles(result.advantage)
    return f"{figure(result.advantage.median)} ×" + (f" ({quartiles})" if quartiles else "")


def _plain(value: object) -> object:
    """Floats to four significant digits: what is committed stays small and its changes readable."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items() if item not in (None, "", ())}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
