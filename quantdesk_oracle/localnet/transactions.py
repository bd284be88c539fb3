"""The transaction of a push: signed bytes, and the inner instruction that the push program makes.

Account lists: pyth-push-oracle `update_price_feed` (the feed account is the sixth), pyth-solana-receiver
`post_update` (the fifth). The transaction is a version 0 message without address tables, behind two
compute budget instructions, as pushers send it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

from solders.compute_budget import set_compute_unit_limit, set_compute_unit_price
from solders.hash import Hash
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.transaction import VersionedTransaction

from quantdesk_oracle.localnet import pushes
from quantdesk_oracle.localnet.history import Push
from quantdesk_oracle.pyth import addresses

if TYPE_CHECKING:
    from quantdesk_oracle.localnet.settings import Feed
    from quantdesk_oracle.model import Generation, PriceUpdate

UPDATE_INDEX: Final = 2
"""Position of `update_price_feed` among the outer instructions."""
COMPUTE_UNITS: Final = 100_000
_MICRO_LAMPORTS: Final = 50_000
_SYSTEM_PROGRAM: Final = Pubkey.from_string(addresses.SYSTEM_PROGRAM)


@dataclass(frozen=True, slots=True)
class PushTransaction:
    """A transaction and the one call inside it, accounts as indices of its message's keys."""

    transaction: VersionedTransaction
    message: MessageV0
    inner_program: int
    inner_accounts: tuple[int, ...]
    inner_data: bytes

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
        unsigned = [Push(feed, update, updates, "") for feed, update in batch.items()]
        return [
            Push(push.feed, push.update, updates, self.transaction_of(push).signature) for push in unsigned
        ]

    def transaction_of(self, push: Push) -> PushTransaction:
        """The transaction of ``push``: the same bytes each time, signed where it has no signature yet.

        A push from a ledger that another seed wrote keeps the signature of the payer it had then.
        """
        messages = tuple(pushes.encode_price_message(update) for update in push.batch)
        index = push.batch.index(push.update)
        proof = pushes.merkle_proofs(messages)[index]
        programs = self._programs.setdefault(push.feed.generation, _Programs(push.feed.generation))
        accounts = (self.payer.pubkey(), _vaa_account(messages), Pubkey.from_string(push.feed.address))
        update = Instruction(
            programs.push_program,
            pushes.encode_update_price_feed(messages[index], proof, push.feed.feed_id),
            programs.update_accounts(*accounts),
        )
        budget = [set_compute_unit_limit(COMPUTE_UNITS), set_compute_unit_price(_MICRO_LAMPORTS)]
        blockhash = _blockhash(push.update.slot)
        message = MessageV0.try_compile(self.payer.pubkey(), [*budget, update], [], blockhash)
        keys = message.account_keys
        return PushTransaction(
            self._signed(message, push.signature),
            message,
            inner_program=keys.index(programs.receiver),
            inner_accounts=tuple(keys.index(key) for key in programs.post_accounts(*accounts)),
            inner_data=pushes.encode_post_update(messages[index], proof),
        )

    def _signed(self, message: MessageV0, signature: str) -> VersionedTransaction:
        if signature:
            return VersionedTransaction.populate(message, [Signature.from_string(signature)])
        return VersionedTransaction(message, [self.payer])


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
