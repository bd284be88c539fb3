"""The processes of a bench: started, spoken to in lines of JSON, and what they cost."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

_TICKS = os.sysconf("SC_CLK_TCK")
ROOT = Path(__file__).parent.parent


class Talker:
    """A child process that answers a JSON object a line with another."""

    def __init__(self, *command: str | Path, **environment: str) -> None:
        self.process = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=os.environ | environment,
        )  # fmt: skip
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._stdin, self._stdout = self.process.stdin, self.process.stdout

    def ask(self, **order: Any) -> dict[str, Any]:
        """Give an order and wait for its answer."""
        self.say(**order)
        return self.hear()

    def say(self, **order: Any) -> None:
        """Give an order."""
        print(json.dumps(order), file=self._stdin, flush=True)

    def hear(self) -> dict[str, Any]:
        """Wait for the next answer."""
        line = self._stdout.readline()
        if not line:
            raise RuntimeError(f"{self.process.args!r} ended with {self.process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """End it by closing its input; by force where that is not enough."""
        self._stdin.close()
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, error: object, *_: object) -> None:
        if error is not None:
            self.process.kill()
        self.close()


class Feeder(Talker):
    """bench.feeder with ``count`` feeds."""

    def __init__(self, count: int) -> None:
        super().__init__(sys.executable, "-m", "bench.feeder", str(count))
        ports = self.hear()
        self.rpc = f"http://127.0.0.1:{ports['rpc']}"
        self.ws = f"ws://127.0.0.1:{ports['ws']}"


def cpu_seconds(pid: int, *, with_children: bool = False) -> float:
    """User and system time of a process so far; ``with_children``: of those that live and those that are gone."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
    own = sum(int(value) for value in fields[11:13])
    if not with_children:
        return own / _TICKS
    gone = sum(int(value) for value in fields[13:15])
    for child in children(pid):
        with contextlib.suppress(OSError):  # one that has just ended
            own += round(cpu_seconds(child) * _TICKS)
    return (own + gone) / _TICKS


def children(pid: int) -> list[int]:
    """The processes that ``pid`` has started and that live."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


def resident_mb(pid: int) -> float:
    """Memory of a process that is resident now, in MB."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
