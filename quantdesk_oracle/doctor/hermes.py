"""Hermes: does it answer, with this key, for every feed that is wanted of it, and how old is what it says?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from quantdesk_oracle.doctor.findings import Finding, Grade, ok, skip
from quantdesk_oracle.errors import NodeError, NodeProtocolError, RateLimitedError
from quantdesk_oracle.model import SECOND, Freshness
from quantdesk_oracle.pricing.use import freshness_of
from quantdesk_oracle.sources.hermes import (
    FEEDS_AT_ONCE,
    KEY_VARIABLE,
    HermesClient,
    HermesKeyError,
    HermesNothingError,
    hermes_clients,
)

if TYPE_CHECKING:
    from quantdesk_oracle.clock import Clock
    from quantdesk_oracle.config import Market, Settings
    from quantdesk_oracle.model import PriceUpdate

_TRIED_ALONE = 8
"""Feeds that are asked for one by one to find the one that a key does not cover: the limit is 10 requests."""
_CURES = {
    "hermes.no_key": f"Set {KEY_VARIABLE} to a key of Pyth's; docs/howto/hermes.md says how to get one.",
    "hermes.refused": f"Check {KEY_VARIABLE}: the key may have ended, or be mistyped.",
    "hermes.not_covered": "Ask Pyth for a key whose plan covers them, or take these markets' prices from the chain.",
    "hermes.rate_limited": "Wait a minute; with a plan of your own set [hermes] requests to what it allows.",
    "hermes.protocol": "Check [hermes] urls: it must be the URL of a Hermes.",
    "hermes.unreachable": "Check [hermes] urls, and the network between; name a second URL for failover.",
}


async def examine_hermes(settings: Settings, clock: Clock) -> list[Finding]:
    """Ask each Hermes of the settings for the newest prints of all its feeds; nothing where nobody wants it."""
    feed_ids = settings.hermes_feeds
    if not feed_ids:
        return [
            skip("hermes.unused", "hermes", "no market takes its prices from it, nor is it a second source.")
        ]
    clients = hermes_clients(settings.hermes, clock)
    try:
        return [
            finding for client in clients for finding in await _examine(client, settings, feed_ids, clock)
        ]
    finally:
        for client in clients:
            await client.close()


async def _examine(
    client: HermesClient, settings: Settings, feed_ids: Sequence[bytes], clock: Clock
) -> list[Finding]:
    newest: dict[bytes | None, PriceUpdate] = {}
    try:
        for start in range(0, len(feed_ids), FEEDS_AT_ONCE):
            some = feed_ids[start : start + FEEDS_AT_ONCE]
            newest |= {update.feed_id: update for update in await client.latest(some)}
    except NodeError as error:
        return [await _trouble(client, settings, feed_ids, error)]
    markets = [market for market in settings.markets if market.feed_id in feed_ids]
    return [_market(client, market, newest.get(market.feed_id), clock.now()) for market in markets]


async def _trouble(
    client: HermesClient, settings: Settings, feed_ids: Sequence[bytes], error: NodeError
) -> Finding:
    code = _code(settings, error)
    said = f"{error}."
    if code == "hermes.not_covered":
        names = await _not_covered(client, settings, feed_ids)
        said = f"the key does not cover {names}." if names else said
    return _finding(settings, code, client.name, said)


def _code(settings: Settings, error: NodeError) -> str:
    if isinstance(error, HermesKeyError):
        if "403" in str(error):
            return "hermes.not_covered"
        return "hermes.refused" if settings.hermes.key else "hermes.no_key"
    if isinstance(error, RateLimitedError):
        return "hermes.rate_limited"
    if isinstance(error, HermesNothingError):
        return "hermes.unknown_feed"
    return "hermes.protocol" if isinstance(error, NodeProtocolError) else "hermes.unreachable"


async def _not_covered(client: HermesClient, settings: Settings, feed_ids: Sequence[bytes]) -> str:
    """The markets whose feeds are refused when they are asked for alone; empty where that says nothing."""
    refused = []
    for feed_id in feed_ids[:_TRIED_ALONE]:
        try:
            await client.latest([feed_id])
        except HermesKeyError:
            refused += [market.symbol for market in settings.markets if market.feed_id == feed_id]
        except NodeError:
            return ""
    return ", ".join(refused)


def _market(client: HermesClient, market: Market, update: PriceUpdate | None, now: int) -> Finding:
    subject = f"{market.symbol}/hermes"
    if update is None:
        cure = "Check the market's feed_id; Pyth lists all of them at /v2/price_feeds, which wants no key."
        grade = Grade.FAIL if market.on_hermes else Grade.WARN
        said = f"{client.name} knows no feed {market.feed_id.hex() if market.feed_id else ''}."
        return Finding(grade, "hermes.unknown_feed", subject, said, cure)
    age = max(0, now // SECOND - update.publish_time)
    said = f"{client.name} has a print of {age} s ago, its proof verified."
    # By the clock alone: its slot is Pythnet's.
    limits = market.use._replace(slot_time=0)
    freshness = freshness_of(update, now, 0, limits)
    if freshness is Freshness.FRESH:
        return ok("hermes.fresh", subject, said, age_seconds=age)
    grade = Grade.FAIL if market.on_hermes and freshness is Freshness.DEAD else Grade.WARN
    cure = "Compare this machine's clock (NTP); if it is right, Pyth does not publish the feed now."
    return Finding(grade, "hermes.stale", subject, f"{said} That is {freshness}.", cure, {"age_seconds": age})


def _finding(settings: Settings, code: str, subject: str, said: str) -> Finding:
    """A failure where a market lives on Hermes alone; else a warning."""
    own = any(market.on_hermes for market in settings.markets)
    cure = _CURES.get(code, "Check the markets' feed_id.")
    return Finding(Grade.FAIL if own else Grade.WARN, code, subject, said, cure)
