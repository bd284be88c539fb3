"""The generated pages and the diagram are those of this schema."""

from __future__ import annotations

import runpy

from tests.schema.support import PLAIN, ROOT, Database, servers_named

server = servers_named(*PLAIN)

FOLDER = ROOT / "docs" / "schema"


async def test_the_generated_pages_are_up_to_date(empty: Database) -> None:
    generator = runpy.run_path(str(FOLDER / "generate.py"))
    found = await generator["read"](empty.dsn)
    of_the_schema_itself = {
        "schema_version",
        "schema_settings",
        "time_series",
        "statistics_due",
        "migration_rejects",
        "migration_changes",
    }
    grouped = {name for _, group in generator["GROUPS"] for name in group}
    assert grouped == set(found.columns) - of_the_schema_itself
    for name, text in generator["pages"](found).items():
        assert (FOLDER / name).read_text() == text, f"run: .venv/bin/python docs/schema/generate.py ({name})"
