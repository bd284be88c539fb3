"""Which faults there are, and which of them act now."""

from __future__ import annotations

from functools import partial
from random import Random
from typing import TYPE_CHECKING

from quantdesk_oracle.errors import DataError
from quantdesk_oracle.localnet.faults.armed import Armed
from quantdesk_oracle.localnet.faults.journal import Journal
from quantdesk_oracle.localnet.faults.kinds import SPECS, Kind
from quantdesk_oracle.model import SECOND

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from quantdesk_oracle.localnet.faults.later import Later
    from quantdesk_oracle.localnet.faults.schedule import Fault
    from quantdesk_oracle.localnet.node import Node


class Roster:
    """Arms faults, and calls ``begun`` and ``ended`` at their instants."""

    def __init__(
        self,
        node: Node,
        later: Later,
        seed: int,
        begun: Callable[[Armed], None],
        ended: Callable[[Armed], None],
    ) -> None:
        self.armed: list[Armed] = []
        """All that ever were, by number."""
        self.journal = Journal()
        self._node = node
        self._clock = node.clock
        self._later = later
        self._seed = seed
        self._begun = begun
        self._ended = ended
        self._acting: dict[Kind, list[Armed]] = {kind: [] for kind in Kind}
        self._addresses = {
            name: feed.address
            for feed in node.settings.feeds
            for name in (feed.symbol, feed.market, feed.feed_id.hex(), feed.address)
        }

    def acting(self, kind: Kind) -> Sequence[Armed]:
        """The faults of ``kind`` that act now, in the order in which they began."""
        return self._acting[kind]

    def check(self, faults: Sequence[Fault]) -> None:
        """Raise DataError where one is aimed at a feed that the node does not serve."""
        if self._node.settings.accounts is not None:
            return
        unknown = sorted({name for fault in faults for name in fault.feeds if name not in self._addresses})
        if unknown:
            known = ", ".join(feed.symbol for feed in self._node.settings.feeds[:10])
            raise DataError(f"feeds has {', '.join(unknown)}, which this node does not serve; it has {known}")

    def add(self, fault: Fault) -> int:
        """Arm ``fault``, whose times count from now; its number."""
        number = len(self.armed)
        pubkeys = frozenset(self._addresses.get(name, name) for name in fault.feeds)
        dice = Random(f"{self._seed}/{number}/{fault.kind}")  # noqa: S311 - a drill's dice
        if fault.slot is None:
            begins = self._clock.now() + round(fault.at * SECOND)
        else:
            begins = self._node.slot_instant(self._node.slot + fault.slot)
        armed = Armed(number, fault, pubkeys, dice, begins)
        self.armed.append(armed)
        self._later.at(begins, partial(self._begin, armed))
        return number

    def end(self, armed: Armed) -> None:
        """End a fault, and let it not begin again."""
        armed.over = True
        self._end(armed)

    def _begin(self, armed: Armed) -> None:
        if armed.over:
            return
        armed.acting = True
        self._acting[armed.fault.kind].append(armed)
        self.journal.note(self._clock.now(), "fault.began", fault=armed.number, kind=armed.fault.kind)
        self._begun(armed)
        if SPECS[armed.fault.kind].momentary:
            self._end(armed)
        elif armed.ends is not None:
            self._later.at(armed.ends, partial(self._end, armed))

    def _end(self, armed: Armed) -> None:
        if not armed.acting:
            return
        armed.acting = False
        self._acting[armed.fault.kind].remove(armed)
        self.journal.note(
            self._clock.now(), "fault.ended", fault=armed.number, kind=armed.fault.kind, struck=armed.struck
        )
        self._ended(armed)
        if armed.fault.every is None:
            armed.over = True
        elif not armed.over:
            armed.begins += round(armed.fault.every * SECOND)
            self._later.at(armed.begins, partial(self._begin, armed))
