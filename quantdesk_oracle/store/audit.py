"""Stored rows read for an audit, with everything that they are to come out of."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Sequence
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from quantdesk_oracle.model import SECOND, PremiumSample
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
from quantdesk_oracle.store.instants import to_instant, to_timestamp
from quantdesk_oracle.store.markets import parameters_of

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
    async for mark in read_marks(database, market, start, end):
        rows += 1
        found.extend(_first(mark_differences(mark)))
    return Audited(rows, 0, 0, tuple(found))


async def read_marks(database: Database, market: UUID, start: int, end: int) -> AsyncIterator[MarkRow]:
    """The marks of [start, end] (µs) that name their method, oldest first."""
    while True:
        async with database.connection("cannot read the marks") as connection:
            page = await connection.fetch(
                query("audit_marks"), market, to_timestamp(start), to_timestamp(end), PAGE
            )
        for row in page:
            if row["parameters"] is not None:
                yield _mark_row(row)
        if len(page) < PAGE:
            return
        start = to_instant(page[-1]["created_at"]) + 1


async def audit_funding(database: Database, market: UUID, start: int, end: int) -> Audited:
    """Recompute the rates of the boundaries in [start, end] (µs)."""
    async with database.connection("cannot read the funding rates") as connection:
        rows = await connection.fetch(query("audit_rates"), market, to_timestamp(start), to_timestamp(end))
    automatic = [row for row in rows if row["kind"] == "automatic" and row["parameters"] is not None]
    expired, found = 0, []
    for rate in map(_rate_row, automatic):
        samples = await read_interval(database, market, rate)
        if not samples and rate.samples_used + rate.samples_unusable:
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


async def read_interval(database: Database, market: UUID, rate: RateRow) -> list[AuditedSample]:
    """The stored samples of a rate's interval, oldest first."""
    return await read_samples(
        database, market, rate.instant - rate.parameters.interval * SECOND, rate.instant
    )


async def read_samples(database: Database, market: UUID, start: int, end: int) -> list[AuditedSample]:
    """The stored samples of [start, end) (µs), oldest first."""
    async with database.connection("cannot read the premium samples") as connection:
        rows = await connection.fetch(query("audit_samples"), market, to_timestamp(start), to_timestamp(end))
    return [AuditedSample(_sample(row), row["mark_price"], row["mark_index"]) for row in rows]


def _all_differences(rate: RateRow, samples: Sequence[AuditedSample]) -> Iterator[Difference]:
    for sample, mark, index in samples:
        yield from sample_differences(sample, mark, index, rate.parameters.method)
    yield from rate_differences(rate, [each.sample for each in samples])


def _first(differences: Iterator[Difference]) -> list[Difference]:
    first = next(differences, None)
    return [] if first is None else [first]


def _sample(row: Any) -> PremiumSample:
    named = row["mark_created_at"]
    return PremiumSample(
        market="",
        instant=to_instant(row["created_at"]),
        premium=row["premium"],
        status=row["status"],
        index_price=row["index_price"],
        mark_instant=None if named is None else to_instant(named),
        impact_bid=row["impact_bid"],
        impact_ask=row["impact_ask"],
    )


def _mark_row(row: Any) -> MarkRow:
    traded = row["last_trade_at"]
    return MarkRow(
        instant=to_instant(row["created_at"]),
        mark_price=row["mark_price"],
        index_price=row["oracle_price"],
        print_price=row["print_price"],
        funding_rate=row["funding_rate"],
        newest_rates=row["newest_rates"],
        seconds_to_funding=row["seconds_to_funding"],
        best_bid=row["best_bid"],
        best_ask=row["best_ask"],
        last_trade=row["last_trade_price"],
        last_trade_at=None if traded is None else to_instant(traded),
        basis_sum=row["basis_sum"],
        basis_count=row["basis_count"] or 0,
        basis_mean=row["basis_mean"],
        ema_state=row["ema_text"],
        parameters=parameters_of(row["parameter_version"], row["method"], json.loads(row["parameters"])),
    )


def _rate_row(row: Any) -> RateRow:
    names = set(RateRow._fields) - {"instant", "index_price", "parameters"}
    return RateRow(
        instant=to_instant(row["created_at"]),
        index_price=row["oracle_price"],
        parameters=parameters_of(row["parameter_version"], row["method"], json.loads(row["parameters"])),
        **{name: row[name] for name in names},
    )
