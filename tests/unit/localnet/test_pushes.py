from pathlib import Path

import pytest

from quantdesk_oracle.localnet import pushes
from quantdesk_oracle.localnet.settings import DEFAULT_FEEDS
from quantdesk_oracle.model import PriceUpdate
from quantdesk_oracle.pyth import layouts
from quantdesk_oracle.pyth.accounts import decode_price_update_v2
from quantdesk_oracle.pyth.messages import decode_instruction, decode_price_message

SOL = DEFAULT_FEEDS[2]
UPDATE = PriceUpdate(
    feed_id=SOL.feed_id,
    price=19_012_345_678,
    confidence=7_654_321,
    exponent=-8,
    publish_time=1_795_000_001,
    prev_publish_time=1_795_000_000,
    ema_price=19_000_000_001,
    ema_confidence=7_000_003,
    slot=440_897_479,
)


def test_an_account_is_134_bytes_and_decodes_to_the_update_it_was_made_of() -> None:
    data = pushes.encode_price_update_v2(SOL.address, UPDATE)
    assert len(data) == layouts.PRICE_UPDATE_V2_SPACE
    assert decode_price_update_v2(data) == UPDATE


def test_an_accounts_write_authority_is_its_own_address() -> None:
    data = pushes.encode_price_update_v2(SOL.address, UPDATE)
    from solders.pubkey import Pubkey

    assert str(Pubkey.from_bytes(data[8:40])) == SOL.address


def test_a_message_decodes_to_the_update_in_the_slot_of_its_transaction() -> None:
    message = pushes.encode_price_message(UPDATE)
    assert len(message) == 85
    assert decode_price_message(message, UPDATE.slot) == UPDATE


def test_instructions_have_the_sizes_that_they_have_on_the_chain() -> None:
    message = pushes.encode_price_message(UPDATE)
    (proof,) = pushes.merkle_proofs((message,))
    outer = pushes.encode_update_price_feed(message, proof, SOL.feed_id)
    inner = pushes.encode_post_update(message, proof)
    assert (len(proof), len(outer), len(inner)) == (12, 376, 342)


def test_instructions_decode_to_their_message_proof_and_account() -> None:
    message = pushes.encode_price_message(UPDATE)
    (proof,) = pushes.merkle_proofs((message,))
    outer = decode_instruction(pushes.encode_update_price_feed(message, proof, SOL.feed_id))
    inner = decode_instruction(pushes.encode_post_update(message, proof))
    assert (outer.message, outer.proof, outer.account_index) == (message, proof, 5)
    assert (inner.message, inner.proof, inner.account_index) == (message, proof, 4)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 8, 9, 33])
def test_the_proofs_of_a_batch_lead_to_one_root(size: int) -> None:
    messages = tuple(
        pushes.encode_price_message(UPDATE._replace(price=price)) for price in range(1, size + 1)
    )
    proofs = pushes.merkle_proofs(messages)
    assert {len(proof) for proof in proofs} == {12}
    roots = {pushes.merkle_root(*pair) for pair in zip(messages, proofs, strict=True)}
    assert len(roots) == 1


def test_a_proof_is_of_its_own_message_only() -> None:
    messages = tuple(pushes.encode_price_message(UPDATE._replace(price=price)) for price in (1, 2))
    proofs = pushes.merkle_proofs(messages)
    right, wrong = pushes.merkle_root(messages[0], proofs[0]), pushes.merkle_root(messages[0], proofs[1])
    assert right != wrong


def test_the_root_is_that_of_the_whole_tree_of_4096_leaves() -> None:
    messages = tuple(pushes.encode_price_message(UPDATE._replace(price=price)) for price in (1, 2, 3))
    level = pushes._hashes([b"\0" + message for message in messages])
    level += pushes._hashes([b"\2"]) * (4096 - 3)
    while len(level) > 1:
        pairs = zip(level[::2], level[1::2], strict=True)
        level = pushes._hashes([b"\1" + min(pair) + max(pair) for pair in pairs])
    proof = pushes.merkle_proofs(messages)[2]
    assert pushes.merkle_root(messages[2], proof) == level[0]


@pytest.mark.shared
def test_real_proofs_from_hermes_lead_to_the_root_that_the_guardians_signed() -> None:
    path = Path(__file__).parents[4] / "shared" / "hermes" / "docs_latest.pnau.hex"
    if not path.exists():
        pytest.skip("the shared data folder is not beside the checkout")
    data = bytes.fromhex(path.read_text().strip())
    at = 6 + 1 + data[6] + 1
    size = int.from_bytes(data[at : at + 2], "big")
    vaa, at = data[at + 2 : at + 2 + size], at + 2 + size
    root = vaa[-20:]
    count, at = data[at], at + 1
    assert count > 0
    for _ in range(count):
        size = int.from_bytes(data[at : at + 2], "big")
        message, at = data[at + 2 : at + 2 + size], at + 2 + size
        nodes, at = data[at], at + 1
        proof = tuple(data[at + 20 * index : at + 20 * index + 20] for index in range(nodes))
        at += 20 * nodes
        assert pushes.merkle_root(message, proof) == root
