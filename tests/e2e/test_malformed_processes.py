"""Malformed files given to the program itself: an exit code that means something, and no traceback.

A few in the default run; two hundred by hand:

    QUANTDESK_TEST_MALFORMED_PROCESSES=200 pytest -s tests/e2e/test_malformed_processes.py
"""

from __future__ import annotations

import base64
import json
import os
from collections import Counter
from pathlib import Path

import pytest

from tests.e2e.conftest import Program, program
from tests.property.damage import JSON, TOML, damaged
from tests.vectors import encoder

__all__ = ["program"]

PROCESSES = int(os.environ.get("QUANTDESK_TEST_MALFORMED_PROCESSES", "6"))
UNDERSTOOD = {0, 2, 65, 69, 78}
"""Ended well, wrong usage, bad data, unavailable, bad configuration: never 1, which is an error that nobody foresaw."""
KEY = "7AviUf9nL62mcxNbQGKm4nKDQnPjswo6c5MX4D57HmyE"

pytestmark = pytest.mark.timeout(120 + PROCESSES * 5)


def dump() -> bytes:
    """An account as the Solana command line writes it."""
    data = [base64.b64encode(encoder.price_update_v2()).decode(), "base64"]
    account = {
        "data": data,
        "owner": "rec2HHDDnjLfj4kE7VyEtFA1HPGQLK33259532cRyHp",
        "lamports": 1,
        "executable": False,
    }
    return json.dumps({"pubkey": KEY, "account": account}).encode()


@pytest.mark.parametrize("command", ["decode", "config", "run"])
def test_a_malformed_file_is_told_by_the_exit_code(
    program: Program, tmp_path: Path, root: Path, command: str
) -> None:
    valid = dump() if command == "decode" else (root / "config" / "quantdesk.toml").read_bytes()
    path, ends = tmp_path / "malformed", Counter[int]()
    dsn = "postgresql://nobody@127.0.0.1:1/nothing"
    arguments = {
        "decode": ("decode", path),
        "config": ("config", "check", "--config", path),
        "run": ("run", "--config", path, "--state-dir", tmp_path / "state"),
    }[command]
    for number, data in enumerate(damaged([valid], PROCESSES // 3, JSON if command == "decode" else TOML)):
        path.write_bytes(data)
        process = program(*arguments, DATABASE_URL=dsn)
        process.communicate(timeout=60)
        said = (tmp_path / f"stderr-{number}").read_text()
        assert "Traceback" not in said, (data, said)
        assert process.returncode in UNDERSTOOD, (data, said)
        ends[process.returncode] += 1
    print(f"\n{command}: {dict(ends)}")
