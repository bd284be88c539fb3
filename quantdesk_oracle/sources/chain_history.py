"""A feed's history as the chain keeps it: the transactions that touched its account, and the prints in them.

An accepted push is the receiver's `post_update` inside the push program's instruction; a push that was not newer
succeeds without it. So the receiver's instruction is the record, wherever in a transaction it stands, and the
transaction's slot is the `posted_slot` that the account then held.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from quantdesk_oracle.errors import DecodeError, NodeProtocolError
from quantdesk_oracle.model import PriceUpdate
from quantdesk_oracle.pyth import layouts
from quantdesk_oracle.pyth.addresses import PUSH_PROGRAMS, RECEIVERS
from quantdesk_oracle.pyth.messages import decode_instruction, decode_price_message

if TYPE_CHECKING:
    from quantdesk_oracle.config import Feed
    from quantdesk_oracle.sources.wire import Instruction, Transaction

_ALPHABET: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_DIGITS: Final = {letter: value for value, letter in enumerate(_ALPHABET)}
QUORUM: Final = 13
"""Guardian signatures, of 19, that make an update *Full*."""
_SIGNATURES_OFFSET: Final = 5
"""Of a VAA: version u8, guardian set u32, then the number of signatures."""


def prints_of(transaction: Transaction, feed: Feed) -> list[PriceUpdate]:
    """The prints that ``transaction`` wrote into the feed's account, in their order.

    Raises NodeProtocolError for a transaction that does not fit together, or that a node keeps without what it did.
    """
    if transaction.meta is not None and transaction.meta.err is not None:
        return []
    keys = transaction.keys
    if _hides_what_it_did(transaction, keys):
        raise NodeProtocolError(
            f"a transaction of slot {transaction.slot} comes without its inner instructions"
        )
    prints = []
    for instruction in _instructions(transaction):
        try:
            program = keys[instruction.program]
            if not _is_receiver(program, feed):
                continue
            update = _print(instruction, keys, feed, transaction.slot)
        except IndexError:
            raise NodeProtocolError(
                f"a transaction of slot {transaction.slot} names keys that it lacks"
            ) from None
        if update is not None:
            prints.append(update)
    return prints


def has_history(feed: Feed) -> bool:
    """Whether the chain keeps the feed's prints: those of legacy accounts are not in transactions of their own."""
    return feed.generation is None or feed.generation in RECEIVERS


def decode_base58(text: str) -> bytes:
    """Bytes of any length from base58. Raises NodeProtocolError."""
    number = 0
    try:
        for letter in text:
            number = number * 58 + _DIGITS[letter]
    except KeyError:
        raise NodeProtocolError(f"instruction data is no base58: {text[:20]!r}…") from None
    zeros = len(text) - len(text.lstrip("1"))
    return bytes(zeros) + number.to_bytes((number.bit_length() + 7) // 8, "big")


def _hides_what_it_did(transaction: Transaction, keys: list[str]) -> bool:
    """Whether a push may have written a print, and the node does not say: it keeps no records of calls."""
    if transaction.meta is None:
        return True
    if transaction.meta.inner is not None:
        return False
    outer = transaction.transaction.message.instructions
    return any(keys[one.program] in PUSH_PROGRAMS.values() for one in outer if one.program < len(keys))


def _is_receiver(program: str, feed: Feed) -> bool:
    if feed.generation is None:
        return program in RECEIVERS.values()
    return program == RECEIVERS.get(feed.generation)


def _instructions(transaction: Transaction) -> Iterator[Instruction]:
    """Outer instructions, each followed by what it called."""
    inner: dict[int, list[Instruction]] = {}
    assert transaction.meta is not None
    for group in transaction.meta.inner or ():
        inner.setdefault(group.index, []).extend(group.instructions)
    for index, instruction in enumerate(transaction.transaction.message.instructions):
        yield instruction
        yield from inner.get(index, ())


def _print(instruction: Instruction, keys: list[str], feed: Feed, slot: int) -> PriceUpdate | None:
    data = decode_base58(instruction.data)
    try:
        posted = decode_instruction(data)
        if keys[instruction.accounts[posted.account_index]] != feed.pubkey:
            return None
        return decode_price_message(posted.message, slot, _missing_signatures(posted.discriminator, data))
    except DecodeError:
        # Another instruction of the receiver, or a message that holds no price.
        return None


def _missing_signatures(discriminator: bytes, data: bytes) -> int | None:
    """Of an update that brought its own VAA with less than a quorum: how many signatures; None: *Full*."""
    if discriminator != layouts.POST_UPDATE_ATOMIC:
        return None
    count = data[len(discriminator) + 4 + _SIGNATURES_OFFSET]
    return count if count < QUORUM else None
