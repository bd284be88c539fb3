"""Prints of the past from a node's history into the table: `backfill` as a command, against the plain loop.

The node is a local one, which answers within a millisecond: what is compared is what a row costs beside the waiting. A
public node allows four requests a second, and a print takes one.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from bench.collectors import PROGRAM
from bench.healing import ENDPOINT, MARKET
from bench.measure import Case, Contender, compared, interleaved
from bench.plan import Plan
from bench.processes import Talker
from bench.servers import DATABASE, fetch, new_database, server
from quantdesk_oracle.localnet import DEFAULT_FEEDS
from tests.postgres import PostgresServer

NAME = "backfill"
UNLIMITED = 100_000
"""Requests in ten seconds, and a second: more than there are."""
_OURS, _PLAIN = "quantdesk-oracle backfill", "solana-py + anchorpy + executemany"


def run(plan: Plan) -> list[Case]:
    """Of three feeds, twenty minutes, or five in a quick run."""
    minutes = 20 if plan.rounds > 3 else 5
    with (
        server(18) as one,
        Talker(sys.executable, "-m", "bench.past", str(minutes)) as node,
        tempfile.TemporaryDirectory() as name,
    ):
        if one is None:
            return []
        return _cases(one, node.hear(), Path(name), max(3, plan.rounds // 2))


def _cases(one: PostgresServer, node: dict[str, str], folder: Path, rounds: int) -> list[Case]:
    config = folder / "quantdesk.toml"
    markets = "".join(MARKET.format(feed.market, feed.feed_id.hex()) for feed in DEFAULT_FEEDS)
    config.write_text(ENDPOINT.format(**node, requests=UNLIMITED, of_a_method=UNLIMITED) + markets)
    since = datetime.fromtimestamp(int(node["since"]), UTC).isoformat()
    ours = [
        PROGRAM, "backfill", "--all", "--from", since, "--rate", str(UNLIMITED), "--json",
        "--config", config, "--state-dir", folder / "state",
    ]  # fmt: skip
    plain = [
        sys.executable,
        "-m",
        "bench.peers.plain_backfill",
        node["rpc"],
        one.dsn(DATABASE),
        node["since"],
    ]
    meters = {
        _OURS: _Meter(one, [str(word) for word in ours]),
        _PLAIN: _Meter(one, [str(word) for word in plain]),
    }
    figures = interleaved([Contender(name, meter.round) for name, meter in meters.items()], rounds)
    rows = {name: meter.rows for name, meter in meters.items()}
    assert rows[_OURS] == rows[_PLAIN], rows
    title = f"{rows[_OURS]:,} prints of three feeds"
    first, again = meters[_OURS].requests(), meters[_OURS].requests(anew=False)
    note = f"requests of ours: {first:,}; of the same command again: {again:,}"
    cost = {name: meter.cpu[1:] for name, meter in meters.items()}
    return [
        compared(NAME, title, "rows a second", figures, lower_is_better=False, notes=[note]),
        compared(NAME, f"{title}: CPU of the client", "µs a row", cost),
    ]


class _Meter:
    """Rows a second of one command, its start included, into an empty database."""

    def __init__(self, one: PostgresServer, command: list[str]) -> None:
        self._one = one
        self._command = command
        self.cpu: list[float] = []
        self.rows = 0

    def round(self) -> float:
        """Run it once."""
        new_database(self._one)
        spent, started = _of_children(), time.perf_counter()
        self._run()
        took = time.perf_counter() - started
        ((self.rows,),) = asyncio.run(fetch(self._one.dsn(DATABASE), "SELECT count(*) FROM oracle_prices"))
        self.cpu.append((_of_children() - spent) / self.rows * 1e6)
        return self.rows / took

    def requests(self, *, anew: bool = True) -> int:
        """How many requests ours says that it made: of an empty database, or of one that it has just filled."""
        if anew:
            new_database(self._one)
        return int(json.loads(self._run())["requests"])

    def _run(self) -> str:
        variables = {"DATABASE_URL": self._one.dsn(DATABASE), "SOLANA_NETWORK": "localnet"}
        environment = os.environ | variables
        return subprocess.run(
            self._command, check=True, capture_output=True, text=True, env=environment
        ).stdout


def _of_children() -> float:
    used = os.times()
    return used.children_user + used.children_system
