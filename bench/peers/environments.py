"""Virtual environments of peers that do not share ours: made once, from PyPI, in bench/.peers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_FOLDER = Path(__file__).parent.parent / ".peers"
PYTHCLIENT = "pythclient==0.2.2"
CRYPTOFEED, CRYPTOFEED_DRIVER = "cryptofeed==2.4.1", "asyncpg==0.32.0"
"""Its PostgreSQL backend wants asyncpg, as its extra `postgres` says."""


def python_with(*packages: str) -> Path | None:
    """The Python of an environment that holds ``packages``; None where they cannot be installed here."""
    folder = _FOLDER / packages[0].split("==")[0]
    python = folder / "bin" / "python"
    done = folder / "installed"
    if done.is_file() and done.read_text() == repr(packages):
        return python
    print(f"bench: installing {', '.join(packages)} into an environment of its own", file=sys.stderr)
    try:
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True, capture_output=True)
        install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages]
        subprocess.run(install, check=True, capture_output=True, timeout=300)
    except (subprocess.SubprocessError, OSError) as error:
        print(f"bench: {packages[0]} does not install ({type(error).__name__}): left out", file=sys.stderr)
        return None
    done.write_text(repr(packages))
    return python
