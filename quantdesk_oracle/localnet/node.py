"""The node's state: slots, accounts, transactions, subscriptions. No sockets and no timers.

Market / Replay ─► commit ─► ledger ─► history, accounts ─► subscriptions ─► Passage ─► subscribers
                                             ▲
                                      rpc, pubsub (reads)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from quantdesk_oracle.localnet import wire
from quantdesk_oracle.localnet.history import History, Window
from quantdesk_oracle.localnet.ledger import LedgerEntry
from quantdesk_oracle.localnet.passage import Passage
from quantdesk_oracle.localnet.subscriptions import AccountParameters, Subscriptions
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
    """One account's new state, with the ledger's line and the transaction that made it, where there are any.

    A transaction that changed nothing comes without an account."""

    account: AccountDump | None
    entry: LedgerEntry | None = None
    push: Push | None = None


class Past(Protocol):
    """What the accounts were."""

    def note(self, pubkey: str, slot: int, state: AccountDump) -> None:
        """``pubkey`` has a new state."""

    def at(self, pubkey: str, slot: int) -> AccountDump | None:
        """The state of ``pubkey`` in ``slot``."""


@dataclass(slots=True)
class View:
    """How the node shows its chain. Only a drill changes it; the chain itself, and the ledger, it never does."""

    slot_shift: int = 0
    """Added to every slot that the node names."""
    lag: int = 0
    """By how many slots accounts and history are shown late."""
    history_slots: int | None = None
    """Transactions older than that are not there; None: all are."""
    past: Past | None = None
    """What a lagging node shows."""


class Audience(Protocol):
    """Who wants to know that an account is looked at, before the answer is given."""

    def touched(self, pubkey: str, *, subscribed: bool) -> None:
        """A client reads ``pubkey``, or has just subscribed to it."""


class Node:
    """A Solana node in memory. Every commitment sees the same state, but for a fork that a drill makes: `processed`
    sees that until it is rolled back."""

    def __init__(self, settings: LocalnetSettings, clock: Clock, passage: Passage | None = None) -> None:
        self.settings = settings
        self.clock = clock
        self.passage = passage or Passage()
        self.subscriptions = Subscriptions(self.passage)
        self.history = History(settings.history)
        self.accounts: dict[str, AccountDump] = {}
        self.ledger: Ledger | None = None
        self.audience: Audience | None = None
        self.view = View()
        self._forked: dict[str, AccountDump] = {}
        self._lead = 0
        self._told = self.slot

    # ── time ─────────────────────────────────────────────────────────────────────────────────────
    @property
    def slot(self) -> int:
        """The slot now, by the clock alone."""
        return self.slot_at(self.clock.now())

    def slot_at(self, instant: int) -> int:
        """The slot at ``instant`` (µs)."""
        return max(0, (instant - EPOCH) // self.settings.slot_us) + self._lead

    @property
    def shown_slot(self) -> int:
        """The slot now, as the node says it."""
        return max(0, self.slot + self.view.slot_shift - self.view.lag)

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
                shown = max(0, slot + self.view.slot_shift)
                self.subscriptions.notify(subscription, wire.slot_notification(shown, subscription.id))
        self._told = max(self._told, now)

    # ── accounts ─────────────────────────────────────────────────────────────────────────────────
    def read(self, pubkey: str, commitment: str = "confirmed") -> AccountDump | None:
        """The account's state, as a client reads it; None where there is none."""
        if self.audience is not None:
            self.audience.touched(pubkey, subscribed=False)
        state = self._state(pubkey, commitment)
        return None if state is None or wire.is_closed(state) else state

    def window(self) -> Window:
        """The slots whose transactions a client can read."""
        newest = self.slot - self.view.lag
        kept = self.view.history_slots
        return Window(0 if kept is None else self.slot - kept, newest)

    def commit(self, changes: Sequence[Change]) -> None:
        """Take ``changes`` in: into the ledger first, and only then to where a client can see them.

        The one place by which accounts change.
        """
        entries = [change.entry for change in changes if change.entry is not None]
        if self.ledger is not None and entries:
            self.ledger.append(entries)
        slot = self.slot
        shown = self._notified_slot()
        for change in changes:
            if change.push is not None:
                self.history.add(change.push)
            if change.account is not None:
                self._take(change.account, slot, shown)

    def fork(self, states: Sequence[AccountDump]) -> None:
        """Show ``states`` at `processed`, of slots that will never be confirmed."""
        for state in states:
            self._forked[state.pubkey] = state
            self._tell_account(state, self._notified_slot(), only="processed")

    def roll_back(self, pubkeys: Sequence[str]) -> None:
        """The fork has lost: `processed` is told of the state that stands, as of an account that has changed.

        An account that has been written since shows that already.
        """
        for pubkey in pubkeys:
            if self._forked.pop(pubkey, None) is not None and pubkey in self.accounts:
                self._tell_account(self.accounts[pubkey], self._notified_slot(), only="processed")

    def close_account(self, pubkey: str) -> None:
        """Remove an account: a client with a subscription is told of lamports 0 and the system owner."""
        self.commit([Change(AccountDump(pubkey, addresses.SYSTEM_PROGRAM, b"", rent_epoch=0))])

    def _take(self, state: AccountDump, slot: int, shown: int) -> None:
        self.accounts[state.pubkey] = state
        self._forked.pop(state.pubkey, None)
        if self.view.past is not None:
            self.view.past.note(state.pubkey, slot, state)
        self._tell_account(state, shown)

    def _notified_slot(self) -> int:
        """The slot now, as notifications name it: one that lags is late instead."""
        return max(0, self.slot + self.view.slot_shift)

    def _state(self, pubkey: str, commitment: str) -> AccountDump | None:
        if commitment == "processed" and pubkey in self._forked:
            return self._forked[pubkey]
        if self.view.lag and self.view.past is not None:
            return self.view.past.at(pubkey, self.slot - self.view.lag)
        return self.accounts.get(pubkey)

    def _tell_account(self, state: AccountDump, slot: int, only: str | None = None) -> None:
        """Notify of ``state`` in ``slot``, those of commitment ``only`` where that is given."""
        for subscription in self.subscriptions.of_account(state.pubkey):
            parameters = subscription.parameters
            assert isinstance(parameters, AccountParameters)
            if only is not None and parameters.commitment != only:
                continue
            message = wire.account_notification(
                slot, state, parameters.encoding, parameters.data_slice, subscription.id
            )
            self.subscriptions.notify(subscription, message)
