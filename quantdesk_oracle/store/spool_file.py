"""The spool's file: its layout, how it is opened, what damage is, and where a damaged file goes."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from pathlib import Path
from typing import Final

FORMAT: Final = 1
"""Of the file; another format is set aside like a damaged file."""
MAX_ASIDE: Final = 5
"""Damaged files that are kept; the oldest go first."""
BUSY_SECONDS: Final = 5.0
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_SCHEMA = """
    CREATE TABLE IF NOT EXISTS spooled (
        seq       INTEGER PRIMARY KEY AUTOINCREMENT,
        kind      TEXT    NOT NULL,
        market    TEXT    NOT NULL,
        instant   INTEGER NOT NULL,
        healable  INTEGER NOT NULL,
        payload   BLOB    NOT NULL,
        checksum  INTEGER NOT NULL
    );
    CREATE INDEX IF NOT EXISTS spooled_instant ON spooled (instant);
    CREATE INDEX IF NOT EXISTS spooled_kind ON spooled (kind, seq);
    CREATE INDEX IF NOT EXISTS spooled_healable ON spooled (healable, seq);
    CREATE TABLE IF NOT EXISTS refused (
        seq      INTEGER PRIMARY KEY,
        kind     TEXT    NOT NULL,
        payload  BLOB    NOT NULL,
        cause    TEXT    NOT NULL,
        at       INTEGER NOT NULL
    );
    CREATE TABLE IF NOT EXISTS gaps (
        kind     TEXT    NOT NULL,
        market   TEXT    NOT NULL,
        first    INTEGER NOT NULL,
        last     INTEGER NOT NULL,
        rows     INTEGER NOT NULL,
        PRIMARY KEY (kind, market)
    );
"""


def open_file(path: Path) -> sqlite3.Connection:
    """The spool at ``path``, made from nothing where there is none. sqlite3.DatabaseError where :func:`is_damage`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    # A damaged name of a kind is a kind that nobody knows, not an error.
    connection.text_factory = lambda text: text.decode(errors="replace")
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA journal_size_limit = 4194304")
        _check(connection)
        found = connection.execute("PRAGMA user_version").fetchone()[0]
        if found not in (0, FORMAT):
            raise _damaged(f"format {found}, expected {FORMAT}")
        connection.executescript(_SCHEMA)
        _check_columns(connection)
        connection.execute(f"PRAGMA user_version = {FORMAT}")
    except BaseException:
        connection.close()
        raise
    return connection


def is_damage(error: sqlite3.Error) -> bool:
    """Whether the file is at fault, not the disk or whoever holds it."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGED


def set_aside(path: Path) -> Path:
    """Give a closed, damaged file another name, which is returned; the oldest of such files go."""
    aside = path.with_name(f"{path.name}.damaged-{time.time_ns()}")
    path.rename(aside)
    for suffix in ("-wal", "-shm"):
        beside = path.with_name(path.name + suffix)
        if beside.exists():
            beside.rename(aside.with_name(aside.name + suffix))
    damaged = sorted(
        old for old in aside.parent.glob(f"{path.name}.damaged-*") if old.suffix[-4:] not in ("-wal", "-shm")
    )
    for old in damaged[:-MAX_ASIDE]:
        for part in old.parent.glob(f"{old.name}*"):
            part.unlink()
    return aside


def _check_columns(connection: sqlite3.Connection) -> None:
    """Raise for a file whose tables are called alike and made otherwise: their own description is damaged."""
    try:
        connection.execute(
            "SELECT seq, kind, market, instant, healable, payload, checksum FROM spooled LIMIT 0"
        )
        connection.execute("SELECT seq, kind, payload, cause, at FROM refused LIMIT 0")
        connection.execute("SELECT kind, market, first, last, rows FROM gaps LIMIT 0")
    except sqlite3.OperationalError as error:
        raise _damaged(str(error)) from error


def _check(connection: sqlite3.Connection) -> None:
    """Raise for a file that is damaged; damage in nothing but its indexes is repaired, and no row lost."""
    damage = _verdict(connection.execute("PRAGMA integrity_check(1)"))
    if damage != "ok" and _verdict(connection.execute("PRAGMA quick_check(1)")) == "ok":
        with contextlib.suppress(sqlite3.IntegrityError):
            connection.execute("REINDEX")
        damage = _verdict(connection.execute("PRAGMA integrity_check(1)"))
    if damage != "ok":
        raise _damaged(damage)


def _verdict(check: sqlite3.Cursor) -> str:
    return str(check.fetchone()[0])


def _damaged(what: str) -> sqlite3.DatabaseError:
    error = sqlite3.DatabaseError(what)
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return error
