"""The node's state: slots, accounts, transactions, subscriptions. No sockets and no timers.

Market / Replay ─► commit ─► ledger ─► history, accounts ─► subscriptions ─► Passage ─► subscribers
                                             ▲
                                      rpc, pubsub (reads)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from quantdesk_oracle.localnet import wire
from quantdesk_oracle.localnet.history import History
from quantdesk_oracle.localnet.ledger import LedgerEntry
from quantdesk_oracle.localnet.subscriptions import AccountParameters, Passage, Subscriptions
from quantdesk_oracle.model import SECOND
from quantdesk_oracle.pyth import addresses
from quantdesk_oracle.pyth.dumps import AccountDump

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quantdesk_oracle.clock import Clock
    from quantdesk_oracle.localnet.history import Push
    from quantdesk_oracle.localnet.ledger import Ledger
    from quantdesk_oracle.localnet.settings import LocalnetSettings

EPOCH: Final = 1_584_368_940 * SECOND
"""The instant of slot 0, so that slot numbers go on growing across restarts: mainnet-beta's genesis."""
_LONGEST_PAUSE: Final = 150
"""Slots told one by one after the machine slept; of more, only the newest."""


class Change(NamedTuple):
    """One account's new state, with the ledger's line and the transaction that made it, where there are any."""

    account: AccountDump
    entry: LedgerEntry | None = None
    push: Push | None = None


class Audience(Protocol):
    """Who wants to know that an account is looked at, before the answer is given."""

    def touched(self, pubkey: str, *, subscribed: bool) -> None:
        """A client reads ``pubkey``, or has just subscribed to it."""


class Node:
    """A Solana node in memory. Every commitment sees the same state: there are no forks here."""

    def __init__(self, settings: LocalnetSettings, clock: Clock, passage: Passage | None = None) -> None:
        self.settings = settings
        self.clock = clock
        self.subscriptions = Subscriptions(passage or Passage())
        self.history = History(settings.history)
        self.accounts: dict[str, AccountDump] = {}
        self.ledger: Ledger | None = None
        self.audience: Audience | None = None
        self._lead = 0
        self._told = self.slot

    # ── time ─────────────────────────────────────────────────────────────────────────────────────
    @property
    def slot(self) -> int:
        """The slot now, by the clock alone."""
        return max(0, (self.clock.now() - EPOCH) // self.settings.slot_us) + self._lead

    def start_above(self, slot: int) -> None:
        """Let the slot now be greater than ``slot``."""
        self._lead += max(0, slot + 1 - self.slot)
        self._told = self.slot

    def slot_instant(self, slot: int) -> int:
        """When ``slot`` begins, µs."""
        return EPOCH + (slot - self._lead) * self.settings.slot_us

    def block_time(self, slot: int) -> int:
        """Unix seconds of ``slot``."""
        return self.slot_instant(slot) // SECOND

    def tell_slots(self) -> None:
        """Notify each slot that has begun since the last call."""
        now = self.slot
        first = max(self._told + 1, now - _LONGEST_PAUSE)
        for subscription in self.subscriptions.of_slots():
            for slot in range(first, now + 1):
                self.subscriptions.notify(subscription, wire.slot_notification(slot, subscription.id))
        self._told = max(self._told, now)

    # ── accounts ─────────────────────────────────────────────────────────────────────────────────
    def read(self, pubkey: str) -> AccountDump | None:
        """The account's state, as a client reads it; None where there is none."""
        if self.audience is not None:
            self.audience.touched(pubkey, subscribed=False)
        state = self.accounts.get(pubkey)
        return None if state is None or wire.is_closed(state) else state

    def commit(self, changes: Sequence[Change]) -> None:
        """Take ``changes`` in: into the ledger first, and only then to where a client can see them.

        The one place by which accounts change.
        """
        entries = [change.entry for change in changes if change.entry is not None]
        if self.ledger is not None and entries:
            self.ledger.append(entries)
        for change in changes:
            if change.push is not None:
                self.history.add(change.push)
            self.accounts[change.account.pubkey] = change.account
            self._tell_account(change.account)

    def close_account(self, pubkey: str) -> None:
        """Remove an account: a client with a subscription is told of lamports 0 and the system owner."""
        self.commit([Change(AccountDump(pubkey, addresses.SYSTEM_PROGRAM, b"", rent_epoch=0))])

    def _tell_account(self, state: AccountDump) -> None:
        slot = self.slot
        for subscription in self.subscriptions.of_account(state.pubkey):
            parameters = subscription.parameters
            assert isinstance(parameters, AccountParameters)
            message = wire.account_notification(
                slot, state, parameters.encoding, parameters.data_slice, subscription.id
            )
            self.subscriptions.notify(subscription, message)
