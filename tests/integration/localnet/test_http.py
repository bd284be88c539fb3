import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from solana.rpc.types import DataSliceOpts
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.transaction import VersionedTransaction
from solders.transaction_status import EncodedConfirmedTransactionWithStatusMeta

from quantdesk_oracle.localnet import DEFAULT_FEEDS, LocalNode
from quantdesk_oracle.localnet.pushes import merkle_root
from quantdesk_oracle.localnet.wire import base58
from quantdesk_oracle.model import PriceUpdate
from quantdesk_oracle.pyth.accounts import decode_price
from quantdesk_oracle.pyth.addresses import GENESIS_HASHES, PUSH_PROGRAMS, RECEIVERS
from quantdesk_oracle.pyth.messages import decode_instruction, decode_price_message

KEYS = [Pubkey.from_string(feed.address) for feed in DEFAULT_FEEDS]
NOBODY = Pubkey.from_string("4uQeVj5tqViQh7yWWGStvkEG1Zmhx6uasJtWCJziofM")


async def post(node: LocalNode, body: str, content_type: str = "application/json") -> tuple[int, str]:
    headers = {"Content-Type": content_type}
    async with (
        aiohttp.ClientSession() as session,
        session.post(node.rpc_url, data=body, headers=headers) as response,
    ):
        return response.status, await response.text()


async def call(node: LocalNode, method: str, *params: Any) -> Any:
    status, text = await post(
        node, json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)})
    )
    assert status == 200
    return json.loads(text)


async def test_solana_py_reads_what_the_node_says_of_itself(start, client_of) -> None:
    node = await start()
    async with client_of(node) as client:
        assert await client.is_connected()
        assert (await client.get_version()).value.solana_core == "4.1.2"
        assert str((await client.get_genesis_hash()).value) == node.settings.genesis_hash
        slot = (await client.get_slot()).value
        assert slot == node.node.slot
        assert (await client.get_block_time(slot)).value == node.node.block_time(slot)


async def test_the_node_says_the_genesis_that_it_is_told_to(start, client_of) -> None:
    async with client_of(await start(genesis="devnet")) as client:
        assert str((await client.get_genesis_hash()).value) == GENESIS_HASHES["devnet"]


async def test_every_feed_is_there_as_soon_as_the_node_is(start, client_of) -> None:
    async with client_of(await start()) as client:
        accounts = (await client.get_multiple_accounts([*KEYS, NOBODY])).value
    assert accounts[3] is None
    for account, feed in zip(accounts, DEFAULT_FEEDS, strict=False):
        assert str(account.owner) == RECEIVERS[feed.generation]
        assert len(account.data) == 134
        update = decode_price(account.data)
        assert update.feed_id == feed.feed_id
        assert update.signatures is None


async def test_solana_py_reads_one_account_and_a_part_of_it(start, client_of) -> None:
    async with client_of(await start()) as client:
        whole = (await client.get_account_info(KEYS[0])).value
        part = (await client.get_account_info(KEYS[0], data_slice=DataSliceOpts(offset=8, length=32))).value
        assert part.data == whole.data[8:40] == bytes(KEYS[0])
        assert (await client.get_account_info(NOBODY)).value is None


async def test_answers_have_the_keys_of_a_real_nodes(start) -> None:
    node = await start()
    answer = await call(node, "getAccountInfo", str(KEYS[0]), {"encoding": "base64"})
    assert list(answer) == ["jsonrpc", "result", "id"]
    assert set(answer["result"]) == {"context", "value"}
    assert set(answer["result"]["context"]) == {"apiVersion", "slot"}
    assert set(answer["result"]["value"]) == {"data", "executable", "lamports", "owner", "rentEpoch", "space"}


@pytest.mark.parametrize("encoding", ["base64", "base58", "json", "jsonParsed"])
async def test_solders_reads_a_transaction_in_every_encoding(start, client_of, clock, encoding: str) -> None:
    async with client_of(await start()) as client:
        await clock.advance(2)
        signature = (await client.get_signatures_for_address(KEYS[1])).value[0].signature
        found = (await client.get_transaction(signature, encoding, max_supported_transaction_version=0)).value
    assert isinstance(found, EncodedConfirmedTransactionWithStatusMeta)
    assert found.transaction.meta is not None
    assert found.transaction.meta.err is None
    assert found.transaction.version == 0
    if encoding.startswith("base"):
        decoded = found.transaction.transaction
        assert isinstance(decoded, VersionedTransaction)
        assert decoded.signatures == [signature]
        assert decoded.verify_with_results() == [True]
    else:
        assert found.transaction.transaction.signatures == [signature]


async def prints_of(client, key: Pubkey) -> list[tuple[str, PriceUpdate]]:
    """A feed's history, oldest first, as a backfill reads it: page by page, then each inner post_update."""
    found, before = [], None
    while page := (await client.get_signatures_for_address(key, before=before, limit=4)).value:
        before = page[-1].signature
        found += [(str(one.signature), await print_in(client, key, one.signature)) for one in page]
    return found[::-1]


async def print_in(client, key: Pubkey, signature: Signature) -> PriceUpdate:
    found = (await client.get_transaction(signature, "base64", max_supported_transaction_version=0)).value
    message = found.transaction.transaction.message
    ((outer_index, inner),) = [
        (one.index, one.instructions) for one in found.transaction.meta.inner_instructions
    ]
    outer = message.instructions[outer_index]
    pushed = decode_instruction(bytes(outer.data))
    assert str(message.account_keys[outer.program_id_index]) in PUSH_PROGRAMS.values()
    assert message.account_keys[outer.accounts[pushed.account_index]] == key
    data = from_base58(inner[0].data)
    posted = decode_instruction(data)
    assert (len(outer.data), len(data)) == (376, 342)
    assert message.account_keys[inner[0].accounts[posted.account_index]] == key
    assert (posted.message, posted.proof) == (pushed.message, pushed.proof)
    assert len(merkle_root(posted.message, posted.proof)) == 20
    return decode_price_message(posted.message, found.slot)


def from_base58(text: str) -> bytes:
    alphabet = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
    number = 0
    for digit in text:
        number = number * 58 + alphabet.index(digit)
    zeros = len(text) - len(text.lstrip("1"))
    data = bytes(zeros) + number.to_bytes((number.bit_length() + 7) // 8, "big")
    assert base58(data) == text
    return data


def ledger_of(path: Path, key: Pubkey) -> list[tuple[str, tuple[int, ...]]]:
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    fields = ("price", "confidence", "exponent", "publish_time", "ema_price", "ema_confidence", "slot")
    return [
        (line["signature"], tuple(line[field] for field in fields))
        for line in lines
        if line["pubkey"] == str(key)
    ]


def values(update: PriceUpdate) -> tuple[int, ...]:
    return (
        update.price, update.confidence, update.exponent, update.publish_time, update.ema_price,
        update.ema_confidence, update.slot,
    )  # fmt: skip


async def test_the_history_on_the_wire_is_the_ledger(start, client_of, clock, tmp_path: Path) -> None:
    node = await start(ledger=tmp_path / "ledger.jsonl")
    await clock.advance(10)
    async with client_of(node) as client:
        for key in KEYS:
            history = [(signature, values(update)) for signature, update in await prints_of(client, key)]
            assert history == ledger_of(tmp_path / "ledger.jsonl", key)
            assert len(history) == 11


async def test_the_account_holds_the_newest_print_of_the_history(start, client_of, clock) -> None:
    node = await start()
    await clock.advance(3)
    async with client_of(node) as client:
        _, newest = (await prints_of(client, KEYS[2]))[-1]
        account = (await client.get_account_info(KEYS[2])).value
    assert decode_price(account.data) == newest


async def test_a_restarted_node_serves_its_whole_history_and_goes_on(
    start, client_of, clock, tmp_path: Path
) -> None:
    ledger = tmp_path / "ledger.jsonl"
    first = await start(ledger=ledger)
    await clock.advance(3)
    async with client_of(first) as client:
        before = await prints_of(client, KEYS[0])
    await first.stop()
    await clock.advance(30)
    second = await start(ledger=ledger)
    await clock.advance(2)
    async with client_of(second) as client:
        after = await prints_of(client, KEYS[0])
    assert after[: len(before)] == before
    assert len(after) == len(before) + 3
    assert [update.slot for _, update in after] == sorted({update.slot for _, update in after})
    assert [(signature, values(update)) for signature, update in after] == ledger_of(ledger, KEYS[0])


async def test_a_batch_is_answered_as_one(start) -> None:
    node = await start()
    requests = [{"jsonrpc": "2.0", "id": number, "method": "getHealth"} for number in range(3)]
    status, text = await post(node, json.dumps(requests))
    assert status == 200
    assert [answer["id"] for answer in json.loads(text)] == [0, 1, 2]


@pytest.mark.parametrize(
    ("body", "code"),
    [("{", -32700), ('{"jsonrpc":"2.0","id":1,"method":"no"}', -32601), ("{}", -32600)],
)
async def test_errors_come_with_status_200(start, body: str, code: int) -> None:
    status, text = await post(await start(), body)
    assert (status, json.loads(text)["error"]["code"]) == (200, code)


async def test_a_later_context_slot_is_refused(start) -> None:
    node = await start()
    answer = await call(node, "getSlot", {"minContextSlot": node.node.slot + 10})
    assert answer["error"]["code"] == -32016
    assert answer["error"]["data"] == {"contextSlot": node.node.slot}


async def test_other_requests_than_json_posts_are_refused(start) -> None:
    node = await start()
    assert (await post(node, "{}", "text/plain"))[0] == 415
    assert (await post(node, " " * 60_000))[0] == 413
    async with aiohttp.ClientSession() as session:
        async with session.get(node.rpc_url + "/health") as response:
            assert (response.status, await response.text()) == (200, "ok")
        async with session.get(node.rpc_url) as response:
            assert response.status == 405
        async with session.get(node.ws_url.replace("ws", "http", 1)) as response:
            assert response.status == 400


async def test_slots_pass_in_time(start, client_of, clock) -> None:
    async with client_of(await start()) as client:
        before = (await client.get_slot()).value
        await clock.advance(4)
        assert (await client.get_slot()).value == before + 10
