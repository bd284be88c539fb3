"""A schedule of faults: what happens, when, for how long, how often, and to whom. TOML or JSON.

    seed = 7                     # the same seed, the same drill

    [[faults]]
    kind = "drop"
    at = 30                      # seconds from the node's start; or `slot`, slots from it
    for = 10                     # seconds; left out: to the end
    every = 60                   # again after so many seconds; left out: once
    probability = 0.5            # of each message, request, connection or push
    methods = ["accountNotification"]   # or ["*"]
    feeds = ["SOL/USD"]          # symbol, market, feed id or account

What else may stand there depends on the kind: ``kinds.SPECS``.
"""

from __future__ import annotations

import json
import math
import tomllib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from quantdesk_oracle.errors import DataError
from quantdesk_oracle.localnet.faults.kinds import METHODS, SPECS, Flag, Kind, Number, Setting, Word

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MOST_FAULTS: Final = 10_000
EVERYTHING: Final = "*"
_LONGEST: Final = 1e9
_COMMON: Final = ("kind", "at", "slot", "for", "every", "probability", "methods", "feeds")


@dataclass(frozen=True, slots=True)
class Fault:
    """One line of a schedule. Times are seconds."""

    kind: Kind
    at: float = 0.0
    """From the node's start; of a fault that is added while it runs, from then."""
    slot: int | None = None
    """Instead of ``at``: so many slots from there."""
    lasts: float | None = None
    """`for` in a schedule; None: to the end."""
    every: float | None = None
    probability: float = 1.0
    methods: frozenset[str] = frozenset()
    """Empty: all."""
    feeds: tuple[str, ...] = ()
    """Empty: all."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Of its kind, whole: what was not said has its default."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """All of them."""

    faults: tuple[Fault, ...] = ()
    seed: int | None = None
    """None: the node's."""


def load_schedule(path: Path) -> Schedule:
    """The schedule in ``path``: JSON where its name ends so, otherwise TOML.

    Raises DataError that names every line which is wrong.
    """
    try:
        text = path.read_text("utf-8")
        parsed = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: no schedule of faults: {error}") from None
    try:
        return parse_schedule(parsed)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None


def parse_schedule(parsed: Any) -> Schedule:
    """The schedule that ``parsed`` TOML or JSON says. Raises DataError that names every line which is wrong."""
    if not isinstance(parsed, dict) or not isinstance(parsed.get("faults", []), list):
        raise DataError('a schedule is a table with a list of "faults", and perhaps a "seed"')
    problems = [f"{key!r} is no key of a schedule" for key in parsed if key not in ("faults", "seed")]
    seed = parsed.get("seed")
    if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int)):
        problems.append(f"seed is {seed!r}, expected a whole number")
    entries = parsed.get("faults", [])
    if len(entries) > MOST_FAULTS:
        problems.append(f"{len(entries)} faults, expected at most {MOST_FAULTS}: use `every`")
        entries = []
    faults = []
    for number, entry in enumerate(entries, start=1):
        reader = _Reader(entry)
        faults.append(reader.fault())
        problems += [f"fault {number}: {problem}" for problem in reader.problems]
    if problems:
        raise DataError("; ".join(problems))
    return Schedule(tuple(fault for fault in faults if fault is not None), seed)


class _Reader:
    """Reads one entry, and notes what is wrong with it."""

    def __init__(self, entry: Any) -> None:
        self._entry = entry
        self.problems: list[str] = []

    def fault(self) -> Fault | None:
        """The fault; None or half of one where there are problems."""
        if not isinstance(self._entry, dict):
            self.problems.append(f"{self._entry!r}, expected a table with a `kind`")
            return None
        kind = self._kind()
        if kind is None:
            return None
        spec = SPECS[kind]
        known = {*_COMMON, *spec.settings}
        self.problems += [f"{key!r} means nothing to {kind}" for key in self._entry if key not in known]
        fault = Fault(
            kind=kind,
            at=self._number("at", Number(0.0, 0, _LONGEST)),
            slot=self._number("slot", Number(None, 0, _LONGEST, whole=True)),
            lasts=self._number("for", Number(None, 0, _LONGEST)),
            every=self._number("every", Number(None, 0.01, _LONGEST)),
            probability=self._number("probability", Number(1.0, 0, 1)),
            methods=self._methods(kind),
            feeds=self._words("feeds"),
            settings={key: self._setting(key, setting) for key, setting in spec.settings.items()},
        )
        self._check(fault)
        return fault

    def _check(self, fault: Fault) -> None:
        """What is wrong with a fault as a whole."""
        spec = SPECS[fault.kind]
        if "at" in self._entry and fault.slot is not None:
            self.problems.append("it has `at` and `slot`: say one")
        if fault.lasts is not None and spec.momentary:
            self.problems.append(f"{fault.kind} happens in a moment: leave out `for`")
        if fault.every is not None and fault.lasts is None and not spec.momentary:
            self.problems.append("`every` needs `for`: a fault that does not end cannot begin again")
        if fault.every is not None and fault.lasts is not None and fault.lasts >= fault.every:
            self.problems.append(
                f"for {fault.lasts:g} s every {fault.every:g} s: it would begin before it ends"
            )
        if fault.feeds and not spec.feeds:
            self.problems.append(f"{fault.kind} cannot be aimed at feeds")

    def _kind(self) -> Kind | None:
        kind = self._entry.get("kind")
        if kind in list(Kind):
            return Kind(kind)
        self.problems.append(f"kind is {kind!r}, expected one of {', '.join(Kind)}")
        return None

    def _methods(self, kind: Kind) -> frozenset[str]:
        methods = self._words("methods")
        default = SPECS[kind].methods
        if methods and default is None:
            self.problems.append(f"{kind} cannot be aimed at methods")
        if methods == (EVERYTHING,):
            return frozenset()
        unknown = sorted(set(methods) - METHODS)
        if unknown:
            self.problems.append(
                f"methods has {', '.join(unknown)}, expected of {EVERYTHING}, {', '.join(sorted(METHODS))}"
            )
        return frozenset(methods) or default or frozenset()

    def _words(self, key: str) -> tuple[str, ...]:
        words = self._entry.get(key, [])
        if isinstance(words, list) and all(isinstance(word, str) for word in words):
            return tuple(words)
        self.problems.append(f"{key} is {words!r}, expected a list of texts")
        return ()

    def _setting(self, key: str, setting: Setting) -> Any:
        if isinstance(setting, Number):
            return self._number(key, setting)
        value = self._entry.get(key, setting.default)
        kind = bool if isinstance(setting, Flag) else str
        if value is not None and not isinstance(value, kind):
            self.problems.append(
                f"{key} is {value!r}, expected {'true or false' if kind is bool else 'a text'}"
            )
        elif isinstance(setting, Word) and setting.choices and value not in setting.choices:
            self.problems.append(f"{key} is {value!r}, expected one of {', '.join(setting.choices)}")
        return value

    def _number(self, key: str, setting: Number) -> Any:
        value = self._entry.get(key, setting.default)
        if value is None:
            return None
        types = int if setting.whole else (int, float)
        good = isinstance(value, types) and not isinstance(value, bool) and math.isfinite(value)
        if good and setting.least <= value <= setting.most:
            return value
        what = "a whole number" if setting.whole else "a number"
        self.problems.append(
            f"{key} is {value!r}, expected {what} from {setting.least:g} to {setting.most:g}"
        )
        return setting.default
