"""Collectors under test as processes of their own: our daemon, and the simplest script."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import asyncpg

from bench.feeds import configuration
from bench.processes import ROOT, Feeder, Talker
from bench.servers import DATABASE, add_markets
from tests.postgres import PostgresServer, free_port

PROGRAM = Path(sys.executable).parent / "quantdesk-oracle"
_HEAD = "[mark]\ninterval = {interval}\n"


class Daemon:
    """`quantdesk-oracle run` on a bench's feeds; marks once a minute unless the bench is about marks."""

    name = "quantdesk-oracle"

    def __init__(self, one: PostgresServer, feeder: Feeder, count: int, mark_interval: float = 60) -> None:
        self._folder = tempfile.TemporaryDirectory()
        folder = Path(self._folder.name)
        self.port = free_port()
        environment = {
            "DATABASE_URL": one.dsn(DATABASE),
            "SOLANA_NETWORK": "localnet",
            "RPC_URL": feeder.rpc,
            "WS_URL": feeder.ws,
            "QUANTDESK_HTTP_PORT": str(self.port),
            "QUANTDESK_LOG_LEVEL": "warning",
        }
        path = configuration(folder, count, _HEAD.format(interval=mark_interval))
        self._log = (folder / "log").open("w+")
        self._process = subprocess.Popen(
            [PROGRAM, "run", "--json", "--config", path, "--state-dir", folder / "state"],
            env=os.environ | environment, stdout=subprocess.DEVNULL, stderr=self._log,
        )  # fmt: skip
        self.pid = self._process.pid

    def until_ready(self, within: float = 120) -> float:
        """Wait until /readyz says so; after how many seconds."""
        started = time.monotonic()
        while time.monotonic() - started < within:
            if self._process.poll() is not None:
                break
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=5) as answer:
                    if answer.status == 200:
                        return time.monotonic() - started
            except OSError:
                pass
            time.sleep(0.05)
        self._log.seek(0)
        raise RuntimeError(f"the daemon does not get ready: {self._log.read()[-3000:]}")

    def scrape(self) -> float:
        """Fetch /metrics; how many seconds it took."""
        started = time.monotonic()
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=60) as answer:
            answer.read()
        return time.monotonic() - started

    def status(self) -> dict[str, object]:
        """What /status says."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/status", timeout=30) as answer:
            return json.load(answer)  # type: ignore[no-any-return]

    def stop(self) -> None:
        """SIGTERM, and everything away."""
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()
        self._folder.cleanup()


class Script:
    """bench.peers.simple_collector."""

    name = "solana-py + anchorpy + executemany"

    def __init__(self, one: PostgresServer, feeder: Feeder, count: int) -> None:
        asyncio.run(_with_markets(one, count))
        command = (
            sys.executable,
            "-m",
            "bench.peers.simple_collector",
            feeder.ws,
            one.dsn(DATABASE),
            str(count),
        )
        self._talker = Talker(*command, PYTHONPATH=str(ROOT))
        self.pid = self._talker.process.pid

    def until_ready(self) -> float:
        """Wait until it has subscribed."""
        started = time.monotonic()
        self._talker.hear()
        time.sleep(3)
        return time.monotonic() - started

    def stop(self) -> None:
        """End it."""
        self._talker.process.kill()
        self._talker.close()


async def _with_markets(one: PostgresServer, count: int) -> None:
    connection = await asyncpg.connect(one.dsn(DATABASE))
    try:
        await add_markets(connection, count)
    finally:
        await connection.close()
