"""What waits on disk for the database: the spool, in the nouns of the house.

Rows are JSON there, so that a newer version of the program reads what an older one has left.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import structlog

from quantdesk_oracle.model import SECOND, DueSample, Event, MarkPrice, Source, StoredPrint
from quantdesk_oracle.store.spool import Gap, Spool, Spooled, SpoolError, SpoolRow

if TYPE_CHECKING:
    from quantdesk_oracle.clock import Clock
    from quantdesk_oracle.ops.metrics import Metrics

log = structlog.get_logger("store.backlog")
_ON_CHAIN = (Source.SUBSCRIPTION, Source.POLL, Source.CHAIN)
_NAN = float("nan")


Row = StoredPrint | MarkPrice | Event | DueSample

KINDS: Mapping[str, Any] = {
    "oracle_prices": StoredPrint,
    "mark_prices": MarkPrice,
    # After the marks, which samples are taken from.
    "premium_samples": DueSample,
    # Last: what keeps events on disk keeps nothing else there.
    "system_events": Event,
}
"""What a kind of the spool holds, in the order in which they are drained."""


class Waiting(NamedTuple):
    """A row that lies in the spool. ``row`` is None where its payload cannot be read; ``trouble`` says why."""

    seq: int
    row: Any
    trouble: str | None = None


class Backlog:
    """The rows that wait for the database. Every method may raise SpoolError."""

    def __init__(self, spool: Spool, clock: Clock, metrics: Metrics) -> None:
        self._spool = spool
        self._clock = clock
        self._metrics = metrics
        self._last: dict[str, int] = {}
        self.grown = asyncio.Event()
        """Set when this process has kept rows here; whoever moves them clears it."""

    @property
    def rows(self) -> int:
        """How many wait."""
        return self._spool.contents.rows

    @property
    def bytes(self) -> int:
        """What they take."""
        return self._spool.contents.bytes

    @property
    def oldest_instant(self) -> int | None:
        """The smallest instant (µs) that waits; None where nothing does."""
        return self._spool.contents.oldest

    def given_up(self, kind: str) -> int:
        """Rows of a kind that went at the byte cap since this process began."""
        return self._spool.given_up[kind]

    def newest_kept(self, kind: str) -> int | None:
        """The largest instant (µs) of this kind that this process has kept here; None where it has not."""
        return self._last.get(kind)

    async def open(self) -> None:
        """Open the spool; what an earlier run has left is there."""
        await self._spool.open()
        if others := await self._spool.put_others_aside(list(KINDS), self._clock.now()):
            log.error("spool.refused", rows=others, cause="of kinds that this version does not know")
        self._measure()
        if self.rows:
            log.info("spool.found", rows=self.rows, bytes=self._spool.contents.bytes)

    async def close(self) -> None:
        """Close the spool."""
        await self._spool.close()

    async def keep(self, rows: Sequence[Row]) -> range:
        """Put rows to disk; their sequence numbers."""
        spooled = [_spool_row(row) for row in rows]
        seqs = await self._spool.put(spooled)
        for row in spooled:
            self._last[row.kind] = max(self._last.get(row.kind, row.instant), row.instant)
        self.grown.set()
        self._measure()
        return seqs

    async def holds_anything(self) -> bool:
        """Whether anything waits to be moved or told."""
        return await self._spool.holds_anything()

    async def oldest(self, kind: str, limit: int) -> list[Waiting]:
        """The first ``limit`` rows of a kind."""
        return [_waiting(kind, row) for row in await self._spool.oldest(kind, limit)]

    async def remove(self, seqs: Sequence[int]) -> None:
        """Take out what the database has."""
        await self._spool.remove(seqs)
        self._measure()

    async def refuse(self, row: Row, cause: str) -> None:
        """Keep a row that the database refuses, for a person to look at."""
        await self._spool.refuse(_spool_row(row), cause, self._clock.now())

    async def put_aside(self, waiting: Waiting) -> None:
        """Move a row that cannot be read out of the way, to those for a person to look at."""
        await self._spool.put_aside(waiting.seq, waiting.trouble or "", self._clock.now())
        self._measure()

    async def gaps(self) -> list[Gap]:
        """What was given up at the byte cap and has still to be told."""
        return await self._spool.gaps()

    async def forget(self, gap: Gap) -> None:
        """A gap has been told."""
        await self._spool.forget(gap)

    def _measure(self) -> None:
        contents, metrics = self._spool.contents, self._metrics
        metrics.spool_rows.set(contents.rows)
        metrics.spool_bytes.set(contents.bytes)
        metrics.spool_oldest_timestamp.set(_NAN if contents.oldest is None else contents.oldest / SECOND)


def _spool_row(row: Row) -> SpoolRow:
    payload = msgspec.json.encode(row)
    if isinstance(row, StoredPrint):
        # A legacy account's prints are in no transaction; other sources' are on no chain.
        healable = row.source in _ON_CHAIN and not row.update.legacy
        return SpoolRow("oracle_prices", row.market, row.update.publish_time * SECOND, healable, payload)
    if isinstance(row, MarkPrice):
        return SpoolRow("mark_prices", row.market, row.instant, False, payload)
    if isinstance(row, DueSample):
        return SpoolRow("premium_samples", "", row.instant, False, payload)
    return SpoolRow("system_events", row.market or "", row.instant, False, payload)


def _waiting(kind: str, row: Spooled) -> Waiting:
    if not row.intact:
        return Waiting(row.seq, None, "does not match its checksum: the disk has changed it")
    try:
        return Waiting(row.seq, msgspec.json.decode(row.payload, type=KINDS[kind]))
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        return Waiting(row.seq, None, f"cannot be read: {error}")


__all__ = ["KINDS", "Backlog", "Gap", "Row", "SpoolError", "Waiting"]
