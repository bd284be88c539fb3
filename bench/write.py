"""Ticks to committed rows through a collector's own writer: ours, and cryptofeed's PostgreSQL backend at its defaults.

Each in a process of its own, which has made its ticks before the clock starts; PostgreSQL 18, durable, cryptofeed's
table as its documentation makes it, ours with every key and trigger. Once as fast as it goes, with 2,000 ticks waiting
at most, and once at an even pace.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.measure import Case, Contender, compared, interleaved, spread
from bench.peers.environments import CRYPTOFEED, CRYPTOFEED_DRIVER, python_with
from bench.plan import Plan
from bench.processes import Talker, cpu_seconds
from bench.servers import DATABASE, fetch, server, server_pid
from tests.postgres import PostgresServer, execute

NAME = "write"
PACE = 2_000
"""Ticks a second of the even pace: every feed that Pyth publishes, once a second."""
_OURS, _CRYPTOFEED = "quantdesk-oracle", "cryptofeed 2.4.1"
_TICKER = """
    CREATE TABLE ticker (id serial PRIMARY KEY, timestamp timestamp, receipt_timestamp timestamp,
                         exchange varchar(32), symbol varchar(32), bid numeric(64, 32), ask numeric(64, 32))
"""
"""cryptofeed's own table; the backend gives its seven columns by their order."""
_COUNTS = {_OURS: "SELECT count(*) FROM oracle_prices", _CRYPTOFEED: "SELECT count(*) FROM ticker"}


def run(plan: Plan) -> list[Case]:
    """Rows a second and CPU a row of both; nothing where the peer or PostgreSQL 18 is not to be had."""
    python = python_with(CRYPTOFEED, CRYPTOFEED_DRIVER)
    with server(18) as one:
        if one is None or python is None:
            return []
        asyncio.run(execute(one.dsn(DATABASE), _TICKER))
        with _writers(one, python) as writers:
            flood = max(2_000, round(300_000 * plan.seconds))
            even = max(1_000, round(20 * PACE * plan.seconds))
            note = _repeated(one, writers)
            return [
                *_cases(plan, one, writers, "as fast as it goes", flood, 0, note),
                *_cases(plan, one, writers, f"{PACE:,} ticks a second", even, PACE, note),
            ]


@contextmanager
def _writers(one: PostgresServer, python: Path) -> Iterator[dict[str, Talker]]:
    peer = Path(__file__).parent / "peers" / "cryptofeed_writer.py"
    where = ("127.0.0.1", str(one.port), one.superuser, DATABASE)
    with (
        Talker(sys.executable, "-m", "bench.writer", one.dsn(DATABASE)) as ours,
        Talker(python, peer, *where) as cryptofeed,
    ):
        yield {_OURS: ours, _CRYPTOFEED: cryptofeed}


def _cases(
    plan: Plan, one: PostgresServer, writers: dict[str, Talker], title: str, rows: int, pace: int, note: str
) -> list[Case]:
    meters = {name: _Meter(one, writer, rows, pace) for name, writer in writers.items()}
    figures = interleaved([Contender(name, meter.round) for name, meter in meters.items()], plan.rounds)
    parts = ", ".join(f"{name} {spread(meter.client[1:]).median:.0f}" for name, meter in meters.items())
    rate = {name: meter.rows_per_cpu_second[1:] for name, meter in meters.items()}  # without the warm-up
    notes = (f"µs a row of the client alone: {parts}", note)
    case = compared(
        NAME, f"{title}: client and server", "rows per CPU second", rate, lower_is_better=False, notes=notes
    )
    return [case] if pace else [compared(NAME, title, "rows a second", figures, lower_is_better=False), case]


class _Meter:
    """Rows a second of one writer; its own µs of CPU a row, and rows per CPU second of client and server together."""

    def __init__(self, one: PostgresServer, writer: Talker, rows: int, pace: int) -> None:
        self._server = server_pid(one)
        self._writer = writer
        self._rows = rows
        self._pace = pace
        self.client: list[float] = []
        self.rows_per_cpu_second: list[float] = []

    def round(self) -> float:
        """Have so many ticks made, then have them written."""
        self._writer.ask(make=self._rows)
        client, both = self._spent()
        seconds: float = self._writer.ask(pace=self._pace)["seconds"]
        client_after, both_after = self._spent()
        self.client.append((client_after - client) / self._rows * 1e6)
        self.rows_per_cpu_second.append(self._rows / (both_after - both))
        return self._rows / seconds

    def _spent(self) -> tuple[float, float]:
        client = cpu_seconds(self._writer.process.pid)
        return client, client + cpu_seconds(self._server, with_children=True)


def _repeated(one: PostgresServer, writers: dict[str, Talker]) -> str:
    """What becomes of ticks that come twice, as they do after every reconnect."""
    stored = {}
    for name, writer in writers.items():
        writer.ask(make=1_000)
        for _ in range(2):
            writer.ask(pace=0)
        ((stored[name],),) = asyncio.run(fetch(one.dsn(DATABASE), _COUNTS[name]))
    rows = ", ".join(f"{name} {count:,}" for name, count in stored.items())
    return f"rows of 1,000 ticks that came twice: {rows}; cryptofeed keeps a bid and an ask, as floats"
