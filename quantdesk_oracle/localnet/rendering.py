"""A push's transaction as getTransaction writes it, with what the runtime would have noted about it.

Source: agave `transaction-status`. Fees, balances, compute units and logs are typical ones: nothing was executed.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Final

from quantdesk_oracle.localnet import wire
from quantdesk_oracle.localnet.transactions import COMPUTE_UNITS, UPDATE_INDEX

if TYPE_CHECKING:
    from solders.message import MessageV0

    from quantdesk_oracle.localnet.transactions import PushTransaction

_FEE: Final = 10_000
_UPDATE_UNITS: Final = 38_000
_POST_UNITS: Final = 21_000
_PAYER_BALANCE: Final = 10**12
_ACCOUNT_BALANCE: Final = 1_823_520
_INNER_HEIGHT: Final = 2


def render_transaction(push: PushTransaction, encoding: str) -> wire.Json:
    """`transaction` and `meta` in ``encoding``: json, jsonParsed, base58 or base64."""
    message = push.message
    parsed = encoding == "jsonParsed"
    if encoding == "base64":
        transaction: wire.Json = [base64.b64encode(bytes(push.transaction)).decode(), "base64"]
    elif encoding == "base58":
        transaction = [wire.base58(bytes(push.transaction)), "base58"]
    else:
        signatures = [str(signature) for signature in push.transaction.signatures]
        transaction = {"signatures": signatures, "message": _message(message, parsed=parsed)}
    return {"transaction": transaction, "meta": _meta(push, parsed=parsed)}


def _message(message: MessageV0, *, parsed: bool) -> wire.Json:
    instructions = [
        _instruction(message, one.program_id_index, tuple(one.accounts), one.data, height=None, parsed=parsed)
        for one in message.instructions
    ]
    rendered = {
        "accountKeys": _parsed_keys(message) if parsed else [str(key) for key in message.account_keys],
        "recentBlockhash": str(message.recent_blockhash),
        "instructions": instructions,
        "addressTableLookups": [],
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


def _parsed_keys(message: MessageV0) -> wire.Json:
    return [
        {
            "pubkey": str(key),
            "signer": message.is_signer(index),
            "source": "transaction",
            "writable": message.is_maybe_writable(index),
        }
        for index, key in enumerate(message.account_keys)
    ]


def _instruction(
    message: MessageV0,
    program: int,
    accounts: tuple[int, ...],
    data: bytes,
    *,
    height: int | None,
    parsed: bool,
) -> wire.Json:
    keys = message.account_keys
    if parsed:
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
    message = push.message
    inner = _instruction(
        message, push.inner_program, push.inner_accounts, push.inner_data, height=_INNER_HEIGHT, parsed=parsed
    )
    balances = [_ACCOUNT_BALANCE] * (len(message.account_keys) - 1)
    return {
        "computeUnitsConsumed": _UPDATE_UNITS + 300,
        "err": None,
        "fee": _FEE,
        "innerInstructions": [{"index": UPDATE_INDEX, "instructions": [inner]}],
        "loadedAddresses": {"readonly": [], "writable": []},
        "logMessages": _logs(push),
        "postBalances": [_PAYER_BALANCE - _FEE, *balances],
        "postTokenBalances": [],
        "preBalances": [_PAYER_BALANCE, *balances],
        "preTokenBalances": [],
        "rewards": [],
        "status": {"Ok": None},
    }


def _logs(push: PushTransaction) -> list[str]:
    keys = push.message.account_keys
    outer = push.message.instructions[UPDATE_INDEX].program_id_index
    program, receiver, budget = (
        keys[outer],
        keys[push.inner_program],
        "ComputeBudget111111111111111111111111111111",
    )
    return [
        *[f"Program {budget} invoke [1]", f"Program {budget} success"] * UPDATE_INDEX,
        f"Program {program} invoke [1]",
        "Program log: Instruction: UpdatePriceFeed",
        f"Program {receiver} invoke [2]",
        "Program log: Instruction: PostUpdate",
        f"Program {receiver} consumed {_POST_UNITS} of {COMPUTE_UNITS - 15_000} compute units",
        f"Program {receiver} success",
        f"Program {program} consumed {_UPDATE_UNITS} of {COMPUTE_UNITS - 300} compute units",
        f"Program {program} success",
    ]
