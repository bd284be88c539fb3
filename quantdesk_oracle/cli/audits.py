"""Recomputing what a market's rows say, and telling what has come of it: of marks and of funding rates alike."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any
from uuid import UUID

import typer

from quantdesk_oracle.cli.instants import iso
from quantdesk_oracle.cli.of_market import market_row
from quantdesk_oracle.cli.reading import reading

if TYPE_CHECKING:
    from pathlib import Path

    from quantdesk_oracle.pricing.audit import Difference
    from quantdesk_oracle.store.audit import Audited
    from quantdesk_oracle.store.database import Database

Recompute = Callable[["Database", UUID, int, int], Awaitable["Audited"]]
"""Audits the rows of a market (its id) between two instants, µs."""
EX_DIFFERS = 1
EX_EXPIRED = 66
"""The inputs of some rows are no longer kept; what can be checked without them holds."""


def tell_audit(
    what: str,
    recompute: Recompute,
    market: str,
    span: tuple[int, int],
    where: tuple[Path | None, Path | None, Path | None],
    *,
    as_json: bool,
) -> None:
    """Audit the rows of a market (``what`` names them) and tell; ends with typer.Exit: 0 exact, 1, 66.

    ``where``: the configuration file, the env file and the state directory, as :func:`reading` takes them.
    """

    async def answer() -> Audited:
        async with reading(*where) as database:
            row = await market_row(database, market)
            return await recompute(database, row.id, *span)

    audited = asyncio.run(answer())
    if as_json:
        typer.echo(json.dumps(_answer(audited)))
    else:
        for sentence in _sentences(what, audited):
            typer.echo(sentence)
    raise typer.Exit(_exit_code(audited))


def _answer(audited: Audited) -> dict[str, Any]:
    """An audit as JSON."""
    return {
        "rows": audited.rows,
        "by_hand": audited.by_hand,
        "expired": audited.expired,
        "differences": [_difference(each) for each in audited.differences],
    }


def _sentences(what: str, audited: Audited) -> Iterable[str]:
    """An audit in words."""
    extra = f", {audited.by_hand} set by hand or imported" if audited.by_hand else ""
    yield f"{audited.rows} {what} recomputed{extra}: {len(audited.differences) or 'none'} differ"
    if audited.expired:
        yield f"inputs expired: of {audited.expired} the samples are no longer kept; checked against themselves"
    for each in audited.differences[:1]:
        yield (
            f"first difference: {each.column} of {iso(each.instant)} is stored as {each.stored}, "
            f"and its inputs give {each.recomputed}"
        )


def _exit_code(audited: Audited) -> int:
    """0 exact, 1 something differs, 66 exact as far as inputs are kept."""
    if audited.differences:
        return EX_DIFFERS
    return EX_EXPIRED if audited.expired else 0


def _difference(difference: Difference) -> dict[str, str]:
    values = difference._replace(instant=0)._asdict()
    return {**{name: str(value) for name, value in values.items()}, "instant": iso(difference.instant)}
