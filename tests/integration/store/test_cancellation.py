"""A task that is cancelled in the middle of a statement ends, wherever the statement stands."""

from __future__ import annotations

import asyncio

from quantdesk_oracle.errors import DatabaseError
from quantdesk_oracle.store.database import Database


async def work(database: Database) -> None:
    """What a worker does: goes on whatever the database says."""
    while True:
        try:
            async with database.transaction("cannot work") as connection:
                for _ in range(5):
                    await connection.execute("SELECT 1")
        except DatabaseError:
            await asyncio.sleep(0)


async def test_a_cancellation_is_never_mistaken_for_trouble_of_the_database(database):
    for moment in range(120):
        task = asyncio.create_task(work(database))
        await asyncio.sleep((moment % 40) / 4_000)  # somewhere in the middle of it
        task.cancel()
        done, _ = await asyncio.wait({task}, timeout=10)
        assert done, "the cancellation was lost"
        assert task.cancelled()
