"""No statement is built from data: where the text of every statement in the program comes from."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SENDS = {"fetch", "fetchrow", "fetchval", "execute", "executemany", "executescript", "cursor", "prepare"}
"""Methods of asyncpg's and sqlite3's connections whose first argument is a statement."""
NOT_SENT = {"daemon.prepare", "self._sent.cursor", "response.prepare", "cursor.fetch"}
"""Other things of these names."""
BUILT = {
    ("store/schema.py", "part.sql"): "the files of schema/, read by `schema apply`",
    ("store/schema_status.py", "_HYPERTABLES.format(timescale=server['timescale_schema'])"): (
        "the schema that pg_extension names, in which TimescaleDB lives"
    ),
}
"""What is neither a literal nor a named query, and why it may stand."""


def constants(tree: ast.Module) -> set[str]:
    """Names that the module gives a literal text or number, once and for all."""
    found: set[str] = set()
    for node in tree.body:
        match node:
            case ast.Assign(targets=targets, value=value):
                pass
            case ast.AnnAssign(target=target, value=ast.expr() as value):
                targets = [target]
            case _:
                continue
        if is_fixed(value, found):
            found |= {target.id for target in targets if isinstance(target, ast.Name)}
    return found


def is_fixed(node: ast.expr, known: set[str]) -> bool:
    """Whether the expression is made of literals and of constants of its module alone."""
    match node:
        case ast.Constant():
            return True
        case ast.Name(id=name):
            return name in known
        case ast.JoinedStr(values=parts):
            return all(is_fixed(part, known) for part in parts)
        case ast.FormattedValue(value=value):
            return is_fixed(value, known)
        case ast.BinOp(left=left, right=right):
            return is_fixed(left, known) and is_fixed(right, known)
        case _:
            return False


def is_named_query(node: ast.expr) -> bool:
    """``query(…)``: it reads a file of schema/queries, whatever it is handed."""
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "query"


def statements(tree: ast.Module) -> Iterator[ast.expr]:
    """The first argument of whatever sends a statement."""
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in SENDS
            and ast.unparse(node.func) not in NOT_SENT
        ):
            yield from node.args[:1]


def suspicious(text: str, name: str) -> list[str]:
    """The statements of a module whose origin is not known."""
    tree = ast.parse(text)
    known = constants(tree)
    return [
        f"{name}:{argument.lineno}: {ast.unparse(argument)}"
        for argument in statements(tree)
        if not is_fixed(argument, known)
        and not is_named_query(argument)
        and (name, ast.unparse(argument)) not in BUILT
    ]


def test_every_statement_is_a_literal_or_a_file_of_the_schema(root: Path) -> None:
    package = root / "quantdesk_oracle"
    modules = sorted(package.rglob("*.py"))
    names = [path.relative_to(package).as_posix() for path in modules]
    seen = sum(len(list(statements(ast.parse(path.read_text())))) for path in modules)
    assert seen > 100, "the test looks at the wrong methods"
    found = [
        line for path, name in zip(modules, names, strict=True) for line in suspicious(path.read_text(), name)
    ]
    assert found == []


@pytest.mark.parametrize(
    "statement",
    [
        'connection.execute(f"DELETE FROM {table}")',
        'connection.fetch("SELECT * FROM t WHERE symbol = \'" + symbol + "\'")',
        'connection.fetchval("SELECT %s" % symbol)',
        'connection.fetchrow("SELECT {}".format(symbol))',
        "connection.execute(text)",
    ],
)
def test_a_statement_that_is_built_would_be_found(statement: str) -> None:
    assert suspicious(f"def f(connection, table, symbol, text):\n    {statement}\n", "a.py")


def test_the_name_of_a_query_cannot_lead_out_of_its_folder(root: Path) -> None:
    """`query` is handed literals, or a table's name of a constant mapping."""
    found = {
        (path.name, ast.unparse(node.args[0]))
        for path in (root / "quantdesk_oracle").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and is_named_query(node)
    }
    built = sorted(name for name in found if not name[1].startswith("'"))
    assert built == [("tail.py", "f'count_{table}'"), ("tail.py", "f'tail_{table}'")]
