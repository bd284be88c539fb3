"""A local node, a database and any number of daemons as processes of their own, to be killed, frozen and cut off."""

from __future__ import annotations

import asyncio
import json
import signal
import sqlite3
import subprocess
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol

import asyncpg

from quantdesk_oracle.localnet.settings import DEFAULT_FEEDS
from tests.e2e import truth
from tests.e2e.conftest import Program
from tests.postgres import free_port

MARKETS = ("BTC-PERP", "ETH-PERP", "SOL-PERP")
INTERVAL = 30
"""Seconds of a funding interval: short enough to see some settled."""


@dataclass
class Node:
    """A running local node and what it says that it pushed."""

    ledger: Path
    variables: dict[str, str]
    process: subprocess.Popen[str]

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(10)


class Served(Protocol):
    """A node, as far as a daemon is told of it."""

    variables: dict[str, str]


@dataclass
class Daemon:
    """One `quantdesk-oracle run`: its state directory stays when it is killed and started again."""

    program: Program
    node: Served
    state_dir: Path
    dsn: str
    variables: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[str] | None = None

    def start(self, *arguments: str) -> None:
        """Start it; its HTTP port is given, so that it can be asked."""
        self.port = free_port()
        self.process = self.program(
            "run", "--json", "--state-dir", self.state_dir, *arguments,
            DATABASE_URL=self.dsn, QUANTDESK_HTTP_PORT=str(self.port), **self.node.variables, **self.variables,
        )  # fmt: skip

    def kill(self) -> None:
        """kill -9."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    async def stop(self, within: float = 15) -> dict[str, Any]:
        """SIGTERM; the summary."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return await self.ended(within)

    async def ended(self, within: float = 90) -> dict[str, Any]:
        """Wait for its end; the summary."""
        assert self.process is not None
        out, _ = await asyncio.to_thread(self.process.communicate, timeout=within)
        assert self.process.returncode == 0, out
        summary: dict[str, Any] = json.loads(out)
        return summary

    async def status(self) -> dict[str, Any]:
        """What /status says; empty where nobody answers."""
        body = await self.page("/status")
        status: dict[str, Any] = json.loads(body) if body else {}
        return status

    async def page(self, path: str) -> str:
        """The body of what its HTTP port answers; empty where nobody does."""
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return ""
        try:
            writer.write(f"GET {path} HTTP/1.0\r\n\r\n".encode())
            answer = await reader.read()
        except OSError:
            return ""
        finally:
            writer.close()
        return answer.partition(b"\r\n\r\n")[2].decode()


async def start_node(program: Program, folder: Path, *options: str, seed: int = 0, more: str = "") -> Node:
    """A local node that pushes every second and writes the ledger."""
    folder.mkdir(exist_ok=True)  # noqa: ASYNC240
    ledger, rpc, ws = folder / f"ledger-{seed}.jsonl", free_port(), free_port()
    process = program(
        "localnet",
        "--rpc-port",
        str(rpc),
        "--ws-port",
        str(ws),
        "--ledger",
        ledger,
        "--seed",
        str(seed),
        *options,
    )
    await until_listening(rpc)
    variables = {
        "QUANTDESK_CONFIG": str(configuration(folder, more)),
        "SOLANA_NETWORK": "localnet",
        "RPC_URL": f"http://127.0.0.1:{rpc}",
        "WS_URL": f"ws://127.0.0.1:{ws}",
    }
    return Node(ledger, variables, process)


def configuration(folder: Path, more: str = "", *, markets: Sequence[str] | None = None) -> Path:
    """A configuration file of the feeds that a local node serves, or of some, so that nothing is refused."""
    path = folder / "quantdesk.toml"
    told = "".join(
        f'[[markets]]\nsymbol = "{feed.market}"\nbase_asset = "{feed.market.split("-")[0]}"\n'
        f'feed_id = "{feed.feed_id.hex()}"\ngenerations = ["core_upgraded"]\n'
        for feed in DEFAULT_FEEDS
        if markets is None or feed.market in markets
    )
    path.write_text(more + told)
    return path


async def until_listening(port: int) -> None:
    """Until somebody accepts connections on ``port``."""
    async with asyncio.timeout(20):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.1)
            else:
                writer.close()
                return


async def shorten_funding(dsn: str) -> None:
    """Let the markets settle every INTERVAL."""
    async with connected(dsn) as connection:
        await connection.execute("UPDATE markets SET funding_interval = $1", INTERVAL)


class connected:  # noqa: N801 (reads as a verb)
    """``async with connected(dsn) as connection``."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn

    async def __aenter__(self) -> asyncpg.Connection:
        self._connection = await asyncpg.connect(self._dsn, timeout=10)
        return self._connection

    async def __aexit__(self, *_: object) -> None:
        await self._connection.close()


async def until_count(dsn: str, table: str, rows: int, within: float = 60) -> None:
    """Until ``table`` holds at least ``rows``."""
    async with asyncio.timeout(within), connected(dsn) as connection:
        while await connection.fetchval(f"SELECT count(*) FROM {table}") < rows:  # noqa: ASYNC110
            await asyncio.sleep(0.1)


async def assert_no_second_of_marks_is_missing(dsn: str) -> None:
    """Every market has a mark on every second from its first to its last."""
    async with connected(dsn) as connection:
        for symbol in MARKETS:
            await truth.assert_no_second_is_missing(connection, symbol)


async def assert_tables_are_true(dsn: str, ledger: Path, *, whole: bool = True) -> int:
    """No print twice, none that was not pushed, with ``whole`` none missing; marks and rates recompute.

    How many prints there are.
    """
    async with connected(dsn) as connection:
        stored = await truth.stored_prints(connection)
        assert [row for row, count in Counter(row[:3] for row in stored).items() if count > 1] == []
        pushed = set(truth.pushed_since(ledger, []))
        assert set(stored) <= pushed
        if whole:
            await truth.assert_prints_are_the_ledger(connection, ledger)
        await truth.assert_marks_recompute(connection)
        await truth.assert_funding_recomputes(connection)
        return len(stored)


async def prints(dsn: str) -> list[tuple[Any, ...]]:
    """oracle_prices, as truth has them."""
    async with connected(dsn) as connection:
        return await truth.stored_prints(connection)


async def event_types(dsn: str) -> set[str]:
    """Which events there are."""
    async with connected(dsn) as connection:
        return {row[0] for row in await connection.fetch("SELECT DISTINCT event_type FROM system_events")}


def rows_on_disk(daemon: Daemon) -> int:
    """How many rows lie in a daemon's spool."""
    with closing(sqlite3.connect(daemon.state_dir / "spool.sqlite3", timeout=10)) as connection:
        rows: int = connection.execute("SELECT count(*) FROM spooled").fetchone()[0]
        return rows


async def until_spool_is_empty(daemon: Daemon, within: float = 60) -> None:
    """Until the daemon has moved everything from its spool to the database."""
    async with asyncio.timeout(within):
        while not (daemon.state_dir / "spool.sqlite3").exists() or rows_on_disk(daemon):  # noqa: ASYNC110
            await asyncio.sleep(0.2)


async def until_gaps_are_closed(dsn: str, within: float = 60) -> None:
    """Until whatever was noted to be missing has been read back."""
    unfinished = "SELECT count(*) FROM oracle_gaps WHERE state IN ('open', 'healing')"
    async with asyncio.timeout(within), connected(dsn) as connection:
        while await connection.fetchval(unfinished):  # noqa: ASYNC110
            await asyncio.sleep(0.2)


async def assert_only_missing_while_down(dsn: str, ledger: Path, *, seconds: float) -> None:
    """Between the first and last stored print, none is missing but in one stretch of at most ``seconds``.

    That is while no daemon ran at all: chain history heals it, which is another test's matter.
    """
    stored = await prints(dsn)
    last = max(row[2] for row in stored)
    missing = [row[1] for row in set(truth.pushed_since(ledger, stored)) - set(stored) if row[2] < last]
    if missing:
        assert max(missing) - min(missing) <= timedelta(seconds=seconds), sorted(missing)
