"""Batches begin a moment apart, so that prints gather."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from quantdesk_oracle.clock import SystemClock
from quantdesk_oracle.ops.metrics import Metrics
from quantdesk_oracle.store.writer import BatchWriter


class _Table:
    """Takes rows at once, and remembers its batches."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []

    async def insert(self, rows: Sequence[int]) -> int:
        self.batches.append(list(rows))
        return len(rows)


@pytest.fixture
def table() -> _Table:
    return _Table()


def writer_of(table: _Table, batch_rows: int) -> BatchWriter[int]:
    return BatchWriter(
        "oracle_prices",
        table.insert,
        SystemClock(),
        Metrics([], [], [], "test"),
        batch_rows=batch_rows,
        capacity=1_000,
        on_refused=lambda _row, _error: None,
        on_trouble=lambda _error: None,
    )


async def test_the_first_row_goes_at_once_and_what_comes_right_after_it_goes_together(table: _Table) -> None:
    writer = writer_of(table, batch_rows=500)
    running = asyncio.ensure_future(writer.run())
    writer.put(0)
    await writer.flushed()
    for row in range(1, 6):
        writer.put(row)
        await asyncio.sleep(0)
    await writer.flushed()
    writer.close()
    await running
    assert table.batches == [[0], [1, 2, 3, 4, 5]]


async def test_a_full_batch_does_not_wait(table: _Table, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quantdesk_oracle.store.writer.PACE", 3_600.0)
    writer = writer_of(table, batch_rows=2)
    running = asyncio.ensure_future(writer.run())
    for row in range(6):
        writer.put(row)
    await asyncio.wait_for(writer.flushed(), 30)
    writer.close()
    await running
    assert table.batches == [[0, 1], [2, 3], [4, 5]]
