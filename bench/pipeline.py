"""End to end: a node in one process, the collector in another, PostgreSQL beside them, until the row is committed.

A pace counts as sustained when, a moment after its last print, everything stands in the table. Latency is taken from
PostgreSQL's own commit timestamps. Every run ends with the table compared to what the node pushed.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg

from bench import ledger
from bench.collectors import Daemon, Script
from bench.feeds import FIRST_SLOT
from bench.measure import Case, Result, Spread, compared
from bench.plan import Plan
from bench.processes import Feeder, cpu_seconds
from bench.servers import DATABASE, new_database, server, server_pid
from tests.postgres import PostgresServer

NAME = "pipeline"
FEEDS = 2_000
CALM = (10, 1_000, 5_000)
"""Updates a second that latency is told for."""
CLIMB = (
    250,
    500,
    1_000,
    1_500,
    2_000,
    3_000,
    4_000,
    5_000,
    6_500,
    8_000,
    10_000,
    12_500,
    15_000,
    20_000,
    25_000,
)
_MOMENT = 1.0
"""Seconds that the last prints of a pace may take to be committed."""
_PATIENCE = 90.0


@dataclass(frozen=True, slots=True)
class Phase:
    """One pace, as it went."""

    rate: int
    since: int
    until: int
    sent: int
    sustained: bool
    drained: float
    """Seconds from the last print sent to the last row committed."""
    collector_cpu: float
    """µs an update."""
    database_cpu: float


@dataclass(slots=True)
class Run:
    """One collector's phases, and what its table came to."""

    calm: list[tuple[Phase, ledger.Latency]] = field(default_factory=list)
    climb: list[Phase] = field(default_factory=list)
    truth: ledger.Truth = field(default_factory=lambda: ledger.Truth(0, 0, 0))

    @property
    def sustained(self) -> int:
        """The highest pace that was kept up, updates a second."""
        return max((phase.rate for phase in self.climb if phase.sustained), default=0)

    @property
    def busiest(self) -> Phase:
        """The phase of that pace."""
        kept = [phase for phase in self.climb if phase.sustained]
        return max(kept or self.climb[:1], key=lambda phase: phase.rate)


def run(plan: Plan) -> list[Case]:
    """Ours and the simplest script in turns; latency of ours."""
    seconds = max(3.0, 60 * plan.seconds)
    rounds = max(1, plan.rounds // 4)
    runs: dict[str, list[Run]] = {Daemon.name: [], Script.name: []}
    with server(18, track_commit_timestamp="on") as one:
        if one is None:
            return []
        for _ in range(rounds):
            for collector in (Daemon, Script):
                runs[collector.name].append(_run(one, collector, seconds))
    return [_rates(runs), _cpu(runs), *_latencies(runs[Daemon.name])]


def _run(one: PostgresServer, collector: type[Daemon | Script], seconds: float) -> Run:
    new_database(one)
    result = Run()
    with Feeder(FEEDS) as feeder, tempfile.TemporaryDirectory() as folder:
        collecting = collector(one, feeder, FEEDS)
        try:
            collecting.until_ready()
            watch = _Watch(one, collecting.pid, feeder)
            calm = [watch.phase(rate, seconds) for rate in (CALM if collector is Daemon else ())]
            for rate in CLIMB:
                result.climb.append(watch.phase(rate, seconds))
                print(f"bench: {collector.name}: {result.climb[-1]}", file=sys.stderr)
                if not result.climb[-1].sustained:
                    break
            file = Path(folder) / "ledger.csv"
            feeder.ask(ledger=str(file))
            result.truth, latencies = asyncio.run(_checked(one, file, calm))
            result.calm = list(zip(calm, latencies, strict=True))
        finally:
            collecting.stop()
    return result


class _Watch:
    """Pushes phases and watches what they cost and whether they arrive."""

    def __init__(self, one: PostgresServer, pid: int, feeder: Feeder) -> None:
        self._dsn = one.dsn(DATABASE)
        self._server = server_pid(one)
        self._pid = pid
        self._feeder = feeder
        self._pushed = 0

    def phase(self, rate: int, seconds: float) -> Phase:
        """Push at ``rate``, then wait until everything is committed."""
        collector, database = self._cpu()
        since = time.time_ns() // 1_000
        sent = self._feeder.ask(rate=rate, seconds=seconds)
        until, last = time.time_ns() // 1_000, time.monotonic()
        self._pushed += sent["sent"]
        complete = asyncio.run(self._committed())
        drained = time.monotonic() - last
        collector, database = (
            after - before for after, before in zip(self._cpu(), (collector, database), strict=True)
        )
        updates = max(sent["sent"], 1)
        kept_pace = "error" not in sent and sent["behind"] < _MOMENT and sent["sent"] >= 0.98 * rate * seconds
        return Phase(
            rate, since, until, sent["sent"], complete and kept_pace and drained <= _MOMENT, drained,
            collector / updates * 1e6, database / updates * 1e6,
        )  # fmt: skip

    async def _committed(self) -> bool:
        """Wait until every print pushed so far is in the table; False where patience ends before."""
        connection = await asyncpg.connect(self._dsn)
        deadline = time.monotonic() + _PATIENCE
        try:
            while time.monotonic() < deadline:
                count = await connection.fetchval(
                    "SELECT count(*) FROM oracle_prices WHERE slot > $1", FIRST_SLOT
                )
                if count >= self._pushed:
                    return True
                await asyncio.sleep(0.05)
        finally:
            await connection.close()
        return False

    def _cpu(self) -> tuple[float, float]:
        return cpu_seconds(self._pid), cpu_seconds(self._server, with_children=True)


async def _checked(
    one: PostgresServer, file: Path, calm: list[Phase]
) -> tuple[ledger.Truth, list[ledger.Latency]]:
    connection = await asyncpg.connect(one.dsn(DATABASE), command_timeout=300)
    try:
        prints = await ledger.load(connection, str(file))
        truth = await ledger.compared(connection, prints, FIRST_SLOT)
        return truth, [await ledger.latency(connection, phase.since, phase.until) for phase in calm]
    finally:
        await connection.close()


def _rates(runs: dict[str, list[Run]]) -> Case:
    figures = {name: [float(run.sustained) for run in some] for name, some in runs.items()}
    notes = [f"{name}: {_told(run.truth)}" for name, some in runs.items() for run in some]
    title, target = f"highest sustained pace, {FEEDS:,} feeds", (Script.name, 5.0)
    return compared(
        NAME, title, "updates a second", figures, lower_is_better=False, target=target, notes=notes
    )


def _told(truth: ledger.Truth) -> str:
    return (
        f"{truth.prints:,} prints pushed, {truth.lost} not in the table as they were, "
        f"{truth.invented} rows that nobody pushed"
    )


def _cpu(runs: dict[str, list[Run]]) -> Case:
    figures = {
        name: [run.busiest.collector_cpu + run.busiest.database_cpu for run in some]
        for name, some in runs.items()
    }
    notes = []
    for name, some in runs.items():
        collector, database = (_median(some, side) for side in ("collector_cpu", "database_cpu"))
        notes.append(f"{name}: collector {collector:.0f} µs, database {database:.0f} µs")
    return compared(NAME, "CPU of collector and database at that pace", "µs an update", figures, notes=notes)


def _median(runs: list[Run], side: str) -> float:
    return float(statistics.median(getattr(run.busiest, side) for run in runs))


def _latencies(runs: list[Run]) -> list[Case]:
    cases = []
    for position, rate in enumerate(CALM):
        ours = [run.calm[position] for run in runs]
        results = []
        for number, name in enumerate(("p50", "p99", "p99.9")):
            received = sorted(latency.received_to_committed[number] for _, latency in ours)
            results.append(Result(f"received → committed, {name}", _spread(received)))
            sent = sorted(latency.sent_to_committed[number] for _, latency in ours)
            results.append(Result(f"sent by the node → committed, {name}", _spread(sent)))
        target, met = "", None
        if rate == 1_000:
            target, met = (
                "p50 ≤ 15 ms, p99 ≤ 60 ms",
                results[0].value.median <= 15 and results[2].value.median <= 60,
            )
        cpu = f"CPU an update: collector {ours[0][0].collector_cpu:.0f} µs, database {ours[0][0].database_cpu:.0f} µs"
        cases.append(
            Case(
                NAME, f"latency at {rate:,} updates a second", "ms", tuple(results), True, target, met, (cpu,)
            )
        )
    return cases


def _spread(values: list[float]) -> Spread:
    return Spread(values[len(values) // 2], values[0], values[-1])
