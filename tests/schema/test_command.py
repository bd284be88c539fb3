"""The commands ``schema apply | migrate | verify | status``: exit codes, JSON, and no secret in what they say."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from tests.schema.support import FIXTURES, PLAIN, Database, Server, servers_named

server = servers_named(*PLAIN)


def _run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "quantdesk_oracle", "schema", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | environment,
    )


async def test_from_nothing_to_verified(server18: Server, empty: Database) -> None:
    missing = _run("status", DATABASE_URL=empty.dsn)
    assert missing.returncode == 78
    assert "schema: none" in missing.stdout
    made = _run("apply", "--json", SCHEMA_DATABASE_URL=empty.dsn, DATABASE_URL="postgresql://nowhere:1/x")
    assert made.returncode == 0, made.stderr
    found = json.loads(made.stdout)
    assert (found["generation"], found["mode"], found["due"]) == ("current", "plain", [])
    oracle = next(table for table in found["tables"] if table["name"] == "oracle_prices")
    assert (oracle["kind"], oracle["partitions"] > 14, oracle["size"] > 0) == ("partitioned", True, True)
    assert _run("verify", "--database-url", empty.dsn).stdout == "the schema is as it should be\n"
    assert _run("status", DATABASE_URL=empty.dsn).returncode == 0


async def test_migrate_with_a_dry_run_first(server: Server, empty: Database) -> None:
    server.psql(empty.name, "-v", "ON_ERROR_STOP=1", "-f", FIXTURES / "generation_b.sql")
    refused = _run("apply", DATABASE_URL=empty.dsn)
    assert refused.returncode == 78
    assert "quantdesk-oracle schema migrate" in refused.stderr
    planned = _run("migrate", "--dry-run", DATABASE_URL=empty.dsn)
    assert planned.returncode == 0
    assert "user_balances" in planned.stdout
    assert "rolled back" in planned.stdout
    assert _run("status", DATABASE_URL=empty.dsn).returncode == 78
    done = json.loads(_run("migrate", "--json", DATABASE_URL=empty.dsn).stdout)
    assert (done["dry_run"], done["from_generation"], done["status"]["generation"]) == (
        False,
        "earlier",
        "current",
    )
    assert len(done["money"]) == 4
    assert "nothing to migrate" in _run("migrate", DATABASE_URL=empty.dsn).stdout


def test_a_server_that_is_away_is_69_and_tells_no_password() -> None:
    done = _run("status", DATABASE_URL="postgresql://user:hunter2@127.0.0.1:1/x")
    assert done.returncode == 69
    assert "hunter2" not in done.stderr + done.stdout


def test_no_url_is_78_and_says_which_variable() -> None:
    done = _run("apply")
    assert done.returncode == 78
    assert "DATABASE_URL" in done.stderr


async def test_a_damaged_schema_is_78(database18: Database) -> None:
    await database18.owner.execute("DROP INDEX orders_book_idx")
    done = _run("verify", DATABASE_URL=database18.dsn)
    assert done.returncode == 78
    assert "orders_book_idx" in done.stderr
