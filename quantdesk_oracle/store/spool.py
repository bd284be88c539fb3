"""The spool: rows on disk, in order, for as long as the database is away.

SQLite with a write-ahead log, in one file of the state directory, used by one thread of its own. ``put`` returns
when the rows are synced (``synchronous = FULL``: one fsync of the log a batch): from then on they survive kill -9
and the loss of power. Rows leave it only when the database has them, when it refuses them for what they hold, or
at the byte cap, where prints that chain history still holds go first. Whatever goes at the cap is noted as a gap.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, TypeVar

import structlog

from quantdesk_oracle.errors import OracleError
from quantdesk_oracle.store.spool_file import is_damage, open_file, set_aside

log = structlog.get_logger("store.spool")
Result = TypeVar("Result")

FILE = "spool.sqlite3"
ROW_OVERHEAD = 96
"""Bytes that a row takes beside its payload: its columns, its share of pages and indexes."""
MAX_REFUSED = 10_000
"""Refused rows that are kept for a person to look at; the oldest go first."""
_EVICTED_AT_ONCE = 500
_NOTE_GAP = """
    INSERT INTO gaps (kind, market, first, last, rows) VALUES (?1, ?2, ?3, ?3, 1)
    ON CONFLICT (kind, market) DO UPDATE SET first = min(first, ?3), last = max(last, ?3), rows = rows + 1
"""


class SpoolError(OracleError):
    """The spool cannot be written or read: the disk is full, or the file may not be touched."""


class SpoolRow(NamedTuple):
    """A row on its way into the spool."""

    kind: str
    """What it becomes: mostly the name of its table."""
    market: str
    """Empty where it belongs to none."""
    instant: int
    """µs; of a print its publish time."""
    healable: bool
    """Whether chain history still holds it: such rows go first when there is no more room."""
    payload: bytes


class Spooled(NamedTuple):
    """A row that lies in the spool."""

    seq: int
    payload: bytes
    intact: bool
    """Whether it is what was put: SQLite does not see damage inside of a row."""


class Gap(NamedTuple):
    """What was given up at the byte cap: so many rows of a market between two instants (µs)."""

    kind: str
    market: str
    first: int
    last: int
    rows: int


class Contents(NamedTuple):
    """How much lies in the spool."""

    rows: int = 0
    bytes: int = 0
    oldest: int | None = None
    """The smallest instant, µs; None where it is empty."""


class Spool:
    """The spool of a state directory. Every method may raise SpoolError; a damaged file never stops it.

    ``on_set_aside`` is told the new name of a damaged file and what was the matter with it.
    """

    def __init__(self, folder: Path, *, capacity: int, on_set_aside: Callable[[Path, str], None]) -> None:
        self.path = folder / FILE
        self._capacity = capacity
        self._on_set_aside = on_set_aside
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="spool")
        self._connection: sqlite3.Connection | None = None
        self._rows = self._bytes = 0
        self.given_up: Counter[str] = Counter()
        """Rows that went at the byte cap since this was made, by kind."""
        self._closed = False
        self.contents = Contents()
        """As of the last call that changed it."""

    async def open(self) -> None:
        """Open it, made from nothing where there is none."""
        await self._run(self._ensure_open)

    async def close(self) -> None:
        """Close the file, for good. May be called again."""
        if not self._closed:
            self._closed = True
            await self._run(self._close)
            self._thread.shutdown(wait=False)

    async def put(self, rows: Sequence[SpoolRow]) -> range:
        """Add rows at its end: on disk when this returns. At the byte cap, older ones go. Their sequence numbers."""
        return await self._run(lambda: self._put(rows))

    async def holds_anything(self) -> bool:
        """Whether a row or a gap waits, of whoever has put it here: two daemons may share a directory."""
        return await self._run(self._holds_anything)

    async def oldest(self, kind: str, limit: int) -> list[Spooled]:
        """The first ``limit`` rows of a kind, in the order in which they were put."""
        return await self._run(lambda: self._oldest(kind, limit))

    async def remove(self, seqs: Sequence[int]) -> None:
        """Take out rows that the database has."""
        await self._run(lambda: self._remove(seqs))

    async def refuse(self, row: SpoolRow, cause: str, now: int) -> None:
        """Keep a row that the database refuses for what it holds, for a person to look at. ``now`` in µs."""
        await self._run(lambda: self._refuse(row.kind, row.payload, cause, now))

    async def put_aside(self, seq: int, cause: str, now: int) -> None:
        """Move a row that nobody can read to the refused ones. ``now`` in µs."""
        await self._run(lambda: self._put_aside(seq, cause, now))

    async def put_others_aside(self, kinds: Sequence[str], now: int) -> int:
        """Move rows of kinds that nobody knows to the refused ones; how many. ``now`` in µs."""
        return await self._run(lambda: self._put_others_aside(kinds, now))

    async def gaps(self) -> list[Gap]:
        """What was given up at the byte cap, and is not yet known to the database."""
        return await self._run(self._gaps)

    async def forget(self, gap: Gap) -> None:
        """The database knows of this gap now, unless it has grown meanwhile."""
        await self._run(lambda: self._forget(gap))

    async def _run(self, work: Callable[[], Result]) -> Result:
        """Do ``work`` in the spool's thread, once more with a fresh file where the file is damaged."""
        loop = asyncio.get_running_loop()
        future = loop.run_in_executor(self._thread, self._carefully, work)
        # Shielded: what the thread has begun it ends, whoever stops waiting for it.
        return await asyncio.shield(future)

    def _carefully(self, work: Callable[[], Result]) -> Result:
        try:
            return work()
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise _spool_error(self.path, error) from error
            self._set_aside(str(error))
        except UnicodeDecodeError as error:  # a text in it, or what SQLite says of it and repeats from it
            self._set_aside(str(error))
        except OSError as error:
            raise SpoolError(f"the spool {self.path} cannot be used: {error.strerror}") from error
        try:
            return work()
        except (sqlite3.Error, OSError) as error:
            raise _spool_error(self.path, error) from error

    def _ensure_open(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = open_file(self.path)
            self._measure()
        return self._connection

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _set_aside(self, cause: str) -> None:
        self._close()
        self._on_set_aside(set_aside(self.path), cause)

    def _put(self, rows: Sequence[SpoolRow]) -> range:
        connection = self._ensure_open()
        with _transaction(connection):
            connection.executemany(
                "INSERT INTO spooled (kind, market, instant, healable, payload, checksum) VALUES (?, ?, ?, ?, ?, ?)",
                [(*row, _checksum(row.kind, row.payload)) for row in rows],
            )
            last: int = connection.execute("SELECT last_insert_rowid()").fetchone()[0] if rows else 0
            added = sum(len(row.payload) + ROW_OVERHEAD for row in rows)
            gone, freed = self._make_room(connection, self._bytes + added - self._capacity)
        self._rows += len(rows) - gone
        self._bytes += added - freed
        self._tell()
        return range(last - len(rows) + 1, last + 1)

    def _make_room(self, connection: sqlite3.Connection, excess: int) -> tuple[int, int]:
        """Give up the oldest rows until ``excess`` bytes are free, healable ones first; (rows, bytes) given up."""
        gone = freed = 0
        while freed < excess:
            rows = connection.execute(
                "SELECT seq, kind, market, CAST(instant AS INTEGER), coalesce(length(CAST(payload AS BLOB)), 0)"
                " FROM spooled ORDER BY healable DESC, seq LIMIT ?",
                (_EVICTED_AT_ONCE,),
            ).fetchall()
            if not rows:
                break
            for seq, kind, market, instant, size in rows:
                connection.execute("DELETE FROM spooled WHERE seq = ?", (seq,))
                connection.execute(_NOTE_GAP, (kind, market, instant))
                self.given_up[kind] += 1
                gone, freed = gone + 1, freed + size + ROW_OVERHEAD
                if freed >= excess:
                    break
        return gone, freed

    def _holds_anything(self) -> bool:
        found = self._ensure_open().execute(
            "SELECT EXISTS (SELECT 1 FROM spooled) OR EXISTS (SELECT 1 FROM gaps)"
        )
        return bool(found.fetchone()[0])

    def _oldest(self, kind: str, limit: int) -> list[Spooled]:
        rows = self._ensure_open().execute(
            "SELECT seq, CAST(payload AS BLOB), checksum FROM spooled WHERE kind = ? ORDER BY seq LIMIT ?",
            (kind, limit),
        )
        return [Spooled(seq, payload or b"", _checksum(kind, payload) == sum_) for seq, payload, sum_ in rows]

    def _remove(self, seqs: Sequence[int]) -> None:
        connection = self._ensure_open()
        wanted = json.dumps(list(seqs))
        with _transaction(connection):
            removed, freed = connection.execute(
                "SELECT count(*), coalesce(sum(coalesce(length(CAST(payload AS BLOB)), 0) + ?), 0)"
                " FROM spooled WHERE seq IN (SELECT value FROM json_each(?))",
                (ROW_OVERHEAD, wanted),
            ).fetchone()
            connection.execute("DELETE FROM spooled WHERE seq IN (SELECT value FROM json_each(?))", (wanted,))
        self._rows -= removed
        self._bytes -= freed
        self._tell()
        if self._rows <= 0:
            self._measure()
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def _refuse(self, kind: str, payload: bytes, cause: str, now: int) -> None:
        connection = self._ensure_open()
        with _transaction(connection):
            connection.execute(
                "INSERT INTO refused (kind, payload, cause, at) VALUES (?, ?, ?, ?)",
                (kind, payload, cause, now),
            )
            connection.execute(
                "DELETE FROM refused WHERE seq <= (SELECT max(seq) FROM refused) - ?", (MAX_REFUSED,)
            )

    def _put_aside(self, seq: int, cause: str, now: int) -> None:
        connection = self._ensure_open()
        row = connection.execute(
            "SELECT kind, coalesce(CAST(payload AS BLOB), x'') FROM spooled WHERE seq = ?", (seq,)
        ).fetchone()
        if row is not None:
            self._refuse(row[0], row[1], cause, now)
        self._remove([seq])

    def _put_others_aside(self, kinds: Sequence[str], now: int) -> int:
        known = json.dumps(list(kinds))
        rows = (
            self._ensure_open()
            .execute("SELECT seq FROM spooled WHERE kind NOT IN (SELECT value FROM json_each(?))", (known,))
            .fetchall()
        )
        for (seq,) in rows:
            self._put_aside(seq, "of a kind that this version does not know", now)
        return len(rows)

    def _gaps(self) -> list[Gap]:
        rows = self._ensure_open().execute("SELECT kind, market, first, last, rows FROM gaps").fetchall()
        return [Gap(*row) for row in rows]

    def _forget(self, gap: Gap) -> None:
        self._ensure_open().execute(
            "DELETE FROM gaps WHERE kind = ? AND market = ? AND first = ? AND last = ? AND rows = ?", gap
        )

    def _measure(self) -> None:
        """Count what lies there: at the start, and when it should be empty (two daemons may share a directory)."""
        assert self._connection is not None
        self._rows, self._bytes = self._connection.execute(
            "SELECT count(*), coalesce(sum(coalesce(length(CAST(payload AS BLOB)), 0) + ?), 0) FROM spooled",
            (ROW_OVERHEAD,),
        ).fetchone()
        self._tell()

    def _tell(self) -> None:
        assert self._connection is not None
        (oldest,) = self._connection.execute("SELECT CAST(min(instant) AS INTEGER) FROM spooled").fetchone()
        self.contents = Contents(max(self._rows, 0), max(self._bytes, 0), oldest)


class _transaction:  # noqa: N801 (reads as a verb)
    """``with _transaction(connection)``: all of the block's statements, or none."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self._connection.execute("COMMIT")
        elif self._connection.in_transaction:
            self._connection.execute("ROLLBACK")


def _checksum(kind: str, payload: bytes | None) -> int:
    # Damage may change a value's type too: the casts in the statements above are for that.
    return zlib.crc32(payload or b"", zlib.crc32(kind.encode()))


def _spool_error(path: Path, error: Exception) -> SpoolError:
    return SpoolError(
        f"the spool {path} cannot be used: {error}; look at the disk's space and the file's rights"
    )
