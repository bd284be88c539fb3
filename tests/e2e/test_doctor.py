"""Planted faults: for each, the doctor names the right cause, and nothing else turns red."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from quantdesk_oracle.clock import SystemClock
from quantdesk_oracle.config import load_settings
from quantdesk_oracle.doctor import Finding, Grade, examine
from quantdesk_oracle.localnet import LocalnetSettings, LocalNode
from quantdesk_oracle.model import SECOND
from tests.postgres import PostgresServer, execute
from tests.vectors.encoder import dump, price_update_v2

RECEIVER = "rec2HHDDnjLfj4kE7VyEtFA1HPGQLK33259532cRyHp"
SOL_ACCOUNT = "7AviUf9nL62mcxNbQGKm4nKDQnPjswo6c5MX4D57HmyE"
SOMEBODY = "SysvarC1ock11111111111111111111111111111111"


class SetClock(SystemClock):
    """The machine's clock, set wrong by so many seconds."""

    def __init__(self, seconds: int) -> None:
        self._wrong = seconds * SECOND

    def now(self) -> int:
        return super().now() + self._wrong


Node = Callable[..., Awaitable[LocalNode]]
Examine = Callable[..., Awaitable[list[Finding]]]


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    """Starts a local node with these settings and names it to the environment."""
    async with AsyncExitStack() as stack:

        async def start(**settings: Any) -> LocalNode:
            node = LocalNode(LocalnetSettings(rpc_port=0, ws_port=0, **settings), SystemClock())
            await node.start()
            stack.push_async_callback(node.stop)
            return node

        yield start


@pytest.fixture
async def database(postgres_18: PostgresServer) -> AsyncIterator[str]:
    """A database with the schema in it."""
    await execute(postgres_18.dsn(), "CREATE DATABASE doctor TEMPLATE with_schema")
    yield postgres_18.dsn("doctor")
    await execute(postgres_18.dsn(), "DROP DATABASE doctor WITH (FORCE)")


@pytest.fixture
def examined(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database: str) -> Examine:
    """examined(node, clock=…, free=…, VARIABLE=…): every finding of a world that is well but for what is planted."""

    async def examined(
        node: LocalNode, clock: SystemClock | None = None, free: int = 1 << 40, **variables: str
    ) -> list[Finding]:
        mine = {
            "DATABASE_URL": database,
            "SOLANA_NETWORK": "localnet",
            "RPC_URL": node.rpc_url,
            "WS_URL": node.ws_url,
            "QUANTDESK_HTTP_PORT": "0",
            "QUANTDESK_STATE_DIR": str(tmp_path / "state"),
        }
        for name, value in {**mine, **variables}.items():
            monkeypatch.setenv(name, value)
        settings = load_settings()
        dsn = settings.database.url.get_secret_value()
        return await examine(settings, clock or SystemClock(), database=dsn, free=lambda _: free)

    return examined


def red(findings: list[Finding]) -> set[tuple[str, str]]:
    """(grade, code) of all that is not well."""
    return {(f.grade.value, f.code) for f in findings if f.grade in (Grade.WARN, Grade.FAIL)}


# The local node serves generation 3 alone: the fallback is missing, and that costs nothing.
NO_FALLBACK = ("warn", "feed.missing")


async def test_a_world_that_is_well_has_no_failure(node: Node, examined: Examine) -> None:
    findings = await examined(await node())
    assert red(findings) == {NO_FALLBACK}
    fresh = [finding for finding in findings if finding.code == "feed.fresh"]
    assert [finding.subject.split("/")[0] for finding in fresh] == ["BTC-PERP", "ETH-PERP", "SOL-PERP"]
    assert {"websocket.delivers", "database.schema", "clock.agrees", "database.direct"} <= {
        f.code for f in findings
    }


async def test_every_finding_that_is_not_well_has_a_cure(node: Node, examined: Examine) -> None:
    findings = await examined(
        await node(), clock=SetClock(90), free=0, DATABASE_URL="postgresql://a:b@127.0.0.1:1/x"
    )
    for finding in findings:
        assert (finding.cure != "") is (finding.grade in (Grade.WARN, Grade.FAIL)), finding


async def test_the_wrong_network_is_told_by_genesis_hash(node: Node, examined: Examine) -> None:
    findings = await examined(await node(genesis="devnet"), SOLANA_NETWORK="mainnet-beta")
    assert red(findings) == {("fail", "node.wrong_cluster")}
    (found,) = [finding for finding in findings if finding.code == "node.wrong_cluster"]
    assert "serves devnet" in found.finding
    assert "SOLANA_NETWORK is mainnet-beta" in found.finding


async def test_an_endpoint_that_is_away_is_told(node: Node, examined: Examine) -> None:
    findings = await examined(await node(), RPC_URL="http://127.0.0.1:1", WS_URL="ws://127.0.0.1:1")
    assert red(findings) == {("fail", "node.unreachable"), ("fail", "websocket.blocked")}


async def test_one_endpoint_of_two_that_is_away_takes_no_feed_with_it(node: Node, examined: Examine) -> None:
    one = await node()
    findings = await examined(
        one, RPC_URL=f"http://127.0.0.1:1,{one.rpc_url}", WS_URL=f"ws://127.0.0.1:1,{one.ws_url}"
    )
    assert len([finding for finding in findings if finding.code == "feed.fresh"]) == 3


async def test_a_blocked_websocket_is_a_warning_while_rpc_works(node: Node, examined: Examine) -> None:
    findings = await examined(await node(), WS_URL="ws://127.0.0.1:1")
    assert red(findings) == {NO_FALLBACK, ("warn", "websocket.blocked")}


async def test_a_websocket_that_is_taken_and_brings_nothing_is_told(
    node: Node, examined: Examine, monkeypatch: pytest.MonkeyPatch
) -> None:
    from websockets.asyncio.server import serve

    monkeypatch.setattr("quantdesk_oracle.doctor.nodes.PATIENCE", 0.5)
    async with serve(lambda connection: connection.wait_closed(), "127.0.0.1", 0) as silent:
        port = next(iter(silent.sockets)).getsockname()[1]
        findings = await examined(await node(), WS_URL=f"ws://127.0.0.1:{port}")
    (found,) = [finding for finding in findings if finding.code == "websocket.blocked"]
    assert "nothing arrives on its subscription" in found.finding


async def test_a_websocket_of_another_network_is_told(node: Node, examined: Examine, tmp_path: Path) -> None:
    """As when RPC_URL has been changed and WS_URL has not: each network counts its own slots."""
    elsewhere = await node(accounts=a_dump(tmp_path, slot=10**9))
    findings = await examined(await node(), WS_URL=elsewhere.ws_url)
    assert red(findings) == {NO_FALLBACK, ("fail", "websocket.wrong_cluster")}


def a_dump(folder: Path, owner: str = RECEIVER, **fields: int) -> Path:
    """A folder with SOL's current account, published now unless ``fields`` say otherwise."""
    now = int(time.time())
    data = (
        price_update_v2(publish_time=now, prev_publish_time=now - 1, **fields)
        if "publish_time" not in fields
        else (price_update_v2(**fields))
    )
    (folder / "sol.json").write_text(json.dumps(dump(SOL_ACCOUNT, owner, data)))
    return folder


async def test_a_dead_account_is_told_with_its_age(node: Node, examined: Examine, tmp_path: Path) -> None:
    served = await node(accounts=a_dump(tmp_path, publish_time=int(time.time()) - 7200))
    (found,) = [f for f in await examined(served) if f.code == "feed.dead"]
    assert (found.grade, found.subject) == (Grade.FAIL, "SOL-PERP/core_upgraded")
    assert "published 2 hours ago" in found.finding


async def test_an_account_that_the_chain_has_left_behind_is_told_so(
    node: Node, examined: Examine, tmp_path: Path
) -> None:
    (found,) = [
        f for f in await examined(await node(accounts=a_dump(tmp_path, slot=1_000))) if f.code == "feed.dead"
    ]
    assert "By the chain's own slots it is" in found.finding


async def test_a_wrong_owner_is_told(node: Node, examined: Examine, tmp_path: Path) -> None:
    findings = await examined(await node(accounts=a_dump(tmp_path, owner=SOMEBODY)))
    (found,) = [finding for finding in findings if finding.code == "feed.wrong_owner"]
    assert found.grade is Grade.FAIL
    assert SOMEBODY in found.finding


async def test_a_wide_oracle_is_told_in_basis_points(node: Node, examined: Examine, tmp_path: Path) -> None:
    served = await node(accounts=a_dump(tmp_path, slot=10**9, price=10_000_000_000, confidence=100_000_000))
    (found,) = [f for f in await examined(served) if f.code == "feed.wide"]
    assert "± 100.0 bp" in found.finding


async def test_another_feed_at_the_address_is_told(node: Node, examined: Examine) -> None:
    findings = await examined(await node(), BTC_ORACLE_ACCOUNT=SOL_ACCOUNT)
    (found,) = [finding for finding in findings if finding.code == "feed.wrong_feed"]
    assert "holds Crypto.SOL/USD, the market wants Crypto.BTC/USD" in found.finding
    assert "BTC_ORACLE_ACCOUNT=APgzQGGdv2qCgBkX6aHVkrGePtBVDDg68GiqaM7rmtf5" in found.cure


async def test_a_clock_that_is_off_is_told_by_how_much(node: Node, examined: Examine) -> None:
    findings = await examined(await node(), clock=SetClock(-90))
    (found,) = [finding for finding in findings if finding.code == "clock.skewed"]
    assert found.grade is Grade.FAIL
    assert "90.0 s behind the database's" in found.finding


async def test_a_full_disk_is_told(node: Node, examined: Examine) -> None:
    assert ("fail", "host.disk_full") in red(await examined(await node(), free=10 << 20))
    assert ("warn", "host.disk_full") in red(await examined(await node(), free=500 << 20))


async def test_a_user_without_rights_is_told_what_to_grant(
    node: Node, examined: Examine, database: str, postgres_18: PostgresServer
) -> None:
    await execute(
        database, "CREATE ROLE doctor_nobody LOGIN", "GRANT USAGE ON SCHEMA public TO doctor_nobody"
    )
    try:
        findings = await examined(await node(), DATABASE_URL=postgres_18.dsn("doctor", "doctor_nobody"))
    finally:
        await execute(database, "DROP OWNED BY doctor_nobody", "DROP ROLE doctor_nobody")
    (found,) = [
        finding
        for finding in findings
        if finding.code.startswith("database.") and finding.grade is Grade.FAIL
    ]
    assert found.code == "database.rights"


async def test_a_member_of_the_daemons_role_has_the_rights(
    node: Node, examined: Examine, database: str, postgres_18: PostgresServer
) -> None:
    await execute(database, "CREATE ROLE doctor_daemon LOGIN IN ROLE quantdesk_oracle")
    try:
        findings = await examined(await node(), DATABASE_URL=postgres_18.dsn("doctor", "doctor_daemon"))
    finally:
        await execute(database, "DROP ROLE doctor_daemon")
    assert red(findings) == {NO_FALLBACK}


async def test_a_schema_that_is_too_old_is_told_with_the_command(
    node: Node, examined: Examine, database: str
) -> None:
    await execute(database, "DELETE FROM schema_version", "INSERT INTO schema_version (version) VALUES (1)")
    (found,) = [f for f in await examined(await node()) if f.code == "database.schema"]
    assert found.grade is Grade.FAIL
    assert found.cure.endswith("quantdesk-oracle schema apply")


async def test_a_database_without_schema_is_told(
    node: Node, examined: Examine, postgres_18: PostgresServer
) -> None:
    assert ("warn", "database.no_schema") in red(await examined(await node(), DATABASE_URL=postgres_18.dsn()))


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (("?sslmode=require", ""), "database.tls"),
        (("", "_absent"), "database.missing"),
    ],
)
async def test_a_refused_connection_is_told_by_its_cause(
    node: Node, examined: Examine, database: str, change: tuple[str, str], code: str
) -> None:
    findings = await examined(await node(), DATABASE_URL=database + change[1] + change[0])
    assert red(findings) == {NO_FALLBACK, ("fail", code)}


async def test_a_database_that_is_away_is_told_without_its_password(node: Node, examined: Examine) -> None:
    findings = await examined(await node(), DATABASE_URL="postgresql://me:sesame@127.0.0.1:1/x")
    assert red(findings) == {NO_FALLBACK, ("fail", "database.unreachable")}
    assert "sesame" not in str(findings)


async def test_a_port_that_somebody_has_is_told(node: Node, examined: Examine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        findings = await examined(await node(), QUANTDESK_HTTP_PORT=str(taken.getsockname()[1]))
    assert red(findings) == {NO_FALLBACK, ("fail", "host.port_taken")}


async def test_todays_env_file_gets_the_lines_to_replace(node: Node, examined: Examine) -> None:
    findings = await examined(
        await node(),
        BTC_ORACLE_ACCOUNT="HovQMDrbAgAYPCmHVSrezcSmkMtXSSUsLDFANExrZh2J",
        ETH_ORACLE_ACCOUNT="JBu1AL4obBcCMqKBBxhpWCNUt136ijcuMZLFvTP7iWdB",
        SOL_ORACLE_ACCOUNT="H6ARHf6YXhGYeQfUzQNGk6rDNnLBQKrenN712K4AQJEG",
    )
    legacy = [finding for finding in findings if finding.code == "account.legacy"]
    assert len(legacy) == 3
    assert f"Set SOL_ORACLE_ACCOUNT={SOL_ACCOUNT}" in legacy[2].cure


async def test_the_command_prints_a_table_json_and_ends_with_its_code(
    node: Node, database: str, tmp_path: Path
) -> None:
    one = await node()
    variables = {
        "DATABASE_URL": database,
        "SOLANA_NETWORK": "localnet",
        "RPC_URL": one.rpc_url,
        "WS_URL": one.ws_url,
        "QUANTDESK_HTTP_PORT": "0",
        "QUANTDESK_STATE_DIR": str(tmp_path),
    }

    def doctor(*arguments: str, **changed: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "quantdesk_oracle", "doctor", *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={**os.environ, **variables, **changed},
        )

    done = await asyncio.to_thread(doctor, "--json")
    assert done.returncode == 0, done.stdout
    assert json.loads(done.stdout)["well"] is True
    done = await asyncio.to_thread(doctor, DATABASE_URL="postgresql://me:sesame@127.0.0.1:1/x")
    assert done.returncode == 1
    assert "[database.unreachable]" in done.stdout
    assert "sesame" not in done.stdout + done.stderr
    done = await asyncio.to_thread(doctor, DATABASE_URL="")
    assert done.returncode == 78
    assert "DATABASE_URL is not set" in done.stdout
    assert "feed.fresh" not in done.stdout
    assert "BTC-PERP/core_upgraded: Crypto.BTC/USD" in done.stdout
