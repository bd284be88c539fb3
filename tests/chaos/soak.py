"""A day of one daemon in minutes: a database that comes and goes, a node that hangs up; sampled and drawn.

    python -m tests.chaos.soak DURATION FOLDER [SPEED]

Daemon, node and database live SPEED times as fast as the machine (see fast_time). At the end the tables are held
against the ledger. Ends with 1 where memory, descriptors, threads or tasks have grown: the last quarter's median
against the second quarter's.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from quantdesk_oracle.cli.duration import parse_duration
from quantdesk_oracle.store import schema
from tests.chaos.fast_time import fast_time
from tests.chaos.strips import draw
from tests.chaos.truthful import seconds_without_mark, until_healed
from tests.e2e import world
from tests.postgres import PostgresServer, free_port, programs

SAMPLE_SECONDS = 2.0
"""Of the machine's time; all others are the daemon's."""
OUTAGE_EVERY, OUTAGE_SECONDS = 3_600.0, 20.0
RECONNECT_EVERY = 1_200.0
MARKETS = ("BTC-PERP",)
"""One, because a daemon that lives sixty times as fast has a sixtieth of a core's time for everything."""
ALLOWED_GROWTH = 1.10
FLAT = ("rss_mb", "fds", "threads", "tasks")
METRICS = {
    "tasks": "quantdesk_oracle_event_loop_tasks",
    "queue": "quantdesk_oracle_queue_depth",
    "spool": "quantdesk_oracle_spool_rows",
    "lag": "quantdesk_oracle_event_loop_lag_seconds",
}


@dataclass
class Soak:
    """What runs, and how often it was disturbed."""

    server: PostgresServer
    node: subprocess.Popen[str]
    daemon: subprocess.Popen[str]
    rpc: int
    http: int
    speed: float
    outages: int = 0
    reconnects: int = 0
    samples: list[dict[str, float]] = field(default_factory=list)

    def watch(self, seconds: float, out: Any) -> None:
        """Sample until ``seconds`` of the daemon's time are over; pull a plug now and then."""
        began = time.monotonic()
        next_outage, next_reconnect, back = OUTAGE_EVERY / 2, RECONNECT_EVERY, None
        while (now := (time.monotonic() - began) * self.speed) < seconds:
            if self.daemon.poll() is not None:
                raise SystemExit(f"the daemon ended with {self.daemon.returncode} after {now:.0f} s")
            if back is None and now >= next_outage:
                self.server.kill()
                self.outages += 1
                back = now + OUTAGE_SECONDS
            elif back is not None and now >= back:
                self.server.start()
                back, next_outage = None, next_outage + OUTAGE_EVERY
            if now >= next_reconnect:
                self.hang_up()
                next_reconnect += RECONNECT_EVERY
            self.samples.append(self.sample(now))
            out.write(json.dumps(self.samples[-1]) + "\n")
            out.flush()
            time.sleep(SAMPLE_SECONDS)
        if back is not None:
            self.server.start()

    def hang_up(self) -> None:
        """The node ends every websocket connection, without a farewell."""
        fault = json.dumps({"kind": "close", "code": 1006}).encode()
        with urllib.request.urlopen(f"http://127.0.0.1:{self.rpc}/control/faults", fault, timeout=10):
            self.reconnects += 1

    def sample(self, now: float) -> dict[str, float]:
        """What the process takes, and what it says of its queues."""
        status = Path(f"/proc/{self.daemon.pid}/status").read_text()
        numbers = {
            "seconds": round(now, 1),
            "rss_mb": int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024,  # type: ignore[index]
            "threads": float(re.search(r"Threads:\s+(\d+)", status)[1]),  # type: ignore[index]
            "fds": float(len(os.listdir(f"/proc/{self.daemon.pid}/fd"))),
        }
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        for name, metric in METRICS.items():
            values = re.findall(rf"^{metric}(?:{{.*}})? (\S+)$", text, re.M)
            numbers[name] = sum(float(value) for value in values)
        return numbers

    def end(self) -> None:
        """SIGTERM to daemon and node, in this order."""
        for process in (self.daemon, self.node):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                process.wait(20)


def grown(samples: list[dict[str, float]], name: str) -> bool:
    """Whether the last quarter's median is well above the second quarter's: a peak at a reconnect is no growth."""
    quarter = len(samples) // 4
    early, late = samples[quarter : 2 * quarter], samples[-quarter:]
    return median(s[name] for s in late) > ALLOWED_GROWTH * median(s[name] for s in early) + 1


def launch(folder: Path, *arguments: str | Path, **variables: str) -> subprocess.Popen[str]:
    """The program, with its log in the folder."""
    with (folder / f"{arguments[0]}.log").open("a") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "quantdesk_oracle", *map(str, arguments)],
            stdout=log, stderr=log, text=True, env={**os.environ, **variables},
        )  # fmt: skip


async def make_schema(server: PostgresServer) -> None:
    """Markets settle once an hour, as they do out there."""
    async with world.connected(server.dsn()) as connection:
        await schema.apply(connection)


def start(server: PostgresServer, folder: Path, speed: float) -> Soak:
    """Node and daemon, up and listening."""
    server.start()
    asyncio.run(make_schema(server))
    rpc, ws, http = free_port(), free_port(), free_port()
    node = launch(
        folder, "localnet", "--rpc-port", str(rpc), "--ws-port", str(ws), "--control",
        "--ledger", folder / "ledger.jsonl",
    )  # fmt: skip
    asyncio.run(world.until_listening(rpc))
    daemon = launch(
        folder, "run", "--state-dir", folder / "state",
        DATABASE_URL=server.dsn(), QUANTDESK_HTTP_PORT=str(http), SOLANA_NETWORK="localnet",
        QUANTDESK_CONFIG=str(world.configuration(folder, markets=MARKETS)),
        RPC_URL=f"http://127.0.0.1:{rpc}", WS_URL=f"ws://127.0.0.1:{ws}",
    )  # fmt: skip
    soak = Soak(server, node, daemon, rpc, http, speed)
    try:
        asyncio.run(world.until_listening(http))
    except BaseException:
        soak.end()
        raise
    time.sleep(5)
    return soak


async def told(soak: Soak, ledger: Path) -> str:
    """Hold the tables against the ledger; what they hold, in a line."""
    dsn = soak.server.dsn()
    await until_healed(dsn, ledger, markets=MARKETS)
    soak.end()
    prints = await world.assert_tables_are_true(dsn, ledger, whole=False)
    marks = [await seconds_without_mark(dsn, symbol) for symbol in MARKETS]
    async with world.connected(dsn) as connection:
        samples = await connection.fetchval("SELECT count(*) FROM premium_samples")
        rates = await connection.fetch(
            "SELECT status, count(*) FROM funding_rates GROUP BY status ORDER BY 1"
        )
    return (
        f"{prints} prints, all of the ledger's; {sum(found for found, _ in marks)} marks, "
        f"{sum(len(without) for _, without in marks)} seconds without; {samples} samples; "
        f"boundaries: {', '.join(f'{count} {status}' for status, count in rates)}; "
        f"{soak.outages} outages of the database, {soak.reconnects} reconnects"
    )


def main(duration: str, where: str, speed: str = "1") -> int:
    folder, programs_folder = Path(where).absolute(), programs(18)
    folder.mkdir(parents=True)
    assert programs_folder is not None, "the embedded PostgreSQL is not installed"
    server = PostgresServer(programs_folder)
    with fast_time(float(speed)):
        try:
            soak = start(server, folder, float(speed))
            try:
                with (folder / "samples.jsonl").open("w") as out:
                    soak.watch(parse_duration(duration), out)
                (folder / "soak.svg").write_text(draw(soak.samples))
                print(asyncio.run(told(soak, folder / "ledger.jsonl")))
            finally:
                soak.end()
        finally:
            server.remove()
    print(f"{len(soak.samples)} samples; at the end {soak.samples[-1]}; picture: {folder / 'soak.svg'}")
    for name in FLAT:
        values = [sample[name] for sample in soak.samples]
        print(f"{name}: {min(values):.4g} to {max(values):.4g}")
    found = [name for name in FLAT if grown(soak.samples, name)]
    print(f"grown: {', '.join(found) or 'nothing'}")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
