"""The name servers go away in the middle of a run, and every connection breaks: nothing is lost."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.chaos.proxy import Link
from tests.e2e import truth, world
from tests.e2e.conftest import Errors, Program
from tests.postgres import TEMPLATE, PostgresServer, execute

RESOLVER = Path(__file__).parent / "resolver"
NAMES = ("node.test", "database.test")


@pytest.fixture
async def dsn(postgres_18: PostgresServer) -> AsyncIterator[str]:
    name = f"test_{secrets.token_hex(6)}"
    await execute(postgres_18.dsn(), f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
    yield postgres_18.dsn(name)
    await execute(postgres_18.dsn(), f"DROP DATABASE {name} WITH (FORCE)")


def resolve(names: Path, address: str) -> None:
    names.write_text("".join(f"{name} {address}\n" for name in NAMES))


async def test_names_that_cannot_be_resolved_for_a_while_cost_no_print(
    program: Program, dsn: str, tmp_path: Path, errors: Errors
) -> None:
    names = tmp_path / "names"
    resolve(names, "127.0.0.1")
    node = await world.start_node(program, tmp_path)
    async with AsyncExitStack() as stack:
        ports = [
            urlsplit(url).port or 0 for url in (node.variables["RPC_URL"], node.variables["WS_URL"], dsn)
        ]
        rpc, ws, database = links = [await stack.enter_async_context(Link(port).running()) for port in ports]
        node.variables |= {
            "RPC_URL": f"http://node.test:{rpc.port}",
            "WS_URL": f"ws://node.test:{ws.port}",
            "PYTHONPATH": str(RESOLVER),
            "QUANTDESK_TEST_NAMES": str(names),
        }
        address = urlsplit(dsn)
        named = address._replace(netloc=f"postgres@database.test:{database.port}").geturl()
        daemon = world.Daemon(program, node, tmp_path / "one", named)
        daemon.start()
        await world.until_count(dsn, "mark_prices", 6)
        resolve(names, "")
        for link in links:
            link.cut()
            link.restore()
        await asyncio.sleep(8)
        reasons = {reason["code"]: reason["sentence"] for reason in (await daemon.status())["reasons"]}
        assert "database_unreachable" in reasons
        assert "The Solana node does not serve" in " ".join(reasons.values())
        told = len(await world.prints(dsn))
        resolve(names, "127.0.0.1")
        await world.until_count(dsn, "oracle_prices", told + 40)
        await world.until_spool_is_empty(daemon)
        await world.until_gaps_are_closed(dsn)
        node.stop()
        await asyncio.sleep(2)
        await daemon.stop()
    said = "".join(str(line) for line in errors(1))
    assert "Temporary failure in name resolution" in said
    stored = await world.prints(dsn)
    assert sorted(stored) == sorted(truth.pushed_since(node.ledger, stored))
