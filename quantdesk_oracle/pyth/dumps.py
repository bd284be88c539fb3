"""Account dumps as `solana account --output json` writes them: one object, or a list of them, a file."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Any

from quantdesk_oracle.errors import DataError
from quantdesk_oracle.pyth import addresses

RENT_EPOCH_EXEMPT = 2**64 - 1


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
    account = _get(entry, "account", dict)
    data = _get(account, "data", list)
    if len(data) != 2 or not isinstance(data[0], str) or data[1] != "base64":
        raise DataError(f'account.data is {str(data)[:60]}, expected [text, "base64"]')
    try:
        raw = base64.b64decode(data[0], validate=True)
    except (binascii.Error, ValueError) as error:
        raise DataError(f"account.data is not base64: {error}") from None
    return AccountDump(
        pubkey=_pubkey(entry, "pubkey"),
        owner=_pubkey(account, "owner"),
        data=raw,
        lamports=_integer(account, "lamports", 0),
        executable=account.get("executable") is True,
        rent_epoch=_integer(account, "rentEpoch", RENT_EPOCH_EXEMPT),
    )


def _get(entry: object, key: str, kind: type) -> Any:
    value = entry.get(key) if isinstance(entry, dict) else None
    if not isinstance(value, kind):
        raise DataError(f"no account dump: {key!r} is {str(value)[:60]}, expected a {kind.__name__}")
    return value


def _pubkey(entry: object, key: str) -> str:
    value = _get(entry, key, str)
    if not addresses.is_pubkey(value):
        raise DataError(f"{key} is {value[:60]!r}, expected 32 bytes in base58")
    return str(value)


def _integer(account: dict[str, Any], key: str, default: int) -> int:
    value = account.get(key, default)
    # Some tools write rentEpoch as a float, because 2**64 - 1 is none of JavaScript's integers.
    if isinstance(value, float) and value >= RENT_EPOCH_EXEMPT:
        return RENT_EPOCH_EXEMPT
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= RENT_EPOCH_EXEMPT:
        raise DataError(f"account.{key} is {str(value)[:60]}, expected an integer of 64 bits")
    return value
