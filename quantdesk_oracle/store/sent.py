"""What a publisher has passed on, in a SQLite file of its own: its cursor, and the keys of the rows behind it.

Rows are committed late: from a spool, from chain history. A cursor alone would pass them by.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path

from quantdesk_oracle.errors import UnavailableError
from quantdesk_oracle.store.tail import MINUTE

_SCHEMA = """
    CREATE TABLE IF NOT EXISTS cursors (stream TEXT PRIMARY KEY, began INTEGER NOT NULL, reached INTEGER NOT NULL);
    CREATE TABLE IF NOT EXISTS sent (
        stream TEXT NOT NULL, minute INTEGER NOT NULL, key TEXT NOT NULL, PRIMARY KEY (stream, minute, key)
    ) WITHOUT ROWID;
"""


class Sent:
    """The memory of one publisher. Raises UnavailableError where its file cannot be used."""

    def __init__(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(path, isolation_level=None)
            self._connection.execute("PRAGMA journal_mode = WAL")
            # At least once: what a power loss takes back is sent again, under the same key.
            self._connection.execute("PRAGMA synchronous = NORMAL")
            self._connection.executescript(_SCHEMA)
        except (sqlite3.Error, OSError) as error:
            raise UnavailableError(
                f"{path} cannot be used ({error}); remove it to begin anew, from now on"
            ) from error

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def cursor(self, stream: str, now: int) -> tuple[int, int]:
        """(instant it began at, instant it has reached), µs; both ``now`` the first time."""
        self._connection.execute("INSERT OR IGNORE INTO cursors VALUES (?1, ?2, ?2)", (stream, now))
        began, reached = self._connection.execute(
            "SELECT began, reached FROM cursors WHERE stream = ?", (stream,)
        ).fetchone()
        return began, reached

    def note(self, stream: str, rows: Iterable[tuple[str, int]]) -> None:
        """These rows (key, instant) have been passed on."""
        rows = list(rows)
        if not rows:
            return
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.executemany(
            "INSERT OR IGNORE INTO sent VALUES (?, ?, ?)",
            [(stream, instant // MINUTE, key) for key, instant in rows],
        )
        newest = max(instant for _, instant in rows)
        self._connection.execute(
            "UPDATE cursors SET reached = max(reached, ?) WHERE stream = ?", (newest, stream)
        )
        self._connection.execute("COMMIT")

    def known(self, stream: str, minutes: Sequence[int]) -> set[str]:
        """The keys of these minutes that have been passed on."""
        if not minutes:
            return set()
        return {
            key
            for (key,) in self._connection.execute(
                "SELECT key FROM sent WHERE stream = ? AND minute BETWEEN ? AND ?",
                (stream, min(minutes), max(minutes)),
            )
        }

    def minutes(self, stream: str, start: int, end: int) -> dict[int, int]:
        """How many rows of each minute of [start, end) (µs) have been passed on."""
        rows = self._connection.execute(
            "SELECT minute, count(*) FROM sent WHERE stream = ? AND minute >= ? AND minute < ? GROUP BY minute",
            (stream, start // MINUTE, -(-end // MINUTE)),
        )
        return dict(rows.fetchall())

    def forget(self, before: int) -> None:
        """Keys of instants before ``before`` (µs) are needed no more."""
        self._connection.execute("DELETE FROM sent WHERE minute < ?", (before // MINUTE,))
