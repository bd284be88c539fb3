"""What the daemon weighs: start-up, memory, a scrape, CPU at one update a second and feed, `--help`."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable

from bench.collectors import PROGRAM, Daemon
from bench.measure import Case, Result, compared, spread
from bench.plan import Plan
from bench.processes import Feeder, cpu_seconds, resident_mb
from bench.servers import new_database, server, server_pid
from tests.postgres import PostgresServer

NAME = "footprint"
COUNTS = (3, 200, 2_000)


def run(plan: Plan) -> list[Case]:
    """With three feeds, two hundred, and every one that Pyth publishes."""
    rounds, seconds = max(1, plan.rounds // 3), max(5.0, 100 * plan.seconds)
    figures: dict[str, dict[int, list[float]]] = {}
    with server(18) as one:
        if one is None:
            return []
        for _ in range(rounds):
            for count in COUNTS:
                for name, value in _measured(one, count, seconds).items():
                    figures.setdefault(name, {}).setdefault(count, []).append(value)
    cases = [_case(title, unit, figures[title]) for title, unit in _UNITS.items()]
    return [*cases, _scaling(figures["CPU of the daemon, one update a second and feed"]), _help(plan)]


_UNITS = {
    "first start on an empty database": "s until ready",
    "start with its markets in the database": "s until ready",
    "memory after a minute's worth of updates": "MB resident",
    "a scrape of /metrics": "ms",
    "CPU of the daemon, one update a second and feed": "% of a core",
    "CPU of the database then": "% of a core",
}


def _measured(one: PostgresServer, count: int, seconds: float) -> dict[str, float]:
    new_database(one)
    with Feeder(count) as feeder:
        feeder.ask(refresh=True)
        first = Daemon(one, feeder, count)
        try:
            founded = first.until_ready()
        finally:
            first.stop()
        feeder.ask(refresh=True)
        daemon = Daemon(one, feeder, count)
        try:
            ready = daemon.until_ready()
            feeder.ask(rate=count, seconds=3)
            before = cpu_seconds(daemon.pid), cpu_seconds(server_pid(one), with_children=True)
            started = time.monotonic()
            feeder.ask(rate=count, seconds=seconds)
            took = time.monotonic() - started
            after = cpu_seconds(daemon.pid), cpu_seconds(server_pid(one), with_children=True)
            busy = [(later - earlier) / took * 100 for later, earlier in zip(after, before, strict=True)]
            scrape = min(daemon.scrape() for _ in range(3)) * 1_000
            memory = resident_mb(daemon.pid)
        finally:
            daemon.stop()
    return dict(zip(_UNITS, (founded, ready, memory, scrape, *busy), strict=True))


def _case(title: str, unit: str, figures: dict[int, list[float]]) -> Case:
    results = tuple(Result(f"{count:,} feeds", spread(values)) for count, values in figures.items())
    least = results[0].value.median
    targets: dict[str, tuple[str, Callable[[], bool]]] = {
        "CPU of the daemon, one update a second and feed": ("< 1 % of a core at 3 feeds", lambda: least < 1),
        "memory after a minute's worth of updates": ("< 120 MB at 3 feeds", lambda: least < 120),
        "start with its markets in the database": ("≤ 2 s at 3 feeds", lambda: least <= 2),
    }
    target, met = targets.get(title, ("", None))
    return Case(NAME, title, unit, results, True, target, met() if met is not None else None)


def _scaling(busy: dict[int, list[float]]) -> Case:
    """CPU an update, less what the daemon spends anyway: the straight line through the counts."""
    costs = {count: [share * 10_000 / count for share in shares] for count, shares in busy.items()}
    named = {f"{count:,} feeds": costs[count] for count in (2_000, 200, 3)}
    return compared(
        NAME, "CPU of the daemon an update", "µs", named,
        notes=["at 3 feeds nearly all of it is what runs anyway: marks, polls, upkeep, metrics"],
    )  # fmt: skip


def _help(plan: Plan) -> Case:
    seconds, cpu = [], []
    for _ in range(plan.rounds):
        started, used = time.perf_counter(), os.times()
        subprocess.run([PROGRAM, "--help"], check=True, capture_output=True)
        after = os.times()
        seconds.append(time.perf_counter() - started)
        cpu.append(after.children_user + after.children_system - used.children_user - used.children_system)
    results = (Result("until it ends", spread(seconds)), Result("CPU of it", spread(cpu)))
    met = results[0].value.median <= 0.5
    return Case(NAME, "quantdesk-oracle --help", "s", results, True, "≤ 0.5 s", met)
