import asyncio
import errno

import pytest

from quantdesk_oracle.clock import SystemClock
from quantdesk_oracle.errors import DataError, UnavailableError
from quantdesk_oracle.localnet import LocalnetSettings, LocalNode


def port(url: str) -> int:
    return int(url.rsplit(":", 1)[1])


@pytest.mark.parametrize("which", ["rpc_port", "ws_port"])
async def test_a_port_in_use_is_named_and_the_other_one_freed(start, clock, which: str) -> None:
    taken = port((await start()).rpc_url)
    late = LocalNode(LocalnetSettings(**{"rpc_port": 0, "ws_port": 0, which: taken}), clock)
    with pytest.raises(UnavailableError, match=str(taken)):
        await late.start()
    await late.stop()


async def test_ports_are_free_again_after_stop(start) -> None:
    first = await start()
    ports = {"rpc_port": port(first.rpc_url), "ws_port": port(first.ws_url)}
    await first.stop()
    second = LocalNode(LocalnetSettings(**ports), SystemClock())
    await second.start()
    await second.stop()


async def test_a_ledger_that_is_none_leaves_no_port_open(clock, tmp_path) -> None:
    (tmp_path / "ledger").write_text("no ledger\n")
    node = LocalNode(LocalnetSettings(rpc_port=0, ws_port=0, ledger=tmp_path / "ledger"), clock)
    with pytest.raises(DataError, match="line 1"):
        await node.start()


async def test_the_death_of_the_clockwork_reaches_whoever_waits_and_the_log(
    start, clock, tmp_path, caplog
) -> None:
    node = await start(ledger=tmp_path / "ledger")

    class FullDisk:
        def append(self, entries: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        def close(self) -> None:
            pass

    assert node.node.ledger is not None
    node.node.ledger.close()
    node.node.ledger = FullDisk()
    await clock.advance(2)
    with pytest.raises(OSError, match="No space"):
        await node.wait()
    assert "No space" in caplog.text
    await node.stop()


async def test_who_waits_is_let_go_when_the_node_is_stopped(start) -> None:
    node = await start()
    waiting = asyncio.create_task(node.wait())
    await asyncio.sleep(0)
    await node.stop()
    await waiting


async def test_waiting_can_be_given_up_and_the_node_lives_on(start, clock) -> None:
    node = await start()
    waiting = asyncio.create_task(node.wait())
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    before = len(node.node.history)
    await clock.advance(1)
    assert len(node.node.history) > before


async def test_a_node_runs_on_the_machines_clock_too() -> None:
    node = LocalNode(LocalnetSettings(rpc_port=0, ws_port=0, push_every=0.05, slot_ms=20), SystemClock())
    await node.start()
    slot = node.node.slot
    while node.node.slot < slot + 3:
        await SystemClock().sleep(0.01)
    await node.stop()
