"""Which parameters a market is marked and settled by: versions, in force from boundary to boundary."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import structlog

from quantdesk_oracle.errors import ConfigError
from quantdesk_oracle.model import SECOND
from quantdesk_oracle.pricing.funding import FundingParameters, boundary_at_or_before
from quantdesk_oracle.store.markets import (
    ParameterVersion,
    read_parameters,
    read_parameters_of,
    record_parameters,
    wished_parameters,
)
from quantdesk_oracle.workers.state import in_force_from

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from quantdesk_oracle.config import Market
    from quantdesk_oracle.store.database import Database
    from quantdesk_oracle.store.markets import MarketRow

log = structlog.get_logger("workers.parameters")


async def parameters_of_all(
    database: Database, rows: Mapping[str, MarketRow], markets: Sequence[Market], now: int
) -> dict[str, list[ParameterVersion]]:
    """The versions of many markets, by symbol: one question for all, and one more for each whose wishes are others."""
    async with database.connection("cannot read the funding parameters") as connection:
        stored = await read_parameters_of(connection, [rows[market.symbol].id for market in markets])
    found = {}
    for market in markets:
        row = rows[market.symbol]
        versions = stored[row.id]
        if not _as_wished(versions, row, market):
            versions = await current_parameters(database, row, market, now)
        found[market.symbol] = versions
    return found


def _as_wished(versions: Sequence[ParameterVersion], row: MarketRow, market: Market) -> bool:
    """Whether the newest version is what the operator asks for; not so for a wish that cannot be met."""
    if not versions:
        return False
    newest = versions[-1].parameters
    try:
        return replace(wished_parameters(row, market), version=newest.version) == newest
    except ConfigError:
        return False


async def current_parameters(
    database: Database, row: MarketRow, market: Market, now: int
) -> list[ParameterVersion]:
    """The market's parameter versions; a new one is recorded where the operator's wishes are others.

    The first version holds from the start of the running interval, a later one from the next boundary of both.
    A wish that cannot be met changes nothing; without any version, ConfigError.
    """
    async with database.transaction("cannot read the funding parameters") as connection:
        versions = await read_parameters(connection, row.id)
        newest = versions[-1].parameters if versions else None
        try:
            wished = wished_parameters(row, market)
        except ConfigError as error:
            if newest is None:
                raise
            log.error("parameters.refused", market=row.symbol, cause=str(error))  # noqa: TRY400
            return versions
        if newest is not None and replace(wished, version=newest.version) == newest:
            return versions
        wished, start = _next_version(wished, versions, now)
        await record_parameters(connection, row.id, wished, start)
        log.info(
            "parameters.recorded", market=row.symbol, version=wished.version, in_force_from=start // SECOND
        )
        return await read_parameters(connection, row.id)


def _next_version(
    wished: FundingParameters, versions: list[ParameterVersion], now: int
) -> tuple[FundingParameters, int]:
    """The version to record, and from which instant (µs) it holds."""
    if not versions:
        return wished, boundary_at_or_before(now, wished.interval)
    newest = versions[-1]
    start = in_force_from(now, newest.parameters.interval, wished.interval)
    wished = replace(wished, version=newest.parameters.version + 1)
    return wished, max(start, newest.in_force_from)
