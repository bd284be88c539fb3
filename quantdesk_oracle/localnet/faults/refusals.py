"""How a node says no, in all the shapes that clients have met, and what it leaves out."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from quantdesk_oracle.localnet.faults.kinds import Kind
from quantdesk_oracle.localnet.jsonrpc import RpcError
from quantdesk_oracle.localnet.passage import HttpAnswer, RefusalError

if TYPE_CHECKING:
    from quantdesk_oracle.localnet.faults.armed import Armed
    from quantdesk_oracle.localnet.passage import Request
    from quantdesk_oracle.localnet.wire import Json

_TOO_MANY: Final = "Too many requests for a specific RPC call"
_SENTENCES: Final = {
    -32005: "Node is behind by 42 slots",
    -32016: "Minimum context slot has not been reached",
    -32603: "Internal error",
    429: _TOO_MANY,
}
_DATA: Final[dict[int, Any]] = {-32005: {"numSlotsBehind": 42}, -32016: {"contextSlot": 1}}


def refuse(status: int, retry_after: float | None = None) -> RefusalError:
    """An HTTP answer of ``status``, with Retry-After (seconds) where that is given."""
    headers = {} if retry_after is None else {"Retry-After": f"{retry_after:g}"}
    if status == 429:
        body = {"jsonrpc": "2.0", "error": {"code": 429, "message": _TOO_MANY}, "id": None}
        headers["Content-Type"] = "application/json"
        return RefusalError(HttpAnswer(status, json.dumps(body).encode(), headers))
    headers["Content-Type"] = "text/html"
    return RefusalError(HttpAnswer(status, f"<html><h1>{status}</h1></html>".encode(), headers))


def _rate_limit(settings: Mapping[str, Any]) -> Exception:
    if settings["shape"] == "answer":
        return RpcError(429, _TOO_MANY)
    return refuse(429, settings["retry_after"])


def _error(settings: Mapping[str, Any]) -> Exception:
    code = settings["code"]
    sentence = settings["message"] or _SENTENCES.get(code, "Server error")
    return RpcError(code, sentence, _DATA.get(code, {}) if settings["data"] else None)


def _status(settings: Mapping[str, Any]) -> Exception:
    return refuse(settings["status"], settings["retry_after"])


KINDS: Final[dict[Kind, Callable[[Mapping[str, Any]], Exception]]] = {
    Kind.RATE_LIMIT: _rate_limit,
    Kind.STATUS: _status,
    Kind.ERROR: _error,
}
"""The faults that refuse a request, each with how."""


def empty_accounts(armed: Armed, request: Request, result: Json) -> None:
    """Let accounts that the fault hits be null in ``result``, each by a throw of its own."""
    if armed.fault.methods and request.method not in armed.fault.methods:
        return
    if request.method == "getAccountInfo" and armed.strikes(pubkeys=request.keys()):
        result["value"] = None
    elif request.method == "getMultipleAccounts":
        result["value"] = [
            None if armed.strikes(pubkeys=(key,)) else state
            for key, state in zip(request.keys(), result["value"], strict=True)
        ]
