"""From QuantDesk's env file and database of today to a daemon that serves, with nothing but what doctor prints."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from quantdesk_oracle.clock import SystemClock
from quantdesk_oracle.localnet import LocalnetSettings, LocalNode
from tests.postgres import PostgresServer, clients, execute
from tests.schema.support import FIXTURES

ROUNDS = 4
TODAY = """\
# QuantDesk
DATABASE_URL={database}
SUPABASE_URL=https://quantdesk.supabase.co
SUPABASE_ANON_KEY=anon
SUPABASE_SERVICE_ROLE_KEY=service
SOLANA_NETWORK=devnet
RPC_URL={rpc}
WS_URL={ws}
PROGRAM_ID=11111111111111111111111111111111
BTC_ORACLE_ACCOUNT=HovQMDrbAgAYPCmHVSrezcSmkMtXSSUsLDFANExrZh2J
ETH_ORACLE_ACCOUNT=JBu1AL4obBcCMqKBBxhpWCNUt136ijcuMZLFvTP7iWdB
SOL_ORACLE_ACCOUNT=H6ARHf6YXhGYeQfUzQNGk6rDNnLBQKrenN712K4AQJEG
"""
"""Three legacy accounts of two clusters, and an endpoint of mainnet."""


@pytest.fixture
async def database(postgres_18: PostgresServer) -> AsyncIterator[str]:
    """A database as QuantDesk has it today."""
    await execute(postgres_18.dsn(), "CREATE DATABASE today")
    dsn = postgres_18.dsn("today")
    psql = [
        clients(18) / "psql",
        "-X",
        "-q",
        "-v",
        "ON_ERROR_STOP=1",
        dsn,
        "-f",
        FIXTURES / "generation_b.sql",
    ]
    await asyncio.to_thread(subprocess.run, psql, check=True, capture_output=True)
    yield dsn
    await execute(postgres_18.dsn(), "DROP DATABASE today WITH (FORCE)")


@pytest.fixture
async def env_file(database: str, tmp_path: Path) -> AsyncIterator[Path]:
    """Today's, with an endpoint that is mainnet by its genesis hash and has the three feeds at their real addresses."""
    node = LocalNode(LocalnetSettings(rpc_port=0, ws_port=0, genesis="mainnet-beta"), SystemClock())
    await node.start()
    path = tmp_path / ".env"
    path.write_text(TODAY.format(database=database, rpc=node.rpc_url, ws=node.ws_url))
    yield path
    await node.stop()


async def program(folder: Path, *arguments: str) -> tuple[int, str]:
    """Exit code and stdout of `quantdesk-oracle` with these arguments."""
    mine = {"QUANTDESK_HTTP_PORT": "0", "QUANTDESK_STATE_DIR": str(folder / "state")}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "quantdesk_oracle", *arguments,
        stdout=asyncio.subprocess.PIPE, env={**os.environ, **mine}, cwd=folder,
    )  # fmt: skip
    out, _ = await asyncio.wait_for(process.communicate(), 120)
    return process.returncode or 0, out.decode()


def write_the_lines(said: str, env_file: Path) -> int:
    """Put each line that doctor gives in the place of the one that sets the same variable; how many."""
    _, _, block = said.partition("Lines to write instead:\n")
    lines = [line.strip() for line in block.splitlines() if line.startswith("    ")]
    text = env_file.read_text()
    for line in lines:
        name = line.partition("=")[0]
        text, found = re.subn(rf"(?m)^{name}=.*$", line, text)
        assert found == 1
    env_file.write_text(text)
    return len(lines)


async def test_doctors_help_alone_leads_from_todays_env_file_to_a_daemon_that_serves(
    env_file: Path, database: str, tmp_path: Path
) -> None:
    doctor = ("doctor", "--env-file", str(env_file))
    code, said = await program(tmp_path, *doctor)
    assert code == 1
    told = set(re.findall(r"\[([a-z_.]+)\]", said))
    assert {"account.legacy", "node.wrong_cluster", "database.schema"} <= told
    for _ in range(ROUNDS):
        lines = write_the_lines(said, env_file)
        commands = re.findall(r"quantdesk-oracle (schema .*?)  \[", said)
        assert lines or commands, said
        for command in commands:
            code, _ = await program(tmp_path, *shlex.split(command))
            assert code == 0
        code, said = await program(tmp_path, *doctor)
        if code == 0:
            break
    assert code == 0, said
    assert " 0 failures." in said
    assert "Lines to write instead" not in said

    code, _ = await program(tmp_path, "run", "--env-file", str(env_file), "--for", "8s", "--json")
    assert code == 0
    connection = await asyncpg.connect(database)
    try:
        marked = await connection.fetch(
            "SELECT m.symbol FROM mark_prices AS k JOIN markets AS m ON m.id = k.market_id"
            " WHERE k.created_at > now() - interval '1 minute' GROUP BY m.symbol ORDER BY m.symbol"
        )
    finally:
        await connection.close()
    assert {"BTC-PERP", "ETH-PERP", "SOL-PERP"} <= {row["symbol"] for row in marked}
