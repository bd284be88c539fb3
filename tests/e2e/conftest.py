"""Real processes of the installed program, and a state directory that is cleaned up after them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from quantdesk_oracle.store.embedded import EmbeddedServer

Program = Callable[..., subprocess.Popen[str]]


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
def errors(tmp_path: Path) -> Callable[[int], list[dict[str, Any]]]:
    """The JSON log lines that the n-th started program wrote to stderr."""

    def read(number: int = 0) -> list[dict[str, Any]]:
        lines = (tmp_path / f"stderr-{number}").read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    return read
