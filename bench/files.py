r"""Prices to and from files: our export and import as commands, against psql's \copy of the same columns.

psql checks nothing and can be run once; an import of ours judges every print, may be repeated, and starts Python.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench.collectors import PROGRAM
from bench.measure import Case, Contender, compared, interleaved
from bench.peers.inserts import COLUMNS
from bench.plan import Plan
from bench.servers import DATABASE, fetch, server
from tests.postgres import PostgresServer, clients, execute

NAME = "files"
SECONDS_OF_A_DAY = 86_400
_FILL = """
    INSERT INTO oracle_prices (market_id, created_at, slot, received_at, source, verdict, exponent, price, confidence,
                               ema_price, ema_confidence)
    SELECT m.id, at, extract(epoch FROM at)::bigint, at, 'poll', 'accepted', -8, round(p::numeric, 8), 0.05,
           round((p * 0.999)::numeric, 8), 0.05
    FROM (SELECT id FROM markets WHERE symbol IN ('BTC-PERP', 'ETH-PERP', 'SOL-PERP')) AS m,
         generate_series(1, $1::int) AS n,
         LATERAL (SELECT date_trunc('second', now()) - n * interval '1 second' AS at, 100 + random() AS p) AS one
"""


def run(plan: Plan) -> list[Case]:
    """A third of a day of three markets out and in again, or a whole one where there is time."""
    seconds = SECONDS_OF_A_DAY - 600 if plan.rounds > 3 else SECONDS_OF_A_DAY // 6
    with server(18) as one, tempfile.TemporaryDirectory() as folder:
        if one is None:
            return []
        asyncio.run(execute(one.dsn(DATABASE), _FILL.replace("$1::int", str(seconds))))
        return _cases(one, Path(folder), plan.rounds, 3 * seconds)


def _cases(one: PostgresServer, folder: Path, rounds: int, rows: int) -> list[Case]:
    columns = ", ".join(COLUMNS)
    parquet, text, copied = folder / "prices.parquet", folder / "prices.csv", folder / "copied.csv"
    program = str(PROGRAM)
    psql = [str(clients(18) / "psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", one.dsn(DATABASE), "-c"]
    out = {
        "export, Parquet": [program, "export", str(parquet)],
        "export, CSV": [program, "export", str(text)],
        r"psql \copy": [*psql, rf"\copy (SELECT {columns} FROM oracle_prices) TO '{copied}' CSV"],
    }
    into = {
        "import, Parquet": [program, "import", str(parquet)],
        "import, CSV": [program, "import", str(text)],
        r"psql \copy": [*psql, rf"\copy oracle_prices ({columns}) FROM '{copied}' CSV"],
    }
    title = f"{rows:,} prints, PostgreSQL 18"
    cases = [_compared(f"out, {title}", out, one, rows, rounds, lambda: None)]

    def emptied() -> None:
        asyncio.run(execute(one.dsn(DATABASE), "TRUNCATE oracle_prices, oracle_price_heads"))

    cases.append(_compared(f"in, {title}", into, one, rows, rounds, emptied))
    ((stored,),) = asyncio.run(fetch(one.dsn(DATABASE), "SELECT count(*) FROM oracle_prices"))
    assert stored == rows, f"{stored} of {rows} rows came back"
    return cases


def _compared(
    title: str,
    commands: dict[str, list[str]],
    one: PostgresServer,
    rows: int,
    rounds: int,
    prepare: Callable[[], None],
) -> Case:
    environment = {**os.environ, "DATABASE_URL": one.dsn(DATABASE)}

    def contender(name: str, command: list[str]) -> Contender:
        def measured() -> float:
            prepare()
            started = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True, env=environment)
            return rows / (time.perf_counter() - started)

        return Contender(name, measured)

    contenders = [contender(name, command) for name, command in commands.items()]
    return compared(NAME, title, "rows a second", interleaved(contenders, rounds), lower_is_better=False)
