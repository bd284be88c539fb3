"""The transaction of a push: signed bytes, and the inner instruction that the push program makes.

Account lists: pyth-push-oracle `update_price_feed` (the feed account is the sixth), pyth-solana-receiver
`post_update` (the fifth). The transaction is a version 0 message behind two compute budget instructions, as
pushers send it: without address tables and of one feed, unless a drill wants it otherwise.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Final, NamedTuple

from solders.address_lookup_table_account import AddressLookupTableAccount
from solders.compute_budget import set_compute_unit_limit, set_compute_unit_price
from solders.hash import Hash
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.transaction import VersionedTransaction

from quantdesk_oracle.localnet import pushes
from quantdesk_oracle.localnet.history import Leg, Outcome, Push
from quantdesk_oracle.pyth import addresses

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quantdesk_oracle.localnet.settings import Feed
    from quantdesk_oracle.model import Generation, PriceUpdate

UPDATE_INDEX: Final = 2
"""Position of the first `update_price_feed` among the outer instructions."""
COMPUTE_UNITS: Final = 100_000
_MICRO_LAMPORTS: Final = {Outcome.WRITTEN: 50_000, Outcome.STALE: 50_001, Outcome.FAILED: 50_002}
"""Of a compute unit. Two pushes of one price are two transactions: something in them must differ."""
_TABLE: Final = Pubkey.from_bytes(hashlib.sha256(b"address lookup table").digest())
_SYSTEM_PROGRAM: Final = Pubkey.from_string(addresses.SYSTEM_PROGRAM)


class InnerCall(NamedTuple):
    """A call that an outer instruction made; program and accounts as positions among the transaction's keys."""

    outer: int
    """Position of the calling instruction."""
    program: int
    accounts: tuple[int, ...]
    data: bytes


@dataclass(frozen=True, slots=True)
class PushTransaction:
    """A transaction and the calls inside it."""

    transaction: VersionedTransaction
    message: MessageV0
    loaded: LoadedAddresses
    calls: tuple[InnerCall, ...]
    """`post_update`, once a feed; none where the push was stale."""
    outcome: Outcome

    @property
    def keys(self) -> tuple[Pubkey, ...]:
        """All accounts, in the order in which instructions count them."""
        return (*self.message.account_keys, *self.loaded.writable, *self.loaded.readonly)

    @property
    def signature(self) -> str:
        """Base58."""
        return str(self.transaction.signatures[0])


class Pusher:
    """Whoever pushes prices to the local node: one payer, derived from the seed."""

    def __init__(self, seed: int) -> None:
        self.payer = Keypair.from_seed(
            hashlib.sha256(f"quantdesk-oracle localnet payer {seed}".encode()).digest()
        )
        self._programs: dict[Generation, _Programs] = {}

    def push(self, batch: dict[Feed, PriceUpdate]) -> list[Push]:
        """Sign a transaction for each feed of ``batch``; one Merkle tree holds them all."""
        updates = tuple(batch.values())
        return [self.sign(Push(feed, update, updates, "")) for feed, update in batch.items()]

    def sign(self, push: Push) -> Push:
        """``push`` with the signature of its transaction."""
        return replace(push, signature=self.transaction_of(push).signature)

    def transaction_of(self, push: Push) -> PushTransaction:
        """The transaction of ``push``: the same bytes each time, signed where it has no signature yet.

        A push from a ledger that another seed wrote keeps the signature of the payer it had then.
        """
        messages = tuple(pushes.encode_price_message(update) for update in push.batch)
        parts = [self._part(leg, push.batch, messages) for leg in push.legs]
        price = _MICRO_LAMPORTS[push.outcome]
        budget = [set_compute_unit_limit(COMPUTE_UNITS), set_compute_unit_price(price)]
        message = MessageV0.try_compile(
            self.payer.pubkey(),
            [*budget, *(part.instruction for part in parts)],
            [_table(parts)] if push.tables else [],
            _blockhash(push.slot),
        )
        loaded = LoadedAddresses.of(message, parts) if push.tables else LoadedAddresses((), ())
        keys = [*message.account_keys, *loaded.writable, *loaded.readonly]
        calls = () if push.outcome is Outcome.STALE else _calls(parts, keys)
        return PushTransaction(self._signed(message, push.signature), message, loaded, calls, push.outcome)

    def _part(self, leg: Leg, batch: tuple[PriceUpdate, ...], messages: tuple[bytes, ...]) -> _Part:
        index = batch.index(leg.update)
        proof = pushes.merkle_proofs(messages)[index]
        programs = self._programs.setdefault(leg.feed.generation, _Programs(leg.feed.generation))
        accounts = (self.payer.pubkey(), _vaa_account(messages), Pubkey.from_string(leg.feed.address))
        instruction = Instruction(
            programs.push_program,
            pushes.encode_update_price_feed(messages[index], proof, leg.feed.feed_id),
            programs.update_accounts(*accounts),
        )
        return _Part(
            instruction,
            programs.receiver,
            programs.post_accounts(*accounts),
            pushes.encode_post_update(messages[index], proof),
        )

    def _signed(self, message: MessageV0, signature: str) -> VersionedTransaction:
        if signature:
            return VersionedTransaction.populate(message, [Signature.from_string(signature)])
        return VersionedTransaction(message, [self.payer])


class _Part(NamedTuple):
    """One feed's instruction, and the call that it makes."""

    instruction: Instruction
    receiver: Pubkey
    post_accounts: list[Pubkey]
    post_data: bytes


class LoadedAddresses(NamedTuple):
    """The accounts that a message names by address tables alone."""

    writable: tuple[Pubkey, ...]
    readonly: tuple[Pubkey, ...]

    @classmethod
    def of(cls, message: MessageV0, parts: Sequence[_Part]) -> LoadedAddresses:
        table = _table(parts).addresses
        lookups = message.address_table_lookups
        return cls(
            tuple(table[index] for lookup in lookups for index in lookup.writable_indexes),
            tuple(table[index] for lookup in lookups for index in lookup.readonly_indexes),
        )


def _table(parts: Sequence[_Part]) -> AddressLookupTableAccount:
    """An address table of every account of ``parts`` that need not be named by the message itself."""
    metas = [meta for part in parts for meta in part.instruction.accounts]
    keys = list(dict.fromkeys(meta.pubkey for meta in metas if not meta.is_signer))
    return AddressLookupTableAccount(_TABLE, keys)


def _calls(parts: Sequence[_Part], keys: list[Pubkey]) -> tuple[InnerCall, ...]:
    return tuple(
        InnerCall(
            outer,
            keys.index(part.receiver),
            tuple(keys.index(key) for key in part.post_accounts),
            part.post_data,
        )
        for outer, part in enumerate(parts, start=UPDATE_INDEX)
    )


class _Programs:
    """The two programs of a generation, and the accounts of theirs that every push names."""

    def __init__(self, generation: Generation) -> None:
        self.receiver = Pubkey.from_string(addresses.RECEIVERS[generation])
        self.push_program = Pubkey.from_string(addresses.PUSH_PROGRAMS[generation])

    @cached_property
    def config(self) -> Pubkey:
        return Pubkey.find_program_address([b"config"], self.receiver)[0]

    @cached_property
    def treasury(self) -> Pubkey:
        return Pubkey.find_program_address([b"treasury", bytes([pushes.TREASURY])], self.receiver)[0]

    def update_accounts(self, payer: Pubkey, vaa: Pubkey, feed: Pubkey) -> list[AccountMeta]:
        """Of `update_price_feed`."""
        return [
            AccountMeta(payer, is_signer=True, is_writable=True),
            AccountMeta(self.receiver, is_signer=False, is_writable=False),
            AccountMeta(vaa, is_signer=False, is_writable=False),
            AccountMeta(self.config, is_signer=False, is_writable=False),
            AccountMeta(self.treasury, is_signer=False, is_writable=True),
            AccountMeta(feed, is_signer=False, is_writable=True),
            AccountMeta(_SYSTEM_PROGRAM, is_signer=False, is_writable=False),
        ]

    def post_accounts(self, payer: Pubkey, vaa: Pubkey, feed: Pubkey) -> list[Pubkey]:
        """Of `post_update`, whose write authority is the feed account itself."""
        return [payer, vaa, self.config, self.treasury, feed, _SYSTEM_PROGRAM, feed]


def _vaa_account(messages: tuple[bytes, ...]) -> Pubkey:
    """Where the guardians' signed root of this batch would have been posted before the push."""
    return Pubkey.from_bytes(hashlib.sha256(b"encoded vaa" + b"".join(messages)).digest())


def _blockhash(slot: int) -> Hash:
    return Hash(hashlib.sha256(f"blockhash {slot}".encode()).digest())
