"""A stand-in for Pyth's receiver that a real runtime executes: it writes the print of an instruction into the feed.

Nothing is verified and nothing is called. The accounts stand in such an order that all of what the program is handed
lies at fixed places, so that it is a straight line of copies. The instructions are those of sBPF version 0.
"""

from __future__ import annotations

import struct
from typing import Final

from solders.instruction import AccountMeta, Instruction
from solders.pubkey import Pubkey
from solders.sysvar import CLOCK

from quantdesk_oracle.model import Generation
from quantdesk_oracle.pyth.addresses import RECEIVERS
from tests.vectors.encoder import post_update, price_message

ADDRESS: Final = RECEIVERS[Generation.CORE_UPGRADED]
_HEAD: Final = 88
"""Bytes of an account before its data, as the loader hands it over: flags, key, owner, lamports, length."""
_ROOM: Final = 10_240 + 8
"""Bytes behind an account's data: room to grow in, and the epoch of its rent."""
_FEED: Final = 8 + (_HEAD + _ROOM) + 3 * 8 + _HEAD
"""Where the feed's data is: behind the payer, who has none, and three times the payer again."""
_CLOCK: Final = _FEED + 136 + _ROOM + _HEAD
"""Where the clock's is: behind the feed's 134 bytes, which are filled up to a multiple of eight."""
_MESSAGE: Final = _CLOCK + 40 + _ROOM + 8 + 12
"""Where the price message is: behind the instruction's length, its discriminator and the message's length."""
_FIELDS: Final = ((33, 73), (41, 81), (53, 93), (61, 101), (69, 109), (77, 117))
"""Price, confidence, publish time, the previous one, EMA, its confidence: place in the message, and in the account."""
_EXPONENT: Final = (49, 89)
_POSTED_SLOT: Final = 125
_HEADER: Final = 64
"""Bytes of an ELF header, and of the description of a section; the code follows."""


def program() -> bytes:
    """The ELF file."""
    code = b"".join(_copy(0x79, 0x7B, 64, *places) for places in _FIELDS) + _copy(0x61, 0x63, 32, *_EXPONENT)
    code += _operation(0x79, 2, 1, _CLOCK) + _operation(0x7B, 1, 2, _FEED + _POSTED_SLOT)
    code += _operation(0xB7) + _operation(0x95)  # return 0
    return _elf(code)


def posting(payer: Pubkey, feed: str, **fields: int | bytes) -> Instruction:
    """`post_update` of one print, as ``vectors.encoder`` has it."""
    paying = AccountMeta(payer, is_signer=True, is_writable=True)
    written = AccountMeta(Pubkey.from_string(feed), is_signer=False, is_writable=True)
    clock = AccountMeta(CLOCK, is_signer=False, is_writable=False)
    return Instruction(
        Pubkey.from_string(ADDRESS), post_update(price_message(**fields), []), [*[paying] * 4, written, clock]
    )


def _copy(load: int, store: int, bits: int, source: int, target: int) -> bytes:
    """Big endian in the message, little endian in the account."""
    swapped = _operation(0xDC, 2, immediate=bits)
    return _operation(load, 2, 1, _MESSAGE + source) + swapped + _operation(store, 1, 2, _FEED + target)


def _operation(code: int, target: int = 0, source: int = 0, offset: int = 0, immediate: int = 0) -> bytes:
    return struct.pack("<BBhi", code, source << 4 | target, offset, immediate)


def _elf(code: bytes) -> bytes:
    """The least that the loader takes: a section of code, and one of the sections' names."""
    names = b"\0.text\0.shstrtab\0"
    body = code + names
    body += bytes(-len(body) % 8)
    sections = bytes(64) + _section(1, 1, 6, _HEADER, _HEADER, len(code), 8)
    sections += _section(7, 3, 0, 0, _HEADER + len(code), len(names), 1)
    kind, machine = 3, 247
    header = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    header += struct.pack("<HHIQQQI", kind, machine, 1, _HEADER, 0, _HEADER + len(body), 0)
    header += struct.pack("<HHHHHH", _HEADER, 56, 0, 64, 3, 2)
    return header + body + sections


def _section(name: int, kind: int, flags: int, address: int, offset: int, size: int, alignment: int) -> bytes:
    return struct.pack("<IIQQQQIIQQ", name, kind, flags, address, offset, size, 0, 0, alignment, 0)
