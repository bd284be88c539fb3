"""Processes that live many times as fast as the machine, all on one clock: libfaketime, Debian's package faketime.

Every clock that they read and every wait that they ask for goes through it: Python, asyncio, PostgreSQL alike. What
they compute takes as long as ever, so that at sixty times the speed a pause of 30 ms is felt as two seconds.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

VARIABLES = ("LD_PRELOAD", "FAKETIME", "FAKETIME_SHARED")
_SHARED = "FAKETIME_SHARED"


@contextlib.contextmanager
def fast_time(speed: float) -> Iterator[None]:
    """Whatever is started in this block lives ``speed`` times as fast; this process does not."""
    if speed == 1:
        yield
        return
    faketime = shutil.which("faketime")
    if faketime is None:
        raise SystemExit(
            "faketime is not installed (Debian: apt-get install faketime); without it, --speed 1"
        )
    # The clock lives as long as the program that faketime runs, which here waits for the end of its input.
    command = [faketime, "-m", "-f", f"+0 x{speed:g}", "sh", "-c", "env; exec cat"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as clock:
        assert clock.stdout is not None
        assert clock.stdin is not None
        found = dict.fromkeys(VARIABLES, "")
        for line in clock.stdout:
            name, _, value = line.rstrip("\n").partition("=")
            if name in found:
                found[name] = value
            if all(found.values()):
                break
        _let_everybody_read(found[_SHARED])
        os.environ.update(found)
        try:
            yield
        finally:
            for name in VARIABLES:
                del os.environ[name]
            clock.stdin.close()


def _let_everybody_read(shared: str) -> None:
    """PostgreSQL runs as another user where this one is root."""
    semaphore, memory = shared.split()
    Path(f"/dev/shm/sem.{semaphore.lstrip('/')}").chmod(0o666)
    Path(f"/dev/shm/{memory.lstrip('/')}").chmod(0o666)
