"""Other ways to bring a batch of prints into oracle_prices, all with asyncpg but psql's own."""

from __future__ import annotations

import csv
import io
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import asyncpg

from quantdesk_oracle.model import StoredPrint
from quantdesk_oracle.store.instants import to_timestamp

COLUMNS = (
    "market_id", "created_at", "slot", "received_at", "source", "verdict", "exponent",
    "price", "confidence", "ema_price", "ema_confidence",
)  # fmt: skip
_NAMES = ", ".join(COLUMNS)
_EXECUTEMANY = f"INSERT INTO oracle_prices ({_NAMES}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)"
_STAGING = """
    CREATE TEMPORARY TABLE staging (
        market_id uuid, created_at timestamptz, slot bigint, received_at timestamptz, source oracle_source,
        verdict oracle_verdict, exponent smallint, price numeric, confidence numeric, ema_price numeric,
        ema_confidence numeric
    ) ON COMMIT DELETE ROWS
"""
_FROM_STAGING = f"INSERT INTO oracle_prices ({_NAMES}) SELECT {_NAMES} FROM staging ON CONFLICT DO NOTHING"


def record(ids: Mapping[str, UUID], row: StoredPrint) -> tuple[object, ...]:
    """The columns of a print as Python values, exact."""
    update = row.update
    scale = Decimal(1).scaleb(update.exponent)
    return (
        ids[row.market], to_timestamp(update.publish_time * 1_000_000), update.slot, to_timestamp(row.received),
        row.source.value, row.verdict.value, update.exponent, update.price * scale, update.confidence * scale,
        update.ema_price * scale, update.ema_confidence * scale,
    )  # fmt: skip


async def executemany(
    connection: asyncpg.Connection, ids: Mapping[str, UUID], rows: Sequence[StoredPrint]
) -> None:
    """One INSERT a row, prepared once and sent in one go; idempotent."""
    await connection.executemany(_EXECUTEMANY + " ON CONFLICT DO NOTHING", [record(ids, row) for row in rows])


async def copy_into_table(
    connection: asyncpg.Connection, ids: Mapping[str, UUID], rows: Sequence[StoredPrint]
) -> None:
    """Binary COPY straight into the table. Not idempotent: one print that is there already refuses the batch."""
    records = [record(ids, row) for row in rows]
    await connection.copy_records_to_table("oracle_prices", records=records, columns=COLUMNS)


async def make_staging(connection: asyncpg.Connection) -> None:
    """The temporary table that :func:`copy_and_insert` goes through."""
    await connection.execute(_STAGING)


async def copy_and_insert(
    connection: asyncpg.Connection, ids: Mapping[str, UUID], rows: Sequence[StoredPrint]
) -> None:
    """COPY into a temporary table, then INSERT … SELECT; idempotent."""
    records = [record(ids, row) for row in rows]
    async with connection.transaction():
        await connection.copy_records_to_table("staging", records=records, columns=COLUMNS)
        await connection.execute(_FROM_STAGING)


def csv_of(ids: Mapping[str, UUID], rows: Iterable[StoredPrint]) -> str:
    """The prints as psql's \\copy reads them."""
    out = io.StringIO()
    csv.writer(out).writerows(record(ids, row) for row in rows)
    return out.getvalue()


def psql_copy(psql: Path, dsn: str, text: str) -> None:
    """psql's \\copy of CSV that stands ready: no Python, no conversion. The limit."""
    copy = rf"\copy oracle_prices ({_NAMES}) FROM pstdin WITH (FORMAT csv)"
    command = [str(psql), dsn, "-q", "-v", "ON_ERROR_STOP=1", "-c", copy]
    subprocess.run(command, check=True, capture_output=True, input=text, text=True)
