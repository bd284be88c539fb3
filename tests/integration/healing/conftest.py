"""Worlds in virtual time, each on a fresh database."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from quantdesk_oracle.config import load_settings
from tests.integration.healing.world import HealingWorld, Start
from tests.postgres import TEMPLATE, PostgresServer, execute


@pytest.fixture
async def start(postgres_18: PostgresServer, tmp_path: Path) -> AsyncIterator[Start]:
    """`await start(**options)` is a world whose node runs; all of them end with the test."""
    worlds: list[tuple[str, HealingWorld]] = []

    async def begin(**options: Any) -> HealingWorld:
        name = f"healing_{secrets.token_hex(6)}"
        await execute(postgres_18.dsn(), f"CREATE DATABASE {name} TEMPLATE {TEMPLATE} STRATEGY FILE_COPY")
        dsn = postgres_18.dsn(name)
        settings = load_settings(database=dsn, own_network=True)
        world = HealingWorld(settings, dsn, tmp_path / f"{name}.jsonl", **options)
        worlds.append((name, world))
        await world.start()
        return world

    yield begin
    for name, world in worlds:
        await world.close()
        await execute(postgres_18.dsn(), f"DROP DATABASE {name} WITH (FORCE)")
