"""The rows of the daemons that share a database."""

from __future__ import annotations

import asyncio

from quantdesk_oracle.model import SECOND
from quantdesk_oracle.store.database import Database
from quantdesk_oracle.store.instances import Beat, read_instances, renew_instance
from tests.postgres import execute


def a_beat(id_: str, **values: object) -> Beat:
    return Beat(id_, "host", "1.0", ["BTC-PERP"], 5 * SECOND, ready=True, spool_rows=0)._replace(**values)  # type: ignore[arg-type]


async def test_a_daemon_has_one_row_however_often_it_renews_it(database: Database) -> None:
    for rows in (0, 7):
        await asyncio.gather(*[renew_instance(database, a_beat(each, spool_rows=rows)) for each in "ab"])
    found = await read_instances(database)
    assert sorted((one.id, one.spool_rows, one.state) for one in found) == [
        ("a", 7, "running"),
        ("b", 7, "running"),
    ]
    assert found[0].started == 5 * SECOND
    assert found[0].seen_age < 10


async def test_a_daemon_that_ends_in_peace_says_so(database: Database) -> None:
    await renew_instance(database, a_beat("a", ends=True))
    assert [one.state for one in await read_instances(database)] == ["stopped"]


async def test_a_row_that_is_not_renewed_is_of_one_that_is_gone(database: Database, fresh_dsn: str) -> None:
    await renew_instance(database, a_beat("a"))
    await execute(fresh_dsn, "UPDATE daemon_instances SET seen_at = now() - interval '1 minute'")
    assert [one.state for one in await read_instances(database)] == ["gone"]


async def test_rows_of_yesterday_are_used_again(database: Database, fresh_dsn: str) -> None:
    for each in "abc":
        await renew_instance(database, a_beat(each))
    await execute(
        fresh_dsn, "UPDATE daemon_instances SET seen_at = now() - interval '2 days' WHERE id <> 'c'"
    )
    assert [one.id for one in await read_instances(database)] == ["c"]
    for each in "def":
        await renew_instance(database, a_beat(each))
    async with database.connection("cannot read") as connection:
        rows = await connection.fetch("SELECT id FROM daemon_instances ORDER BY id")
    assert [row["id"] for row in rows] == ["c", "d", "e", "f"]
