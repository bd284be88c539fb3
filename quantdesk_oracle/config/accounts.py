"""What is wrong with the accounts that somebody wrote down, in words: cluster, generation, last print, cure."""

from __future__ import annotations

from dataclasses import dataclass

from quantdesk_oracle.config.settings import Feed, Market, Settings
from quantdesk_oracle.model import Generation
from quantdesk_oracle.pyth import addresses


@dataclass(frozen=True, slots=True)
class AccountProblem:
    """One configured account that will give no usable price."""

    market: str
    key: str
    """The variable or key of the file that names it."""
    account: str
    problem: str
    cure: str
    replacement: str | None
    """The account to name instead, where there is one."""


def account_problems(settings: Settings) -> tuple[AccountProblem, ...]:
    """The problems that the addresses alone give away; what a node says of them comes on top."""
    problems = (
        _problem(market, feed, settings.node.network) for market in settings.markets for feed in market.feeds
    )
    return tuple(problem for problem in problems if problem is not None)


def _problem(market: Market, feed: Feed, network: str) -> AccountProblem | None:
    known = addresses.LEGACY_ACCOUNTS.get(feed.pubkey)
    if known is None or feed.configured_by is None:
        return None
    faults = [f"a legacy account of {known.symbol}, a generation that was frozen in {known.last_print}"]
    if network not in (known.cluster, "localnet"):
        faults.append(f"it is on {known.cluster}, while the network is {network}")
    if known.symbol.split("/")[0] != market.base_asset:
        faults.append(f"and it is not for {market.base_asset}")
    replacement = _replacement(market, feed, known)
    return AccountProblem(
        market=market.symbol,
        key=feed.configured_by,
        account=feed.pubkey,
        problem=f"{feed.configured_by}={feed.pubkey} is {'; '.join(faults)}: it will give no usable price.",
        cure=_cure(feed, known, replacement),
        replacement=replacement,
    )


def _replacement(market: Market, feed: Feed, known: addresses.LegacyAccount) -> str | None:
    """The current account of the same feed: a legacy mainnet key is the feed id itself."""
    feed_id = feed.feed_id
    if known.cluster == "mainnet-beta" and known.symbol.split("/")[0] == market.base_asset:
        feed_id = addresses.feed_id_of_legacy_mainnet(feed.pubkey)
    if feed_id is None:
        return None
    return addresses.price_feed_address(feed_id, Generation.CORE_UPGRADED)


def _cure(feed: Feed, known: addresses.LegacyAccount, replacement: str | None) -> str:
    if replacement is None:
        return f"Give the market a feed_id in the configuration file and remove {feed.configured_by}."
    source = "derived from the same feed id"
    if known.cluster != "mainnet-beta":
        source = "derived from the market's feed id; a legacy devnet key says nothing of it"
    return f"Set {feed.configured_by}={replacement} ({source}), or remove the line: it is the default."
