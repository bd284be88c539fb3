"""Values as a node writes them in JSON. Source: agave's `account-decoder` and `transaction-status`."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any, Final

from quantdesk_oracle.pyth import addresses

if TYPE_CHECKING:
    from quantdesk_oracle.localnet.subscriptions import DataSlice
    from quantdesk_oracle.pyth.dumps import AccountDump

Json = Any
"""Whatever json.dumps takes: the wire has no narrower type."""

API_VERSION: Final = "4.1.2"
"""The release of the node whose answers these are."""
LONGEST_BASE58: Final = 128
"""Bytes; a node refuses to write longer data in base58."""
_ALPHABET: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


def dumps(value: Json) -> bytes:
    """JSON without spaces."""
    return json.dumps(value, separators=(",", ":")).encode()


def base58(data: bytes) -> str:
    """Bytes of any length in base58."""
    number, digits = int.from_bytes(data, "big"), []
    while number:
        number, digit = divmod(number, 58)
        digits.append(_ALPHABET[digit])
    zeros = len(data) - len(data.lstrip(b"\0"))
    return "1" * zeros + "".join(reversed(digits))


def account(state: AccountDump, encoding: str, data_slice: DataSlice | None = None) -> Json:
    """An account's state. ``jsonParsed`` gives base64: no parser knows Pyth's accounts."""
    data = state.data
    if data_slice is not None:
        data = data[data_slice.offset : data_slice.offset + data_slice.length]
    return {
        "data": encoded(data, encoding),
        "executable": state.executable,
        "lamports": state.lamports,
        "owner": state.owner,
        "rentEpoch": state.rent_epoch,
        "space": len(state.data),
    }


def encoded(data: bytes, encoding: str) -> Json:
    """Account data in ``encoding``; ``binary`` is the wire's oldest form, base58 without its name."""
    if encoding in ("base58", "binary"):
        text = base58(data) if len(data) <= LONGEST_BASE58 else "error: data too large for bs58 encoding"
        return text if encoding == "binary" else [text, "base58"]
    return [base64.b64encode(data).decode(), "base64"]


def context(slot: int) -> Json:
    """Of an answer over HTTP."""
    return {"apiVersion": API_VERSION, "slot": slot}


def notification(method: str, result: Json, subscription: int) -> bytes:
    """What a subscriber is sent."""
    params = {"result": result, "subscription": subscription}
    return dumps({"jsonrpc": "2.0", "method": method, "params": params})


def account_notification(
    slot: int, state: AccountDump, encoding: str, data_slice: DataSlice | None, subscription: int
) -> bytes:
    """An account's new state; a notification's context has no version."""
    if encoding in ("base64", "jsonParsed") and data_slice is None:
        return _base64_notification(slot, state, subscription)
    value = account(state, encoding, data_slice)
    return notification("accountNotification", {"context": {"slot": slot}, "value": value}, subscription)


def _base64_notification(slot: int, state: AccountDump, subscription: int) -> bytes:
    """The same text as json.dumps writes, in a quarter of the time: a node under load writes little else."""
    data = base64.b64encode(state.data).decode()
    executable = "true" if state.executable else "false"
    return (
        '{"jsonrpc":"2.0","method":"accountNotification","params":{"result":{"context":{"slot":'
        f'{slot}}},"value":{{"data":["{data}","base64"],"executable":{executable},"lamports":{state.lamports},'
        f'"owner":"{state.owner}","rentEpoch":{state.rent_epoch},"space":{len(state.data)}}}}},'
        f'"subscription":{subscription}}}}}'
    ).encode()


def slot_notification(slot: int, subscription: int) -> bytes:
    """A slot that has begun; 31 slots behind it the cluster's root stands."""
    result = {"parent": max(0, slot - 1), "root": max(0, slot - 32), "slot": slot}
    return notification("slotNotification", result, subscription)


def is_closed(state: AccountDump) -> bool:
    """Whether an account is gone: null over HTTP, lamports 0 and the system owner on the websocket."""
    return state.lamports == 0 and state.owner == addresses.SYSTEM_PROGRAM
