"""``quantdesk-oracle localnet``: a local Solana node that serves Pyth accounts."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quantdesk_oracle.cli.duration import parse_duration
from quantdesk_oracle.errors import EX_FAILURE, OracleError

if TYPE_CHECKING:
    from quantdesk_oracle.localnet import LocalnetSettings, LocalNode

_MOST_SHOWN = 20
_CLUSTERS = ("localnet", "mainnet-beta", "devnet", "testnet")


def _cluster(text: str) -> str:
    if text not in _CLUSTERS:
        raise typer.BadParameter(f"{text!r} is no cluster; expected one of {', '.join(_CLUSTERS)}")
    return text


def localnet(
    rpc_port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of JSON-RPC over HTTP; 0: any free one.")
    ] = 8899,
    ws_port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of the websocket; 0: any free one.")
    ] = 8900,
    host: Annotated[
        str, typer.Option(help="Address to listen on. There is no authentication.")
    ] = "127.0.0.1",
    accounts: Annotated[
        Path | None,
        typer.Option(
            help="Serve the account dumps of this folder (`solana account --output json`) instead of a market."
        ),
    ] = None,
    genesis: Annotated[
        str, typer.Option(callback=_cluster, help=f"The cluster it says it is: {', '.join(_CLUSTERS)}.")
    ] = "localnet",
    ledger: Annotated[
        Path | None,
        typer.Option(
            help="Write every print to this file, a JSON line each; one that exists is gone on with."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same prices.")] = 0,
    slot_ms: Annotated[int, typer.Option(min=10, max=60_000, help="Length of a slot in milliseconds.")] = 400,
    push_every: Annotated[
        float,
        typer.Option(min=0.01, max=86_400, help="Seconds between pushes of a feed; at most one a second."),
    ] = 1.0,
    feeds: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=100_000,
            help="A load for benchmarks: so many feeds LOAD0001/USD …, each once in --push-every (at least 1 s), "
            "without transactions.",
        ),
    ] = None,
    legacy: Annotated[
        bool, typer.Option("--legacy", help="With --feeds: legacy accounts, which hold a print a slot.")
    ] = False,
    faults: Annotated[
        Path | None,
        typer.Option(help="Carry out this schedule of faults (TOML or JSON; see docs/localnet.md)."),
    ] = None,
    control: Annotated[
        bool,
        typer.Option("--control", help="Let programs on this machine make faults: /control on the RPC port."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON line on stdout when ready.")] = False,
    run_for: Annotated[
        str | None, typer.Option("--for", metavar="DURATION", help="End after so long, such as 30s or 5m.")
    ] = None,
) -> None:
    """A local Solana node that serves Pyth price accounts, for a first run, tests and drills.

    Its market is SIMULATED: BTC, ETH and SOL at the addresses of Pyth's real accounts, with prices that are made
    up from --seed and pushed about once a second. JSON-RPC on one port, the websocket on another.

    Try it: `curl 127.0.0.1:8899/health`; any Solana client reads prices from it.

    Drills: with --faults or --control it drops, delays, garbles, refuses, lags, forks and forgets as networks and
    nodes do, the same each time for the same seed. The ledger stays what the chain holds.

    Exit codes: 0 ended by --for, Ctrl-C or SIGTERM; 1 failure; 2 usage; 65 the dumps, the ledger or the schedule are
    none; 69 a port or the ledger is in use.
    """
    from quantdesk_oracle.localnet import DEFAULT_FEEDS, LocalnetSettings, load_feeds

    if legacy and feeds is None:
        raise typer.BadParameter("--legacy needs --feeds N: it is the form of a load's accounts")
    seconds = None if run_for is None else parse_duration(run_for)
    logging.basicConfig(level=logging.INFO, format="localnet: %(message)s")
    settings = LocalnetSettings(
        host=host,
        rpc_port=rpc_port,
        ws_port=ws_port,
        slot_ms=slot_ms,
        push_every=push_every,
        seed=seed,
        ledger=ledger,
        accounts=accounts,
        genesis=genesis,
        control=control,
        load=feeds is not None,
        feeds=DEFAULT_FEEDS if feeds is None else load_feeds(feeds, legacy=legacy),
    )
    try:
        asyncio.run(_serve(settings, seconds, faults, as_json=as_json))
    except (OracleError, OSError) as error:
        typer.echo(f"quantdesk-oracle localnet: {error}", err=True)
        raise typer.Exit(getattr(error, "exit_code", EX_FAILURE)) from error


async def _serve(
    settings: LocalnetSettings, seconds: float | None, faults: Path | None, *, as_json: bool
) -> None:
    """Run a node until a signal, the end of its time, or its death."""
    from quantdesk_oracle.clock import SystemClock
    from quantdesk_oracle.localnet import LocalNode
    from quantdesk_oracle.localnet.faults import Drill, load_schedule

    asked_to_end = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, asked_to_end.set)
    drill = None if faults is None else Drill(load_schedule(faults))
    node = LocalNode(settings, SystemClock(), drill)
    await node.start()
    try:
        typer.echo(json.dumps(_ready(node)) if as_json else _ready_text(node))
        ends = [asyncio.create_task(asked_to_end.wait()), asyncio.create_task(node.wait())]
        done, pending = await asyncio.wait(ends, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        for task in done:
            task.result()
    finally:
        await node.stop()


def _ready(node: LocalNode) -> dict[str, Any]:
    settings = node.settings
    return {
        "rpc_url": node.rpc_url,
        "ws_url": node.ws_url,
        "genesis": settings.genesis,
        "genesis_hash": settings.genesis_hash,
        "simulated": settings.accounts is None,
        "feeds": node.served(),
        "ledger": None if settings.ledger is None else str(settings.ledger),
        "control": f"{node.rpc_url}/control" if settings.control else None,
    }


def _ready_text(node: LocalNode) -> str:
    ready = _ready(node)
    what = "SIMULATED prices" if ready["simulated"] else f"account dumps of {node.settings.accounts}"
    lines = [
        f"A local Solana node with {what}; Ctrl-C ends it.",
        f"  rpc        {ready['rpc_url']}",
        f"  websocket  {ready['ws_url']}",
        f"  genesis    {ready['genesis_hash']} ({ready['genesis']})",
    ]
    feeds = ready["feeds"]
    lines += [f"  {feed['symbol'] or 'account':<9}  {feed['pubkey']}" for feed in feeds[:_MOST_SHOWN]]
    if len(feeds) > _MOST_SHOWN:
        lines.append(f"  … and {len(feeds) - _MOST_SHOWN} more; --json lists all of them")
    if ready["ledger"]:
        lines.append(f"  ledger     {ready['ledger']}")
    if ready["control"]:
        lines.append(f"  control    {ready['control']}")
    return "\n".join(lines)
