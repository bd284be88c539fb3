"""JSON-RPC 2.0 as a Solana node speaks it: requests, batches, errors, and the parameters of its methods.

Error codes and sentences: jsonrpc-core, agave `rpc-client-api/src/custom_error.rs` and `rpc/src/rpc.rs`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from solders.pubkey import Pubkey
from solders.signature import Signature

from quantdesk_oracle.localnet import wire
from quantdesk_oracle.localnet.subscriptions import DataSlice

if TYPE_CHECKING:
    from collections.abc import Callable

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
BLOCK_NOT_AVAILABLE: Final = -32004
UNSUPPORTED_VERSION: Final = -32015
MIN_CONTEXT_SLOT: Final = -32016

_COMMITMENTS: Final = ("processed", "confirmed", "finalized")
_ACCOUNT_ENCODINGS: Final = ("binary", "base58", "base64", "jsonParsed")
_U64: Final = 1 << 64


class RpcError(Exception):
    """An answer that is an error: code, sentence, and data where a node sends some."""

    def __init__(self, code: int, message: str, data: wire.Json = None) -> None:
        self.code = code
        self.data = data
        super().__init__(message)

    def to_json(self) -> wire.Json:
        error = {"code": self.code, "message": str(self)}
        return error if self.data is None else {**error, "data": self.data}


def answer(body: bytes | str, call: Callable[[str, Parameters], wire.Json]) -> bytes | None:
    """The answer to one request or a batch of them; None where nothing but notifications was sent.

    ``call`` takes a method's name and its parameters, and returns its result or raises RpcError.
    """
    try:
        request = json.loads(body)
    except (ValueError, RecursionError):
        return wire.dumps(_error(RpcError(PARSE_ERROR, "Parse error"), None))
    if not isinstance(request, list | dict):
        return wire.dumps(_error(RpcError(PARSE_ERROR, "Parse error"), None))
    if isinstance(request, dict):
        single = _answer_one(request, call)
        return None if single is None else wire.dumps(single)
    if not request:
        return wire.dumps(_error(RpcError(INVALID_REQUEST, "Invalid request"), None))
    answers = [one for entry in request if (one := _answer_one(entry, call)) is not None]
    return wire.dumps(answers) if answers else None


def _answer_one(request: Any, call: Callable[[str, Parameters], wire.Json]) -> wire.Json:
    if not isinstance(request, dict) or not isinstance(request.get("method"), str):
        return _error(RpcError(INVALID_REQUEST, "Invalid request"), None)
    request_id = request.get("id")
    try:
        if request.get("jsonrpc") != "2.0":
            raise RpcError(INVALID_REQUEST, "Unsupported JSON-RPC protocol version")
        result = call(request["method"], Parameters(request.get("params")))
    except RpcError as error:
        return _error(error, request_id) if "id" in request else None
    return {"jsonrpc": "2.0", "result": result, "id": request_id} if "id" in request else None


def _error(error: RpcError, request_id: wire.Json) -> wire.Json:
    return {"jsonrpc": "2.0", "error": error.to_json(), "id": request_id}


def method_not_found() -> RpcError:
    return RpcError(METHOD_NOT_FOUND, "Method not found")


def invalid(message: str) -> RpcError:
    return RpcError(INVALID_PARAMS, message)


class Parameters:
    """A request's positional parameters; every reader of one raises RpcError where it is not what it must be."""

    def __init__(self, params: Any) -> None:
        if params is None:
            params = []
        if not isinstance(params, list):
            raise invalid("`params` should be an array")
        self._params = params

    def keys(self) -> tuple[str, ...]:
        """Every text of the first parameter: the accounts that the request is about, where it is about some."""
        first = self._params[0] if self._params else None
        found = first if isinstance(first, list) else [first]
        return tuple(one for one in found if isinstance(one, str))

    def at_least(self, count: int) -> None:
        if len(self._params) < count:
            raise invalid(f"`params` should have at least {count} argument(s)")

    def pubkey(self, index: int) -> str:
        return parse_pubkey(self.text(index), "Invalid param: {}")

    def text(self, index: int) -> str:
        self.at_least(index + 1)
        value = self._params[index]
        if not isinstance(value, str):
            raise invalid(f"Invalid params: invalid type: {_kind(value)}, expected a string.")
        return value

    def texts(self, index: int) -> list[str]:
        self.at_least(index + 1)
        values = self._params[index]
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            raise invalid(f"Invalid params: invalid type: {_kind(values)}, expected a sequence of strings.")
        return values

    def whole(self, index: int) -> int:
        self.at_least(index + 1)
        return _whole(self._params[index])

    def config(self, index: int) -> Config:
        value = self._params[index] if len(self._params) > index else None
        # getTransaction and its kin take the encoding alone, too.
        if isinstance(value, str):
            return Config({"encoding": value})
        if not isinstance(value, dict | None):
            raise invalid(f"Invalid params: invalid type: {_kind(value)}, expected a configuration object.")
        return Config(value or {})


class Config:
    """The configuration object of a request. Keys that nobody knows are ignored, as a node does."""

    def __init__(self, fields: dict[str, Any]) -> None:
        self._fields = fields

    def commitment(self) -> str:
        return self._one_of("commitment", _COMMITMENTS, "finalized")

    def at_least_confirmed(self) -> None:
        """Of methods that read blocks."""
        if self.commitment() == "processed":
            raise invalid("Method does not support commitment below `confirmed`")

    def encoding(self) -> str:
        """Of an account's data; base64 where nothing is said."""
        return self._one_of("encoding", _ACCOUNT_ENCODINGS, "base64")

    def transaction_encoding(self) -> str:
        return self._one_of("encoding", ("json", "jsonParsed", "base58", "base64"), "json")

    def data_slice(self) -> DataSlice | None:
        value = self._fields.get("dataSlice")
        if value is None:
            return None
        if not isinstance(value, dict):
            raise invalid(f"Invalid params: invalid type: {_kind(value)}, expected struct UiDataSliceConfig.")
        return DataSlice(_whole(value.get("offset")), _whole(value.get("length")))

    def whole(self, key: str) -> int | None:
        value = self._fields.get(key)
        return None if value is None else _whole(value)

    def signature(self, key: str) -> str | None:
        value = self._fields.get(key)
        return None if value is None else parse_signature(value)

    def check_context(self, slot: int) -> None:
        """Raise -32016 where the client wants a later slot than ``slot``."""
        least = self.whole("minContextSlot")
        if least is not None and slot < least:
            raise RpcError(
                MIN_CONTEXT_SLOT, "Minimum context slot has not been reached", {"contextSlot": slot}
            )

    def _one_of(self, key: str, known: tuple[str, ...], default: str) -> str:
        value = self._fields.get(key)
        if value is None:
            return default
        if not isinstance(value, str):
            raise invalid(f"Invalid params: invalid type: {_kind(value)}, expected a string.")
        if value not in known:
            names = ", ".join(f"`{name}`" for name in known)
            raise invalid(f"Invalid params: unknown variant `{value}`, expected one of {names}.")
        return value


def parse_pubkey(text: str, sentence: str) -> str:
    """``text`` where it is 32 bytes in base58; ``sentence`` has a place for what is wrong."""
    try:
        return str(Pubkey.from_string(text))
    except ValueError as error:
        raise invalid(sentence.format("WrongSize" if "size" in str(error).lower() else "Invalid")) from None


def parse_signature(value: Any) -> str:
    """``value`` where it is a signature in base58."""
    try:
        return str(Signature.from_string(value))
    except (ValueError, TypeError):
        raise invalid("Invalid param: Invalid") from None


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < _U64:
        raise invalid(f"Invalid params: invalid type: {_kind(value)}, expected u64.")
    return value


def _kind(value: Any) -> str:
    """How a node names a value that it did not expect."""
    match value:
        case None:
            return "null"
        case bool():
            return f"boolean `{str(value).lower()}`"
        case int():
            return f"integer `{value}`"
        case float():
            return f"floating point `{value}`"
        case str():
            return f'string "{value}"'
    return "map" if isinstance(value, dict) else "sequence"
