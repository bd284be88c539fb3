"""Real processes of the installed program, and a state directory that is cleaned up after them."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from quantdesk_oracle.store.embedded import EmbeddedServer

Program = Callable[..., subprocess.Popen[str]]
Errors = Callable[[int], list[dict[str, Any]]]
PATIENCE = 60.0
"""Seconds after which something that a test waits for will not come any more."""


@pytest.fixture
def state_dir() -> Iterator[Path]:
    """A fresh state directory; its embedded database is stopped afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="qdo-"))
    yield folder
    EmbeddedServer(folder).stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    """Starts `quantdesk-oracle` with arguments and variables; whatever still runs at the end is killed."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str | Path, **variables: str) -> subprocess.Popen[str]:
        with (tmp_path / f"stderr-{len(started)}").open("w") as stderr:
            process = subprocess.Popen(
                [sys.executable, "-m", "quantdesk_oracle", *map(str, arguments)],
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                env={**os.environ, "QUANTDESK_HTTP_PORT": "0", **variables},
            )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture
def errors(tmp_path: Path) -> Errors:
    """The JSON log lines that the n-th started program wrote to stderr."""

    def read(number: int = 0) -> list[dict[str, Any]]:
        lines = (tmp_path / f"stderr-{number}").read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    return read


async def stored_until(state_dir: Path, enough: Callable[[asyncpg.Connection], Awaitable[bool]]) -> None:
    """Until the embedded database of ``state_dir`` holds enough."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        dsn = EmbeddedServer(state_dir).dsn()
        try:
            connection = await asyncpg.connect(dsn, timeout=5) if dsn else None
        except (OSError, asyncpg.PostgresError):
            connection = None
        if connection is not None:
            try:
                if await enough(connection):
                    return
            except asyncpg.UndefinedTableError:
                pass
            finally:
                await connection.close()
        await asyncio.sleep(0.1)
    pytest.fail("the rows did not come within a minute")
