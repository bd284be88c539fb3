"""Fixtures for all tests: a clean environment, the shared data, real PostgreSQL servers."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"
PROJECT_VARIABLES = (
    "DATABASE_URL",
    "SCHEMA_DATABASE_URL",
    "RPC_URL",
    "WS_URL",
    "SOLANA_NETWORK",
    "PROGRAM_ID",
)


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of the machine reaches a test."""
    for name in list(os.environ):
        ours = name.startswith(("QUANTDESK_", "SUPABASE_")) and not name.startswith("QUANTDESK_TEST_")
        if ours or name in PROJECT_VARIABLES or name.endswith("_ORACLE_ACCOUNT"):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The shared data folder; a test that asks for it is skipped where it is absent."""
    if not SHARED.is_dir():
        pytest.skip("the shared data folder is not beside this checkout")
    return SHARED


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT
