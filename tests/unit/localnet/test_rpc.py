import base64
from typing import Any

import pytest

from quantdesk_oracle.localnet.jsonrpc import Parameters, RpcError
from quantdesk_oracle.localnet.node import Node
from quantdesk_oracle.localnet.pubsub import PubSub
from quantdesk_oracle.localnet.rpc import Methods
from quantdesk_oracle.localnet.settings import DEFAULT_FEEDS
from quantdesk_oracle.localnet.simulation import Simulation
from quantdesk_oracle.localnet.wire import base58
from quantdesk_oracle.model import SECOND
from quantdesk_oracle.pyth.accounts import decode_price
from quantdesk_oracle.pyth.layouts import PRICE_UPDATE_V2

SOL = DEFAULT_FEEDS[2].address
NOBODY = "4uQeVj5tqViQh7yWWGStvkEG1Zmhx6uasJtWCJziofM"


@pytest.fixture
def methods(node: Node, clock) -> Methods:
    simulation = Simulation(node)
    for _ in range(3):
        simulation.act()
        clock.set(clock.now() + SECOND)
    return Methods(node, simulation.pusher)


def call(methods: Methods | PubSub, method: str, *params: Any) -> Any:
    return methods.call(method, Parameters(list(params)))


def code(methods: Methods | PubSub, method: str, *params: Any) -> int:
    with pytest.raises(RpcError) as raised:
        call(methods, method, *params)
    return raised.value.code


def test_the_node_says_what_it_is(methods, node) -> None:
    assert call(methods, "getHealth") == "ok"
    assert call(methods, "getGenesisHash") == node.settings.genesis_hash
    assert set(call(methods, "getVersion")) == {"feature-set", "solana-core"}
    assert call(methods, "getSlot") == node.slot
    assert call(methods, "getFirstAvailableBlock") == 0


def test_a_slots_time_is_known_up_to_now(methods, node) -> None:
    assert call(methods, "getBlockTime", node.slot) == node.block_time(node.slot)
    assert code(methods, "getBlockTime", node.slot + 1) == -32004


def test_an_account_decodes_to_its_newest_print(methods) -> None:
    value = call(methods, "getAccountInfo", SOL, {"encoding": "base64"})["value"]
    signature = call(methods, "getSignaturesForAddress", SOL)[0]
    assert decode_price(base64.b64decode(value["data"][0])).slot == signature["slot"]


def test_a_missing_account_is_null(methods) -> None:
    assert call(methods, "getAccountInfo", NOBODY)["value"] is None
    value = call(methods, "getMultipleAccounts", [NOBODY, SOL])["value"]
    assert value[0] is None
    assert value[1]["space"] == 134


def test_a_key_that_is_none_is_invalid(methods) -> None:
    assert code(methods, "getAccountInfo", "abc") == -32602
    assert code(methods, "getAccountInfo", "0OIl") == -32602
    assert code(methods, "getMultipleAccounts", [SOL, "abc"]) == -32602
    assert code(methods, "getMultipleAccounts", SOL) == -32602
    assert code(methods, "getAccountInfo") == -32602


def test_a_hundred_accounts_are_the_most(methods) -> None:
    assert len(call(methods, "getMultipleAccounts", [SOL] * 100)["value"]) == 100
    assert code(methods, "getMultipleAccounts", [SOL] * 101) == -32602


def test_a_whole_price_account_is_too_long_for_base58_and_a_slice_is_not(methods) -> None:
    assert code(methods, "getAccountInfo", SOL, {"encoding": "base58"}) == -32600
    sliced = {"encoding": "base58", "dataSlice": {"offset": 0, "length": 8}}
    assert call(methods, "getAccountInfo", SOL, sliced)["value"]["data"] == [
        base58(PRICE_UPDATE_V2),
        "base58",
    ]


def test_a_later_context_is_refused_by_every_reader(methods, node) -> None:
    late = {"minContextSlot": node.slot + 1}
    assert code(methods, "getSlot", late) == -32016
    assert code(methods, "getAccountInfo", SOL, late) == -32016
    assert code(methods, "getMultipleAccounts", [SOL], late) == -32016
    assert code(methods, "getSignaturesForAddress", SOL, late) == -32016


def test_history_is_of_the_pushes(methods) -> None:
    found = call(methods, "getSignaturesForAddress", SOL)
    assert len(found) == 3
    assert [one["slot"] for one in found] == sorted((one["slot"] for one in found), reverse=True)
    assert found[0]["err"] is None


@pytest.mark.parametrize("limit", [0, 1001, -1, "5"])
def test_history_has_a_limit_of_1_to_1000(methods, limit: object) -> None:
    assert code(methods, "getSignaturesForAddress", SOL, {"limit": limit}) == -32602


def test_blocks_are_not_read_at_processed(methods) -> None:
    assert code(methods, "getSignaturesForAddress", SOL, {"commitment": "processed"}) == -32602
    assert code(methods, "getTransaction", "1" * 64, {"commitment": "processed"}) == -32602


def test_a_transaction_is_of_version_0_and_the_client_must_say_that_it_knows_it(methods) -> None:
    signature = call(methods, "getSignaturesForAddress", SOL)[0]["signature"]
    assert code(methods, "getTransaction", signature, {"encoding": "base64"}) == -32015
    found = call(methods, "getTransaction", signature, {"maxSupportedTransactionVersion": 0})
    assert found["version"] == 0


def test_an_unknown_transaction_is_null_and_a_wrong_signature_invalid(methods) -> None:
    assert call(methods, "getTransaction", "1" * 64) is None
    assert code(methods, "getTransaction", "abc") == -32602


def test_a_method_that_there_is_not_is_not_found(methods, node, recorder) -> None:
    assert code(methods, "getBalance", SOL) == -32601
    assert code(methods, "accountSubscribe", SOL) == -32601
    assert code(PubSub(node, recorder), "getSlot") == -32601


def test_a_client_unsubscribes_by_the_id_it_was_given(node, recorder) -> None:
    pubsub = PubSub(node, recorder)
    account, slots = call(pubsub, "accountSubscribe", SOL), call(pubsub, "slotSubscribe")
    assert (account, slots) == (0, 1)
    assert code(pubsub, "accountUnsubscribe", slots) == -32602
    assert call(pubsub, "accountUnsubscribe", account) is True
    assert code(pubsub, "accountUnsubscribe", account) == -32602
    assert call(pubsub, "slotUnsubscribe", slots) is True


def test_a_subscription_needs_a_key(node, recorder) -> None:
    assert code(PubSub(node, recorder), "accountSubscribe", "abc") == -32602
    assert code(PubSub(node, recorder), "accountSubscribe") == -32602


def test_a_gone_client_has_no_subscriptions(node, recorder) -> None:
    pubsub = PubSub(node, recorder)
    call(pubsub, "accountSubscribe", SOL)
    pubsub.close()
    assert len(node.subscriptions) == 0
