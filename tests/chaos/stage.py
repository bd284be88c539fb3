"""Two daemons, one database, one node, a publisher and its broker: all that can be pulled, and how it is made whole.

node ──► daemon 0 ──link──► database ──► publisher ──► broker
     └─► daemon 1 ──link──► pooler ──┘
"""

from __future__ import annotations

import asyncio
import random
import signal
import time
import urllib.request
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.proxy import Link
from tests.chaos.small_disk import SmallDisk
from tests.e2e import world
from tests.e2e.conftest import Program
from tests.nats_server import Nats
from tests.pgbouncer import PgBouncer
from tests.postgres import PostgresServer

GRACE = 12.0
"""Seconds after a fault in which marks may be missing: a restart's proof of the feed, a reconnect, recovery."""
FRESH, STALE = 4, 6
"""Seconds of the markets' limits of use: short, so that a halted oracle dies within a fault."""
SETTINGS = f"[solana]\nsweep_interval = 15\n[use]\nfresh = {FRESH}\nstale = {STALE}\n"
"""And history is read often: it is what finds the prints that neither subscription nor poll has seen."""
Fault = Callable[[], Awaitable[bool]]
"""Plays, and makes whole again; whether no daemon may have been able to write marks meanwhile."""


@dataclass
class Publication:
    """`quantdesk-oracle publish`, started again where it is killed, and the broker that it tells."""

    program: Program
    broker: Nats
    dsn: str
    state_dir: Path

    def start(self) -> None:
        self.process = self.program(
            "publish", "--nats", self.broker.url, "--state-dir", self.state_dir, DATABASE_URL=self.dsn
        )

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def see_to_it(self) -> None:
        """Start it again where it has ended: a start without a database ends with 69, as systemd knows."""
        if self.process.poll() is not None:
            self.start()

    async def stop(self) -> None:
        """SIGTERM."""
        self.process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(self.process.communicate, timeout=20)


@dataclass
class Stage:
    """What can be pulled, and when it was not whole. Parts that this machine has not got are None."""

    server: PostgresServer
    daemons: list[world.Daemon]
    links: list[Link]
    chance: random.Random
    pooler: PgBouncer | None
    publication: Publication | None
    server_disk: SmallDisk | None
    spool_disk: SmallDisk | None
    """Of the first daemon."""
    only: frozenset[str] = frozenset()
    """Names of the faults to play; empty for all."""
    down: list[tuple[float, float]] = field(default_factory=list)
    """From when to when (Unix seconds) no daemon may have been able to write marks."""
    played: Counter[str] = field(default_factory=Counter)

    def faults(self) -> list[Fault]:
        """Those that this machine can play."""
        found: list[Fault] = [
            self.kill_database,
            self.freeze_database,
            self.kill_a_daemon,
            self.kill_both_daemons,
            self.stop_a_daemon,
            self.hup_both_daemons,
            self.cut_a_link,
            self.stall_a_link,
            self.cut_both_links,
            self.cut_links_in_turn,
            self.hang_up,
            self.restart_node,
            self.mute_node,
            self.halt_oracle,
        ]
        found += [self.kill_pooler] if self.pooler else []
        found += [self.kill_broker, self.kill_publisher] if self.publication else []
        found += [self.fill_database] if self.server_disk else []
        found += [self.fill_spool] if self.spool_disk else []
        return [fault for fault in found if not self.only or fault.__name__ in self.only]

    async def play(self) -> None:
        """One fault, drawn by chance, and a pause."""
        fault = self.chance.choice(self.faults())
        began = time.time()
        self.played[fault.__name__] += 1
        if await fault():
            self.down.append((began - 2, time.time() + GRACE))
        await asyncio.sleep(self.chance.uniform(1, 5))
        if self.publication is not None:
            self.publication.see_to_it()

    async def start(self, daemon: world.Daemon) -> None:
        """Start it, and wait until it could write marks: the next fault may take the other one."""
        daemon.start()
        await self.until_ready(daemon)

    async def until_ready(self, daemon: world.Daemon) -> None:
        """Until it says so."""
        async with asyncio.timeout(60):
            while not (await daemon.status()).get("ready"):
                assert daemon.process is not None
                assert daemon.process.poll() is None, "a daemon ended by itself"
                await asyncio.sleep(0.2)

    async def kill_database(self) -> bool:
        self.server.kill()
        await self._pause(0, 6)
        await asyncio.to_thread(self.server.start)
        return True

    async def freeze_database(self) -> bool:
        self.server.freeze()
        await self._pause(0.5, 6)
        self.server.thaw()
        return True

    async def fill_database(self) -> bool:
        """Its tables' disk; what is written beside them still fits."""
        assert self.server_disk is not None
        self.server_disk.fill()
        await self._pause(3, 10)
        self.server_disk.free()
        return False

    async def fill_spool(self) -> bool:
        """While the database is away: rows have nowhere to go but memory."""
        assert self.spool_disk is not None
        self.server.kill()
        self.spool_disk.fill()
        await self._pause(3, 8)
        await asyncio.to_thread(self.server.start)
        await self._pause(0, 2)
        self.spool_disk.free()
        return True

    async def kill_a_daemon(self) -> bool:
        daemon = self.chance.choice(self.daemons)
        daemon.kill()
        await self._pause(0, 3)
        await self.start(daemon)
        return False

    async def kill_both_daemons(self) -> bool:
        for daemon in self.daemons:
            daemon.kill()
        await self._pause(0, 5)
        await asyncio.gather(*[self.start(daemon) for daemon in self.daemons])
        return True

    async def stop_a_daemon(self) -> bool:
        daemon = self.chance.choice(self.daemons)
        await daemon.stop()
        await self.start(daemon)
        return False

    async def hup_both_daemons(self) -> bool:
        for daemon in self.daemons:
            assert daemon.process is not None
            daemon.process.send_signal(signal.SIGHUP)
        return False

    async def cut_a_link(self) -> bool:
        link = self.chance.choice(self.links)
        link.cut()
        await self._pause(0.5, 8)
        link.restore()
        return False

    async def stall_a_link(self) -> bool:
        link = self.chance.choice(self.links)
        link.stall()
        await self._pause(0.5, 8)
        link.restore()
        return False

    async def cut_both_links(self) -> bool:
        for link in self.links:
            link.cut()
        await self._pause(0.5, 8)
        for link in self.links:
            link.restore()
        return True

    async def cut_links_in_turn(self) -> bool:
        """One is whole at any moment, so that no mark may be missing."""
        for link, daemon in zip(self.links, self.daemons, strict=True):
            link.cut()
            await self._pause(1, 6)
            link.restore()
            await self.until_ready(daemon)
        return False

    async def kill_pooler(self) -> bool:
        """Daemon 0 does not go through it."""
        assert self.pooler is not None
        self.pooler.kill()
        await self._pause(0, 6)
        await asyncio.to_thread(self.pooler.start)
        await self.until_ready(self.daemons[1])
        return False

    async def kill_broker(self) -> bool:
        assert self.publication is not None
        self.publication.broker.kill()
        await self._pause(0, 8)
        self.publication.broker.start()
        return False

    async def kill_publisher(self) -> bool:
        assert self.publication is not None
        self.publication.kill()
        await self._pause(0, 5)
        self.publication.start()
        return False

    async def hang_up(self) -> bool:
        """Every websocket connection ends without a farewell; polling goes on."""
        await self._node('{"kind": "close", "code": 1006}')
        return False

    async def mute_node(self) -> bool:
        """Notifications are lost, at random; polling and history have them."""
        seconds = self.chance.uniform(2, 8)
        await self._node(f'{{"kind": "drop", "for": {seconds}, "probability": 0.7}}')
        await asyncio.sleep(seconds)
        return False

    async def restart_node(self) -> bool:
        """It answers nobody for seconds; then all is as it was."""
        seconds = self.chance.uniform(0.5, 8)
        await self._node(f'{{"kind": "restart", "for": {seconds}}}')
        await asyncio.sleep(seconds)
        await asyncio.gather(*[self.until_ready(daemon) for daemon in self.daemons])
        return True

    async def halt_oracle(self) -> bool:
        """Nobody pushes until every feed is dead: then there are no marks, and none may be made up."""
        seconds = STALE + self.chance.uniform(2, 6)
        await self._node(f'{{"kind": "halt", "for": {seconds}}}')
        await asyncio.sleep(seconds)
        return True

    async def _node(self, fault: str) -> None:
        url = f"{self.daemons[0].node.variables['RPC_URL']}/control/faults"
        with await asyncio.to_thread(urllib.request.urlopen, url, fault.encode(), timeout=10):
            pass

    async def _pause(self, least: float, most: float) -> None:
        await asyncio.sleep(self.chance.uniform(least, most))
