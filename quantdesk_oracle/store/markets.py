"""The markets table, and the versioned parameters that a market's funding is settled by."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

from quantdesk_oracle.errors import ConfigError
from quantdesk_oracle.pricing.funding import TUNABLE, FundingParameters
from quantdesk_oracle.pricing.methods import METHODS
from quantdesk_oracle.store.database import Connection, Database, query
from quantdesk_oracle.store.instants import to_instant, to_timestamp

if TYPE_CHECKING:
    from quantdesk_oracle.config import Market

_BASIS_POINTS = Decimal(10_000)
MOST = Decimal(10**15)
"""Beyond any parameter that means something."""


@dataclass(frozen=True, slots=True)
class MarketRow:
    """What the table says of one market."""

    id: UUID
    symbol: str
    funding_interval: int
    max_funding_rate: Decimal
    """Basis points per interval."""
    funding_rate: Decimal
    """The newest settled rate."""
    last_funding: int | None
    """Its boundary, µs."""
    halted: str | None
    """Why the market has neither marks nor samples now; None where it has."""
    initial_margin: Decimal
    """A fraction of the notional."""
    maintenance_margin: Decimal
    pricing: str | None
    """The operator's wish in ``metadata -> 'pricing'``: JSON text."""

    def wishes_as(self, other: MarketRow) -> bool:
        """Whether the columns that parameters are made of are the same."""
        return replace(self, funding_rate=other.funding_rate, last_funding=None, halted=None) == replace(
            other, last_funding=None, halted=None
        )


@dataclass(frozen=True, slots=True)
class ParameterVersion:
    """One version of a market's parameters and the first instant (µs) that it holds for."""

    in_force_from: int
    parameters: FundingParameters


async def ensure_markets(database: Database, markets: Sequence[Market], program_id: str) -> list[str]:
    """Insert the markets that the table has not got; their symbols. Others are left as the operator has them."""
    async with database.transaction("cannot add markets") as connection:
        rows = await connection.fetch(
            query("ensure_markets"),
            [market.symbol for market in markets],
            [market.base_asset for market in markets],
            [market.quote_asset for market in markets],
            [market.feeds[0].pubkey for market in markets],
            program_id,
            [market.funding_interval for market in markets],
            [market.max_funding_rate for market in markets],
        )
    added = {row["symbol"] for row in rows}
    return [market.symbol for market in markets if market.symbol in added]


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
        halted=_why_halted(row),
        initial_margin=Decimal(row["initial_margin_ratio"]) / _BASIS_POINTS,
        maintenance_margin=Decimal(row["maintenance_margin_ratio"]) / _BASIS_POINTS,
        pricing=row["pricing"],
    )


def _why_halted(row: Any) -> str | None:
    if not row["is_active"]:
        return "the market is not active"
    return None if row["halted_at"] is None else row["halted_reason"] or "no reason was given"


async def read_parameters(connection: Connection, market: UUID) -> list[ParameterVersion]:
    """Every version of a market's parameters, oldest first."""
    return (await read_parameters_of(connection, [market]))[market]


async def read_parameters_of(
    connection: Connection, markets: Sequence[UUID]
) -> dict[UUID, list[ParameterVersion]]:
    """Every version of each market's parameters, oldest first."""
    rows = await connection.fetch(query("parameters"), list(markets))
    versions: dict[UUID, list[ParameterVersion]] = {market: [] for market in markets}
    for row in rows:
        parameters = parameters_of(row["version"], row["method"], json.loads(row["parameters"]))
        versions[row["market_id"]].append(ParameterVersion(to_instant(row["in_force_from"]), parameters))
    return versions


async def record_parameters(connection: Connection, versions: Mapping[UUID, ParameterVersion]) -> None:
    """Record a version of each market; where another daemon has been faster, its row of the same version stands."""
    parameters = [one.parameters for one in versions.values()]
    await connection.execute(
        query("insert_parameters"),
        list(versions),
        [one.version for one in parameters],
        [to_timestamp(one.in_force_from) for one in versions.values()],
        [one.method for one in parameters],
        [json.dumps(_as_json(one)) for one in parameters],
    )


_VERSIONED = (
    "max_rate",
    "interest",
    "damping",
    "cap",
    "min_coverage",
    "band",
    "impact_notional",
    "initial_margin",
    "maintenance_margin",
    "cap_factor",
)


def parameters_of(version: int, method: str, stored: Mapping[str, Any]) -> FundingParameters:
    """The parameters as they stand in a row: numbers as decimal strings; what an old row lacks is the default."""
    given = {name: Decimal(stored[name]) for name in _VERSIONED if name in stored}
    return FundingParameters(interval=int(stored["interval"]), version=version, method=method, **given)


def _as_json(parameters: FundingParameters) -> dict[str, str]:
    numbers = {name: f"{getattr(parameters, name):f}" for name in _VERSIONED}
    return {"interval": str(parameters.interval), **numbers}


def wished_parameters(row: MarketRow, market: Market) -> FundingParameters:
    """What the operator asks for: the row's columns and ``metadata -> 'pricing'``, the settings, the defaults.

    Raises ConfigError for a wish that cannot be met.
    """
    name, tuned = _wish(row, market)
    method = METHODS.get(name)
    if method is None:
        raise ConfigError([f"{row.symbol}: no method {name!r}; there are {', '.join(METHODS)}"])
    wished = method.defaults(row.funding_interval, row.max_funding_rate / _BASIS_POINTS)
    wished = replace(wished, band=market.mark_band, impact_notional=market.impact_notional)
    if method.MARGINS:
        wished = replace(wished, initial_margin=row.initial_margin, maintenance_margin=row.maintenance_margin)
    return replace(wished, **tuned)


def _wish(row: MarketRow, market: Market) -> tuple[str, dict[str, Any]]:
    """The method's name and the parameters given for it."""
    if row.pricing is None:
        return market.method, dict(market.parameters)
    try:
        pricing = json.loads(row.pricing)
        tuned = {key: Decimal(str(value)) for key, value in pricing.items() if key != "method"}
    except (AttributeError, ArithmeticError) as error:
        raise ConfigError([f"{row.symbol}: metadata.pricing is {row.pricing}: {error!r}"]) from error
    unknown = sorted(set(tuned) - set(TUNABLE))
    if unknown or not all(value.is_finite() and 0 <= value < MOST for value in tuned.values()):
        raise ConfigError(
            [f"{row.symbol}: metadata.pricing is {row.pricing}: give {', '.join(TUNABLE)} as numbers from 0"]
        )
    return str(pricing.get("method", market.method)), tuned
