"""A fault of a schedule, while it waits and while it acts."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING

from quantdesk_oracle.model import SECOND

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable

    from quantdesk_oracle.localnet.faults.schedule import Fault


@dataclass(slots=True, eq=False)
class Armed:
    """One fault, with its own dice: what others do changes nothing of what it does."""

    number: int
    fault: Fault
    pubkeys: frozenset[str]
    """Accounts that it is aimed at; empty: all."""
    random: Random
    begins: int
    """When next, or when it began, µs."""
    acting: bool = False
    over: bool = False
    struck: int = 0
    """Messages, requests, connections and pushes that it hit."""
    held: deque[Callable[[], None]] = field(default_factory=deque)
    """What is to be sent when it ends."""
    ended: asyncio.Event | None = None
    """Set when it ends; there while it acts and somebody waits for that."""

    @property
    def ends(self) -> int | None:
        """When it ends, µs."""
        return None if self.fault.lasts is None else self.begins + round(self.fault.lasts * SECOND)

    @property
    def aimed(self) -> bool:
        """Whether it hits some messages and not others."""
        return bool(self.fault.methods or self.pubkeys) or self.fault.probability < 1

    def strikes(self, method: str | None = None, pubkeys: Iterable[str] = ()) -> bool:
        """Whether it hits this one: a throw of the dice, where it is aimed at such at all."""
        if method is not None and self.fault.methods and method not in self.fault.methods:
            return False
        if self.pubkeys and self.pubkeys.isdisjoint(pubkeys):
            return False
        if self.fault.probability < 1 and self.random.random() >= self.fault.probability:
            return False
        self.struck += 1
        return True
