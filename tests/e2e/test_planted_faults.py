"""Twelve faults, planted for real: doctor, /readyz, alert and runbook name the cause of each.

What each of them has to say stands in docs/runbooks/faults.md; here is how the fault is planted. A Prometheus with the
project's own rules, less patient, watches the daemons; doctor runs beside each as a process of its own.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import secrets
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from quantdesk_oracle.clock import SystemClock
from quantdesk_oracle.doctor import Grade
from quantdesk_oracle.localnet import LocalnetSettings, LocalNode
from quantdesk_oracle.localnet.faults import Drill, parse_schedule
from quantdesk_oracle.store import schema
from tests.chaos.proxy import Link
from tests.chaos.small_disk import small_disk
from tests.conftest import ROOT
from tests.e2e.conftest import PATIENCE, Program
from tests.e2e.test_doctor import SOMEBODY, a_dump
from tests.e2e.world import configuration, connected
from tests.hermes_server import hermes_server
from tests.pgbouncer import BOUNCER, PgBouncer
from tests.postgres import TEMPLATE, PostgresServer, execute, free_port
from tests.prometheus import Prometheus, running_prometheus
from tests.tls import make_certificates, server_with_tls

RUNBOOKS = ROOT / "docs/runbooks"
ROW = re.compile(
    r"^\| (?P<name>[^|`]+) \| `(?P<doctor>\S+)` \| (?P<daemon>[^|]+) \| \[(?P<alert>\w+)\]\(\w+.md\) \|$"
)
EXIT = re.compile(r"exit (\d+), `(\w+)`")
ONLY_SOL = ("SOL-PERP",)
ELSEWHERE = 10**9
"""A slot that the local node is far from."""


class Fault(NamedTuple):
    """A row of the table."""

    name: str
    doctor: str
    """The finding's code."""
    code: str
    """Of /readyz; where the daemon cannot start, the code in its last line."""
    warns: bool
    """Whether it is a warning, and the daemon ready all the same."""
    exit_code: int | None
    """What the daemon ends with; None where it runs."""
    alert: str


def table() -> Iterator[Fault]:
    for line in (RUNBOOKS / "faults.md").read_text().splitlines():
        if row := ROW.match(line):
            ends = EXIT.fullmatch(row["daemon"])
            code = ends[2] if ends else row["daemon"].strip("*`")
            exit_code = int(ends[1]) if ends else None
            yield Fault(
                row["name"], row["doctor"], code, row["daemon"].startswith("*"), exit_code, row["alert"]
            )


FAULTS = {fault.name: fault for fault in table()}


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    with running_prometheus(ROOT, tmp_path_factory.mktemp("prometheus"), hasty=True) as server:
        yield server


class Stage:
    """A node, a database and a daemon; whatever is planted between them."""

    def __init__(
        self, program: Program, prometheus: Prometheus, folder: Path, stack: AsyncExitStack, dsn: str
    ) -> None:
        self._program = program
        self._prometheus = prometheus
        self.folder = folder
        self.stack = stack
        self.port = free_port()
        self.process: subprocess.Popen[str] | None = None
        self.dsn = dsn
        self.variables = {
            "DATABASE_URL": dsn,
            "HERMES_API_KEY": "",
            "QUANTDESK_HTTP_PORT": str(self.port),
            "QUANTDESK_STATE_DIR": str(folder / "state"),
            "QUANTDESK_LOG_FORMAT": "json",
        }

    @property
    def dumps(self) -> Path:
        """A folder for accounts."""
        folder = self.folder / "dumps"
        folder.mkdir(exist_ok=True)
        return folder

    async def node(self, *faults: dict[str, Any], network: str = "localnet", **settings: Any) -> LocalNode:
        """Start a local node and name it to the daemon, with the markets that it serves."""
        drill = Drill(parse_schedule({"seed": 1, "faults": list(faults)})) if faults else None
        ports = {"rpc_port": 0, "ws_port": 0}
        node = LocalNode(LocalnetSettings(**{**ports, **settings}), SystemClock(), drill)
        await node.start()
        self.stack.push_async_callback(node.stop)
        self.variables |= {"SOLANA_NETWORK": network, "RPC_URL": node.rpc_url, "WS_URL": node.ws_url}
        return node

    def configure(self, more: str = "", markets: tuple[str, ...] | None = None) -> None:
        """A configuration file of the node's markets, or of some, and ``more`` before them."""
        self.variables["QUANTDESK_CONFIG"] = str(configuration(self.folder, more, markets=markets))

    async def start(self, *, ready: bool = True) -> None:
        """Start the daemon; with ``ready``, wait until it serves all markets."""
        self._prometheus.watch(self.port)
        self.process = self._program("run", "--json", **self.variables)
        if ready:
            await self.until_ready()

    async def until_ready(self) -> None:
        await self._until(lambda said: said["ready"], "readiness")

    async def tells(self, fault: Fault, *words: str) -> None:
        """Doctor, the daemon, the alert and its page say ``fault``; the alert with ``words`` as well."""
        if fault.exit_code is not None:
            words = ()
            told = self._ended(fault)
        else:
            told = self._says(fault)
            words = words or (fault.code,)
        alert = asyncio.to_thread(self._prometheus.until_alert, fault.alert, self.port, *words)
        _, _, annotations = await asyncio.gather(self._doctor(fault), told, alert)
        assert annotations["runbook_url"] == f"docs/runbooks/{fault.alert}.md"
        assert_the_page_leads_to_the_cure(ROOT / annotations["runbook_url"], fault)

    async def _doctor(self, fault: Fault) -> None:
        """It finds that, with cause and cure, and nothing else that it calls a failure."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "quantdesk_oracle", "doctor", "--json",
            stdout=asyncio.subprocess.PIPE, env={**os.environ, **self.variables},
        )  # fmt: skip
        out, _ = await asyncio.wait_for(process.communicate(), PATIENCE)
        findings = json.loads(out)["findings"]
        found = [finding for finding in findings if finding["code"] == fault.doctor]
        assert found, out.decode()
        assert all(finding["finding"] and finding["cure"] for finding in found)
        failures = {finding["code"] for finding in findings if finding["grade"] == Grade.FAIL}
        assert failures <= {fault.doctor}, findings
        assert process.returncode == (1 if failures else 0)

    async def _says(self, fault: Fault) -> None:
        """/readyz gives the code, with a sentence, as a reason or as a warning."""
        kind = "warnings" if fault.warns else "reasons"
        said = await self._until(
            lambda said: fault.code in [each["code"] for each in said[kind]], f"{kind} {fault.code}"
        )
        assert said["ready"] is fault.warns, said
        assert all(each["sentence"] for each in said[kind])

    async def _ended(self, fault: Fault) -> None:
        """The daemon ends with its exit code; the last line has the code."""
        assert self.process is not None
        await asyncio.to_thread(self.process.wait, PATIENCE)
        assert self.process.returncode == fault.exit_code
        last = (self.folder / "stderr-0").read_text().rstrip().splitlines()[-1]
        assert last.startswith("quantdesk-oracle: ")
        assert last.endswith(f"[{fault.code}]")

    async def _until(self, enough: Any, what: str) -> dict[str, Any]:
        said: dict[str, Any] = {}
        async with httpx.AsyncClient(trust_env=False, timeout=5) as client:
            deadline = time.monotonic() + PATIENCE
            while time.monotonic() < deadline:
                try:
                    said = (await client.get(f"http://127.0.0.1:{self.port}/readyz")).json()
                except httpx.TransportError:
                    assert self.process is not None
                    assert self.process.poll() is None, (self.folder / "stderr-0").read_text()[-2000:]
                else:
                    if enough(said):
                        return said
                await asyncio.sleep(0.2)
        raise AssertionError(f"{what} did not come: {said}")


def assert_the_page_leads_to_the_cure(page: Path, fault: Fault) -> None:
    """A row of its table of causes has the codes that the operator has before him, and a cure."""
    text = page.read_text()
    assert "## Likely causes" in text
    rows = [line for line in text.splitlines() if line.startswith("|") and f"`{fault.doctor}`" in line]
    assert rows, f"{page.name} does not name {fault.doctor}"
    said = f"`[{fault.code}]`" if fault.exit_code is not None else fault.code
    if not fault.code.startswith("oracle_"):
        assert [row for row in rows if said in row], f"{page.name} does not name {said} beside {fault.doctor}"
    assert all(row.rstrip("| ").rsplit("|", 1)[-1].strip() for row in rows)


@pytest.fixture
async def stage(
    program: Program, prometheus: Prometheus, postgres_18: PostgresServer, tmp_path: Path
) -> AsyncIterator[Stage]:
    """A stage whose database has the schema, on a server that all share."""
    name = f"fault_{secrets.token_hex(6)}"
    await execute(postgres_18.dsn(), f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
    async with AsyncExitStack() as stack:
        stage = Stage(program, prometheus, tmp_path, stack, postgres_18.dsn(name))
        yield stage
        if stage.process is not None:
            stage.process.kill()
            await asyncio.to_thread(stage.process.wait)
    await execute(postgres_18.dsn(), f"DROP DATABASE {name} WITH (FORCE)")


def test_the_table_has_twelve_faults() -> None:
    variants = (", at the start", ", while it runs", ", of the websocket")
    whole = {name.removesuffix(next((v for v in variants if name.endswith(v)), "")) for name in FAULTS}
    assert len(whole) == 12


async def test_wrong_network_at_the_start(stage: Stage) -> None:
    await stage.node(genesis="devnet", network="mainnet-beta")
    stage.configure()
    await stage.start(ready=False)
    await stage.tells(FAULTS["wrong network, at the start"])


async def test_wrong_network_while_it_runs(stage: Stage) -> None:
    """The endpoint is away when the daemon starts, and another network's when it comes."""
    rpc, ws = free_port(), free_port()
    stage.configure()
    stage.variables |= {
        "SOLANA_NETWORK": "mainnet-beta",
        "RPC_URL": f"http://127.0.0.1:{rpc}",
        "WS_URL": f"ws://127.0.0.1:{ws}",
    }
    await stage.start(ready=False)
    await stage._says(FAULTS["wrong network, while it runs"]._replace(code="node_unreachable"))
    await stage.node(genesis="devnet", network="mainnet-beta", rpc_port=rpc, ws_port=ws)
    await stage.tells(FAULTS["wrong network, while it runs"])
    async with connected(stage.dsn) as connection:
        assert await connection.fetchval("SELECT count(*) FROM oracle_prices") == 0


async def test_wrong_network_of_the_websocket(stage: Stage) -> None:
    """RPC_URL has been changed and WS_URL has not: prints that come by it look like any."""
    elsewhere = await stage.node(accounts=a_dump(stage.dumps, slot=ELSEWHERE))
    here = await stage.node()
    stage.variables |= {"RPC_URL": here.rpc_url, "WS_URL": elsewhere.ws_url}
    stage.configure()
    await stage.start()
    await stage.tells(FAULTS["wrong network, of the websocket"], "polling alone")
    async with connected(stage.dsn) as connection:
        slots = await connection.fetchrow("SELECT count(*), max(slot) FROM oracle_prices")
    assert slots[0] > 0
    assert slots[1] < ELSEWHERE


async def test_dead_account(stage: Stage) -> None:
    await stage.node(accounts=a_dump(stage.dumps, publish_time=int(time.time()) - 7_200))
    stage.configure(markets=ONLY_SOL)
    await stage.start(ready=False)
    await stage.tells(FAULTS["dead account"], "Its feed is dead")


async def test_wrong_owner(stage: Stage) -> None:
    await stage.node(accounts=a_dump(stage.dumps, owner=SOMEBODY))
    stage.configure(markets=ONLY_SOL)
    await stage.start(ready=False)
    await stage.tells(FAULTS["wrong owner"], "Its feed is unproven", "wrong_owner")


async def test_no_rights(stage: Stage, postgres_18: PostgresServer) -> None:
    role = f"r_{secrets.token_hex(6)}"
    await execute(stage.dsn, f"CREATE ROLE {role} LOGIN IN ROLE quantdesk_oracle")
    stage.variables["DATABASE_URL"] = postgres_18.dsn(stage.dsn.rsplit("/", 1)[1], role)
    stage.stack.push_async_callback(execute, stage.dsn, f"DROP OWNED BY {role}", f"DROP ROLE {role}")
    await stage.node()
    stage.configure()
    await stage.start()
    await execute(stage.dsn, f"REVOKE quantdesk_oracle FROM {role}")
    await stage.tells(FAULTS["no rights"])


async def test_schema_too_old(stage: Stage) -> None:
    await execute(stage.dsn, "DELETE FROM schema_version", "INSERT INTO schema_version (version) VALUES (1)")
    await stage.node()
    stage.configure()
    await stage.start(ready=False)
    await stage.tells(FAULTS["schema too old"])


async def test_clock_off(stage: Stage) -> None:
    """The database's clock, 90 s ahead: its one function that says the time is hidden by another."""
    await execute(
        stage.dsn,
        "CREATE SCHEMA wrong",
        "CREATE FUNCTION wrong.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE"
        " AS $$ SELECT pg_catalog.clock_timestamp() + interval '90 s' $$",
        "GRANT USAGE ON SCHEMA wrong TO PUBLIC",
        f"ALTER DATABASE {stage.dsn.rsplit('/', 1)[1]} SET search_path = wrong, pg_catalog, public",
    )
    await stage.node()
    stage.configure()
    await stage.start(ready=False)
    await stage.tells(FAULTS["clock off"], "differ by")


async def test_websocket_blocked_and_rpc_fine(stage: Stage) -> None:
    await stage.node({"kind": "refuse", "status": 403})
    stage.configure()
    await stage.start()
    await stage.tells(FAULTS["websocket blocked, RPC fine"], "polling alone")


async def test_pooler_in_transaction_mode(stage: Stage, postgres_18: PostgresServer) -> None:
    """It comes between a running daemon and its database: behind the same host and port, as a proxy would."""
    if BOUNCER is None:
        pytest.skip("PgBouncer is not installed on this machine")
    bouncer = PgBouncer(postgres_18)
    stage.stack.callback(bouncer.remove)
    await asyncio.to_thread(bouncer.start)
    link = await stage.stack.enter_async_context(Link(postgres_18.port).running())
    stage.variables["DATABASE_URL"] = postgres_18.dsn(stage.dsn.rsplit("/", 1)[1], port=link.port)
    await stage.node()
    stage.configure()
    await stage.start()
    link.lead_to(bouncer.port)
    await stage.tells(FAULTS["pooler in transaction mode"])


async def test_disk_full(stage: Stage) -> None:
    disk = stage.stack.enter_context(small_disk(stage.folder / "state", 256))
    if disk is None:
        pytest.skip("only root may mount a small disk")
    await stage.node()
    stage.configure()
    await stage.start()
    disk.fill()
    await stage.tells(FAULTS["disk full"], "would be lost")
    # The daemon has it open.
    assert stage.process is not None
    stage.process.kill()
    await asyncio.to_thread(stage.process.wait)


async def test_hermes_key_missing(stage: Stage) -> None:
    hermes = await stage.stack.enter_async_context(hermes_server())
    await stage.node()
    stage.configure(f'[hermes]\nsecond_source = true\nurls = ["{hermes.url}"]\n')
    await stage.start()
    await stage.tells(FAULTS["Hermes key missing"])


async def test_oracle_wide(stage: Stage) -> None:
    dump = a_dump(stage.dumps, slot=10**9, price=10_000_000_000, confidence=100_000_000)
    await stage.node(accounts=dump)
    stage.configure(markets=ONLY_SOL)
    await stage.start(ready=False)
    await stage.tells(FAULTS["oracle wide"], "1%")


@pytest.fixture
async def tls_server(tmp_path: Path) -> AsyncIterator[PostgresServer]:
    """A server that offers TLS, with the schema in its first database."""
    server = server_with_tls(make_certificates(tmp_path / "certificates"))
    await asyncio.to_thread(server.start)
    async with connected(server.dsn()) as connection:
        await schema.apply(connection)
    yield server
    await asyncio.to_thread(server.remove)


async def test_tls_refused_at_the_start(stage: Stage, postgres_18: PostgresServer) -> None:
    """The server has none, and the URL insists on it."""
    await stage.node()
    stage.configure()
    stage.variables["DATABASE_URL"] += "?sslmode=require"
    await stage.start(ready=False)
    await stage.tells(FAULTS["TLS refused, at the start"])


async def test_tls_refused_while_it_runs(stage: Stage, tls_server: PostgresServer) -> None:
    """An administrator turns it off; connections that stand stay, until he ends them."""
    await stage.node()
    stage.configure()
    stage.variables["DATABASE_URL"] = f"{tls_server.dsn()}?sslmode=require"
    await stage.start()
    await execute(
        tls_server.dsn(),
        "ALTER SYSTEM SET ssl = off",
        "SELECT pg_reload_conf()",
        "SELECT pg_terminate_backend(pid) FROM pg_stat_ssl WHERE ssl AND pid <> pg_backend_pid()",
    )
    await stage.tells(FAULTS["TLS refused, while it runs"])
