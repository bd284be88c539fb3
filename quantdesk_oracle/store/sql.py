"""The project's SQL files: where they lie, and what they hold once their ``\\ir`` lines are followed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from quantdesk_oracle.errors import SchemaError

PRODUCTION = "production-schema.sql"
MIGRATION = "migration-to-production.sql"
TEST = "test-schema.sql"

_PSQL_ONLY = ("\\set ON_ERROR_STOP on", "BEGIN;", "COMMIT;", "ROLLBACK;")
"""Lines of the three files that psql needs; a program holds its own transaction and stops at the first error."""


class SqlPart(NamedTuple):
    """One file's statements, or what stands between two of its includes."""

    name: str
    """File, relative to the schema folder."""
    sql: str


def schema_folder() -> Path:
    """The folder of the SQL files: inside an installed package, or at the root of a checkout."""
    package = Path(__file__).resolve().parent.parent
    for folder in (package / "bundled" / "schema", package.parent / "schema"):
        if (folder / PRODUCTION).is_file():
            return folder
    raise SchemaError(
        f"the SQL files of the schema are missing: no {PRODUCTION} in {package / 'bundled' / 'schema'}"
        f" nor in {package.parent / 'schema'}; install the package again"
    )


def parts_of(file_name: str) -> tuple[SqlPart, ...]:
    """The statements of one of the three files, in the order in which psql would run them."""
    folder = schema_folder()
    return tuple(_expand(folder / file_name, folder))


def _expand(file: Path, root: Path) -> Iterator[SqlPart]:
    name = file.relative_to(root).as_posix()
    kept: list[str] = []
    for line in file.read_text(encoding="utf-8").splitlines():
        if line.startswith("\\ir "):
            yield from _part(name, kept)
            kept = []
            yield from _expand(file.parent / line.removeprefix("\\ir ").strip(), root)
        elif line.startswith("\\") and line not in _PSQL_ONLY:
            raise SchemaError(f"{name}: a psql command that no program can follow: {line}")
        else:
            kept.append("" if line in _PSQL_ONLY else line)
    yield from _part(name, kept)


def _part(name: str, lines: list[str]) -> Iterator[SqlPart]:
    if any(line and not line.startswith("--") for line in lines):
        yield SqlPart(name, "\n".join(lines))
