"""The shapes of Solana's JSON-RPC answers and notifications, as far as they are read here.

Fields that are not named are skipped by the parser, unknown shapes raise ``msgspec.MsgspecError``.
"""

from __future__ import annotations

import binascii
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import msgspec

from quantdesk_oracle.errors import (
    NodeBehindError,
    NodeError,
    NodeProtocolError,
    NodeRefusesError,
    RateLimitedError,
    TransactionVersionError,
)
from quantdesk_oracle.pyth.addresses import SYSTEM_PROGRAM

_BEHIND = (-32005, -32016)
_RATE_LIMITED = 429
_METHOD_NOT_FOUND = -32601
_VERSION_NOT_SUPPORTED = -32015
_T = TypeVar("_T")


class AccountState(msgspec.Struct, frozen=True, gc=False):
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
        except ValueError as error:  # binascii.Error is one; letters beyond ASCII are another
            raise NodeProtocolError(f"account data is not base64: {error}") from None


class Context(msgspec.Struct, frozen=True, gc=False):
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


class SignatureInfo(msgspec.Struct, frozen=True):
    """One line of getSignaturesForAddress."""

    signature: str
    slot: int
    err: Any = None
    block_time: int | None = msgspec.field(name="blockTime", default=None)


class Instruction(msgspec.Struct, frozen=True):
    """An instruction of a transaction, accounts as indices of its keys; data in base58."""

    program: int = msgspec.field(name="programIdIndex")
    accounts: list[int]
    data: str


class InnerInstructions(msgspec.Struct, frozen=True):
    """What the outer instruction number ``index`` called."""

    index: int
    instructions: list[Instruction]


class LoadedAddresses(msgspec.Struct, frozen=True):
    """Keys from address tables, which follow the message's own."""

    writable: list[str] = []
    readonly: list[str] = []


class Meta(msgspec.Struct, frozen=True):
    """What the runtime noted about a transaction."""

    err: Any = None
    inner: list[InnerInstructions] | None = msgspec.field(name="innerInstructions", default=None)
    loaded: LoadedAddresses | None = msgspec.field(name="loadedAddresses", default=None)


class Message(msgspec.Struct, frozen=True):
    """A transaction's message."""

    keys: list[str] = msgspec.field(name="accountKeys")
    instructions: list[Instruction] = []


class TransactionBody(msgspec.Struct, frozen=True):
    """A transaction's message and who signed it."""

    message: Message
    signatures: list[str] = []


class Transaction(msgspec.Struct, frozen=True):
    """The result of getTransaction with encoding json."""

    slot: int
    transaction: TransactionBody
    meta: Meta | None
    block_time: int | None = msgspec.field(name="blockTime", default=None)

    @property
    def keys(self) -> list[str]:
        """Every account key, in the order that instructions count them in."""
        loaded = self.meta.loaded if self.meta and self.meta.loaded else LoadedAddresses()
        return [*self.transaction.message.keys, *loaded.writable, *loaded.readonly]


OPTIONAL_TRANSACTION: Any = Transaction | None
"""What getTransaction answers: null for one that the node does not have (any more)."""


class Notified(msgspec.Struct, frozen=True, gc=False):
    """What accountNotification and slotNotification bring."""

    context: Context | None = None
    value: AccountState | None = None
    slot: int | None = None


class Params(msgspec.Struct, frozen=True, gc=False):
    """Which subscription a notification is for."""

    subscription: int
    result: Notified


class Frame(msgspec.Struct, frozen=True, gc=False):
    """One websocket message: a notification (method, params) or the answer to a request (id)."""

    method: str | None = None
    params: Params | None = None
    id: int | None = None
    result: int | bool | None = None
    error: Any = None


_decode_frame = msgspec.json.Decoder(Frame).decode
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""Bytes that are no UTF-8, and nesting without end, are told by exceptions of their own."""


def read_frame(message: bytes) -> Frame:
    """One websocket message. Raises NodeProtocolError for whatever is none."""
    # Not through _readable: entering a generator a frame costs twice what parsing it does.
    try:
        return _decode_frame(message)
    except _UNREADABLE as error:
        raise NodeProtocolError(f"a frame cannot be read: {error}") from None


def read_result(text: str, kind: type[_T], endpoint: str) -> _T:
    """The result of an HTTP answer as ``kind``. Raises the NodeError that it holds, or is."""
    with _readable(f"{endpoint}'s answer"):
        envelope = msgspec.json.decode(text, type=Envelope)
        if envelope.error is not None:
            raise error_of(envelope.error, endpoint)
        return msgspec.json.decode(envelope.result, type=kind)


@contextmanager
def _readable(what: str) -> Iterator[None]:
    try:
        yield
    except _UNREADABLE as error:
        raise NodeProtocolError(f"{what} cannot be read: {error}") from None


def error_of(body: Any, endpoint: str) -> NodeError:
    """The error that an answer's ``error`` member stands for."""
    code = body.get("code") if isinstance(body, dict) else body
    text = str(body.get("message", "") if isinstance(body, dict) else body)[:200]
    if code == _RATE_LIMITED:
        return RateLimitedError(f"{endpoint} asks for patience: {text or 'error 429'}")
    if code in _BEHIND:
        return NodeBehindError(f"{endpoint} is behind: {text} ({code})")
    if code == _METHOD_NOT_FOUND:
        return NodeRefusesError(f"{endpoint} has no such method: {text} ({code})")
    if code == _VERSION_NOT_SUPPORTED:
        return TransactionVersionError(f"{endpoint} has it in another version: {text} ({code})")
    return NodeProtocolError(f"{endpoint} refuses: {text} ({code})")
