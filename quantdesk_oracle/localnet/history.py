"""The node's transactions, newest last, and which of them touched an address. Bounded."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from quantdesk_oracle.localnet.settings import Feed
    from quantdesk_oracle.model import PriceUpdate

_LEAST_SLACK: Final = 1_024


class Outcome(StrEnum):
    """What a push came to."""

    WRITTEN = "written"
    STALE = "stale"
    """It succeeded and wrote nothing, since its price was not newer: the receiver was not called."""
    FAILED = "failed"
    """It ended with an error after the receiver was called; nothing of it stands."""


class Leg(NamedTuple):
    """One feed's part of a transaction."""

    feed: Feed
    update: PriceUpdate


@dataclass(frozen=True, slots=True)
class Push:
    """A pusher's transaction: what it is made of, whenever somebody asks for its bytes."""

    feed: Feed
    update: PriceUpdate
    """Its slot is the transaction's."""
    batch: tuple[PriceUpdate, ...]
    """All updates of its Merkle tree, its own included."""
    signature: str
    """Base58."""
    second: Leg | None = None
    """Another feed that the same transaction pushes, after this one."""
    outcome: Outcome = Outcome.WRITTEN
    tables: bool = False
    """Whether it names most of its accounts through an address lookup table."""

    @property
    def legs(self) -> tuple[Leg, ...]:
        """The feeds it pushes, in the order of its instructions."""
        first = Leg(self.feed, self.update)
        return (first,) if self.second is None else (first, self.second)

    @property
    def slot(self) -> int:
        """The transaction's slot."""
        return self.update.slot


class Window(NamedTuple):
    """The slots whose transactions a node still has, or has already; both ends belong to it."""

    oldest: int
    newest: int


class History:
    """What getSignaturesForAddress and getTransaction answer from: the newest ``limit`` transactions.

    The oldest leave one by one; the memory they took is taken back in strides, so that a push costs the same
    however many transactions there are.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._slack = max(_LEAST_SLACK, limit // 8)
        self._by_signature: dict[str, int] = {}
        self._pushes: list[Push] = []
        self._by_address: dict[str, list[int]] = {}
        self._first = 0
        """The number of ``_pushes[0]``."""
        self._oldest = 0
        """The number of the oldest transaction that is still there."""

    def __len__(self) -> int:
        return self._first + len(self._pushes) - self._oldest

    @property
    def first_slot(self) -> int:
        """The slot of the oldest transaction that is kept; 0 where none had to go."""
        return self._pushes[self._oldest - self._first].slot if self._oldest else 0

    def add(self, push: Push) -> None:
        """Append ``push``, the newest, and prune the oldest beyond the limit."""
        number = self._first + len(self._pushes)
        self._pushes.append(push)
        self._by_signature[push.signature] = number
        for leg in push.legs:
            self._by_address.setdefault(leg.feed.address, []).append(number)
        if len(self) > self._limit:
            self._prune()

    def find(self, signature: str, window: Window | None = None) -> Push | None:
        """The transaction with ``signature`` (base58), where ``window`` holds it."""
        number = self._by_signature.get(signature)
        if number is None:
            return None
        push = self._pushes[number - self._first]
        return push if window is None or window.oldest <= push.slot <= window.newest else None

    def of_address(
        self,
        address: str,
        *,
        limit: int,
        before: str | None = None,
        until: str | None = None,
        window: Window | None = None,
    ) -> list[Push]:
        """The newest ``limit`` pushes to ``address`` older than ``before`` and newer than ``until``.

        As a real node does: an unknown ``before`` finds nothing, an unknown ``until`` ends nothing.
        """
        numbers = self._by_address.get(address, [])
        start, end = bisect_left(numbers, self._oldest), len(numbers)
        if window is not None:
            start = max(start, bisect_left(numbers, window.oldest, key=self._slot))
            end = bisect_right(numbers, window.newest, key=self._slot)
        if before is not None:
            end = min(end, bisect_left(numbers, self._by_signature.get(before, self._oldest)))
        if until in self._by_signature:
            start = max(start, bisect_right(numbers, self._by_signature[until]))
        start = max(start, end - limit)
        return [self._pushes[number - self._first] for number in reversed(numbers[start:end])]

    def _slot(self, number: int) -> int:
        # A number that was pruned and whose memory is gone is older than every window.
        return self._pushes[number - self._first].slot if number >= self._first else -1

    def _prune(self) -> None:
        oldest = self._pushes[self._oldest - self._first]
        self._by_signature.pop(oldest.signature, None)
        self._oldest += 1
        if self._oldest - self._first >= self._slack:
            self._take_back()

    def _take_back(self) -> None:
        """Free the memory of what was pruned."""
        del self._pushes[: self._oldest - self._first]
        self._first = self._oldest
        for numbers in self._by_address.values():
            del numbers[: bisect_left(numbers, self._oldest)]
