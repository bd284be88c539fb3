"""Malformed configuration, spools and files of prices: nothing crashes or hangs, and no wrong row comes of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path

import pytest

from quantdesk_oracle.config import load_settings
from quantdesk_oracle.errors import (
    ConfigError,
    DataError,
)
from quantdesk_oracle.model import SECOND, StoredPrint
from quantdesk_oracle.ops.metrics import Metrics
from quantdesk_oracle.pricing.acceptance import StorageLimits, judge
from quantdesk_oracle.store.backlog import KINDS, Backlog
from quantdesk_oracle.store.price_files import PriceRow, rows_of, stored_print, writing
from quantdesk_oracle.store.spool import FILE, Spool
from tests.clock import VirtualClock
from tests.property.damage import CSV, SEED, TOML, damaged
from tests.property.tally import TIMEOUT, Tally, share, silent
from tests.rows import a_mark, a_print

__all__ = ["silent"]

pytestmark = TIMEOUT
NOW = 1_800_000_100 * SECOND


def test_a_damaged_configuration_is_settings_or_a_list_of_problems(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://quantdesk_oracle@db.example/quantdesk")
    tally, path = Tally("config"), tmp_path / "quantdesk.toml"
    sample = (root / "config" / "quantdesk.toml").read_text().splitlines()
    plain = "\n".join(line for line in sample if not line.startswith("#")).encode()
    uncommented = "\n".join(line.removeprefix("# ") if "=" in line else line for line in sample).encode()
    for data in damaged([plain, plain, uncommented], share("config"), TOML):
        path.write_bytes(data)
        try:
            load_settings(config_file=path)
            tally.end("used")
        except ConfigError:
            tally.end("refused")
    tally.close()


async def test_of_a_damaged_spool_no_other_row_comes_than_was_put(tmp_path: Path) -> None:
    rows = [a_print(n) for n in range(30)] + [a_mark(n) for n in range(30)]
    metrics, clock = Metrics([], [], [], "test"), VirtualClock()
    before = Spool(tmp_path, capacity=1 << 20, on_set_aside=lambda *_: None)
    backlog = Backlog(before, clock, metrics)
    await backlog.open()
    await backlog.keep(rows)
    await backlog.close()
    whole = (tmp_path / FILE).read_bytes()
    tally = Tally("spool")
    for number, data in enumerate(damaged([whole], share("spool"), seed=SEED + 1)):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / FILE).write_bytes(data)
        aside: list[object] = []
        spool = Spool(folder, capacity=1 << 20, on_set_aside=lambda *what, aside=aside: aside.append(what))
        backlog = Backlog(spool, clock, metrics)
        await backlog.open()
        for kind in KINDS:
            waiting = await backlog.oldest(kind, 100)
            assert [one.row for one in waiting if one.row is not None and one.row not in rows] == []
            for one in waiting:
                if one.row is None:
                    await backlog.put_aside(one)
        # Whatever it was, it is a spool now.
        seqs = await backlog.keep([a_print(99)])
        await backlog.remove(seqs)
        await backlog.gaps()
        await backlog.close()
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
        tally.end("refused" if aside else "used")
    tally.close()


PRINTS = [a_print(n, slot=400_000_000 + n) for n in range(40)]


def price_row(print_: StoredPrint) -> PriceRow:
    update = print_.update
    amounts = (update.price, update.confidence, update.ema_price, update.ema_confidence)
    return PriceRow(
        print_.market, update.publish_time, update.slot, print_.received, print_.source.value, print_.verdict.value,
        update.exponent, *(Decimal(amount).scaleb(update.exponent) for amount in amounts),
    )  # fmt: skip


def files(
    suffix: str, folder: Path, tokens: Sequence[bytes], entrance: str, look: Callable[[StoredPrint], None]
) -> None:
    path, tally = folder / f"prices{suffix}", Tally(entrance)
    with writing(path) as sink:
        sink.write([price_row(print_) for print_ in PRINTS])
    whole = path.read_bytes()
    for data in damaged([whole], share(entrance), tokens):
        path.write_bytes(data)
        try:
            for some in rows_of(path):
                for row in some:
                    look(stored_print(row))
            tally.end("used")
        except DataError:
            tally.end("refused")
    tally.close()


def test_a_damaged_csv_file_is_rows_that_can_be_judged_or_an_error(tmp_path: Path) -> None:
    """Of a text nobody can say more: another digit is another price."""
    files(".csv", tmp_path, CSV, "csv", lambda print_: judge(print_.update, StorageLimits(), NOW))


def test_of_a_damaged_parquet_file_no_other_row_comes_than_was_written(tmp_path: Path) -> None:
    """Its pages have checksums; what lies beside them, its layout, is held against what is expected."""
    written = dict.fromkeys(map(as_read, PRINTS), 1)

    def is_written(print_: StoredPrint) -> None:
        assert print_ in written

    files(".parquet", tmp_path, (), "parquet", is_written)


def as_read(print_: StoredPrint) -> StoredPrint:
    """A file has no feed, and no time of the print before."""
    return stored_print(price_row(print_))
