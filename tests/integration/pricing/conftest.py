"""A world of markets on a real PostgreSQL whose clock, like the daemon's, stands still until a test moves it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from tests.integration.pricing.world import World, make_world, with_virtual_clock
from tests.postgres import TEMPLATE, PostgresServer, execute

EMPTIED = (
    "oracle_prices, oracle_price_heads, mark_prices, mark_price_heads, premium_samples, funding_rates,"
    " funding_parameters, system_events, users, orders, trades, positions, insurance_fund"
)
MakeWorld = Callable[..., Awaitable[World]]


@pytest.fixture(scope="session")
def virtual_dsn(postgres_18: PostgresServer) -> str:
    """A database whose clock_timestamp() is the tests'."""

    async def make() -> None:
        await execute(postgres_18.dsn(), f"CREATE DATABASE pricing TEMPLATE {TEMPLATE} STRATEGY FILE_COPY")
        await with_virtual_clock(postgres_18.dsn(), "pricing")

    asyncio.run(make())
    return postgres_18.dsn("pricing")


@pytest.fixture
async def dsn(virtual_dsn: str) -> str:
    """That database, emptied: making a new one takes longer than most tests."""
    await execute(
        virtual_dsn,
        f"TRUNCATE {EMPTIED} CASCADE",
        "DELETE FROM markets WHERE symbol NOT IN ('BTC-PERP', 'ETH-PERP', 'SOL-PERP')",
        "UPDATE markets SET current_funding_rate = 0, last_funding_time = NULL, halted_at = NULL,"
        " halted_reason = NULL, is_active = true, metadata = '{}'",
    )
    return virtual_dsn


@pytest.fixture
async def new_world(dsn: str) -> AsyncIterator[MakeWorld]:
    """Makes worlds on one database: each is what one daemon is made of."""
    worlds: list[World] = []

    async def make(**settings: object) -> World:
        worlds.append(await make_world(dsn, **settings))
        return worlds[-1]

    yield make
    for world in worlds:
        await world.close()


@pytest.fixture
async def world(new_world: MakeWorld) -> World:
    """One daemon's parts, funding every minute."""
    return await new_world()
