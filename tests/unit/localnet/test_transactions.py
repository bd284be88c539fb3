import pytest
from solders.transaction import VersionedTransaction

from quantdesk_oracle.localnet.history import Push
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
        decoded = decode_instruction(built.inner_data)
        keys = built.message.account_keys
        assert str(keys[built.inner_program]) == addresses.RECEIVERS[Generation.CORE_UPGRADED]
        assert str(keys[built.inner_accounts[decoded.account_index]]) == push.feed.address
        assert decode_price_message(decoded.message, push.update.slot) == push.update


def test_the_proofs_of_one_batch_lead_to_one_root(pusher: Pusher) -> None:
    decoded = [decode_instruction(pusher.transaction_of(push).inner_data) for push in pusher.push(batch())]
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
