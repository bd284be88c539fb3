"""What a drill does to the pushes themselves: transactions that fail, come late, or are hard to read."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from quantdesk_oracle.localnet.faults.kinds import Kind
from quantdesk_oracle.localnet.history import Leg, Outcome, Push
from quantdesk_oracle.localnet.simulation import Plan

if TYPE_CHECKING:
    from collections.abc import Mapping

    from quantdesk_oracle.localnet.faults.drill import Drill
    from quantdesk_oracle.localnet.settings import Feed
    from quantdesk_oracle.model import PriceUpdate

_AHEAD = 1
"""Seconds by which the price of a failed push is newer than the chain's: whoever stores it has a row too many."""


class DrilledPlan(Plan):
    """A batch's transactions, as the faults of ``drill`` want them."""

    def __init__(self, drill: Drill) -> None:
        self._drill = drill

    def pushes(self, feed: Feed) -> bool:
        return not self._hits(Kind.HALT, feed)

    def transactions(self, batch: Mapping[Feed, PriceUpdate], last: Mapping[Feed, PriceUpdate]) -> list[Push]:
        plain = super().transactions(batch, last)
        pushes = [push for one in plain if (push := self._failed(one)) is not None]
        pushes += self._tabled(self._shared(plain))
        pushes += [push for one in plain if (push := self._stale(one, last.get(one.feed))) is not None]
        return pushes

    def _failed(self, push: Push) -> Push | None:
        """A push of the price after this one, which fails before it."""
        if not self._hits(Kind.FAILED_PUSHES, push.feed):
            return None
        time = push.update.publish_time + _AHEAD
        update = push.update._replace(price=push.update.price + 1, publish_time=time)
        return Push(push.feed, update, (update,), "", outcome=Outcome.FAILED)

    def _stale(self, push: Push, last: PriceUpdate | None) -> Push | None:
        """A push after this one, of the same price or of the one before: it finds nothing to write."""
        if not self._hits(Kind.STALE_PUSHES, push.feed):
            return None
        update = (last or push.update)._replace(slot=push.slot)
        batch = push.batch if update == push.update else (update,)
        return Push(push.feed, update, batch, "", outcome=Outcome.STALE)

    def _shared(self, pushes: list[Push]) -> list[Push]:
        """Neighbours of one generation, two in a transaction."""
        shared: list[Push] = []
        for push in pushes:
            first = shared[-1] if shared else None
            if (
                first is not None
                and first.second is None
                and first.feed.generation is push.feed.generation
                and self._hits(Kind.SHARED_TRANSACTIONS, first.feed, push.feed)
            ):
                shared[-1] = replace(first, second=Leg(push.feed, push.update))
            else:
                shared.append(push)
        return shared

    def _tabled(self, pushes: list[Push]) -> list[Push]:
        return [
            replace(push, tables=True)
            if self._hits(Kind.ADDRESS_TABLES, *(leg.feed for leg in push.legs))
            else push
            for push in pushes
        ]

    def _hits(self, kind: Kind, *feeds: Feed) -> bool:
        pubkeys = [feed.address for feed in feeds]
        # Every fault throws its dice, whatever another one's have shown: so each can be repeated by itself.
        hits = [armed.strikes(pubkeys=pubkeys) for armed in self._drill.acting(kind)]
        return any(hits)
