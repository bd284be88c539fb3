"""Stored rows read for an audit, with everything that they are to come out of."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import fields
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from quantdesk_oracle.model import SECOND, Freshness, FundingRate, MarkPrice, PremiumSample
from quantdesk_oracle.pricing.audit import (
    Difference,
    MarkRow,
    RateRow,
    expired_differences,
    mark_differences,
    rate_differences,
    sample_differences,
)
from quantdesk_oracle.store.database import Database, query
from quantdesk_oracle.store.instants import to_instant, to_seconds, to_timestamp
from quantdesk_oracle.store.markets import parameters_of
from quantdesk_oracle.store.series import sample_of

PAGE = 5_000
"""Marks that are read at once."""


class Audited(NamedTuple):
    """What an audit came to."""

    rows: int
    """Recomputed."""
    by_hand: int
    """Set by a person or imported: nothing to recompute."""
    expired: int
    """Checked against themselves alone: their samples are no longer kept."""
    differences: tuple[Difference, ...]
    """The first of each row that differs."""


async def audit_marks(database: Database, market: UUID, start: int, end: int) -> Audited:
    """Recompute the marks of [start, end] (µs)."""
    rows, found = 0, []
    async for row in _marks(database, market, start, end):
        rows += _names_parameters(row)
        if row["parameters"] is not None:
            found.extend(_first(mark_differences(_mark_row(row))))
        elif _names_parameters(row):
            found.append(_no_such_version(row))
    return Audited(rows, 0, 0, tuple(found))


async def read_marks(database: Database, market: UUID, start: int, end: int) -> AsyncIterator[MarkRow]:
    """The marks of [start, end] (µs) that name their method, oldest first."""
    async for row in _marks(database, market, start, end):
        if row["parameters"] is not None:
            yield _mark_row(row)


async def _marks(database: Database, market: UUID, start: int, end: int) -> AsyncIterator[Any]:
    while True:
        async with database.connection("cannot read the marks") as connection:
            page = await connection.fetch(
                query("audit_marks"), market, to_timestamp(start), to_timestamp(end), PAGE
            )
        for row in page:
            yield row
        if len(page) < PAGE:
            return
        start = to_instant(page[-1]["created_at"]) + 1


def _names_parameters(row: Any) -> bool:
    """Whether a row was made by a formula: not by another writer, nor before this schema."""
    return row["parameter_version"] is not None


def _no_such_version(row: Any) -> Difference:
    named = row["parameter_version"]
    return Difference(to_instant(row["created_at"]), "parameter_version", named, "a version that there is")


async def audit_funding(database: Database, market: UUID, start: int, end: int) -> Audited:
    """Recompute the rates of the boundaries in [start, end] (µs)."""
    async with database.connection("cannot read the funding rates") as connection:
        rows = await connection.fetch(query("audit_rates"), market, to_timestamp(start), to_timestamp(end))
    automatic = [row for row in rows if row["kind"] == "automatic" and _names_parameters(row)]
    expired, found = 0, []
    for row in automatic:
        if row["parameters"] is None:
            found.append(_no_such_version(row))
            continue
        rate = _rate_row(row)
        samples = await read_interval(database, market, rate)
        if not samples and rate.rate.samples_used + rate.rate.samples_unusable:
            expired += 1
            found.extend(_first(expired_differences(rate)))
            continue
        found.extend(_first(_all_differences(rate, samples)))
    return Audited(len(automatic), len(rows) - len(automatic), expired, tuple(found))


async def read_rates(database: Database, market: UUID, start: int, end: int) -> list[RateRow]:
    """The automatic rates of the boundaries in [start, end] (µs), oldest first."""
    async with database.connection("cannot read the funding rates") as connection:
        rows = await connection.fetch(query("audit_rates"), market, to_timestamp(start), to_timestamp(end))
    return [_rate_row(row) for row in rows if row["kind"] == "automatic" and row["parameters"] is not None]


class AuditedSample(NamedTuple):
    """A sample and the mark that stands at its instant, where it is kept."""

    sample: PremiumSample
    mark_price: Decimal | None
    mark_index: Decimal | None
    """The index in that mark's row."""


async def read_interval(database: Database, market: UUID, row: RateRow) -> list[AuditedSample]:
    """The stored samples of a rate's interval, oldest first."""
    end = row.rate.boundary
    start = end - row.parameters.interval * SECOND
    async with database.connection("cannot read the premium samples") as connection:
        rows = await connection.fetch(query("audit_samples"), market, to_timestamp(start), to_timestamp(end))
    return [AuditedSample(sample_of(row), row["mark_price"], row["mark_index"]) for row in rows]


def _all_differences(rate: RateRow, samples: Sequence[AuditedSample]) -> Iterator[Difference]:
    for sample, mark, index in samples:
        yield from sample_differences(sample, mark, index, rate.parameters.method)
    yield from rate_differences(rate, [each.sample for each in samples])


def _first(differences: Iterator[Difference]) -> list[Difference]:
    first = next(differences, None)
    return [] if first is None else [first]


def _mark_row(row: Any) -> MarkRow:
    parameters = parameters_of(row["parameter_version"], row["method"], json.loads(row["parameters"]))
    return MarkRow(_mark(row), row["digest"], row["print_price"], row["newest_rates"], parameters)


def _mark(row: Any) -> MarkPrice:
    traded = row["last_trade_at"]
    return MarkPrice(
        market="",
        instant=to_instant(row["created_at"]),
        mark_price=row["mark_price"],
        index_price=row["oracle_price"],
        publish_time=to_seconds(row["oracle_publish_time"]),
        slot=row["oracle_slot"],
        funding_rate=row["funding_rate"],
        seconds_to_funding=row["seconds_to_funding"],
        funding_interval=row["funding_interval"],
        method=row["method"],
        parameter_version=row["parameter_version"],
        status=Freshness(row["status"]),
        best_bid=row["best_bid"],
        best_ask=row["best_ask"],
        last_trade_price=row["last_trade_price"],
        last_trade_at=None if traded is None else to_instant(traded),
        basis_sum=row["basis_sum"],
        basis_count=row["basis_count"] or 0,
        basis_mean=row["basis_mean"],
        ema_state=row["ema_text"],
    )


def _rate_row(row: Any) -> RateRow:
    parameters = parameters_of(row["parameter_version"], row["method"], json.loads(row["parameters"]))
    return RateRow(_rate(row), row["print_price"], row["stored_mark"], row["previous_rate"], parameters)


def _rate(row: Any) -> FundingRate:
    published = row["oracle_publish_time"]
    renamed = {"market", "boundary", "index_price", "publish_time", "slot"}
    return FundingRate(
        market="",
        boundary=to_instant(row["created_at"]),
        index_price=row["oracle_price"],
        publish_time=None if published is None else to_seconds(published),
        slot=row["oracle_slot"],
        **{each.name: row[each.name] for each in fields(FundingRate) if each.name not in renamed},
    )
