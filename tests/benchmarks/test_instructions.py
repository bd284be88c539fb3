"""The decode path is as short as it was: instructions counted by valgrind, whatever else the machine is doing.

Counts are compared with those of the one `struct` call that the work comes down to, in the same interpreter, so that
they hold for other versions of Python too. `make bench` tells what they mean in time.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

VALGRIND = shutil.which("valgrind")
CALLS = 1_000
TOLERANCE = 1.2
MEASURED = {"full": 2.37, "legacy": 3.02}
"""Instructions of a decode, in those of a bare unpack, as they were when this was written (Python 3.11)."""

pytestmark = pytest.mark.skipif(
    VALGRIND is None, reason="valgrind is not installed: apt-get install valgrind"
)


@cache
def instructions(kind: str, calls: int) -> int:
    """What a process executes that does the work so many times."""
    script = Path(__file__).parent / "decode_loop.py"
    python = (sys.executable, "-B", "-S", str(script), kind, str(calls))
    counting = (str(VALGRIND), "--tool=callgrind", "--callgrind-out-file=/dev/null")
    done = subprocess.run(
        [*counting, *python],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONHASHSEED": "0"},
    )
    found = re.search(r"Collected : (\d+)", done.stderr)
    assert found is not None, done.stderr
    return int(found.group(1))


def per_call(kind: str) -> float:
    """Instructions of one call, the interpreter's start left out."""
    return (instructions(kind, CALLS) - instructions("unpack", 0)) / CALLS


@pytest.mark.parametrize("kind", MEASURED)
def test_decoding_takes_no_more_instructions_than_it_did(
    kind: str, record_property: Callable[[str, object], None]
) -> None:
    ratio = per_call(kind) / per_call("unpack")
    record_property("instructions_in_unpacks", round(ratio, 3))
    print(f"{kind}: {per_call(kind):,.0f} instructions, {ratio:.2f} × a bare unpack")
    assert ratio <= MEASURED[kind] * TOLERANCE, (
        f"decoding a {kind} account takes {ratio:.2f} × the instructions of a bare unpack; it was {MEASURED[kind]}"
    )
