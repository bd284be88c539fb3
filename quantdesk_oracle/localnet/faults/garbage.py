"""Messages that nobody can read, and messages that nobody asked for. None of them holds a price that is not true."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from quantdesk_oracle.localnet import wire

if TYPE_CHECKING:
    from random import Random

NOBODY: Final = 4_000_000_000
"""A subscription, or a request, that nobody has."""
_NO_JSON: Final = (
    b"",
    b"<html><head><title>502 Bad Gateway</title></head></html>",
    b"upstream connect error or disconnect/reset before headers",
    b'{"jsonrpc":"2.0",',
    b"[" * 3_000,
    b"NaN",
)
_NO_FRAME: Final = (b"null", b"[]", b"{}", b"42", b'"text"', b"true", b'[{"jsonrpc":"2.0"}]', b"1e999")
_WRONG_VALUES: Final[tuple[Any, ...]] = (None, [], {}, "text", -1, 2**70, True)


def mangle(message: bytes, random: Random) -> bytes:
    """``message`` as it might arrive where something between the two is broken: never readable as what it was.

    Cut short, no UTF-8, no JSON, JSON of another shape, or with a part of it replaced.
    """
    way = random.randrange(5)
    if way == 0:
        return message[: random.randrange(len(message))] if message else b"{"
    if way == 1:
        return b"\xff\xfe" + random.randbytes(random.randrange(40))
    if way == 2:
        return random.choice(_NO_JSON)
    if way == 3:
        return random.choice(_NO_FRAME)
    return _with_a_wrong_part(message, random)


def _with_a_wrong_part(message: bytes, random: Random) -> bytes:
    """A notification, or an answer about accounts, whose data are no account's, or whose parts are of wrong types."""
    try:
        frame = json.loads(message)
    except ValueError:
        return random.choice(_NO_FRAME)
    if not isinstance(frame, dict):
        return random.choice(_NO_FRAME)
    result = frame["params"]["result"] if "params" in frame else frame.get("result")
    value = result.get("value") if isinstance(result, dict) else None
    states = [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, dict)]
    if not states or random.random() < 0.3:
        key = "params" if "params" in frame else "result"
        return wire.dumps({**frame, key: random.choice(_WRONG_VALUES)})
    for state in states:
        state["data"] = random.choice(
            (["AAAA", "base64"], ["%%%", "base64"], ["", "base64"], ["AAAA", "base65"], "AAAA", None, [1, 2])
        )
    return wire.dumps(frame)


def stranger(message: bytes, random: Random) -> bytes:
    """A frame that nobody asked for, beside the notification ``message``."""
    frame = json.loads(message)
    strangers: tuple[Any, ...] = (
        {**frame, "params": {**frame["params"], "subscription": NOBODY}},
        {**frame, "method": "futureNotification"},
        {**frame, "method": "futureNotification", "params": ["a", 1, None]},
        {"jsonrpc": "2.0", "method": "slotsUpdatesNotification"},
        {"jsonrpc": "2.0", "result": NOBODY, "id": NOBODY},
        {"jsonrpc": "2.0", "result": True, "id": NOBODY},
        {"jsonrpc": "2.0", "result": {"value": None}, "id": "text"},
        {"jsonrpc": "2.0", "error": {"code": -32603, "message": "Internal error"}, "id": NOBODY},
        {"jsonrpc": "2.0", "error": {"code": -32700, "message": "Parse error"}, "id": None},
        {"jsonrpc": "2.0", "error": {"code": -32005, "message": "Node is unhealthy"}, "id": NOBODY},
    )
    return wire.dumps(random.choice(strangers))
