"""Account dumps on the wire: those made here, and the real ones where the shared folder is beside the checkout."""

import base64
import json
from pathlib import Path

import pytest

from quantdesk_oracle.localnet import DEFAULT_FEEDS
from quantdesk_oracle.localnet.pushes import encode_price_update_v2
from quantdesk_oracle.model import PriceUpdate
from quantdesk_oracle.pyth.addresses import RECEIVERS
from quantdesk_oracle.pyth.dumps import parse_dump, split_dumps

SHARED = Path(__file__).parents[4] / "shared" / "pyth-accounts"
SOL = DEFAULT_FEEDS[2]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, slot in (("b", 30), ("a", 20), ("c", 10)):
        update = PriceUpdate(SOL.feed_id, slot, 1, -8, slot, slot - 1, slot, 1, slot)
        data = [base64.b64encode(encode_price_update_v2(SOL.address, update)).decode(), "base64"]
        account = {"lamports": 1, "data": data, "owner": RECEIVERS[SOL.generation], "executable": False}
        (tmp_path / f"{name}.json").write_text(json.dumps({"pubkey": SOL.address, "account": account}))
    (tmp_path / "notes.txt").write_text("no dump")
    return tmp_path


async def replayed(node, connect, clock, keys: list[str], slots: int) -> dict[str, list[bytes]]:
    """What a subscriber of ``keys`` is told in so many slots."""
    told: dict[str, list[bytes]] = {key: [] for key in keys}
    async with connect(node) as websocket:
        ids = {}
        for key in keys:
            ids[(await websocket.call("accountSubscribe", key, {"encoding": "base64"}))["result"]] = key
        for _ in range(slots):
            await clock.advance(0.4)
            for one in await websocket.told():
                value = one["params"]["result"]["value"]
                told[ids[one["params"]["subscription"]]].append(base64.b64decode(value["data"][0]))
    return told


async def test_dumps_are_told_one_a_slot_in_the_order_of_their_slots(start, connect, clock, folder) -> None:
    node = await start(accounts=folder)
    told = (await replayed(node, connect, clock, [SOL.address], 5))[SOL.address]
    assert [int.from_bytes(data[125:133], "little") for data in told] == [10, 20, 30]


async def test_nothing_else_is_served_beside_dumps(start, connect, clock, folder) -> None:
    node = await start(accounts=folder)
    assert node.served() == [
        {"market": None, "symbol": None, "feed_id": None, "pubkey": SOL.address, "generation": None}
    ]
    assert node.node.read(DEFAULT_FEEDS[0].address) is None


async def test_a_replay_stops_with_the_pushes(start, connect, clock, folder) -> None:
    node = await start(accounts=folder)
    await node.stop_pushing()
    assert (await replayed(node, connect, clock, [SOL.address], 5))[SOL.address] == []


@pytest.mark.shared
async def test_every_real_dump_reaches_a_subscriber(start, connect, clock) -> None:
    if not SHARED.is_dir():
        pytest.skip("the shared data folder is not beside the checkout")
    expected = json.loads((SHARED / "expected.json").read_text())
    dumps = [parse_dump(entry) for name in expected for entry in split_dumps((SHARED / name).read_text())]
    keys = sorted({dump.pubkey for dump in dumps})
    node = await start(accounts=SHARED)
    told = await replayed(
        node, connect, clock, keys, 1 + max(sum(d.pubkey == k for d in dumps) for k in keys)
    )
    for key in keys:
        assert sorted(told[key]) == sorted(dump.data for dump in dumps if dump.pubkey == key)


@pytest.mark.shared
async def test_the_node_starts_above_the_slots_of_the_real_dumps(start) -> None:
    if not SHARED.is_dir():
        pytest.skip("the shared data folder is not beside the checkout")
    expected = json.loads((SHARED / "expected.json").read_text())
    posted = [one["posted_slot"] for one in expected.values() if "posted_slot" in one]
    assert posted
    assert (await start(accounts=SHARED)).node.slot > max(posted)
