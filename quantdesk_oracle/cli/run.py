"""``quantdesk-oracle run``: the daemon."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shlex
import shutil
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from quantdesk_oracle.cli.duration import parse_duration
from quantdesk_oracle.cli.options import ConfigFile, EnvFile, StateDir
from quantdesk_oracle.errors import EX_FAILURE, ConfigError, DatabaseError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from quantdesk_oracle.clock import Clock
    from quantdesk_oracle.config import Settings
    from quantdesk_oracle.daemon import Daemon
    from quantdesk_oracle.demo import Demo
    from quantdesk_oracle.ops.logging import Logs

LOG_FILE = "daemon.log"
SWEEP_SECONDS = 5.0


def run(
    demo: Annotated[
        bool,
        typer.Option(
            "--demo", help="Bring everything: an embedded PostgreSQL, a local node, a simulated market."
        ),
    ] = False,
    run_for: Annotated[
        str | None, typer.Option("--for", metavar="DURATION", help="End after so long, such as 30s or 5m.")
    ] = None,
    state_dir: StateDir = None,
    config: ConfigFile = None,
    env_file: EnvFile = None,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json", help="At the end, the summary as the one JSON object on stdout; logs on stderr."
        ),
    ] = False,
) -> None:
    """Follow the Pyth accounts and write prices, marks and funding until stopped.

    On a terminal a table shows the markets, and the log goes to daemon.log in the state directory; elsewhere
    the log is JSON lines on stdout. Metrics and health: http://127.0.0.1:9464/metrics, /livez, /readyz, /status.

    SIGTERM and Ctrl-C drain and end with 0 within ten seconds; a second one ends at once. SIGHUP reads the settings
    again: markets come and go, thresholds are taken over, whatever else has changed is named and wants a restart.

    Exit codes: 0 ended as asked, 1 a worker failed, 69 the database or the port cannot be had, 78 the
    configuration or the schema is wrong.
    """
    # Whoever asks for new settings before there is a daemon to take them must not kill it.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    from quantdesk_oracle.config import EMBEDDED, load_settings

    seconds = None if run_for is None else parse_duration(run_for)

    def load() -> Settings:
        return load_settings(
            config_file=config,
            env_file=env_file,
            state_dir=state_dir,
            database=EMBEDDED if demo else None,
            own_network=demo,
        )

    settings = load()
    _make_state_dir(settings.state_dir)
    table = not as_json and settings.log_format == "auto" and sys.stdout.isatty()
    with _log_stream(settings.state_dir, table=table, as_json=as_json) as stream:
        summary = asyncio.run(_run(settings, load, seconds, stream, demo=demo, table=table))
    if as_json:
        typer.echo(json.dumps(summary))
    elif summary is not None and table:
        _print_summary(summary, settings)


async def _run(
    settings: Settings,
    load: Callable[[], Settings],
    seconds: float | None,
    stream: TextIO,
    *,
    demo: bool,
    table: bool,
) -> dict[str, Any] | None:
    """One run of the daemon, from signals to summary; None where it was stopped before it had started."""
    from quantdesk_oracle.clock import SystemClock
    from quantdesk_oracle.demo import Demo
    from quantdesk_oracle.ops import logging

    stop = _stop_on_signals()
    clock = SystemClock()
    as_text = settings.log_format == "console" or (settings.log_format == "auto" and stream.isatty())
    logs = logging.setup(json=not as_text, level=settings.log_level, stream=stream, secrets=settings.secrets)
    world = Demo(settings, clock) if demo else None
    asked = _ask_on_sighup()
    try:
        daemon = await _until_stopped(_prepared(settings, clock, world), stop)
        if daemon is None:
            return None
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(_beside(_reread_when_asked(daemon, settings, load, asked)))
            await stack.enter_async_context(_beside(_sweep(logs, clock)))
            if world is not None:
                await stack.enter_async_context(_beside(world.trade()))
            if seconds is not None:
                handle = asyncio.get_running_loop().call_later(seconds, stop.set)
                stack.callback(handle.cancel)
            if table:
                await stack.enter_async_context(_live_table(daemon, world))
            await daemon.run(stop, before_stop=world.stop_pushing if world else None)
        return {**daemon.summary(), "ledger": str(world.ledger) if world else None}
    finally:
        if world is not None:
            await world.stop()
        logs.close()


async def _prepared(settings: Settings, clock: Clock, world: Demo | None) -> Daemon:
    from quantdesk_oracle.daemon import Daemon

    if world is not None:
        settings = await world.start()
    elif settings.embedded:
        settings = await _with_embedded_database(settings)
    daemon = Daemon(settings, clock)
    await daemon.prepare(world.shorten_funding if world is not None else None)
    return daemon


async def _with_embedded_database(settings: Settings) -> Settings:
    from dataclasses import replace

    from pydantic import SecretStr

    from quantdesk_oracle.store.embedded import EmbeddedServer

    dsn = SecretStr(await asyncio.to_thread(EmbeddedServer(settings.state_dir).start))
    database = replace(settings.database, url=dsn, schema_url=dsn)
    return replace(settings, database=database, embedded_dsn=True)


async def _until_stopped(preparing: Any, stop: asyncio.Event) -> Daemon | None:
    """The prepared daemon, or None where ``stop`` came first."""
    task = asyncio.ensure_future(preparing)
    stopped = asyncio.ensure_future(stop.wait())
    await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if task.done():
        return task.result()  # type: ignore[no-any-return]
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    return None


def _stop_on_signals() -> asyncio.Event:
    """An event that SIGTERM and SIGINT set; the second one of either leaves at once."""
    stop = asyncio.Event()

    def on_signal() -> None:
        if stop.is_set():
            os._exit(EX_FAILURE)
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    return stop


def _ask_on_sighup() -> asyncio.Event:
    """An event that SIGHUP sets; also while the daemon is still being prepared, for when it is."""
    asked = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, asked.set)
    return asked


async def _reread_when_asked(
    daemon: Daemon, settings: Settings, load: Callable[[], Settings], asked: asyncio.Event
) -> None:
    """Whenever ``asked`` is set, until cancelled. Settings that cannot be used change nothing."""
    import structlog

    log = structlog.get_logger("run")
    while True:
        await asked.wait()
        asked.clear()
        try:
            wished = load()
        except ConfigError as error:
            log.error("settings.refused", problems=error.problems)  # noqa: TRY400 (its sentences say all)
            continue
        try:
            await daemon.reread(settings, wished)
        except DatabaseError as error:
            cure = "send SIGHUP again when the database is back"
            log.error("markets.not_added", cause=str(error), cure=cure)  # noqa: TRY400 (it says all)


async def _sweep(logs: Logs, clock: Clock) -> None:
    """Say every few seconds what the log has left out of repeated lines, until cancelled."""
    while True:
        await clock.sleep(SWEEP_SECONDS)
        logs.sweep()


@contextlib.asynccontextmanager
async def _beside(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run ``work`` for the length of the block; an error of it is raised at the end."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def _live_table(daemon: Daemon, world: Demo | None) -> Any:
    from quantdesk_oracle.cli.live import live_table

    return live_table(daemon, simulated=world is not None)


def _make_state_dir(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            [f"the state directory {folder} cannot be made ({error.strerror}): choose one with --state-dir"]
        ) from error


@contextlib.contextmanager
def _log_stream(state_dir: Path, *, table: bool, as_json: bool) -> Any:
    """Where the log goes: a file beside the table, stderr beside JSON, else stdout."""
    if not table:
        yield sys.stderr if as_json else sys.stdout
        return
    with (state_dir / LOG_FILE).open("w", encoding="utf-8", buffering=1) as stream:
        yield stream


def _print_summary(summary: dict[str, Any], settings: Settings) -> None:
    rows = ", ".join(f"{count} {table}" for table, count in summary["rows"].items())
    typer.echo(f"Inserted {rows}.")
    rejected = ", ".join(f"{count} {reason}" for reason, count in summary["rejected"].items()) or "none"
    typer.echo(
        f"Prints received: {summary['updates']}; again: {summary['duplicates']}; rejected: {rejected}; "
        f"reconnects: {summary['reconnects']}."
    )
    typer.echo(f"Database: {summary['dsn']}")
    if summary["ledger"]:
        program, options = _program(), _state_dir_option(settings)
        typer.echo(f"Look at the rows:  {program} db psql{options}")
        typer.echo(f"Stop the database, which runs on:  {program} db stop{options}")


def _program() -> str:
    """How to type this program again: one that is in no folder of PATH wants its own."""
    if shutil.which("quantdesk-oracle") is not None:
        return "quantdesk-oracle"
    started = Path(sys.argv[0])
    if started.name == "__main__.py":
        return f"{sys.executable} -m quantdesk_oracle"
    return str(started.relative_to(Path.cwd())) if started.is_relative_to(Path.cwd()) else str(started)


def _state_dir_option(settings: Settings) -> str:
    """What `db` has to be told where the state directory is not the default one."""
    from quantdesk_oracle.config.load import default_state_dir

    if settings.state_dir == default_state_dir():
        return ""
    return f" --state-dir {shlex.quote(str(settings.state_dir))}"
