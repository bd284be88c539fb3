"""The parameter versions of many markets: asked for, and recorded, together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from decimal import Decimal

import pytest

from quantdesk_oracle.config import Market
from quantdesk_oracle.errors import ConfigError
from quantdesk_oracle.model import SECOND
from quantdesk_oracle.store import markets as store
from quantdesk_oracle.store.database import Database
from quantdesk_oracle.store.markets import MarketRow, ParameterVersion, ensure_markets, read_markets
from quantdesk_oracle.workers.parameters import parameters_of_all
from tests.integration.pricing.world import INTERVAL, START, a_market

MANY = [a_market(f"M{number:02}-PERP") for number in range(30)]


@pytest.fixture
async def database(dsn: str) -> AsyncIterator[Database]:
    database = Database(dsn, pool_size=4, command_timeout=10)
    await database.open()
    await ensure_markets(database, MANY, "")
    yield database
    await database.close()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the statements that the store has run."""
    names: list[str] = []
    text_of = store.query

    def noted(name: str) -> str:
        names.append(name)
        return text_of(name)

    monkeypatch.setattr(store, "query", noted)
    return names


async def rows_of(database: Database) -> dict[str, MarketRow]:
    return await read_markets(database, [market.symbol for market in MANY])


async def versions_at(
    database: Database, now: int, markets: Sequence[Market] = MANY
) -> dict[str, list[ParameterVersion]]:
    return await parameters_of_all(database, await rows_of(database), markets, now)


async def run(database: Database, statement: str) -> None:
    async with database.connection("test") as connection:
        await connection.execute(statement)


async def count(database: Database) -> int:
    async with database.connection("test") as connection:
        return int(await connection.fetchval("SELECT count(*) FROM funding_parameters"))


async def test_a_first_start_records_a_version_of_every_market_in_one_statement(database, asked):
    rows = await rows_of(database)
    asked.clear()
    found = await parameters_of_all(database, rows, MANY, START + 90 * SECOND)
    assert asked == ["parameters", "insert_parameters", "parameters"]
    assert list(found) == [market.symbol for market in MANY]
    boundary = (START // SECOND // INTERVAL + 1) * INTERVAL * SECOND
    assert {(one.parameters.version, one.in_force_from) for (one,) in found.values()} == {(1, boundary)}


async def test_the_next_start_asks_one_question_and_records_nothing(database, asked):
    first = await versions_at(database, START)
    asked.clear()
    assert await versions_at(database, START + 3_600 * SECOND) == first
    assert asked == ["markets", "parameters"]
    assert await count(database) == len(MANY)


async def test_only_markets_whose_wishes_are_others_and_can_be_met_get_another_version(database):
    first = await versions_at(database, START)
    await run(database, "UPDATE markets SET max_funding_rate = 1 WHERE symbol = 'M03-PERP'")
    await run(database, """UPDATE markets SET metadata = '{"pricing": 1}' WHERE symbol = 'M04-PERP'""")
    found = await versions_at(database, START + 90 * SECOND)
    changed = found.pop("M03-PERP")
    assert [one.parameters.max_rate for one in changed] == [Decimal("0.04"), Decimal("0.0001")]
    assert changed[1].in_force_from > changed[0].in_force_from
    first.pop("M03-PERP")
    assert found == first


async def test_daemons_that_start_at_once_agree_on_one_version_each(database, dsn):
    others = [Database(dsn, pool_size=1, command_timeout=10) for _ in range(3)]
    for other in others:
        await other.open()
    orders = [MANY, MANY[::-1], MANY[10:] + MANY[:10], MANY[::2] + MANY[1::2]]
    found = await asyncio.gather(
        *(
            versions_at(each, START + at * SECOND, order)
            for at, (each, order) in enumerate(zip([database, *others], orders, strict=True))
        )
    )
    for other in others:
        await other.close()
    assert all(one == found[0] for one in found)
    assert await count(database) == len(MANY)


async def test_a_first_wish_that_cannot_be_met_stops_the_start_and_records_nothing(database):
    await run(
        database,
        """UPDATE markets SET metadata = '{"pricing": {"method": "none"}}' WHERE symbol = 'M29-PERP'""",
    )
    with pytest.raises(ConfigError, match="M29-PERP: no method 'none'"):
        await versions_at(database, START)
    assert await count(database) == 0
