"""Random faults over real sockets, and a public node's limits counted by the node: processes, nothing virtual.

By hand ten schedules of a minute, and two minutes without a daemon: QUANTDESK_TEST_SOCKET_SCHEDULES=10
QUANTDESK_TEST_SOCKET_SECONDS=60 QUANTDESK_TEST_LIMITS_DOWN=120.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import truth, world
from tests.e2e.conftest import Program
from tests.integration.healing.test_random_faults import Fault, _kinds
from tests.postgres import TEMPLATE, PostgresServer, execute

SCHEDULES = int(os.environ.get("QUANTDESK_TEST_SOCKET_SCHEDULES", "1"))
SECONDS = float(os.environ.get("QUANTDESK_TEST_SOCKET_SECONDS", "12"))
DOWN = float(os.environ.get("QUANTDESK_TEST_LIMITS_DOWN", "10"))
SETTINGS = "[solana]\nsweep_interval = 10\nsilence_limit = 5\n"
MOST_REQUESTS, MOST_OF_ONE_METHOD = 100, 40
"""In ten seconds: what public nodes allow."""

pytestmark = pytest.mark.timeout(240 + 4 * SECONDS + 4 * DOWN)


@pytest.fixture
async def dsn(postgres_18: PostgresServer) -> AsyncIterator[str]:
    await execute(postgres_18.dsn(), f"CREATE DATABASE over_sockets TEMPLATE {TEMPLATE} STRATEGY FILE_COPY")
    yield postgres_18.dsn("over_sockets")
    await execute(postgres_18.dsn(), "DROP DATABASE over_sockets WITH (FORCE)")


async def control(node: world.Node, path: str = "", body: Fault | None = None) -> dict[str, Any]:
    """What the node says of itself, or what it says to a fault."""
    url, data = f"{node.variables['RPC_URL']}/control{path}", None
    if body is not None:
        data = json.dumps(body).encode()

    def ask() -> bytes:
        with urllib.request.urlopen(url, data, timeout=10) as response:
            content: bytes = response.read()
            return content

    answer: dict[str, Any] = json.loads(await asyncio.to_thread(ask))
    return answer


def schedule(seed: int, seconds: float) -> list[Fault]:
    """Faults of every kind, one in six seconds, each over before the end."""
    chance = random.Random(seed)
    faults = []
    for _ in range(max(2, round(seconds / 6))):
        fault = {**_kinds(chance), "at": round(chance.uniform(0, seconds * 0.7), 1)}
        if fault["kind"] not in ("close", "kill"):
            fault["for"] = round(chance.uniform(0.5, min(seconds * 0.3, 10)), 1)
        faults.append(fault)
    return sorted(faults, key=lambda fault: fault["at"])


@pytest.mark.parametrize("seed", range(1, SCHEDULES + 1))
async def test_after_a_schedule_of_faults_over_sockets_the_table_is_the_ledger(
    program: Program, dsn: str, tmp_path: Path, seed: int
) -> None:
    faults = schedule(seed, SECONDS)
    node = await world.start_node(program, tmp_path, "--control", seed=seed, more=SETTINGS)
    daemon = world.Daemon(program, node, tmp_path / "state", dsn)
    daemon.start()
    await until_watched(dsn)
    began = asyncio.get_running_loop().time()
    kills = 0
    for fault in faults:
        await asyncio.sleep(max(began + fault["at"] - asyncio.get_running_loop().time(), 0))
        if fault["kind"] == "kill":
            kills += 1
            daemon.kill()
            daemon.start()
        else:
            await control(node, "/faults", {key: value for key, value in fault.items() if key != "at"})
    await asyncio.sleep(max(began + SECONDS - asyncio.get_running_loop().time(), 0))
    stored = await until_table_is_the_ledger(dsn, node)
    await daemon.stop()
    node.stop()
    await world.assert_tables_are_true(dsn, node.ledger, whole=False)
    kinds = ", ".join(fault["kind"] for fault in faults)
    print(f"\nschedule {seed}: {stored} prints are the ledger's after {kinds}; {kills} kills")


async def until_watched(dsn: str) -> None:
    """Until what is missed from now on is known to be."""
    async with asyncio.timeout(60), world.connected(dsn) as connection:
        while await connection.fetchval("SELECT count(*) < 3 FROM oracle_watermarks"):  # noqa: ASYNC110
            await asyncio.sleep(0.1)


async def until_table_is_the_ledger(dsn: str, node: world.Node, within: float = 120) -> int:
    """Until all that had been pushed by now, from the table's first row on, is there; how many prints that is."""
    pushed = set(truth.pushed_since(node.ledger, []))
    missing: set[Any] = set()
    try:
        async with asyncio.timeout(within), world.connected(dsn) as connection:
            while True:
                stored = set(await truth.stored_prints(connection))
                wanted = pushed & set(truth.pushed_since(node.ledger, stored))
                if not (missing := wanted - stored):
                    return len(wanted)
                await asyncio.sleep(0.5)
    except TimeoutError:
        pytest.fail(f"{len(missing)} prints are missing, such as {min(missing)}")


async def test_a_public_nodes_limits_are_never_exceeded_healing_included(
    program: Program, dsn: str, tmp_path: Path
) -> None:
    node = await world.start_node(program, tmp_path, "--control")
    limits = {"kind": "limits", "requests": MOST_REQUESTS, "per_method": MOST_OF_ONE_METHOD, "within": 10.0}
    await control(node, "/faults", limits)
    daemon = world.Daemon(program, node, tmp_path / "state", dsn)
    daemon.start()
    await until_watched(dsn)
    daemon.kill()
    await asyncio.sleep(DOWN)
    before = (await control(node))["calls"]
    daemon.start()
    stored = await until_table_is_the_ledger(dsn, node, within=60 + 3 * DOWN)
    said = await control(node)
    await daemon.stop()
    node.stop()
    (fault,) = said["faults"]
    assert fault["state"] == "acting"
    assert fault["struck"] == 0
    assert stored >= 3 * DOWN
    print(
        f"\n{stored} prints after {DOWN:g} s without a daemon, none refused; {before} before, {said['calls']} then"
    )
