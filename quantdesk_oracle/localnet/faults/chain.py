"""Forks: prints that `processed` shows and the chain does not keep."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from quantdesk_oracle.localnet.ledger import LedgerEntry
from quantdesk_oracle.localnet.simulation import price_account
from quantdesk_oracle.model import SECOND

if TYPE_CHECKING:
    from quantdesk_oracle.localnet.faults.armed import Armed
    from quantdesk_oracle.localnet.faults.drill import Drill

_FARTHEST: Final = 0.002
"""By which part of it the fork's price differs from the chain's."""


def fork(drill: Drill, armed: Armed) -> None:
    """Show a print of each feed that the fault hits, of now and of a slot that will not be confirmed.

    When the fault ends, the chain that stands is shown again.
    """
    node = drill.node
    time, slot = node.clock.now() // SECOND, node.slot
    states = []
    for feed, last in drill.local.simulation.newest().items():
        if not armed.strikes(pubkeys=(feed.address,)):
            continue
        price = max(1, round(last.price * (1 + _FARTHEST * (2 * armed.random.random() - 1)))) + 1
        update = last._replace(price=price, publish_time=time, prev_publish_time=time - 1, slot=slot)
        states.append(price_account(feed, update))
        drill.journal.note_forked(
            node.clock.now(), LedgerEntry(feed.market, feed.address, update, signature=None)
        )
    armed.held.append(partial(node.roll_back, [state.pubkey for state in states]))
    node.fork(states)
