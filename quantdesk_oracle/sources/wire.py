"""The shapes of Solana's JSON-RPC answers and notifications, as far as they are read here.

Fields that are not named are skipped by the parser, unknown shapes raise ``msgspec.MsgspecError``.
"""

from __future__ import annotations

import binascii
from typing import Any

import msgspec

from quantdesk_oracle.errors import NodeBehindError, NodeError, NodeProtocolError, RateLimitedError
from quantdesk_oracle.pyth.addresses import SYSTEM_PROGRAM

_BEHIND = (-32005, -32016)
_RATE_LIMITED = 429


class AccountState(msgspec.Struct, frozen=True):
    """An account as a node writes it with encoding base64."""

    data: tuple[str, str]
    owner: str
    lamports: int

    def raw(self) -> bytes | None:
        """The account's bytes; None where it has been closed. Raises NodeProtocolError."""
        if self.lamports == 0 and self.owner == SYSTEM_PROGRAM:
            return None
        if self.data[1] != "base64":
            raise NodeProtocolError(f"account data is encoded as {self.data[1]!r}, asked for base64")
        try:
            return binascii.a2b_base64(self.data[0], strict_mode=True)
        except binascii.Error as error:
            raise NodeProtocolError(f"account data is not base64: {error}") from None


class Context(msgspec.Struct, frozen=True):
    """At which slot a node answers."""

    slot: int


class Accounts(msgspec.Struct, frozen=True):
    """The result of getMultipleAccounts."""

    context: Context
    value: list[AccountState | None]


class Envelope(msgspec.Struct, frozen=True):
    """What every answer is wrapped in."""

    result: msgspec.Raw = msgspec.Raw()
    error: Any = None


class Notified(msgspec.Struct, frozen=True):
    """What accountNotification and slotNotification bring."""

    context: Context | None = None
    value: AccountState | None = None
    slot: int | None = None


class Params(msgspec.Struct, frozen=True):
    """Which subscription a notification is for."""

    subscription: int
    result: Notified


class Frame(msgspec.Struct, frozen=True):
    """One websocket message: a notification (method, params) or the answer to a request (id)."""

    method: str | None = None
    params: Params | None = None
    id: int | None = None
    result: int | bool | None = None
    error: Any = None


def error_of(body: Any, endpoint: str) -> NodeError:
    """The error that an answer's ``error`` member stands for."""
    code = body.get("code") if isinstance(body, dict) else body
    text = str(body.get("message", "") if isinstance(body, dict) else body)[:200]
    if code == _RATE_LIMITED:
        return RateLimitedError(f"{endpoint} asks for patience: {text or 'error 429'}")
    if code in _BEHIND:
        return NodeBehindError(f"{endpoint} is behind: {text} ({code})")
    return NodeProtocolError(f"{endpoint} refuses: {text} ({code})")
