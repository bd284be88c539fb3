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
    read_parameters_of,
    record_parameters,
    wished_parameters,
)
from quantdesk_oracle.workers.state import in_force_from

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

    from quantdesk_oracle.config import Market
    from quantdesk_oracle.store.database import Database
    from quantdesk_oracle.store.markets import MarketRow

log = structlog.get_logger("workers.parameters")


async def current_parameters(
    database: Database, row: MarketRow, market: Market, now: int
) -> list[ParameterVersion]:
    """The versions of one market, as :func:`parameters_of_all` has them."""
    return (await parameters_of_all(database, {row.symbol: row}, [market], now))[row.symbol]


async def parameters_of_all(
    database: Database, rows: Mapping[str, MarketRow], markets: Sequence[Market], now: int
) -> dict[str, list[ParameterVersion]]:
    """The markets' parameter versions by symbol; a new one is recorded where the operator's wishes are others.

    One question for all markets, and two more statements where there is anything to record. The first version holds
    from the start of the running interval, a later one from the next boundary of both. A wish that cannot be met
    changes nothing; where a market has no version at all, ConfigError, and nothing is recorded of any.
    """
    ids = [rows[market.symbol].id for market in markets]
    async with database.transaction("cannot read the funding parameters") as connection:
        stored = await read_parameters_of(connection, ids)
        wished = {
            row.id: version
            for market in markets
            if (version := _wished_version(row := rows[market.symbol], market, stored[row.id], now))
            is not None
        }
        if wished:
            await record_parameters(connection, wished)
            stored = await read_parameters_of(connection, ids)
    _tell(rows, wished)
    return {market.symbol: stored[rows[market.symbol].id] for market in markets}


def _wished_version(
    row: MarketRow, market: Market, versions: Sequence[ParameterVersion], now: int
) -> ParameterVersion | None:
    """The version to record; None where the newest is what the operator asks for, or what is asked cannot be met."""
    newest = versions[-1].parameters if versions else None
    try:
        wished = wished_parameters(row, market)
    except ConfigError as error:
        if newest is None:
            raise
        log.error("parameters.refused", market=row.symbol, cause=str(error))  # noqa: TRY400
        return None
    if newest is not None and replace(wished, version=newest.version) == newest:
        return None
    return _next_version(wished, versions, now)


def _next_version(
    wished: FundingParameters, versions: Sequence[ParameterVersion], now: int
) -> ParameterVersion:
    """What the operator asks for as the version after ``versions``."""
    if not versions:
        return ParameterVersion(boundary_at_or_before(now, wished.interval), wished)
    newest = versions[-1]
    start = in_force_from(now, newest.parameters.interval, wished.interval)
    wished = replace(wished, version=newest.parameters.version + 1)
    return ParameterVersion(max(start, newest.in_force_from), wished)


def _tell(rows: Mapping[str, MarketRow], recorded: Mapping[UUID, ParameterVersion]) -> None:
    for row in rows.values():
        if (version := recorded.get(row.id)) is not None:
            log.info(
                "parameters.recorded",
                market=row.symbol,
                version=version.parameters.version,
                in_force_from=version.in_force_from // SECOND,
            )
