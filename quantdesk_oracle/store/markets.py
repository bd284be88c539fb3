"""The markets table, and the versioned parameters that a market's funding is settled by."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

from quantdesk_oracle.pricing.funding import FundingParameters
from quantdesk_oracle.store.database import Connection, Database, query
from quantdesk_oracle.store.instants import to_instant, to_timestamp

if TYPE_CHECKING:
    from quantdesk_oracle.config import Market

_BASIS_POINTS = Decimal(10_000)


@dataclass(frozen=True, slots=True)
class MarketRow:
    """What the table says of one market."""

    id: UUID
    symbol: str
    funding_interval: int
    max_funding_rate: int
    """Basis points per interval."""
    funding_rate: Decimal
    """The newest settled rate."""
    last_funding: int | None
    """Its boundary, µs."""


@dataclass(frozen=True, slots=True)
class ParameterVersion:
    """One version of a market's parameters and the first instant (µs) that it holds for."""

    in_force_from: int
    parameters: FundingParameters


async def ensure_markets(database: Database, markets: Sequence[Market], program_id: str) -> list[str]:
    """Insert the markets that the table has not got; their symbols. Others are left as the operator has them."""
    added = []
    async with database.transaction("cannot add markets") as connection:
        for market in markets:
            new = await connection.fetchval(
                query("ensure_market"),
                market.symbol,
                market.base_asset,
                market.quote_asset,
                market.feeds[0].pubkey,
                program_id,
                market.funding_interval,
                market.max_funding_rate,
            )
            if new is not None:
                added.append(market.symbol)
    return added


async def read_markets(database: Database, symbols: Sequence[str]) -> dict[str, MarketRow]:
    """The rows of these markets, by symbol."""
    async with database.connection("cannot read the markets") as connection:
        rows = await connection.fetch(query("markets"), list(symbols))
    return {row["symbol"]: _market_row(row) for row in rows}


def _market_row(row: Any) -> MarketRow:
    last = row["last_funding_time"]
    return MarketRow(
        id=row["id"],
        symbol=row["symbol"],
        funding_interval=row["funding_interval"],
        max_funding_rate=row["max_funding_rate"],
        funding_rate=row["current_funding_rate"],
        last_funding=None if last is None else to_instant(last),
    )


async def read_parameters(connection: Connection, market: UUID) -> list[ParameterVersion]:
    """Every version of a market's parameters, oldest first."""
    rows = await connection.fetch(query("parameters"), market)
    return [
        ParameterVersion(
            to_instant(row["in_force_from"]),
            parameters_of(row["version"], row["method"], json.loads(row["parameters"])),
        )
        for row in rows
    ]


async def record_parameters(
    connection: Connection, market: UUID, parameters: FundingParameters, in_force_from: int
) -> None:
    """Record a version; where another daemon has been faster, its row of the same version stands."""
    await connection.execute(
        query("insert_parameters"),
        market,
        parameters.version,
        to_timestamp(in_force_from),
        parameters.method,
        json.dumps(_as_json(parameters)),
    )


def parameters_of(version: int, method: str, stored: Mapping[str, Any]) -> FundingParameters:
    """The parameters as they stand in a row: numbers as decimal strings."""
    return FundingParameters(
        interval=int(stored["interval"]),
        max_rate=Decimal(stored["max_rate"]),
        interest=Decimal(stored["interest"]),
        damping=Decimal(stored["damping"]),
        cap=Decimal(stored["cap"]),
        min_coverage=Decimal(stored["min_coverage"]),
        version=version,
        method=method,
    )


def _as_json(parameters: FundingParameters) -> dict[str, str]:
    return {
        "interval": str(parameters.interval),
        "max_rate": str(parameters.max_rate),
        "interest": str(parameters.interest),
        "damping": str(parameters.damping),
        "cap": str(parameters.cap),
        "min_coverage": str(parameters.min_coverage),
    }


def wished_parameters(row: MarketRow) -> FundingParameters:
    """What the operator's columns ask for; the rest is the method's default."""
    return FundingParameters(interval=row.funding_interval, max_rate=row.max_funding_rate / _BASIS_POINTS)
