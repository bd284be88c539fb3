import json
from dataclasses import replace

import pytest
from solders.transaction import VersionedTransaction
from solders.transaction_status import EncodedConfirmedTransactionWithStatusMeta

from quantdesk_oracle.localnet.history import Leg, Outcome, Push
from quantdesk_oracle.localnet.pushes import merkle_root
from quantdesk_oracle.localnet.rendering import render_transaction
from quantdesk_oracle.localnet.settings import DEFAULT_FEEDS, Feed
from quantdesk_oracle.localnet.transactions import UPDATE_INDEX, Pusher
from quantdesk_oracle.model import Generation, PriceUpdate
from quantdesk_oracle.pyth import addresses
from quantdesk_oracle.pyth.messages import decode_instruction, decode_price_message


def batch() -> dict[Feed, PriceUpdate]:
    return {
        feed: PriceUpdate(
            feed.feed_id, price, 7, -8, 1_800_000_000, 1_799_999_999, price, 7, slot=440_000_000
        )
        for price, feed in enumerate(DEFAULT_FEEDS, start=1_000)
    }


@pytest.fixture
def pusher() -> Pusher:
    return Pusher(3)


def test_every_feed_of_a_batch_has_a_transaction_of_its_own(pusher: Pusher) -> None:
    pushes = pusher.push(batch())
    assert [push.feed for push in pushes] == list(DEFAULT_FEEDS)
    assert len({push.signature for push in pushes}) == len(DEFAULT_FEEDS)


def test_the_payer_really_signed_it(pusher: Pusher) -> None:
    for push in pusher.push(batch()):
        transaction = VersionedTransaction.from_bytes(bytes(pusher.transaction_of(push).transaction))
        assert transaction.verify_with_results() == [True]
        assert str(transaction.signatures[0]) == push.signature


def test_a_rebuilt_transaction_is_the_same_one(pusher: Pusher) -> None:
    push = pusher.push(batch())[1]
    unsigned = Push(push.feed, push.update, push.batch, "")
    assert bytes(pusher.transaction_of(push).transaction) == bytes(
        pusher.transaction_of(unsigned).transaction
    )


def test_another_seed_is_another_payer() -> None:
    assert Pusher(1).payer.pubkey() != Pusher(2).payer.pubkey()


def test_the_outer_instruction_is_the_push_programs_and_its_sixth_account_the_feed(pusher: Pusher) -> None:
    for push in pusher.push(batch()):
        message = pusher.transaction_of(push).message
        outer = message.instructions[UPDATE_INDEX]
        decoded = decode_instruction(bytes(outer.data))
        keys = message.account_keys
        assert len(outer.data) == 376
        assert str(keys[outer.program_id_index]) == addresses.PUSH_PROGRAMS[Generation.CORE_UPGRADED]
        assert str(keys[outer.accounts[decoded.account_index]]) == push.feed.address
        assert decode_price_message(decoded.message, push.update.slot) == push.update


def test_the_inner_instruction_is_the_receivers_and_its_fifth_account_the_feed(pusher: Pusher) -> None:
    for push in pusher.push(batch()):
        built = pusher.transaction_of(push)
        (call,) = built.calls
        decoded = decode_instruction(call.data)
        keys = built.keys
        assert str(keys[call.program]) == addresses.RECEIVERS[Generation.CORE_UPGRADED]
        assert str(keys[call.accounts[decoded.account_index]]) == push.feed.address
        assert decode_price_message(decoded.message, push.update.slot) == push.update


def test_the_proofs_of_one_batch_lead_to_one_root(pusher: Pusher) -> None:
    decoded = [decode_instruction(pusher.transaction_of(push).calls[0].data) for push in pusher.push(batch())]
    assert len({merkle_root(one.message, one.proof) for one in decoded}) == 1


def test_a_transaction_fits_into_a_packet(pusher: Pusher) -> None:
    for push in pusher.push(batch()):
        assert len(bytes(pusher.transaction_of(push).transaction)) <= 1232


def test_a_push_of_another_seed_keeps_the_signature_it_had(pusher: Pusher) -> None:
    push = Pusher(99).push(batch())[0]
    assert pusher.transaction_of(push).signature == push.signature


def test_json_names_instructions_by_index_and_parsed_json_by_key(pusher: Pusher) -> None:
    built = pusher.transaction_of(pusher.push(batch())[0])
    plain, parsed = render_transaction(built, "json"), render_transaction(built, "jsonParsed")
    inner = plain["meta"]["innerInstructions"][0]["instructions"][0]
    parsed_inner = parsed["meta"]["innerInstructions"][0]["instructions"][0]
    keys = plain["transaction"]["message"]["accountKeys"]
    assert keys[inner["programIdIndex"]] == parsed_inner["programId"]
    assert [keys[index] for index in inner["accounts"]] == parsed_inner["accounts"]
    assert keys == [key["pubkey"] for key in parsed["transaction"]["message"]["accountKeys"]]


def test_the_payer_pays_the_fee(pusher: Pusher) -> None:
    meta = render_transaction(pusher.transaction_of(pusher.push(batch())[0]), "json")["meta"]
    assert meta["preBalances"][0] - meta["postBalances"][0] == meta["fee"]


def shared(pusher: Pusher, *, tables: bool = False) -> Push:
    """BTC and ETH in one transaction."""
    btc, eth, _ = pusher.push(batch())
    return pusher.sign(replace(btc, signature="", second=Leg(eth.feed, eth.update), tables=tables))


def test_two_feeds_in_one_transaction_make_a_call_each(pusher: Pusher) -> None:
    push = shared(pusher)
    built = pusher.transaction_of(push)
    assert len(bytes(built.transaction)) <= 1232
    assert [call.outer for call in built.calls] == [UPDATE_INDEX, UPDATE_INDEX + 1]
    for leg, call in zip(push.legs, built.calls, strict=True):
        decoded = decode_instruction(call.data)
        assert str(built.keys[call.accounts[decoded.account_index]]) == leg.feed.address
        assert decode_price_message(decoded.message, push.slot) == leg.update


@pytest.mark.parametrize("both", [False, True])
def test_with_address_tables_the_feed_is_found_among_the_loaded_addresses_alone(
    pusher: Pusher, both: bool
) -> None:
    plain = shared(pusher) if both else pusher.push(batch())[0]
    push = pusher.sign(replace(plain, signature="", tables=True))
    built = pusher.transaction_of(push)
    rendered = render_transaction(built, "json")
    static = rendered["transaction"]["message"]["accountKeys"]
    loaded = rendered["meta"]["loadedAddresses"]
    keys = [*static, *loaded["writable"], *loaded["readonly"]]
    assert push.feed.address in loaded["writable"]
    assert push.feed.address not in static
    outer = rendered["transaction"]["message"]["instructions"][UPDATE_INDEX]
    assert keys[outer["accounts"][5]] == push.feed.address
    inner = rendered["meta"]["innerInstructions"][0]["instructions"][0]
    assert keys[inner["accounts"][4]] == push.feed.address
    assert keys[inner["programIdIndex"]] == addresses.RECEIVERS[Generation.CORE_UPGRADED]
    (lookup,) = rendered["transaction"]["message"]["addressTableLookups"]
    assert len(lookup["writableIndexes"]) == len(loaded["writable"])
    assert len(lookup["readonlyIndexes"]) == len(loaded["readonly"])
    assert len(rendered["meta"]["preBalances"]) == len(keys)
    parsed = render_transaction(built, "jsonParsed")["transaction"]["message"]["accountKeys"]
    assert [key["pubkey"] for key in parsed] == keys


def test_a_stale_push_succeeds_and_makes_no_call(pusher: Pusher) -> None:
    push = pusher.sign(replace(pusher.push(batch())[0], signature="", outcome=Outcome.STALE))
    built = pusher.transaction_of(push)
    meta = render_transaction(built, "json")["meta"]
    assert meta["err"] is None
    assert meta["innerInstructions"] == []
    assert not any("PostUpdate" in line for line in meta["logMessages"])
    assert decode_instruction(bytes(built.message.instructions[UPDATE_INDEX].data)).message


def test_a_failed_push_has_an_error_although_the_receiver_was_called(pusher: Pusher) -> None:
    push = pusher.sign(replace(pusher.push(batch())[0], signature="", outcome=Outcome.FAILED))
    meta = render_transaction(pusher.transaction_of(push), "json")["meta"]
    assert meta["err"] == {"InstructionError": [UPDATE_INDEX, {"Custom": 6005}]}
    assert meta["status"] == {"Err": meta["err"]}
    assert len(meta["innerInstructions"]) == 1


def test_one_price_pushed_with_three_outcomes_is_three_transactions(pusher: Pusher) -> None:
    push = replace(pusher.push(batch())[0], signature="")
    signatures = {pusher.sign(replace(push, outcome=outcome)).signature for outcome in Outcome}
    assert len(signatures) == 3


@pytest.mark.parametrize("outcome", list(Outcome))
@pytest.mark.parametrize("tables", [False, True])
@pytest.mark.parametrize("encoding", ["json", "jsonParsed", "base64"])
def test_solders_reads_every_form_of_a_push(
    pusher: Pusher, outcome: Outcome, tables: bool, encoding: str
) -> None:
    push = pusher.sign(replace(shared(pusher), signature="", outcome=outcome, tables=tables))
    rendered = render_transaction(pusher.transaction_of(push), encoding)
    found = {"blockTime": 1, "slot": push.slot, "version": 0, **rendered}
    parsed = EncodedConfirmedTransactionWithStatusMeta.from_json(json.dumps(found))
    meta = parsed.transaction.meta
    assert meta is not None
    assert (meta.err is None) == (outcome is not Outcome.FAILED)
    assert len(meta.inner_instructions or []) == (0 if outcome is Outcome.STALE else 2)
