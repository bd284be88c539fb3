"""Account dumps as `solana account --output json` writes them: one object, or a list of them, a file."""

from __future__ import annotations

import base64
import json
import reprlib
from dataclasses import dataclass
from typing import Any

from quantdesk_oracle.errors import DataError
from quantdesk_oracle.pyth import addresses

_U64_MAX = 2**64 - 1
RENT_EPOCH_EXEMPT = _U64_MAX


@dataclass(frozen=True, slots=True)
class AccountDump:
    """An account as it stood at some moment."""

    pubkey: str
    owner: str
    data: bytes
    lamports: int = 0
    executable: bool = False
    rent_epoch: int = RENT_EPOCH_EXEMPT


def split_dumps(text: str) -> list[object]:
    """The entries of a dump file's ``text``, not yet checked. Raises DataError where it is no JSON."""
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"not JSON: {error}") from None
    return parsed if isinstance(parsed, list) else [parsed]


def parse_dump(entry: object) -> AccountDump:
    """One entry of a dump file. Raises DataError that names the key which is missing or wrong."""
    pubkey = _pubkey(entry, "pubkey")
    account = _get(entry, "account", dict)
    return AccountDump(
        pubkey=pubkey,
        owner=_pubkey(account, "owner"),
        data=_data(account),
        lamports=_lamports(account),
        executable=account.get("executable") is True,
        rent_epoch=_rent_epoch(account),
    )


def _get(entry: object, key: str, kind: type) -> Any:
    if not isinstance(entry, dict):
        raise DataError(f"no account dump: {_shown(entry)}, expected an object with {key!r}")
    if key not in entry:
        raise DataError(f"no account dump: it has no {key!r}")
    if not isinstance(entry[key], kind):
        raise DataError(f"no account dump: {key} is {_shown(entry[key])}, expected a {kind.__name__}")
    return entry[key]


def _pubkey(entry: object, key: str) -> str:
    value = _get(entry, key, str)
    if not addresses.is_pubkey(value):
        raise DataError(f"no account dump: {key} is {_shown(value)}, expected 32 bytes in base58")
    return str(value)


def _data(account: dict[str, Any]) -> bytes:
    data = _get(account, "data", list)
    if len(data) != 2 or not isinstance(data[0], str) or data[1] != "base64":
        raise DataError(f'no account dump: data is {_shown(data)}, expected [text, "base64"]')
    try:
        return base64.b64decode(data[0], validate=True)
    except ValueError as error:
        raise DataError(f"no account dump: data is not base64: {error}") from None


def _lamports(account: dict[str, Any]) -> int:
    value = account.get("lamports", 0)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _U64_MAX:
        raise DataError(f"no account dump: lamports is {_shown(value)}, expected an integer of 64 bits")
    return value


def _rent_epoch(account: dict[str, Any]) -> int:
    """The rent epoch, which nobody needs any more: what is none counts as exempt.

    Many tools cannot write 2**64 - 1: it comes as a float, as 18446744073709552000, or not at all.
    """
    value = account.get("rentEpoch")
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _U64_MAX:
        return RENT_EPOCH_EXEMPT
    return value


def _shown(value: object) -> str:
    """The beginning of ``value`` for a message, however deep or long it is."""
    return reprlib.repr(value)[:80]
