"""Account dumps, served as if the chain wrote them: those of one key one a slot, oldest first.

A key's replay starts when somebody subscribes to it or reads it. A subscriber gets every dump as a
notification, from the next slot on; a reader the first one at once, which then stays a few slots so that a client
which reads before it subscribes misses none. The last one stays.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from quantdesk_oracle.errors import DataError, DecodeError
from quantdesk_oracle.localnet.ledger import LedgerEntry
from quantdesk_oracle.localnet.node import Change, Node
from quantdesk_oracle.pyth import addresses
from quantdesk_oracle.pyth.accounts import decode_price
from quantdesk_oracle.pyth.dumps import AccountDump, parse_dump, split_dumps

if TYPE_CHECKING:
    from pathlib import Path

    from quantdesk_oracle.model import PriceUpdate

_LOG = logging.getLogger(__name__)
READER_SLOTS: Final = 5
"""How long the first dump stays for a client that reads and has not subscribed."""
_HIGHEST_SLOT: Final = 1 << 48
"""A dump that says more is broken, and does not move the node."""


@dataclass(frozen=True, slots=True)
class Scene:
    """A dump and the print that it holds, where it holds one."""

    account: AccountDump
    update: PriceUpdate | None


@dataclass(slots=True)
class _Series:
    scenes: list[Scene]
    position: int = -1
    due: int | None = None
    """The slot of the next scene; None: nobody has asked yet."""


def load_dumps(folder: Path) -> list[Scene]:
    """Every dump in ``folder``, by file name. Files that are no dumps are skipped with a line in the log.

    Raises DataError where there is no such folder, or no dump in it.
    """
    if not folder.is_dir():
        raise DataError(
            f"{folder} is no folder: name one with account dumps (`solana account --output json`)"
        )
    scenes = []
    for path in sorted(path for path in folder.iterdir() if path.is_file()):
        scenes += _read(path)
    if not scenes:
        raise DataError(f"{folder} holds no account dump (`solana account --output json`)")
    return scenes


class Replay:
    """Serves ``scenes`` on ``node``."""

    def __init__(self, node: Node, scenes: list[Scene]) -> None:
        self._node = node
        self._series: dict[str, _Series] = {}
        for scene in sorted(scenes, key=_order):
            self._series.setdefault(scene.account.pubkey, _Series([])).scenes.append(scene)
        node.audience = self
        node.start_above(_highest_slot(scenes))

    @property
    def pubkeys(self) -> list[str]:
        """The accounts that are served (base58)."""
        return list(self._series)

    def next_instant(self) -> int:
        """The next slot's start, µs."""
        return self._node.slot_instant(self._node.slot + 1)

    def act(self) -> None:
        """Serve what is due in this slot."""
        slot = self._node.slot
        for series in self._series.values():
            if series.due is not None and slot >= series.due:
                self._show_next(series, slot + 1)

    def touched(self, pubkey: str, *, subscribed: bool) -> None:
        """Start the replay of ``pubkey``, or go on with it, for a client that is there now."""
        series = self._series.get(pubkey)
        if series is None:
            return
        slot = self._node.slot
        if subscribed:
            series.due = slot + 1 if series.due is None else min(series.due, slot + 1)
        elif series.position < 0:
            waiting = series.due is None
            self._show_next(series, slot + (READER_SLOTS if waiting else 1))

    def _show_next(self, series: _Series, then: int) -> None:
        if series.position + 1 >= len(series.scenes):
            return
        series.position += 1
        series.due = then
        scene = series.scenes[series.position]
        self._node.commit([Change(scene.account, _entry(scene))])


def _read(path: Path) -> list[Scene]:
    """The dumps of one file; one line in the log for all of its entries that are none."""
    scenes: list[Scene] = []
    problems: list[str] = []
    try:
        entries = split_dumps(path.read_text("utf-8"))
    except (DataError, ValueError, OSError) as error:
        entries, problems = [], [str(error)]
    for entry in entries:
        try:
            scenes.append(_scene(parse_dump(entry)))
        except DataError as error:
            problems.append(str(error))
    if problems:
        _LOG.warning("dump.skipped file=%s entries=%d reason=%s", path.name, len(problems), problems[0])
    return scenes


def _scene(account: AccountDump) -> Scene:
    # A trimmed dump may leave its lamports out; an account with none is a closed one.
    lamports = account.lamports or (len(account.data) + 128) * 6_960
    try:
        update = decode_price(account.data)
    except DecodeError:
        update = None
    return Scene(replace(account, lamports=lamports), update)


def _order(scene: Scene) -> tuple[bool, int, int]:
    """By slot and publish time, after those that hold no print."""
    if scene.update is None:
        return (False, 0, 0)
    return (True, scene.update.slot, scene.update.publish_time)


def _highest_slot(scenes: list[Scene]) -> int:
    slots = [scene.update.slot for scene in scenes if scene.update is not None]
    return max((slot for slot in slots if slot < _HIGHEST_SLOT), default=0)


def _entry(scene: Scene) -> LedgerEntry | None:
    if scene.update is None:
        return None
    symbol = addresses.FEED_SYMBOLS.get((scene.update.feed_id or b"").hex())
    market = f"{symbol.removeprefix('Crypto.').removesuffix('/USD')}-PERP" if symbol else None
    return LedgerEntry(market, scene.account.pubkey, scene.update, None)
