"""The kinds of faults: what each does, what it is aimed at where nothing is said, and its own settings."""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NamedTuple

ACCOUNTS: Final = "accountNotification"
SLOTS: Final = "slotNotification"
METHODS: Final = frozenset(
    {
        "getHealth",
        "getVersion",
        "getGenesisHash",
        "getFirstAvailableBlock",
        "getSlot",
        "getBlockTime",
        "getAccountInfo",
        "getMultipleAccounts",
        "getSignaturesForAddress",
        "getTransaction",
        "accountSubscribe",
        "accountUnsubscribe",
        "slotSubscribe",
        "slotUnsubscribe",
        ACCOUNTS,
        SLOTS,
    }
)
"""Everything that can be aimed at: requests, and the notifications."""


class Kind(StrEnum):
    """What a fault does."""

    # messages: notifications, and the answers over HTTP and websocket
    DROP = "drop"
    DELAY = "delay"
    DUPLICATE = "duplicate"
    REORDER = "reorder"
    STALL = "stall"
    GARBAGE = "garbage"
    UNKNOWN = "unknown"
    # connections
    HALF_OPEN = "half_open"
    CLOSE = "close"
    REFUSE = "refuse"
    RESTART = "restart"
    # requests
    RATE_LIMIT = "rate_limit"
    LIMITS = "limits"
    ERROR = "error"
    STATUS = "status"
    NULL_ACCOUNTS = "null_accounts"
    # how the chain is shown
    SLOT_SHIFT = "slot_shift"
    BEHIND = "behind"
    PRUNE = "prune"
    # the chain
    FORK = "fork"
    HALT = "halt"
    FAILED_PUSHES = "failed_pushes"
    STALE_PUSHES = "stale_pushes"
    ADDRESS_TABLES = "address_tables"
    SHARED_TRANSACTIONS = "shared_transactions"


class Number(NamedTuple):
    """A setting that is a number."""

    default: float | None
    least: float
    most: float
    whole: bool = False


class Word(NamedTuple):
    """A setting that is a word, or with no ``choices`` any text."""

    default: str | None
    choices: tuple[str, ...] = ()


class Flag(NamedTuple):
    """A setting that is true or false."""

    default: bool


Setting = Number | Word | Flag
_SECONDS: Final = 1e6
_SLOTS: Final = 10**9


class Spec(NamedTuple):
    """What may stand beside a kind in a schedule."""

    settings: dict[str, Setting] = {}  # noqa: RUF012 - nobody writes to it
    methods: frozenset[str] | None = None
    """Aimed at where the fault says nothing; empty: at all; None: methods mean nothing to this kind."""
    feeds: bool = False
    """Whether it may be aimed at feeds."""
    momentary: bool = False
    """It happens, and has no duration."""


_EVERYTHING: Final[frozenset[str]] = frozenset()
_PUSHED: Final = frozenset({ACCOUNTS})
_READING: Final = frozenset({"getAccountInfo", "getMultipleAccounts"})
_RETRY_AFTER: Final = Number(None, 0, _SECONDS)

SPECS: Final[dict[Kind, Spec]] = {
    Kind.DROP: Spec(methods=_PUSHED, feeds=True),
    Kind.DELAY: Spec(
        {"by": Number(1.0, 0, _SECONDS), "jitter": Number(0.0, 0, _SECONDS)}, methods=_PUSHED, feeds=True
    ),
    Kind.DUPLICATE: Spec({"times": Number(2, 2, 100, whole=True)}, methods=_PUSHED, feeds=True),
    Kind.REORDER: Spec({"within": Number(2.0, 0.001, _SECONDS)}, methods=_PUSHED, feeds=True),
    Kind.STALL: Spec(methods=_EVERYTHING, feeds=True),
    Kind.GARBAGE: Spec(methods=_PUSHED, feeds=True),
    Kind.UNKNOWN: Spec(methods=_PUSHED, feeds=True),
    Kind.HALF_OPEN: Spec(),
    Kind.CLOSE: Spec({"code": Number(1006, 1000, 4999, whole=True)}, momentary=True),
    Kind.REFUSE: Spec({"status": Number(429, 400, 599, whole=True), "retry_after": _RETRY_AFTER}),
    Kind.RESTART: Spec(),
    Kind.RATE_LIMIT: Spec(
        {"shape": Word("status", ("status", "answer")), "retry_after": _RETRY_AFTER},
        methods=_EVERYTHING,
        feeds=True,
    ),
    Kind.LIMITS: Spec(
        {
            "requests": Number(100, 1, 1e9, whole=True),
            "per_method": Number(40, 1, 1e9, whole=True),
            "within": Number(10.0, 0.001, 3600),
        }
    ),
    Kind.ERROR: Spec(
        {
            "code": Number(-32005, -(2**31), 2**31, whole=True),
            "data": Flag(True),
            "message": Word(None),
        },
        methods=_EVERYTHING,
        feeds=True,
    ),
    Kind.STATUS: Spec(
        {"status": Number(503, 400, 599, whole=True), "retry_after": _RETRY_AFTER},
        methods=_EVERYTHING,
        feeds=True,
    ),
    Kind.NULL_ACCOUNTS: Spec(methods=_READING, feeds=True),
    Kind.SLOT_SHIFT: Spec({"by": Number(-50, -_SLOTS, _SLOTS, whole=True)}),
    Kind.BEHIND: Spec({"slots": Number(200, 1, 10_000, whole=True)}),
    Kind.PRUNE: Spec({"keep": Number(60.0, 0, 1e9)}),
    Kind.FORK: Spec(feeds=True),
    Kind.HALT: Spec(feeds=True),
    Kind.FAILED_PUSHES: Spec(feeds=True),
    Kind.STALE_PUSHES: Spec(feeds=True),
    Kind.ADDRESS_TABLES: Spec(feeds=True),
    Kind.SHARED_TRANSACTIONS: Spec(feeds=True),
}
