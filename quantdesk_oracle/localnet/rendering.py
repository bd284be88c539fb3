"""A push's transaction as getTransaction writes it, with what the runtime would have noted about it.

Source: agave `transaction-status`. Fees, balances, compute units and logs are typical ones: nothing was executed.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Final

from quantdesk_oracle.localnet import wire
from quantdesk_oracle.localnet.history import Outcome
from quantdesk_oracle.localnet.transactions import COMPUTE_UNITS, UPDATE_INDEX

if TYPE_CHECKING:
    from quantdesk_oracle.localnet.transactions import PushTransaction

_FEE: Final = 10_000
_UPDATE_UNITS: Final = 38_000
_POST_UNITS: Final = 21_000
_PAYER_BALANCE: Final = 10**12
_ACCOUNT_BALANCE: Final = 1_823_520
_INNER_HEIGHT: Final = 2
_CUSTOM_ERROR: Final = 6005
"""A failed push's: any number of the program's own."""
_BUDGET: Final = "ComputeBudget111111111111111111111111111111"


def render_transaction(push: PushTransaction, encoding: str) -> wire.Json:
    """`transaction` and `meta` in ``encoding``: json, jsonParsed, base58 or base64."""
    parsed = encoding == "jsonParsed"
    if encoding == "base64":
        transaction: wire.Json = [base64.b64encode(bytes(push.transaction)).decode(), "base64"]
    elif encoding == "base58":
        transaction = [wire.base58(bytes(push.transaction)), "base58"]
    else:
        signatures = [str(signature) for signature in push.transaction.signatures]
        transaction = {"signatures": signatures, "message": _message(push, parsed=parsed)}
    return {"transaction": transaction, "meta": _meta(push, parsed=parsed)}


def _message(push: PushTransaction, *, parsed: bool) -> wire.Json:
    message = push.message
    instructions = [
        _instruction(push, one.program_id_index, tuple(one.accounts), one.data, height=None, parsed=parsed)
        for one in message.instructions
    ]
    rendered = {
        "accountKeys": _parsed_keys(push) if parsed else [str(key) for key in message.account_keys],
        "recentBlockhash": str(message.recent_blockhash),
        "instructions": instructions,
        "addressTableLookups": [
            {
                "accountKey": str(lookup.account_key),
                "readonlyIndexes": list(lookup.readonly_indexes),
                "writableIndexes": list(lookup.writable_indexes),
            }
            for lookup in message.address_table_lookups
        ],
    }
    if parsed:
        return rendered
    header = message.header
    return {
        **rendered,
        "header": {
            "numRequiredSignatures": header.num_required_signatures,
            "numReadonlySignedAccounts": header.num_readonly_signed_accounts,
            "numReadonlyUnsignedAccounts": header.num_readonly_unsigned_accounts,
        },
    }


def _parsed_keys(push: PushTransaction) -> wire.Json:
    message = push.message
    named = [
        (str(key), message.is_signer(index), "transaction", message.is_maybe_writable(index))
        for index, key in enumerate(message.account_keys)
    ]
    loaded = [(str(key), False, "lookupTable", True) for key in push.loaded.writable]
    loaded += [(str(key), False, "lookupTable", False) for key in push.loaded.readonly]
    return [
        {"pubkey": key, "signer": signer, "source": source, "writable": writable}
        for key, signer, source, writable in named + loaded
    ]


def _instruction(
    push: PushTransaction,
    program: int,
    accounts: tuple[int, ...],
    data: bytes,
    *,
    height: int | None,
    parsed: bool,
) -> wire.Json:
    if parsed:
        keys = push.keys
        return {
            "accounts": [str(keys[index]) for index in accounts],
            "data": wire.base58(data),
            "programId": str(keys[program]),
            "stackHeight": height,
        }
    return {
        "accounts": list(accounts),
        "data": wire.base58(data),
        "programIdIndex": program,
        "stackHeight": height,
    }


def _meta(push: PushTransaction, *, parsed: bool) -> wire.Json:
    inner = [
        {
            "index": call.outer,
            "instructions": [
                _instruction(
                    push, call.program, call.accounts, call.data, height=_INNER_HEIGHT, parsed=parsed
                )
            ],
        }
        for call in push.calls
    ]
    error = error_of(push.outcome)
    balances = [_ACCOUNT_BALANCE] * (len(push.keys) - 1)
    return {
        "computeUnitsConsumed": _UPDATE_UNITS + 300,
        "err": error,
        "fee": _FEE,
        "innerInstructions": inner,
        "loadedAddresses": {
            "readonly": [str(key) for key in push.loaded.readonly],
            "writable": [str(key) for key in push.loaded.writable],
        },
        "logMessages": _logs(push),
        "postBalances": [_PAYER_BALANCE - _FEE, *balances],
        "postTokenBalances": [],
        "preBalances": [_PAYER_BALANCE, *balances],
        "preTokenBalances": [],
        "rewards": [],
        "status": {"Ok": None} if error is None else {"Err": error},
    }


def error_of(outcome: Outcome) -> wire.Json:
    """What a node notes as `err` of a transaction: null where it succeeded."""
    if outcome is Outcome.FAILED:
        return {"InstructionError": [UPDATE_INDEX, {"Custom": _CUSTOM_ERROR}]}
    return None


def _logs(push: PushTransaction) -> list[str]:
    lines = [f"Program {_BUDGET} invoke [1]", f"Program {_BUDGET} success"] * UPDATE_INDEX
    for outer in range(UPDATE_INDEX, len(push.message.instructions)):
        lines += _push_logs(push, outer)
        if push.outcome is Outcome.FAILED:
            break
    return lines


def _push_logs(push: PushTransaction, outer: int) -> list[str]:
    """What one `update_price_feed` logs."""
    keys = push.keys
    program = keys[push.message.instructions[outer].program_id_index]
    lines = [f"Program {program} invoke [1]", "Program log: Instruction: UpdatePriceFeed"]
    for receiver in (keys[call.program] for call in push.calls if call.outer == outer):
        lines += [
            f"Program {receiver} invoke [2]",
            "Program log: Instruction: PostUpdate",
            f"Program {receiver} consumed {_POST_UNITS} of {COMPUTE_UNITS - 15_000} compute units",
            f"Program {receiver} success",
        ]
    lines.append(f"Program {program} consumed {_UPDATE_UNITS} of {COMPUTE_UNITS - 300} compute units")
    if push.outcome is Outcome.FAILED:
        return [*lines, f"Program {program} failed: custom program error: {_CUSTOM_ERROR:#x}"]
    return [*lines, f"Program {program} success"]
