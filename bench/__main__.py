"""Runs the benchmarks that are named, or all: a table each, and files in bench/results."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import structlog
from rich.console import Console

from bench import machine, report
from bench.plan import FULL, QUICK

NAMES = (
    "decode",
    "stages",
    "receive",
    "insert",
    "write",
    "pipeline",
    "marks",
    "storage",
    "files",
    "backfill",
    "footprint",
    "healing",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0 whatever the figures are: a bench tells, it does not judge."""
    options = _options(arguments)
    console = Console(width=120 if not sys.stdout.isatty() else None)
    plan = QUICK if options.quick else FULL
    plan = replace(plan, long=options.long)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    console.print("  ".join(f"{name}: {value}" for name, value in machine.described().items()), style="dim")
    for name in options.names or NAMES:
        cases = import_module(f"bench.{name}").run(plan)
        report.show(console, cases)
        report.write(name, cases, options.out)
    console.print(f"written to {options.out.name}/")
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *NAMES], help="which (default: all)")
    parser.add_argument("--quick", action="store_true", help="few and short rounds: to see that it works")
    parser.add_argument("--long", action="store_true", help="also what takes many minutes and much disk")
    parser.add_argument("--out", type=Path, default=report.RESULTS, help="folder of the JSON files and plots")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
