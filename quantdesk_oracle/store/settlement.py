"""Settling one interval of one market: rate, market row and nothing else, in one transaction."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from uuid import UUID

from quantdesk_oracle.errors import OracleError
from quantdesk_oracle.model import SECOND, Event, FundingRate, PremiumSample, Severity
from quantdesk_oracle.pricing.funding import SKIPPED, FundingParameters, boundary_at_or_before
from quantdesk_oracle.pricing.settlement import (
    BoundaryPrint,
    Estimate,
    Interval,
    OpenSizes,
    estimate_interval,
    settle_interval,
)
from quantdesk_oracle.store.database import Connection, Database, query
from quantdesk_oracle.store.instants import to_instant, to_seconds, to_timestamp
from quantdesk_oracle.store.series import event_arguments, sample_of


class BoundaryToComeError(OracleError):
    """The database's clock has not reached a boundary that this machine's has."""


async def settle(
    database: Database,
    market_id: UUID,
    interval: Interval,
    *,
    dead_after: int,
    late_after: int,
    unhealed: bool = False,
) -> FundingRate | None:
    """Settle an interval from its stored samples; None where somebody else has. Raises BoundaryToComeError.

    It is skipped where prints up to its boundary are missing still, ``unhealed``.

    ``dead_after`` and ``late_after`` in µs: the age at which a print is dead, and the delay after which a
    settlement is called late.
    """
    async with database.transaction(f"cannot settle {interval.market}") as connection:
        state = await connection.fetchrow(query("settlement_state"), market_id)
        boundary, now = to_timestamp(interval.boundary), to_instant(state["now"])
        if now < interval.boundary:
            raise BoundaryToComeError(f"{interval.market}: {boundary:%H:%M:%S} is to come for the database")
        # A statement of its own: its snapshot is taken when the market's row is held.
        if await connection.fetchval(query("funding_exists"), market_id, boundary):
            await connection.execute(query("adopt_market_funding"), market_id, boundary)
            return None
        rate = await recompute(
            connection,
            market_id,
            interval,
            dead_after=dead_after,
            late=now - interval.boundary > late_after,
            halted=_halted(state, interval.boundary),
            unhealed=unhealed,
        )
        return rate if await _store(connection, market_id, rate, now) else None


async def recompute(
    connection: Connection,
    market_id: UUID,
    interval: Interval,
    *,
    dead_after: int,
    late: bool,
    halted: str | None = None,
    unhealed: bool = False,
) -> FundingRate:
    """The row of an interval as it comes out of what is stored, and out of the positions that are open now."""
    boundary = to_timestamp(interval.boundary)
    samples = await read_samples(
        connection, market_id, interval.start, interval.boundary, market=interval.market
    )
    oracle = await _boundary_print(connection, market_id, interval.boundary, dead_after)
    mark = await connection.fetchval(query("mark_at"), market_id, boundary)
    previous = await connection.fetchval(query("rate_before"), market_id, boundary)
    return settle_interval(
        interval,
        samples,
        oracle,
        mark,
        late=late,
        previous=previous or Decimal(0),
        halted=halted,
        unhealed=unhealed,
        sizes=OpenSizes(*await connection.fetchrow(query("open_sizes"), market_id)),
    )


async def estimate(
    database: Database, market_id: UUID, parameters: FundingParameters, now: int, previous: Decimal
) -> Estimate:
    """What the interval that runs at ``now`` (µs) comes to so far; ``previous`` is the newest settled rate."""
    start = boundary_at_or_before(now, parameters.interval)
    async with database.connection("cannot read the premium samples") as connection:
        samples = await read_samples(connection, market_id, start, now)
    return estimate_interval(samples, parameters, now, previous)


def _halted(state: Any, boundary: int) -> str | None:
    """Why the market was halted at ``boundary`` (µs); None where it was not."""
    if not state["is_active"]:
        return "the market is not active"
    if state["halted_at"] is None or to_instant(state["halted_at"]) >= boundary:
        return None
    return state["halted_reason"] or "no reason was given"


async def read_samples(
    connection: Connection, market_id: UUID, start: int, end: int, *, market: str = ""
) -> list[PremiumSample]:
    """The stored samples of [start, end) (µs), oldest first."""
    rows = await connection.fetch(query("samples_between"), market_id, to_timestamp(start), to_timestamp(end))
    return [sample_of(row, market) for row in rows]


async def newest_rates(database: Database, market_id: UUID, at_most: int) -> list[Any]:
    """The newest rows of a market, the newest first: created_at, funding_rate, status, reason, kind."""
    async with database.connection("cannot read the funding rates") as connection:
        return list(await connection.fetch(query("newest_rates"), market_id, at_most))


async def first_observed(database: Database, market_id: UUID) -> int | None:
    """When a market's oldest sample or rate is of, µs; None where it has neither."""
    async with database.connection("cannot read the funding rates") as connection:
        instant = await connection.fetchval(query("first_observed"), market_id)
    return None if instant is None else to_instant(instant)


async def has_rate(database: Database, market_id: UUID, boundary: int) -> bool:
    """Whether the interval that ends at ``boundary`` (µs) has a rate."""
    async with database.connection("cannot read the funding rates") as connection:
        return bool(await connection.fetchval(query("funding_exists"), market_id, to_timestamp(boundary)))


async def first_unsettled(database: Database, market_id: UUID) -> tuple[int | None, int | None]:
    """(newest settled boundary, oldest sample that is not settled) of a market, µs; None where there is none.

    The newest rate, whoever wrote it, is taken into the market's row.
    """
    async with database.connection("cannot read the funding rates") as connection:
        row = await connection.fetchrow(query("next_unsettled"), market_id)
        boundary, sample = row["boundary"], row["first_sample"]
        if boundary is not None:
            await connection.execute(query("adopt_market_funding"), market_id, boundary)
    return (
        None if boundary is None else to_instant(boundary),
        None if sample is None else to_instant(sample),
    )


async def _boundary_print(
    connection: Connection, market_id: UUID, boundary: int, dead_after: int
) -> BoundaryPrint | None:
    row: Any = await connection.fetchrow(
        query("boundary_print"),
        market_id,
        to_timestamp(boundary),
        to_timestamp(boundary - dead_after),
    )
    return None if row is None else BoundaryPrint(row["price"], to_seconds(row["created_at"]), row["slot"])


async def _store(connection: Connection, market_id: UUID, rate: FundingRate, now: int) -> bool:
    """Insert the row, and with it the market's own columns and an event; whether the row is ours."""
    boundary = to_timestamp(rate.boundary)
    stored = await connection.fetchval(
        query("insert_funding_rate"),
        market_id,
        boundary,
        rate.funding_rate,
        rate.premium_index,
        rate.index_price,
        None if rate.publish_time is None else to_timestamp(rate.publish_time * SECOND),
        rate.slot,
        rate.mark_price,
        rate.premium_sum,
        rate.samples_expected,
        rate.samples_used,
        rate.samples_unusable,
        rate.coverage,
        rate.funding_interval,
        rate.method,
        rate.parameter_version,
        rate.status,
        rate.reason,
        rate.input_hash,
        rate.long_size,
        rate.short_size,
        rate.total_funding,
    )
    if stored is not None:
        await connection.execute(query("set_market_funding"), market_id, rate.funding_rate, boundary)
        await connection.execute(query("insert_system_events"), *event_arguments([funding_event(rate, now)]))
    return stored is not None


def funding_event(rate: FundingRate, now: int) -> Event:
    """What system_events is told of a settlement."""
    skipped = rate.status == SKIPPED
    return Event(
        type="funding.skipped" if skipped else "funding.computed",
        severity=Severity.WARNING if skipped else Severity.INFO,
        instant=now,
        data={
            "boundary": to_timestamp(rate.boundary).isoformat(),
            "funding_rate": f"{rate.funding_rate:f}",
            "coverage": f"{rate.coverage:f}",
            "status": rate.status,
            "reason": rate.reason,
        },
        market=rate.market,
    )
