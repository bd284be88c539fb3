"""Who wants to know what. As in a real node: ids start at 0, are the node's own and not a connection's, and
subscriptions with identical parameters are one, with one id, until its last subscriber leaves."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from quantdesk_oracle.localnet.passage import Passage, Subscriber


class DataSlice(NamedTuple):
    """The part of an account's data that a client asked for, in bytes."""

    offset: int
    length: int


class AccountParameters(NamedTuple):
    """Of an accountSubscribe."""

    pubkey: str
    encoding: str
    commitment: str
    data_slice: DataSlice | None


class SlotParameters(NamedTuple):
    """Of a slotSubscribe: there are none."""


Topic = AccountParameters | SlotParameters


@dataclass(frozen=True, slots=True, eq=False)
class Subscription:
    """One set of parameters and everybody who gave them."""

    id: int
    parameters: Topic
    subscribers: dict[Subscriber, None] = field(default_factory=dict)
    """A dict for its order: the first to subscribe is the first to be told."""


class Subscriptions:
    """All subscriptions of the node."""

    def __init__(self, passage: Passage) -> None:
        self.passage = passage
        self._next_id = 0
        self._by_id: dict[int, Subscription] = {}
        self._by_parameters: dict[Topic, Subscription] = {}
        self._of_account: dict[str, list[Subscription]] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def subscribe(self, subscriber: Subscriber, parameters: Topic) -> int:
        """Returns the subscription's id."""
        subscription = self._by_parameters.get(parameters)
        if subscription is None:
            subscription = self._open(parameters)
        subscription.subscribers[subscriber] = None
        return subscription.id

    def unsubscribe(self, subscriber: Subscriber, subscription_id: int, kind: type[Topic]) -> bool:
        """False where ``subscriber`` has no subscription of that id and kind."""
        subscription = self._by_id.get(subscription_id)
        if (
            subscription is None
            or subscriber not in subscription.subscribers
            or not isinstance(subscription.parameters, kind)
        ):
            return False
        self._leave(subscriber, subscription)
        return True

    def drop(self, subscriber: Subscriber) -> None:
        """Forget ``subscriber``, whose connection is gone."""
        for subscription in list(self._by_id.values()):
            if subscriber in subscription.subscribers:
                self._leave(subscriber, subscription)

    def of_account(self, pubkey: str) -> Iterable[Subscription]:
        return tuple(self._of_account.get(pubkey, ()))

    def of_slots(self) -> Iterable[Subscription]:
        subscription = self._by_parameters.get(SlotParameters())
        return () if subscription is None else (subscription,)

    def notify(self, subscription: Subscription, message: bytes) -> None:
        """Tell every subscriber; ``message`` was serialised once for all of them."""
        for subscriber in tuple(subscription.subscribers):
            self.passage.notify(subscriber, message, subscription.parameters)

    def reset(self) -> None:
        """Forget all of them, and count ids from 0 again: the node has been restarted."""
        self._next_id = 0
        for known in (self._by_id, self._by_parameters, self._of_account):
            known.clear()

    def _open(self, parameters: Topic) -> Subscription:
        subscription = Subscription(self._next_id, parameters)
        self._next_id += 1
        self._by_id[subscription.id] = subscription
        self._by_parameters[parameters] = subscription
        if isinstance(parameters, AccountParameters):
            self._of_account.setdefault(parameters.pubkey, []).append(subscription)
        return subscription

    def _leave(self, subscriber: Subscriber, subscription: Subscription) -> None:
        del subscription.subscribers[subscriber]
        if subscription.subscribers:
            return
        del self._by_id[subscription.id]
        del self._by_parameters[subscription.parameters]
        if isinstance(subscription.parameters, AccountParameters):
            self._of_account[subscription.parameters.pubkey].remove(subscription)
