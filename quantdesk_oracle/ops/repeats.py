"""Which of many equal log lines are written: a few an interval, then how many more there were."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

Key = TypeVar("Key")


class Repeated(NamedTuple, Generic[Key]):
    """``times`` lines of ``key`` were left out."""

    key: Key
    times: int


@dataclass(slots=True)
class _Window:
    start: int
    written: int = 0
    left_out: int = 0


class RepeatLimiter(Generic[Key]):
    """At most ``limit`` lines of a key within ``interval`` (µs); remembers at most ``capacity`` keys.

    An interval begins with the first line that is written of its key.
    """

    def __init__(self, limit: int, interval: int, capacity: int) -> None:
        self._limit, self._interval, self._capacity = limit, interval, capacity
        # By the start of their windows, oldest first.
        self._windows: OrderedDict[Key, _Window] = OrderedDict()

    def offer(self, key: Key, now: int) -> tuple[bool, list[Repeated[Key]]]:
        """Whether the line is to be written, and what has to be said of other lines before it."""
        said = self.due(now)
        window = self._windows.get(key)
        if window is None:
            said += self._make_room()
            window = self._windows[key] = _Window(now)
        if window.written < self._limit:
            window.written += 1
            return True, said
        window.left_out += 1
        return False, said

    def due(self, now: int) -> list[Repeated[Key]]:
        """What has to be said of the windows that are over at ``now``."""
        return list(self._close(now))

    def flush(self) -> list[Repeated[Key]]:
        """What has to be said of every window, over or not; nothing is remembered."""
        said = [Repeated(key, window.left_out) for key, window in self._windows.items() if window.left_out]
        self._windows.clear()
        return said

    def _close(self, now: int) -> Iterator[Repeated[Key]]:
        while self._windows:
            key, window = next(iter(self._windows.items()))
            # A start in the future: the clock was set back, and the window with it.
            if window.start <= now < window.start + self._interval:
                return
            del self._windows[key]
            if window.left_out:
                yield Repeated(key, window.left_out)

    def _make_room(self) -> list[Repeated[Key]]:
        if len(self._windows) < self._capacity:
            return []
        key, window = self._windows.popitem(last=False)
        return [Repeated(key, window.left_out)] if window.left_out else []
