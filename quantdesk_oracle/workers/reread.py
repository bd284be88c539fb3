"""New settings while the daemon runs: thresholds of markets are taken over, the rest is named (markets: ``roster``)."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, NamedTuple

import structlog

if TYPE_CHECKING:
    from quantdesk_oracle.config import Market, Settings
    from quantdesk_oracle.workers.journal import Journal
    from quantdesk_oracle.workers.state import Change, Markets

log = structlog.get_logger("workers.reread")
_TAKEN_OVER = ("storage", "use", "mark_band")


class Reread(NamedTuple):
    """What rereading the settings came to."""

    changes: tuple[Change, ...]
    wants_restart: tuple[str, ...]
    """Names of settings that differ and are not taken over. Never their values: some are secret."""


def reread(markets: Markets, before: Settings, now: Settings, journal: Journal) -> Reread:
    """Take over what can be; tell the log and system_events of all that differs."""
    wished = {market.symbol: market for market in now.markets}
    changes = [
        change
        for state in markets
        if state.symbol in wished
        for change in state.take_over(wished[state.symbol])
    ]
    found = Reread(tuple(changes), tuple(_wants_restart(before, now)))
    for change in found.changes:
        market, threshold, old, new = change.market, change.threshold, str(change.before), str(change.now)
        log.info("threshold.changed", market=market, threshold=threshold, before=old, now=new)
        journal.record("threshold.changed", market=market, reason=threshold, before=old, now=new)
    if found.wants_restart:
        log.warning(
            "settings.kept", settings=found.wants_restart, cure="restart the daemon to take them over"
        )
    log.info("settings.reread", changes=len(found.changes))
    return found


def _wants_restart(before: Settings, now: Settings) -> list[str]:
    names = [
        field.name
        for field in fields(before)
        if field.name != "markets" and getattr(before, field.name) != getattr(now, field.name)
    ]
    old, new = ({market.symbol: market for market in settings.markets} for settings in (before, now))
    for symbol in old:
        if symbol in new:
            names += [f"market {symbol} ({name})" for name in _kept(old[symbol], new[symbol])]
    return names


def _kept(before: Market, now: Market) -> list[str]:
    return [
        field.name
        for field in fields(before)
        if field.name not in _TAKEN_OVER and getattr(before, field.name) != getattr(now, field.name)
    ]
