"""Oracle prices as Parquet and CSV files, exactly: what is written and read again is the same rows.

Columns: market, publish_time (Unix s), slot, received_at (Unix µs), source, verdict, exponent, price, confidence,
ema_price, ema_confidence; prices are decimals in quote units, in CSV as exact text. Parquet wants the extra
`parquet` (pyarrow).
"""

from __future__ import annotations

import csv
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple, Protocol

import msgspec

from quantdesk_oracle.errors import ConfigError, DataError
from quantdesk_oracle.model import PriceUpdate, Source, StoredPrint, Verdict
from quantdesk_oracle.store.database import query
from quantdesk_oracle.store.instants import to_instant, to_seconds, to_timestamp

if TYPE_CHECKING:
    from uuid import UUID

    from quantdesk_oracle.store.database import Database

ROWS_AT_ONCE: Final = 5_000
SUFFIXES: Final = (".parquet", ".csv")
LARGEST: Final = Decimal(10) ** 26
"""What the table's columns hold less than."""
_LARGEST_RAW: Final = 2**64
_Integer = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
_Instant = Annotated[int, msgspec.Meta(ge=0, lt=253_402_300_800 * 1_000_000)]
"""µs, before the year 10,000."""
_MOST_PLACES: Final = 18
_Exponent = Annotated[int, msgspec.Meta(ge=-_MOST_PLACES, le=_MOST_PLACES)]


class PriceRow(NamedTuple):
    """One row of a file."""

    market: str
    publish_time: _Integer
    slot: _Integer
    received_at: _Instant
    source: str
    verdict: str
    exponent: _Exponent
    price: Decimal
    confidence: Decimal
    ema_price: Decimal | None
    ema_confidence: Decimal | None


class RowSink(Protocol):
    """Where rows are written to."""

    def write(self, rows: Sequence[PriceRow]) -> None: ...


def writing(path: Path) -> AbstractContextManager[RowSink]:
    """A file to write rows to; whole once the block has ended, absent where it failed. Raises DataError."""
    check_suffix(path)
    return _writing(path)


@contextmanager
def _writing(path: Path) -> Iterator[RowSink]:
    part = path.with_name(path.name + ".part")
    try:
        with _csv(part) if path.suffix == ".csv" else _parquet(part) as sink:
            yield sink
        part.replace(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror})") from None
    finally:
        part.unlink(missing_ok=True)


def rows_of(path: Path) -> Iterator[list[PriceRow]]:
    """The rows of a file, some thousands at a time. Raises DataError that names the row which is none."""
    check_suffix(path)
    is_csv = path.suffix == ".csv"
    # A text's first line is its header.
    place, read = (f"{path} line", 1) if is_csv else (f"{path} row", 0)
    try:
        for some in _csv_rows(path) if is_csv else _parquet_rows(path):
            for number, row in enumerate(some, start=read + 1):
                _check(f"{place} {number}", row)
            read += len(some)
            yield some
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read ({error})") from None


def _check(place: str, row: PriceRow) -> None:
    """Raises DataError for values that no print has; a file may hold any, of any type."""
    try:
        msgspec.convert(tuple(row), PriceRow)
        Source(row.source), Verdict(row.verdict)
    except (msgspec.ValidationError, ValueError) as error:
        raise DataError(f"{place}: is no print ({error})") from None
    for value in row[7:]:
        if value is not None and not _is_price(value):
            raise DataError(f"{place}: is no print ({value} is no price)")


def _is_price(value: Decimal) -> bool:
    places = value.as_tuple().exponent
    return isinstance(places, int) and places >= -_MOST_PLACES and -LARGEST < value < LARGEST


def stored_print(row: PriceRow) -> StoredPrint:
    """A file's row as a print, its decimals raw integers again. Raises DataError where they are not whole."""
    update = PriceUpdate(
        feed_id=None,
        price=_raw(row.price, row.exponent),
        confidence=_raw(row.confidence, row.exponent),
        exponent=row.exponent,
        publish_time=row.publish_time,
        prev_publish_time=row.publish_time,
        ema_price=_raw(row.ema_price or Decimal(0), row.exponent),
        ema_confidence=_raw(row.ema_confidence or Decimal(0), row.exponent),
        slot=row.slot,
    )
    return StoredPrint(row.market, update, Verdict(row.verdict), Source(row.source), row.received_at)


async def exported_rows(
    database: Database, markets: Sequence[UUID], start: int, end: int
) -> AsyncIterator[list[PriceRow]]:
    """The table's rows of [start, end) (µs), some thousands at a time, all of one moment."""
    async with database.transaction("cannot export prices") as connection:
        arguments = (list(markets), to_timestamp(start), to_timestamp(end))
        cursor = await connection.cursor(query("export_prices"), *arguments)
        while rows := await cursor.fetch(ROWS_AT_ONCE):
            yield [_row(row) for row in rows]


def check_suffix(path: Path) -> None:
    """Raises DataError for a file that is neither Parquet nor CSV by its name."""
    if path.suffix not in SUFFIXES:
        raise DataError(f"{path}: name it .parquet or .csv")


def _row(row: Any) -> PriceRow:
    return PriceRow(
        row["symbol"],
        to_seconds(row["created_at"]),
        row["slot"],
        to_instant(row["received_at"]),
        *(row[name] for name in PriceRow._fields[4:]),
    )


def _raw(value: Decimal, exponent: int) -> int:
    raw = value.scaleb(-exponent)
    if raw != raw.to_integral_value() or abs(raw) >= _LARGEST_RAW:
        raise DataError(f"{value} is no whole number of 1e{exponent}, of 64 bits")
    return int(raw)


# ── CSV ──────────────────────────────────────────────────────────────────────────────────────────
class _CsvSink:
    def __init__(self, writer: Any) -> None:
        self._writer = writer

    def write(self, rows: Sequence[PriceRow]) -> None:
        self._writer.writerows([_text(value) for value in row] for row in rows)


@contextmanager
def _csv(path: Path) -> Iterator[_CsvSink]:
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(PriceRow._fields)
        yield _CsvSink(writer)


def _text(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


def _csv_rows(path: Path) -> Iterator[list[PriceRow]]:
    with path.open(encoding="utf-8", newline="") as stream:
        reader = csv.reader(stream)
        header = next(reader, [])
        if tuple(header) != PriceRow._fields:
            raise DataError(
                f"{path}: its columns are {', '.join(header)}; expected {', '.join(PriceRow._fields)}"
            )
        rows = []
        for number, texts in enumerate(reader, start=2):
            rows.append(_from_texts(path, number, texts))
            if len(rows) == ROWS_AT_ONCE:
                yield rows
                rows = []
        if rows:
            yield rows


def _from_texts(path: Path, number: int, texts: list[str]) -> PriceRow:
    try:
        market, publish_time, slot, received, source, verdict, exponent, *prices = texts
        price, confidence, ema, ema_confidence = prices
        return PriceRow(
            market, int(publish_time), int(slot), int(received), source, verdict,
            int(exponent), Decimal(price), Decimal(confidence),
            Decimal(ema) if ema else None, Decimal(ema_confidence) if ema_confidence else None,
        )  # fmt: skip
    except (ValueError, InvalidOperation) as error:
        raise DataError(f"{path} line {number}: is no print ({error})") from None


# ── Parquet ──────────────────────────────────────────────────────────────────────────────────────
class _ParquetSink:
    def __init__(self, writer: Any, schema: Any) -> None:
        self._writer = writer
        self._schema = schema

    def write(self, rows: Sequence[PriceRow]) -> None:
        import pyarrow

        if not rows:
            return
        columns = zip(*rows, strict=True)
        arrays = [
            pyarrow.array(column, type=field.type)
            for column, field in zip(columns, self._schema, strict=True)
        ]
        self._writer.write_table(pyarrow.Table.from_arrays(arrays, schema=self._schema))


@contextmanager
def _parquet(path: Path) -> Iterator[_ParquetSink]:
    pyarrow, parquet = _pyarrow()
    schema = _layout(pyarrow)
    # Checksums, because neither Parquet nor zstd notices a bit that has changed.
    with parquet.ParquetWriter(path, schema, compression="zstd", write_page_checksum=True) as writer:
        yield _ParquetSink(writer, schema)


def _layout(pyarrow: Any) -> Any:
    kinds = dict.fromkeys(("publish_time", "slot", "received_at"), pyarrow.int64())
    kinds |= {"exponent": pyarrow.int16()}
    kinds |= dict.fromkeys(("price", "confidence", "ema_price", "ema_confidence"), pyarrow.decimal128(38, 12))
    return pyarrow.schema([(name, kinds.get(name, pyarrow.string())) for name in PriceRow._fields])


def _parquet_rows(path: Path) -> Iterator[list[PriceRow]]:
    pyarrow, parquet = _pyarrow()
    try:
        with parquet.ParquetFile(path, page_checksum_verification=True) as file:
            names = tuple(file.schema_arrow.names)
            if names != PriceRow._fields:
                raise DataError(
                    f"{path}: its columns are {', '.join(names)}; expected {', '.join(PriceRow._fields)}"
                )
            if not file.schema_arrow.equals(_layout(pyarrow)):
                raise DataError(f"{path}: its columns have other types than those of a file of `export`")
            for batch in file.iter_batches(ROWS_AT_ONCE):
                columns = (column.to_pylist() for column in batch.columns)
                yield [PriceRow(*values) for values in zip(*columns, strict=True)]
    except pyarrow.ArrowException as error:
        raise DataError(f"{path}: is no Parquet file ({error})") from None


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise ConfigError(
            [
                "Parquet files need the extra `parquet`: pip install 'quantdesk-oracle[parquet]', or name a .csv file"
            ]
        ) from None
    return pyarrow, parquet
