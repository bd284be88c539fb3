"""All checks, in the order of the table."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import httpx

from quantdesk_oracle.doctor import host
from quantdesk_oracle.doctor.database import examine_database
from quantdesk_oracle.doctor.feeds import examine_feeds
from quantdesk_oracle.doctor.findings import Finding, fail, skip
from quantdesk_oracle.doctor.hermes import examine_benchmarks, examine_hermes
from quantdesk_oracle.doctor.nodes import PATIENCE, examine_nodes, nodes_of
from quantdesk_oracle.ops.disk import free_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quantdesk_oracle.clock import Clock
    from quantdesk_oracle.config import Settings


def settings_findings(problems: Sequence[str]) -> list[Finding]:
    """What is wrong with the settings, a finding each."""
    cure = "Correct it; every key: config/quantdesk.toml, every variable: env.example."
    return [fail("settings.wrong", "settings", f"{problem.rstrip('.')}.", cure) for problem in problems]


async def examine(
    settings: Settings, clock: Clock, *, database: str | None, free: host.FreeBytes = free_bytes
) -> list[Finding]:
    """Every check of these settings. ``database``: its DSN, None where there is none to look at."""
    findings = [host.version(), *host.accounts(settings)]
    async with httpx.AsyncClient(timeout=PATIENCE) as client:
        nodes = nodes_of(settings)
        _, of_database, of_hermes, of_benchmarks = await asyncio.gather(
            examine_nodes(client, nodes, settings, clock),
            _of_database(database, settings, clock),
            examine_hermes(settings, clock),
            examine_benchmarks(settings, clock),
        )
        of_feeds = await examine_feeds(client, nodes, settings, clock)
    findings += [finding for node in nodes for finding in node.findings]
    findings += of_feeds
    findings += of_hermes
    findings += of_benchmarks
    findings += of_database
    findings.append(host.state_directory(settings.state_dir, free))
    findings.append(await asyncio.to_thread(host.port, settings))
    return findings


async def _of_database(dsn: str | None, settings: Settings, clock: Clock) -> list[Finding]:
    if dsn is None:
        return [
            skip(
                "database.unknown",
                "database",
                "none is named that runs: DATABASE_URL is missing, or the embedded one is not started yet.",
            )
        ]
    return await examine_database(dsn, clock, settings.clock_tolerance)
