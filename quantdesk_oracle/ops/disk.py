"""The room that is left on a disk, and what is too little of it for a spool."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

MIB: Final = 1 << 20
TOO_LITTLE: Final = 100 * MIB
"""Bytes: the spool needs room when the database is away."""
LITTLE: Final = 1024 * MIB
"""Bytes that an outage of the database fills soon."""


def free_bytes(folder: Path) -> int:
    """What the file system of ``folder`` has left for this user. May block where the disk hangs. Raises OSError."""
    return shutil.disk_usage(folder).free
