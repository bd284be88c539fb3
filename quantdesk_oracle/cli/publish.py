"""``quantdesk-oracle publish``: committed rows into NATS JetStream."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quantdesk_oracle.cli.duration import parse_duration
from quantdesk_oracle.cli.options import ConfigFile, EnvFile, StateDir
from quantdesk_oracle.errors import ConfigError, UnavailableError

if TYPE_CHECKING:
    from quantdesk_oracle.config import Settings
    from quantdesk_oracle.workers.publish import Send

STATE_FILE = "published.sqlite3"
STREAM = "QUANTDESK"
KEPT_SECONDS = 86_400.0
ANSWER_SECONDS = 10.0


def publish(
    nats: Annotated[
        str,
        typer.Option(
            "--nats",
            metavar="URLS",
            envvar="NATS_URL",
            help="NATS servers, separated by commas. Give passwords by NATS_URL: arguments are seen by everybody.",
        ),
    ] = "nats://127.0.0.1:4222",
    credentials: Annotated[
        Path | None, typer.Option("--credentials", help="File of NATS credentials (.creds).")
    ] = None,
    prefix: Annotated[str, typer.Option("--prefix", help="First token of every subject.")] = "quantdesk",
    run_for: Annotated[
        str | None, typer.Option("--for", metavar="DURATION", help="End after so long, such as 30s or 5m.")
    ] = None,
    state_dir: StateDir = None,
    config: ConfigFile = None,
    env_file: EnvFile = None,
) -> None:
    """Pass on committed prices, marks and funding rates into NATS JetStream; a process beside the daemons.

    Subjects: quantdesk.price.MARKET, quantdesk.mark.MARKET, quantdesk.funding.MARKET. Payload: the row as JSON,
    numbers as decimal strings. Each row at least once, its `key` also as Nats-Msg-Id; rows that are committed
    late come late. The first time it begins with now; afterwards where it was, up to a day back. The stream
    QUANTDESK is made where there is none. It only reads the database, and may lag or stop without harm.

    At the end, how many rows were passed on, as JSON. Exit codes: 0 ended as asked, 69 the database does not
    answer at the start, 78 the configuration is wrong.
    """
    from quantdesk_oracle.config import load_settings

    seconds = None if run_for is None else parse_duration(run_for)
    settings = load_settings(config_file=config, env_file=env_file, state_dir=state_dir)
    if settings.embedded:
        raise ConfigError(["publish reads the daemons' database: set DATABASE_URL to it, not to `embedded`"])
    published = asyncio.run(_run(settings, nats.split(","), credentials, prefix, seconds))
    typer.echo(json.dumps({"published": published}))


async def _run(
    settings: Settings, servers: list[str], credentials: Path | None, prefix: str, seconds: float | None
) -> dict[str, int]:
    from quantdesk_oracle.clock import SystemClock
    from quantdesk_oracle.ops import logging
    from quantdesk_oracle.store.database import Database
    from quantdesk_oracle.store.sent import Sent
    from quantdesk_oracle.workers.publish import Publisher

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if seconds is not None:
        loop.call_later(seconds, stop.set)
    as_text = settings.log_format == "console" or (settings.log_format == "auto" and sys.stderr.isatty())
    logs = logging.setup(
        json=not as_text, level=settings.log_level, stream=sys.stderr, secrets=(*settings.secrets, *servers)
    )
    database = Database(
        settings.database.url.get_secret_value(),
        pool_size=2,
        command_timeout=settings.database.command_timeout,
    )
    try:
        await database.open()
        sent = Sent(settings.state_dir / STATE_FILE)
        async with _broker(servers, credentials, prefix) as send:
            publisher = Publisher(database, sent, send, SystemClock(), prefix=prefix)
            await _until(stop, publisher.run())
        sent.close()
        return publisher.published
    finally:
        await database.close()
        logs.close()


async def _until(stop: asyncio.Event, work: Any) -> None:
    """Run ``work`` until ``stop`` is set; what it raises comes out."""
    task, stopped = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if task.done():
        task.result()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


@contextlib.asynccontextmanager
async def _broker(servers: list[str], credentials: Path | None, prefix: str) -> AsyncIterator[Send]:
    """A connection that comes back by itself, and how to store a message over it."""
    import structlog

    try:
        import nats
        import nats.errors
        import nats.js.errors
        from nats.js.api import StreamConfig
    except ImportError:
        raise ConfigError(
            ["publish needs the extra `publish`: pip install 'quantdesk-oracle[publish]'"]
        ) from None
    log = structlog.get_logger("cli.publish")
    trouble = (nats.errors.Error, OSError, TimeoutError)

    async def on_error(error: Exception) -> None:
        log.debug("broker.failed", cause=type(error).__name__)

    async def connect() -> Any:
        return await nats.connect(
            servers,
            name="quantdesk-oracle publish",
            max_reconnect_attempts=-1,
            reconnect_time_wait=1,
            connect_timeout=5,
            user_credentials=None if credentials is None else str(credentials),
            error_cb=on_error,
        )

    connection: Any = None
    ready = False

    async def ensure() -> Any:
        nonlocal connection, ready
        if connection is None:
            connection = await asyncio.wait_for(connect(), ANSWER_SECONDS)
        stream = connection.jetstream(timeout=ANSWER_SECONDS)
        if not ready:
            try:
                await stream.stream_info(STREAM)
            except nats.js.errors.NotFoundError:
                await stream.add_stream(
                    StreamConfig(
                        name=STREAM, subjects=[f"{prefix}.>"], max_age=KEPT_SECONDS, duplicate_window=600
                    )
                )
            ready = True
        return stream

    lock = asyncio.Lock()

    async def send(subject: str, payload: bytes, key: str) -> None:
        nonlocal ready
        try:
            async with lock:
                stream = await ensure()
            await stream.publish(subject, payload, headers={"Nats-Msg-Id": key})
        except trouble as error:
            ready = False
            raise UnavailableError(
                f"NATS does not take messages ({type(error).__name__}); check --nats, and that JetStream is on"
            ) from error

    try:
        yield send
    finally:
        if connection is not None:
            with contextlib.suppress(*trouble):
                await asyncio.wait_for(connection.close(), 5)
