"""Hermes: does it answer, with this key, for every feed that is wanted of it, and how old is what it says?

And Benchmarks, where it is what the gaps of markets on Hermes are read back from.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from quantdesk_oracle.doctor.findings import Finding, Grade, ok, skip, warn
from quantdesk_oracle.errors import NodeError, NodeProtocolError, RateLimitedError
from quantdesk_oracle.model import SECOND, Freshness, Source
from quantdesk_oracle.pricing.use import freshness_of
from quantdesk_oracle.sources.hermes import (
    FEEDS_AT_ONCE,
    KEY_VARIABLE,
    LONGEST_HISTORY,
    HermesClient,
    HermesKeyError,
    HermesNothingError,
    Prints,
    benchmarks_client,
    hermes_clients,
)

if TYPE_CHECKING:
    from quantdesk_oracle.clock import Clock
    from quantdesk_oracle.config import Market, Settings
    from quantdesk_oracle.model import PriceUpdate

_TRIED_ALONE = 8
"""Feeds that are asked for one by one to find the one that a key does not cover: the limit is 10 requests."""
_TRAILS = 120
"""Seconds by which Benchmarks may trail; the minute before is asked for."""
_UNHEALED = "what a stream misses is not read back."
_CURES = {
    "no_key": f"Set {KEY_VARIABLE} to a key of Pyth's; docs/howto/hermes.md says how to get one.",
    "refused": f"Check {KEY_VARIABLE}: the key may have ended, or be mistyped.",
    "not_covered": "Ask Pyth for a key whose plan covers them, or take these markets' prices from the chain.",
    "rate_limited": "Wait a minute; with a plan of your own set [hermes] requests to what it allows.",
}


class _Address(NamedTuple):
    """What is asked: the setting that names it, what it must be, and what else there is where it is away."""

    setting: str
    what: str
    instead: str

    def cure(self, trouble: str) -> str:
        return {
            **_CURES,
            "protocol": f"Check [hermes] {self.setting}: it must be the URL of a {self.what}.",
            "unreachable": f"Check [hermes] {self.setting}, and the network between; {self.instead}.",
        }.get(trouble, "Check the markets' feed_id.")


_HERMES = _Address("urls", "Hermes", "name a second URL for failover")
_BENCHMARKS = _Address("benchmarks_url", "Benchmarks", 'or read from Hermes, history = "hermes"')


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


async def examine_benchmarks(settings: Settings, clock: Clock) -> list[Finding]:
    """Ask for a minute of the past of the feeds whose gaps are read back from there; nothing where there are none."""
    markets = [market for market in settings.markets if market.on_hermes and market.feed_id is not None]
    if settings.hermes.history is not Source.BENCHMARKS or not markets:
        return []
    feed_ids = list(dict.fromkeys(market.feed_id for market in markets if market.feed_id is not None))
    client = benchmarks_client(settings.hermes, clock)
    end = clock.now() // SECOND - _TRAILS
    prints = Prints([], Counter())
    try:
        for start in range(0, len(feed_ids), FEEDS_AT_ONCE):
            some = await _minute(client, end, feed_ids[start : start + FEEDS_AT_ONCE])
            prints.updates.extend(some.updates)
            prints.unreadable.update(some.unreadable)
    except NodeError as error:
        trouble = _trouble_of(settings, error)
        said, cure = f"{error}: {_UNHEALED}", _BENCHMARKS.cure(trouble)
        return [Finding(Grade.WARN, f"benchmarks.{trouble}", client.name, said, cure)]
    finally:
        await client.close()
    return [_of_minute(client, markets, prints)]


async def _minute(client: HermesClient, end: int, feed_ids: Sequence[bytes]) -> Prints:
    try:
        return await client.between(end - LONGEST_HISTORY, end, feed_ids)
    except HermesNothingError:
        return Prints([], Counter())


def _of_minute(client: HermesClient, markets: Sequence[Market], prints: Prints) -> Finding:
    if prints.unreadable:
        said = f"{prints.unreadable.total()} of its updates cannot be read: {_UNHEALED}"
        return warn("benchmarks.protocol", client.name, said, "Check [hermes] benchmarks_url.")
    there = {update.feed_id for update in prints.updates}
    if missing := [market.symbol for market in markets if market.feed_id not in there]:
        said = f"has nothing of {', '.join(missing)} of three minutes ago: {_UNHEALED}"
        cure = (
            "Compare this machine's clock (NTP); if it is right, Benchmarks trails, or Pyth did not publish."
        )
        return warn("benchmarks.nothing", client.name, said, cure)
    count = len(prints.updates)
    said = f"gives {count} prints of a minute, three minutes ago, their proofs verified."
    return ok("benchmarks.history", client.name, said, prints=count)


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
    trouble = _trouble_of(settings, error)
    said = f"{error}."
    if trouble == "not_covered":
        names = await _not_covered(client, settings, feed_ids)
        said = f"the key does not cover {names}." if names else said
    return _finding(settings, trouble, client.name, said)


def _trouble_of(settings: Settings, error: NodeError) -> str:
    if isinstance(error, HermesKeyError):
        if "403" in str(error):
            return "not_covered"
        return "refused" if settings.hermes.key else "no_key"
    if isinstance(error, RateLimitedError):
        return "rate_limited"
    if isinstance(error, HermesNothingError):
        return "unknown_feed"
    return "protocol" if isinstance(error, NodeProtocolError) else "unreachable"


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


def _finding(settings: Settings, trouble: str, subject: str, said: str) -> Finding:
    """A failure where a market lives on Hermes alone; else a warning."""
    own = any(market.on_hermes for market in settings.markets)
    grade = Grade.FAIL if own else Grade.WARN
    return Finding(grade, f"hermes.{trouble}", subject, said, _HERMES.cure(trouble))
