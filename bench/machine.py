"""The machine that figures come from, without its name, its user or any of its paths."""

from __future__ import annotations

import os
import platform
import re
from importlib.metadata import version
from pathlib import Path

_PACKAGES = ("anchorpy", "asyncpg", "msgspec", "solana", "solders", "websockets")


def described() -> dict[str, object]:
    """Processor, cores, memory, kernel, Python, and the versions of what was measured."""
    return {
        "processor": _first(r"model name\s*: (.*)", "/proc/cpuinfo") or platform.machine(),
        "cores": os.cpu_count(),
        "memory_gib": round(int(_first(r"MemTotal:\s*(\d+)", "/proc/meminfo") or 0) / 2**20),
        "system": f"{platform.system()} {'.'.join(platform.release().split('.')[:2])}",
        "python": platform.python_version(),
        "packages": {name: version(name) for name in _PACKAGES},
        "load": [round(load, 1) for load in os.getloadavg()],
    }


def _first(pattern: str, path: str) -> str | None:
    try:
        found = re.search(pattern, Path(path).read_text(encoding="utf-8"))
    except OSError:
        return None
    return found.group(1).strip() if found else None
