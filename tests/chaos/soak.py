"""Hours of one daemon under a database that comes and goes: what it takes of the machine, sampled and drawn.

    python -m tests.chaos.soak DURATION FOLDER

Ends with 1 where memory or descriptors have grown: the last quarter's highest against the second quarter's.
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
from pathlib import Path
from typing import Any

from quantdesk_oracle.cli.duration import parse_duration
from quantdesk_oracle.store import schema
from tests.e2e import world
from tests.postgres import PostgresServer, free_port, programs

SAMPLE_SECONDS = 2.0
OUTAGE_EVERY = 600.0
OUTAGE_SECONDS = 20.0
ALLOWED_GROWTH = 1.10
METRICS = {
    "queue": "quantdesk_oracle_queue_depth",
    "spool": "quantdesk_oracle_spool_rows",
    "lag": "quantdesk_oracle_event_loop_lag_seconds",
}
DRAWN = {"rss_mb": "#1f77b4", "fds": "#2ca02c", "threads": "#9467bd", "queue": "#ff7f0e", "spool": "#d62728",
         "lag": "#8c564b"}  # fmt: skip


def sample(pid: int, port: int, began: float) -> dict[str, float]:
    """What the process takes now, and what it says of its queues."""
    status = Path(f"/proc/{pid}/status").read_text()
    numbers = {
        "seconds": round(time.monotonic() - began, 1),
        "rss_mb": int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024,  # type: ignore[index]
        "threads": float(re.search(r"Threads:\s+(\d+)", status)[1]),  # type: ignore[index]
        "fds": float(len(os.listdir(f"/proc/{pid}/fd"))),
    }
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    for name, metric in METRICS.items():
        numbers[name] = sum(float(value) for value in re.findall(rf"^{metric}(?:{{.*}})? (\S+)$", text, re.M))
    return numbers


def draw(samples: list[dict[str, float]]) -> str:
    """One strip a quantity, over time (SVG)."""
    width, height, gap = 900, 90, 30
    last = samples[-1]["seconds"] or 1
    strips = []
    for row, (name, colour) in enumerate(DRAWN.items()):
        values = [each[name] for each in samples]
        top = max(values) or 1
        y = row * (height + gap) + gap
        points = " ".join(
            f"{each['seconds'] / last * width:.1f},{y + height - each[name] / top * height:.1f}"
            for each in samples
        )
        strips.append(
            f'<text x="0" y="{y - 6}">{name}: {min(values):.4g} … {max(values):.4g}, at the end {values[-1]:.4g}</text>'
            f'<rect x="0" y="{y}" width="{width}" height="{height}" fill="none" stroke="#ccc"/>'
            f'<polyline points="{points}" fill="none" stroke="{colour}"/>'
        )
    total = len(DRAWN) * (height + gap) + gap
    caption = f'<text x="0" y="{total - 8}">{last / 3600:.2f} hours</text>'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-10 0 {width + 20} {total}" font-family="sans-serif"'
        f' font-size="13">{"".join(strips)}{caption}</svg>\n'
    )


def grown(samples: list[dict[str, float]], name: str) -> bool:
    """Whether the last quarter's highest value is well above the second quarter's."""
    quarter = len(samples) // 4
    early, late = samples[quarter : 2 * quarter], samples[-quarter:]
    return max(s[name] for s in late) > ALLOWED_GROWTH * max(s[name] for s in early) + 1


def start(folder: Path, *arguments: str | Path, **variables: str) -> subprocess.Popen[str]:
    """The program, with its log in the folder."""
    with (folder / f"{arguments[0]}.log").open("a") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "quantdesk_oracle", *map(str, arguments)],
            stdout=log, stderr=log, text=True, env={**os.environ, **variables},
        )  # fmt: skip


async def prepare(server: PostgresServer) -> None:
    """Schema and short funding intervals."""
    async with world.connected(server.dsn()) as connection:
        await schema.apply(connection)
    await world.shorten_funding(server.dsn())


def watch(
    server: PostgresServer, daemon: subprocess.Popen[str], port: int, seconds: float, out: Any
) -> list[Any]:
    """Sample until the time is up, with an outage of the database now and then."""
    began = time.monotonic()
    samples, next_outage, back = [], OUTAGE_EVERY / 2, None
    while (now := time.monotonic() - began) < seconds:
        if daemon.poll() is not None:
            raise SystemExit(f"the daemon ended with {daemon.returncode} after {now:.0f} s")
        if back is None and now >= next_outage:
            server.kill()
            back = now + OUTAGE_SECONDS
        elif back is not None and now >= back:
            server.start()
            back, next_outage = None, next_outage + OUTAGE_EVERY
        samples.append(sample(daemon.pid, port, began))
        out.write(json.dumps(samples[-1]) + "\n")
        out.flush()
        time.sleep(SAMPLE_SECONDS)
    if back is not None:
        server.start()
    return samples


def main(duration: str, where: str) -> int:
    folder, port = Path(where).absolute(), free_port()
    folder.mkdir(parents=True, exist_ok=True)
    programs_folder = programs(18)
    assert programs_folder is not None, "the embedded PostgreSQL is not installed"
    server = PostgresServer(programs_folder)
    server.start()
    asyncio.run(prepare(server))
    rpc, ws = free_port(), free_port()
    node = start(folder, "localnet", "--rpc-port", str(rpc), "--ws-port", str(ws))
    daemon = None
    try:
        asyncio.run(world.until_listening(rpc))
        daemon = start(
            folder, "run", "--state-dir", folder / "state",
            DATABASE_URL=server.dsn(), QUANTDESK_HTTP_PORT=str(port), SOLANA_NETWORK="localnet",
            QUANTDESK_CONFIG=str(world.configuration(folder)),
            RPC_URL=f"http://127.0.0.1:{rpc}", WS_URL=f"ws://127.0.0.1:{ws}",
        )  # fmt: skip
        asyncio.run(world.until_listening(port))
        time.sleep(5)
        with (folder / "samples.jsonl").open("w") as out:
            samples = watch(server, daemon, port, parse_duration(duration), out)
    finally:
        for process in (daemon, node):
            if process is not None:
                process.send_signal(signal.SIGTERM)
                process.wait(20)
        server.remove()
    (folder / "soak.svg").write_text(draw(samples))
    last = samples[-1]
    print(f"{len(samples)} samples; at the end {last}; picture: {folder / 'soak.svg'}")
    found = [name for name in ("rss_mb", "fds", "threads") if grown(samples, name)]
    print(f"grown: {', '.join(found) or 'nothing'}")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
