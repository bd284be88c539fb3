"""Two daemons, one database, one node, a broker, and a seeded schedule of everything that can be pulled.

After each schedule the tables equal the ledger, healing included: no print missing, none twice, none that nobody
pushed; every mark and every rate recomputes; no mark is of a dead oracle; a mark stands on every second in which a
daemon could reach the database and the oracle was alive; the broker was told of every row. CI plays one short
schedule; ``make chaos`` plays many, longer ones, and prints a line for each.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import random
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from quantdesk_oracle.store import schema
from tests.chaos import stage as stages
from tests.chaos import truthful
from tests.chaos.proxy import Link
from tests.chaos.small_disk import small_disk
from tests.chaos.stage import Publication, Stage
from tests.e2e import world
from tests.e2e.conftest import Program, program
from tests.nats_server import SERVER, Nats
from tests.pgbouncer import BOUNCER, PgBouncer
from tests.postgres import PostgresServer, execute, unprivileged

__all__ = ["program"]

SEEDS = int(os.environ.get("QUANTDESK_TEST_CHAOS_SEEDS", "1"))
FIRST_SEED = int(os.environ.get("QUANTDESK_TEST_CHAOS_FIRST_SEED", "1"))
FAULTS = int(os.environ.get("QUANTDESK_TEST_CHAOS_FAULTS", "4"))
ONLY = frozenset(filter(None, os.environ.get("QUANTDESK_TEST_CHAOS_ONLY", "").split(",")))

pytestmark = pytest.mark.timeout(300 + FAULTS * 60)


@pytest.fixture
def pooler(killable: PostgresServer) -> Iterator[PgBouncer | None]:
    if BOUNCER is None:
        yield None
        return
    pooler = PgBouncer(killable)
    pooler.start()
    yield pooler
    pooler.remove()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Nats | None]:
    if SERVER is None:
        yield None
        return
    broker = Nats(tmp_path)
    broker.start()
    yield broker
    broker.kill()


@pytest.fixture
async def stage(
    killable: PostgresServer,
    pooler: PgBouncer | None,
    broker: Nats | None,
    program: Program,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> AsyncIterator[Stage]:
    seed: int = request.param
    async with contextlib.AsyncExitStack() as stack:
        owner = pwd.getpwnam(unprivileged() or "root").pw_uid
        server_disk = stack.enter_context(small_disk(killable.folder / "small", 64, owner=owner))
        spool_disk = stack.enter_context(small_disk(tmp_path / "daemon-0", 16))
        await make_database(killable, killable.folder / "small" if server_disk else None)
        node = await world.start_node(program, tmp_path, "--control", seed=seed, more=stages.SETTINGS)
        ports = [killable.port, pooler.port if pooler else killable.port]
        links = [await stack.enter_async_context(Link(port).running()) for port in ports]
        daemons = [
            world.Daemon(program, node, tmp_path / f"daemon-{number}", killable.dsn("chaos", port=link.port))
            for number, link in enumerate(links)
        ]
        publication = (
            Publication(program, broker, killable.dsn("chaos"), tmp_path / "publisher") if broker else None
        )
        stage = Stage(
            killable, daemons, links, random.Random(seed), pooler, publication, server_disk, spool_disk, ONLY
        )
        if publication is not None:
            publication.start()
        await asyncio.gather(*[stage.start(daemon) for daemon in daemons])
        yield stage
        killable.stop()


async def make_database(server: PostgresServer, disk: Path | None) -> None:
    """A database with the schema in it, on a disk of its own where there is one."""
    if disk is not None:
        await execute(server.dsn(), f"CREATE TABLESPACE small LOCATION '{disk}'")
    place = "TABLESPACE small" if disk is not None else ""
    await execute(server.dsn(), f"CREATE DATABASE chaos {place}")
    async with world.connected(server.dsn("chaos")) as connection:
        await schema.apply(connection)
    await world.shorten_funding(server.dsn("chaos"))


@pytest.mark.parametrize("stage", range(FIRST_SEED, FIRST_SEED + SEEDS), indirect=True)
async def test_after_any_schedule_of_faults_the_tables_equal_the_ledger(stage: Stage) -> None:
    began = time.monotonic()
    for _ in range(FAULTS):
        await stage.play()
    await asyncio.gather(*[world.until_spool_is_empty(daemon) for daemon in stage.daemons])
    node = stage.daemons[0].node
    dsn = stage.server.dsn("chaos")
    await truthful.until_healed(dsn, node.ledger)
    await asyncio.gather(*[daemon.stop() for daemon in stage.daemons])
    node.stop()
    stored = await world.assert_tables_are_true(dsn, node.ledger, whole=False)
    marks = await truthful.assert_marks_stand(dsn, stage.down)
    await truthful.assert_no_mark_of_a_dead_oracle(dsn, stages.STALE)
    told = 0
    if stage.publication is not None:
        told = await truthful.until_all_is_told(dsn, stage.publication.broker, stage.publication.state_dir)
        await stage.publication.stop()
    played = ", ".join(f"{count} {name}" for name, count in sorted(stage.played.items()))
    print(f"\n{played}: {stored} prints, {marks} marks, {told} told, {time.monotonic() - began:.0f} s")
