"""Two daemons, one database, one node, and a seeded schedule of everything that can be pulled.

After each schedule the tables equal the ledger, healing included: no print missing, none twice, none that nobody
pushed; every mark and every rate recomputes; and a mark stands on every second in which a daemon could reach the
database. CI plays one short schedule; ``make chaos`` plays many, longer ones, and prints a line for each.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from quantdesk_oracle.store import schema
from tests.chaos.proxy import Link
from tests.e2e import truth, world
from tests.e2e.conftest import Program, program
from tests.postgres import PostgresServer

__all__ = ["program"]

SEEDS = int(os.environ.get("QUANTDESK_TEST_CHAOS_SEEDS", "1"))
FIRST_SEED = int(os.environ.get("QUANTDESK_TEST_CHAOS_FIRST_SEED", "1"))
FAULTS = int(os.environ.get("QUANTDESK_TEST_CHAOS_FAULTS", "4"))
HEALED_SECONDS = 120.0
GRACE = 12.0
"""Seconds after a fault in which marks may be missing: a restart's proof of the feed, a reconnect, recovery."""

pytestmark = pytest.mark.timeout(300 + FAULTS * 60)


@dataclass
class Stage:
    """What can be pulled, and when it was not whole."""

    server: PostgresServer
    daemons: list[world.Daemon]
    links: list[Link]
    chance: random.Random
    down: list[tuple[float, float]] = field(default_factory=list)
    """From when to when (Unix seconds) no daemon may have reached the database."""
    played: Counter[str] = field(default_factory=Counter)

    async def play(self) -> None:
        """One fault, drawn by chance, and what follows to make all whole again."""
        faults: list[Callable[[], Awaitable[bool]]] = [
            self.kill_database,
            self.freeze_database,
            self.kill_a_daemon,
            self.kill_both_daemons,
            self.stop_a_daemon,
            self.cut_a_link,
            self.stall_a_link,
        ]
        fault = self.chance.choice(faults)
        began = time.time()
        self.played[fault.__name__] += 1
        if await fault():
            self.down.append((began - 2, time.time() + GRACE))
        await asyncio.sleep(self.chance.uniform(1, 5))

    async def kill_database(self) -> bool:
        self.server.kill()
        await asyncio.sleep(self.chance.uniform(0, 6))
        await asyncio.to_thread(self.server.start)
        return True

    async def freeze_database(self) -> bool:
        self.server.freeze()
        await asyncio.sleep(self.chance.uniform(0.5, 6))
        self.server.thaw()
        return True

    async def kill_a_daemon(self) -> bool:
        daemon = self.chance.choice(self.daemons)
        daemon.kill()
        await asyncio.sleep(self.chance.uniform(0, 3))
        await self._start(daemon)
        return False

    async def kill_both_daemons(self) -> bool:
        for daemon in self.daemons:
            daemon.kill()
        await asyncio.sleep(self.chance.uniform(0, 5))
        await asyncio.gather(*[self._start(daemon) for daemon in self.daemons])
        return True

    async def stop_a_daemon(self) -> bool:
        daemon = self.chance.choice(self.daemons)
        await daemon.stop()
        await self._start(daemon)
        return False

    async def cut_a_link(self) -> bool:
        link = self.chance.choice(self.links)
        link.cut()
        await asyncio.sleep(self.chance.uniform(0.5, 8))
        link.restore()
        return False

    async def stall_a_link(self) -> bool:
        link = self.chance.choice(self.links)
        link.stall()
        await asyncio.sleep(self.chance.uniform(0.5, 8))
        link.restore()
        return False

    async def _start(self, daemon: world.Daemon) -> None:
        """Start it, and wait until it could write marks: the next fault may take the other one."""
        daemon.start()
        async with asyncio.timeout(60):
            while not (await daemon.status()).get("ready"):
                assert daemon.process is not None
                assert daemon.process.poll() is None, "a daemon ended by itself"
                await asyncio.sleep(0.2)


@pytest.fixture
async def stage(
    killable: PostgresServer, program: Program, tmp_path: Path, request: pytest.FixtureRequest
) -> AsyncIterator[Stage]:
    async with world.connected(killable.dsn()) as connection:
        await schema.apply(connection)
    await world.shorten_funding(killable.dsn())
    seed: int = request.param
    node = await world.start_node(program, tmp_path, seed=seed)
    async with contextlib.AsyncExitStack() as stack:
        links = [await stack.enter_async_context(Link(killable.port).running()) for _ in range(2)]
        daemons = [
            world.Daemon(program, node, tmp_path / f"daemon-{number}", killable.dsn(port=link.port))
            for number, link in enumerate(links)
        ]
        stage = Stage(killable, daemons, links, random.Random(seed))
        await asyncio.gather(*[stage._start(daemon) for daemon in daemons])
        yield stage


@pytest.mark.parametrize("stage", range(FIRST_SEED, FIRST_SEED + SEEDS), indirect=True)
async def test_after_any_schedule_of_faults_the_tables_equal_the_ledger(stage: Stage) -> None:
    began = time.monotonic()
    for _ in range(FAULTS):
        await stage.play()
    await asyncio.gather(*[world.until_spool_is_empty(daemon) for daemon in stage.daemons])
    node = stage.daemons[0].node
    dsn = stage.server.dsn()
    await until_healed(dsn, node.ledger)
    await asyncio.gather(*[daemon.stop() for daemon in stage.daemons])
    node.stop()
    stored = await world.assert_tables_are_true(dsn, node.ledger, whole=False)
    marks = await assert_marks_stand(dsn, stage.down)
    played = ", ".join(f"{count} {name}" for name, count in sorted(stage.played.items()))
    print(f"\n{played}: {stored} prints, {marks} marks, {time.monotonic() - began:.0f} s")


async def until_healed(dsn: str, ledger: Path) -> None:
    """Until every print of the ledger, from the first stored one to some seconds ago, is a row."""
    expected = {
        truth.expected_print(line)[:3]
        for line in truth.ledger_rows(ledger)
        if line["publish_time"] < time.time() - 3
    }
    missing: set[tuple[object, ...]] = set()
    deadline = time.monotonic() + HEALED_SECONDS
    while time.monotonic() < deadline:
        found = {row[:3] for row in await world.prints(dsn)}
        first = min(row[2] for row in found)
        missing = {row for row in expected if row[2] >= first} - found
        if not missing:
            return
        await asyncio.sleep(1)
    pytest.fail(f"{len(missing)} prints are missing for good, such as {sorted(missing)[:3]}")


async def assert_marks_stand(dsn: str, down: list[tuple[float, float]]) -> int:
    """Between a market's first and last mark, a second has none only where no daemon could write; how many marks."""
    marks = 0
    async with world.connected(dsn) as connection:
        for symbol in world.MARKETS:
            rows = await connection.fetch(
                "SELECT extract(epoch FROM k.created_at)::bigint AS second FROM mark_prices AS k"
                " JOIN markets AS m ON m.id = k.market_id WHERE m.symbol = $1 ORDER BY 1",
                symbol,
            )
            seconds = [row["second"] for row in rows]
            marks += len(seconds)
            without = set(range(seconds[0], seconds[-1] + 1)) - set(seconds)
            unexplained = sorted(s for s in without if not any(a <= s <= b for a, b in down))
            assert unexplained == [], f"{symbol} has no mark, though one daemon was up and connected"
    return marks
