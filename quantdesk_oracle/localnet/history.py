"""The node's transactions, newest last, and which of them touched an address. Bounded."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from quantdesk_oracle.localnet.settings import Feed
    from quantdesk_oracle.model import PriceUpdate


@dataclass(frozen=True, slots=True)
class Push:
    """An accepted push: what its transaction is made of, whenever somebody asks for it."""

    feed: Feed
    update: PriceUpdate
    batch: tuple[PriceUpdate, ...]
    """All updates of its Merkle tree, itself included."""
    signature: str
    """Base58."""


class History:
    """What getSignaturesForAddress and getTransaction answer from."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._by_signature: dict[str, int] = {}
        self._pushes: list[Push] = []
        self._by_address: dict[str, list[int]] = {}
        self._first = 0

    def __len__(self) -> int:
        return len(self._pushes)

    def add(self, push: Push) -> None:
        """Append ``push``, the newest, and prune the oldest beyond the limit."""
        number = self._first + len(self._pushes)
        self._pushes.append(push)
        self._by_signature[push.signature] = number
        self._by_address.setdefault(push.feed.address, []).append(number)
        if len(self._pushes) > self._limit:
            self._prune()

    def find(self, signature: str) -> Push | None:
        """The transaction with ``signature`` (base58)."""
        number = self._by_signature.get(signature)
        return None if number is None else self._pushes[number - self._first]

    def of_address(self, address: str, *, limit: int, before: str | None, until: str | None) -> list[Push]:
        """The newest ``limit`` pushes to ``address`` older than ``before`` and newer than ``until``.

        As a real node does: an unknown ``before`` finds nothing, an unknown ``until`` ends nothing.
        """
        numbers = self._by_address.get(address, [])
        end = len(numbers)
        if before is not None:
            end = bisect_left(numbers, self._by_signature.get(before, 0))
        start = max(0, end - limit)
        if until in self._by_signature:
            start = max(start, bisect_left(numbers, self._by_signature[until] + 1))
        return [self._pushes[number - self._first] for number in reversed(numbers[start:end])]

    def _prune(self) -> None:
        oldest = self._pushes.pop(0)
        self._first += 1
        self._by_signature.pop(oldest.signature, None)
        self._by_address[oldest.feed.address].pop(0)
