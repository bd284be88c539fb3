"""The spool: what is in it is on disk, in order, within its bounds; what is damaged is set aside."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quantdesk_oracle.store.spool import FILE, ROW_OVERHEAD, Gap, Spool, SpoolError, SpoolRow

CAPACITY = 1_000_000
Aside = list[tuple[Path, str]]


@pytest.fixture
def aside() -> Aside:
    """Damaged files that were set aside, and why."""
    return []


@pytest.fixture
async def spool(tmp_path: Path, aside: Aside) -> AsyncIterator[Spool]:
    spool = Spool(tmp_path, capacity=CAPACITY, on_set_aside=lambda *what: aside.append(what))
    await spool.open()
    yield spool
    await spool.close()


def a_row(number: int, kind: str = "mark_prices", **values: Any) -> SpoolRow:
    return SpoolRow(kind, "BTC-PERP", number, False, b"payload %d" % number)._replace(**values)


async def payloads(spool: Spool, kind: str = "mark_prices") -> list[bytes]:
    return [row.payload for row in await spool.oldest(kind, 100_000)]


async def test_rows_come_out_as_and_in_the_order_they_went_in(spool: Spool) -> None:
    await spool.put([a_row(3), a_row(1)])
    await spool.put([a_row(2), a_row(9, "oracle_prices")])
    assert await payloads(spool) == [b"payload 3", b"payload 1", b"payload 2"]
    assert await payloads(spool, "oracle_prices") == [b"payload 9"]
    assert [row.payload for row in await spool.oldest("mark_prices", 2)] == [b"payload 3", b"payload 1"]


async def test_the_numbers_of_rows_put_are_those_to_remove(spool: Spool) -> None:
    await spool.put([a_row(1)])
    seqs = await spool.put([a_row(2), a_row(3)])
    await spool.put([a_row(4)])
    await spool.remove(seqs)
    assert await payloads(spool) == [b"payload 1", b"payload 4"]


async def test_the_contents_are_known_at_any_time(spool: Spool) -> None:
    assert tuple(spool.contents) == (0, 0, None)
    seqs = await spool.put([a_row(7), a_row(5)])
    assert tuple(spool.contents) == (2, 2 * (ROW_OVERHEAD + 9), 5)
    await spool.remove(seqs[1:])
    assert tuple(spool.contents) == (1, ROW_OVERHEAD + 9, 7)
    await spool.remove(seqs)
    assert tuple(spool.contents) == (0, 0, None)


async def test_it_tells_whether_anything_waits_of_whoever_has_put_it_there(
    spool: Spool, tmp_path: Path, aside: Aside
) -> None:
    assert not await spool.holds_anything()
    other = Spool(tmp_path, capacity=ROW_OVERHEAD, on_set_aside=lambda *what: aside.append(what))
    await other.put([a_row(1)])  # at its cap: a gap is all that stays of it
    assert await spool.holds_anything()
    assert await payloads(spool) == []
    for gap in await spool.gaps():
        await spool.forget(gap)
    assert not await spool.holds_anything()
    seqs = await spool.put([a_row(2)])
    assert await other.holds_anything()
    await spool.remove(seqs)
    assert not await spool.holds_anything()
    await other.close()


async def test_another_run_finds_what_this_one_left(spool: Spool, tmp_path: Path, aside: Aside) -> None:
    await spool.put([a_row(1), a_row(2)])
    await spool.close()
    second = Spool(tmp_path, capacity=CAPACITY, on_set_aside=lambda *what: aside.append(what))
    await second.open()
    assert await payloads(second) == [b"payload 1", b"payload 2"]
    assert second.contents.rows == 2
    await second.close()
    assert aside == []


async def test_an_emptied_spool_gives_its_disk_back(spool: Spool) -> None:
    seqs = await spool.put([a_row(n, payload=bytes(900)) for n in range(900)])
    full = spool.path.stat().st_size + spool.path.with_name(FILE + "-wal").stat().st_size
    await spool.remove(seqs)
    assert spool.path.stat().st_size < 100_000 < full


async def test_at_the_cap_prints_that_the_chain_holds_go_first(tmp_path: Path) -> None:
    spool = Spool(tmp_path, capacity=10 * (ROW_OVERHEAD + 100), on_set_aside=lambda *_: None)
    await spool.open()
    legacy = [a_row(n, "oracle_prices", payload=bytes(100)) for n in range(3)]
    healable = [a_row(n, "oracle_prices", healable=True, payload=bytes(100)) for n in range(10, 14)]
    marks = [a_row(n, payload=bytes(100)) for n in range(20, 23)]
    await spool.put([*legacy, *healable, *marks])
    assert await spool.gaps() == []
    await spool.put([a_row(30, payload=bytes(100)), a_row(31, payload=bytes(100))])
    assert await spool.gaps() == [Gap("oracle_prices", "BTC-PERP", 10, 11, 2)]
    assert len(await payloads(spool, "oracle_prices")) == 5
    # No more healable ones: now the oldest of all the others.
    await spool.put([a_row(n, payload=bytes(100)) for n in range(40, 43)])
    assert await spool.gaps() == [Gap("oracle_prices", "BTC-PERP", 0, 13, 5)]
    assert len(await payloads(spool)) == 8
    assert spool.contents.bytes == 10 * (ROW_OVERHEAD + 100)
    await spool.close()


async def test_a_gap_that_grew_is_not_forgotten(tmp_path: Path) -> None:
    spool = Spool(tmp_path, capacity=2 * (ROW_OVERHEAD + 9), on_set_aside=lambda *_: None)
    await spool.open()
    await spool.put([a_row(n) for n in range(3)])
    [told] = await spool.gaps()
    await spool.put([a_row(3)])
    await spool.forget(told)
    [grown] = await spool.gaps()
    assert grown == Gap("mark_prices", "BTC-PERP", 0, 1, 2)
    await spool.forget(grown)
    assert await spool.gaps() == []
    await spool.close()


async def test_values_whose_type_the_disk_has_changed_are_only_not_intact(spool: Spool) -> None:
    await spool.put([a_row(n) for n in range(5)])
    with sqlite3.connect(spool.path) as connection:
        connection.execute("UPDATE spooled SET payload = 5, checksum = 'x', instant = 'y' WHERE seq = 1")
        connection.execute("UPDATE spooled SET payload = 'text', market = 7 WHERE seq = 2")
        connection.execute("UPDATE spooled SET kind = 'nobody knows' WHERE seq = 3")
    connection.close()
    assert await spool.put_others_aside(["mark_prices"], 0) == 1
    rows = await spool.oldest("mark_prices", 10)
    assert [row.intact for row in rows] == [False, False, True, True]
    for row in rows:
        await spool.put_aside(row.seq, "why not", 0)
    assert spool.contents.rows == 0


async def test_refused_rows_stay_for_a_person_to_look_at(spool: Spool) -> None:
    await spool.refuse(a_row(1), "price is 0", 5)
    with sqlite3.connect(spool.path) as connection:
        rows = connection.execute("SELECT kind, payload, cause, at FROM refused").fetchall()
    connection.close()
    assert rows == [("mark_prices", b"payload 1", "price is 0", 5)]
    assert spool.contents.rows == 0


def truncated(content: bytes) -> bytes:
    return content[: len(content) // 2]


def overwritten(content: bytes) -> bytes:
    return content[:4096] + bytes(4096) + content[8192:]


def of_another_kind(content: bytes) -> bytes:
    return b"this is no database" * 500


@pytest.mark.parametrize("damage", [truncated, overwritten, of_another_kind])
async def test_a_damaged_file_is_set_aside_and_a_fresh_one_taken(
    tmp_path: Path, aside: Aside, damage: Callable[[bytes], bytes]
) -> None:
    spool = Spool(tmp_path, capacity=CAPACITY, on_set_aside=lambda *what: aside.append(what))
    await spool.open()
    await spool.put([a_row(n) for n in range(300)])
    await spool.close()
    content = damage(spool.path.read_bytes())
    spool.path.write_bytes(content)
    again = Spool(tmp_path, capacity=CAPACITY, on_set_aside=lambda *what: aside.append(what))
    await again.open()
    assert again.contents.rows == 0
    await again.put([a_row(1)])
    assert await payloads(again) == [b"payload 1"]
    await again.close()
    [(path, cause)] = aside
    assert path.read_bytes() == content
    assert cause


async def test_a_file_that_is_damaged_under_way_is_set_aside_too(spool: Spool, aside: Aside) -> None:
    await spool.put([a_row(n) for n in range(300)])
    await spool._run(lambda: spool._ensure_open().execute("PRAGMA wal_checkpoint(TRUNCATE)"))
    with spool.path.open("r+b") as file:
        file.write(b"\xff" * 20_000)
    await spool._run(lambda: spool._ensure_open().execute("PRAGMA cache_size = 0"))
    await spool.put([a_row(n) for n in range(300, 600)])
    rows = await payloads(spool)
    assert rows[-1] == b"payload 599"
    assert len(aside) == 1


async def test_a_file_of_another_format_is_set_aside(tmp_path: Path, aside: Aside) -> None:
    with sqlite3.connect(tmp_path / FILE) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    spool = Spool(tmp_path, capacity=CAPACITY, on_set_aside=lambda *what: aside.append(what))
    await spool.open()
    await spool.close()
    assert aside[0][1] == "format 99, expected 1"


async def test_no_more_than_five_damaged_files_are_kept(tmp_path: Path) -> None:
    for _ in range(8):
        (tmp_path / FILE).write_bytes(b"this is no database" * 500)
        spool = Spool(tmp_path, capacity=CAPACITY, on_set_aside=lambda *_: None)
        await spool.open()
        await spool.close()
    assert len(list(tmp_path.glob(f"{FILE}.damaged-*"))) == 5  # noqa: ASYNC240


async def test_a_disk_that_takes_nothing_is_a_spool_error(spool: Spool) -> None:
    await spool.put([a_row(1)])
    await spool._run(lambda: spool._ensure_open().execute("PRAGMA max_page_count = 1"))
    with pytest.raises(SpoolError, match="look at the disk's space"):
        await spool.put([a_row(n, payload=bytes(10_000)) for n in range(100)])
    assert await payloads(spool) == [b"payload 1"], "a batch goes in whole or not at all"


async def test_a_folder_that_may_not_be_made_is_a_spool_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    spool = Spool(tmp_path / "file", capacity=CAPACITY, on_set_aside=lambda *_: None)
    with pytest.raises(SpoolError):
        await spool.open()


CHILD = """
import asyncio, sys
from pathlib import Path
from quantdesk_oracle.store.spool import Spool, SpoolRow

async def main():
    spool = Spool(Path(sys.argv[1]), capacity=10**9, on_set_aside=lambda *_: print("ASIDE", flush=True))
    await spool.open()
    number = spool.contents.rows
    while True:
        await spool.put([SpoolRow("k", "", n, False, b"%d" % n) for n in range(number, number + 7)])
        number += 7
        print(number, flush=True)

asyncio.run(main())
"""


def test_what_was_put_survives_kill_9_at_any_moment(tmp_path: Path) -> None:
    promised = 0
    for lines in (1, 3, 10, 40, 5):
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        assert child.stdout is not None
        for _ in range(lines):
            promised = int(child.stdout.readline())
        child.send_signal(signal.SIGKILL)
        promised = max([promised, *(int(line) for line in child.stdout if line.endswith("\n"))])
        child.wait()
        child.stdout.close()
        found = asyncio.run(_everything(tmp_path))
        assert len(found) >= promised
        assert found == [b"%d" % n for n in range(len(found))]


async def _everything(folder: Path) -> list[bytes]:
    spool = Spool(folder, capacity=10**9, on_set_aside=lambda *_: pytest.fail("damaged"))
    await spool.open()
    rows = await payloads(spool, "k")
    await spool.close()
    return rows


async def test_an_index_that_lacks_rows_is_made_anew_and_no_row_is_lost(tmp_path: Path) -> None:
    spool = Spool(tmp_path, capacity=CAPACITY, on_set_aside=lambda *_: pytest.fail("set aside"))
    await spool.open()
    await spool.put([a_row(n) for n in range(50)])
    await spool.close()
    connection = sqlite3.connect(spool.path)
    (page,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'spooled_kind'").fetchone()
    (size,) = connection.execute("PRAGMA page_size").fetchone()
    connection.close()
    content = bytearray(spool.path.read_bytes())
    at = content.index(b"mark_prices", (page - 1) * size, page * size)
    content[at : at + 4] = b"dark"
    spool.path.write_bytes(content)
    again = Spool(tmp_path, capacity=CAPACITY, on_set_aside=lambda *_: pytest.fail("set aside"))
    await again.open()
    assert [row.payload for row in await again.oldest("mark_prices", 100)] == [
        b"payload %d" % n for n in range(50)
    ]
    await again.close()


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_bytes_the_file_holds_the_spool_opens_and_works(tmp_path: Path, data: st.DataObject) -> None:
    asyncio.run(_survives(tmp_path, data))


async def _survives(folder: Path, data: st.DataObject) -> None:
    for file in folder.glob("*"):  # noqa: ASYNC240
        file.unlink()
    spool = Spool(folder, capacity=CAPACITY, on_set_aside=lambda *_: None)
    await spool.open()
    await spool.put([a_row(n) for n in range(50)])
    await spool.close()
    content = bytearray(spool.path.read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    spool.path.write_bytes(content[: data.draw(st.integers(1, len(content)))])
    again = Spool(folder, capacity=CAPACITY, on_set_aside=lambda *_: None)
    await again.open()
    await again.put([a_row(1_000)])
    await again.put_others_aside(["mark_prices"], 0)
    rows = await again.oldest("mark_prices", 1_000)
    assert rows[-1].payload == b"payload 1000"
    put = {b"payload %d" % n for n in [*range(50), 1_000]}
    assert {row.payload for row in rows if row.intact} <= put, "a row that nobody had put"
    await again.close()
