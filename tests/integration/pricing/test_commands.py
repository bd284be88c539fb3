"""The commands for operators, as they are typed, on a database that a daemon has written."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from decimal import Decimal

import asyncpg
import pytest
import structlog
from typer.testing import CliRunner, Result

from quantdesk_oracle.cli import app
from quantdesk_oracle.model import SECOND
from tests.integration.pricing.world import START, World, make_world
from tests.postgres import execute

AT = "2026-01-10T00:"


@pytest.fixture(autouse=True)
def _own_log() -> Iterator[None]:
    """A command sends the log to the runner's stderr, which is closed when it ends."""
    yield
    structlog.reset_defaults()


@pytest.fixture
async def history(dsn: str) -> str:
    """Two minutes of marks, samples and funding, after which the daemon is gone."""
    world: World = await make_world(dsn)
    await world.prove()
    await world.order("long", 9_999, 50)
    await world.order("short", 10_003, 50)
    await world.ticks(125, step=5)
    await world.settle(START + 126 * SECOND)
    await world.written()
    await world.close()
    return dsn


def call(dsn: str, *arguments: str) -> Result:
    return CliRunner(env={"DATABASE_URL": dsn}).invoke(app, [*arguments, "--market", "BTC-PERP"])


async def on_thread(dsn: str, *arguments: str) -> Result:
    """The command runs an event loop of its own."""
    return await asyncio.to_thread(call, dsn, *arguments)


async def test_the_running_estimate_is_the_rate_that_these_samples_come_to(history):
    result = await on_thread(history, "funding", "show", "--json")
    found = json.loads(result.stdout)
    assert result.exit_code == 0
    assert found["running"]["boundary"] == f"{AT}03:00Z"
    assert found["running"]["used"] == 1
    assert [row["boundary"] for row in found["history"]] == [f"{AT}02:00Z", f"{AT}01:00Z"]


async def test_an_audit_of_untouched_rows_is_exact_and_of_a_touched_one_is_not(history):
    span = ("--from", f"{AT}00:00", "--to", f"{AT}03:00")
    for what in ("mark", "funding"):
        result = await on_thread(history, what, "audit", *span, "--json")
        assert (result.exit_code, json.loads(result.stdout)["differences"]) == (0, [])
    await execute(
        history,
        "UPDATE mark_prices SET mark_price = mark_price + 1e-12 WHERE created_at = '2026-01-10T00:01:00Z'",
    )
    result = await on_thread(history, "mark", "audit", *span)
    assert result.exit_code == 1
    assert "first difference: mark_price of 2026-01-10T00:01:00Z" in result.stdout


async def test_expired_inputs_have_an_exit_code_of_their_own(history):
    await execute(history, "DELETE FROM premium_samples")
    result = await on_thread(history, "funding", "audit", "--from", f"{AT}00:00", "--to", f"{AT}03:00")
    assert result.exit_code == 66
    assert "inputs expired" in result.stdout


async def test_a_mark_is_explained_in_words_and_so_is_its_absence(history):
    there = await on_thread(history, "mark", "explain", "--at", f"{AT}01:00")
    assert (there.exit_code, "C1 = 10001" in there.stdout, "bid 9999, ask 10003" in there.stdout) == (
        0,
        True,
        True,
    )
    none = await on_thread(history, "mark", "explain", "--at", f"{AT}30:00")
    assert none.exit_code == 0
    assert "has no mark" in none.stdout
    assert "was 1680.0 s old" in none.stdout


async def test_what_another_method_would_have_paid_stands_beside_what_was_paid(history):
    result = await on_thread(
        history,
        "funding",
        "simulate",
        "--method",
        "dydx_v4",
        "--from",
        f"{AT}00:00",
        "--to",
        f"{AT}03:00",
        "--json",
    )
    rows = json.loads(result.stdout)
    assert [row["boundary"] for row in rows] == [f"{AT}01:00Z", f"{AT}02:00Z"]
    assert all(Decimal(row["simulated"]) != Decimal(row["paid"]) for row in rows)


async def test_a_rate_is_set_once_within_its_cap_and_with_its_actor(history):
    common = ("funding", "set", "--reason", "a test", "--actor", "me", "--type", "emergency")
    beyond = await on_thread(history, *common, "--rate", "0.041")
    assert beyond.exit_code == 2
    done = await on_thread(history, *common, "--rate", "0.041", "--override-cap", "--json")
    assert json.loads(done.stdout) == {"market": "BTC-PERP", "boundary": f"{AT}03:00Z", "rate": "0.041"}
    again = await on_thread(history, *common, "--rate", "0.01")
    assert again.exit_code == 1
    connection = await asyncpg.connect(history)
    row = await connection.fetchrow("SELECT * FROM funding_rates ORDER BY created_at DESC LIMIT 1")
    await connection.close()
    assert (row["funding_rate"], row["funding_type"], row["actor"]) == (Decimal("0.041"), "emergency", "me")


async def test_a_halt_is_written_with_its_reason_and_ends_with_resume(history):
    connection = await asyncpg.connect(history)
    question = "SELECT halted_reason FROM markets WHERE symbol = 'BTC-PERP'"
    assert (await on_thread(history, "market", "halt", "--reason", "upgrade")).exit_code == 0
    assert await connection.fetchval(question) == "upgrade"
    assert (await on_thread(history, "market", "resume", "--reason", "done")).exit_code == 0
    assert await connection.fetchval(question) is None
    types = await connection.fetch(
        "SELECT event_type FROM system_events WHERE event_type LIKE 'market.%' ORDER BY 1"
    )
    await connection.close()
    assert [row["event_type"] for row in types] == ["market.halted", "market.resumed"]
