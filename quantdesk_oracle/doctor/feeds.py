"""Each feed's account: is it there, whose is it, what does it hold, how old, how sure, and what to use instead?"""

from __future__ import annotations

import binascii
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import httpx

from quantdesk_oracle.doctor.findings import Finding, Grade, fail, ok, skip, warn
from quantdesk_oracle.doctor.nodes import AskError, Node, ask
from quantdesk_oracle.errors import DecodeError
from quantdesk_oracle.model import SECOND, Freshness, Generation, PriceUpdate, Reason, Verdict
from quantdesk_oracle.pricing.acceptance import judge
from quantdesk_oracle.pricing.decimals import scaled
from quantdesk_oracle.pricing.use import age_of, freshness_of
from quantdesk_oracle.pyth.accounts import decode_price
from quantdesk_oracle.pyth.addresses import (
    FEED_SYMBOLS,
    LEGACY_PROGRAMS,
    feed_id_of_legacy_mainnet,
    generation_of_owner,
    price_feed_address,
)
from quantdesk_oracle.pyth.idl import decode_reference

if TYPE_CHECKING:
    from quantdesk_oracle.clock import Clock
    from quantdesk_oracle.config import Feed, Market, Settings

ACCOUNTS_PER_REQUEST = 100


async def examine_feeds(
    client: httpx.AsyncClient, nodes: Sequence[Node], settings: Settings, clock: Clock
) -> list[Finding]:
    """Read every feed's account from the first endpoint that serves the right cluster."""
    feeds = [feed for feed in settings.feeds if feed.on_chain]
    node = next((node for node in nodes if node.reachable and node.right_cluster), None)
    if node is None:
        nobody = f"no endpoint of {settings.node.network} answers."
        return [skip("feed.unknown", feed.name, nobody) for feed in feeds]
    found: dict[str, Any] = {}
    try:
        keys = list(dict.fromkeys(feed.pubkey for feed in feeds))
        for start in range(0, len(keys), ACCOUNTS_PER_REQUEST):
            some = keys[start : start + ACCOUNTS_PER_REQUEST]
            options = {"encoding": "base64", "commitment": settings.node.commitment}
            answer = await ask(client, node, "getMultipleAccounts", some, options)
            found.update(zip(some, answer["value"], strict=True))
    except (AskError, KeyError, TypeError, ValueError) as error:
        return [
            fail(
                "node.protocol", node.name, f"the accounts cannot be read: {error}.", "Use another endpoint."
            )
        ]
    return [
        finding
        for market in settings.markets
        if not market.on_hermes
        for finding in _market(market, found, node.slot or 0, clock.now())
    ]


def _market(market: Market, accounts: dict[str, Any], slot: int, now: int) -> Iterator[Finding]:
    findings = [
        _with_line(feed, _feed(market, feed, accounts.get(feed.pubkey), slot, now)) for feed in market.feeds
    ]
    served = any(finding.grade in (Grade.OK, Grade.WARN) for finding in findings)
    for finding in findings:
        if served and finding.grade is Grade.FAIL:
            # A fallback that is dead costs nothing while another generation is alive.
            yield warn(finding.code, finding.subject, finding.finding, finding.cure, **finding.figures)
        else:
            yield finding


def _with_line(feed: Feed, finding: Finding) -> Finding:
    if finding.code in Code.ANOTHER_ACCOUNT:
        return replace(finding, figures={**finding.figures, **_line(feed)})
    return finding


def _feed(market: Market, feed: Feed, account: Any, slot: int, now: int) -> Finding:
    if account is None:
        return fail(
            Code.MISSING, feed.name, f"there is no account {feed.pubkey} on this cluster.", _instead(feed)
        )
    try:
        owner, data = str(account["owner"]), binascii.a2b_base64(account["data"][0])
    except (KeyError, TypeError, IndexError, binascii.Error):
        return fail(
            Code.UNREADABLE, feed.name, "the node's answer holds no account data.", "Use another endpoint."
        )
    generation = generation_of_owner(owner)
    if generation is Generation.FOREIGN or feed.generation not in (None, generation):
        said = f"account {feed.pubkey} belongs to {owner}, which is not the Pyth program of {feed.generation or 'any'}."
        return fail(Code.OWNER, feed.name, said, _instead(feed), owner=owner)
    try:
        update = decode_price(data)
        if not update.legacy and decode_reference(data) != update:
            return fail(
                Code.MISMATCH,
                feed.name,
                "the two decoders disagree on it.",
                "Report it, with the account's dump.",
            )
    except DecodeError as error:
        return fail(Code.UNREADABLE, feed.name, f"it is no price account: {error}.", _instead(feed))
    return _wrong_feed(feed, update, owner) or _print(market, feed, generation, update, slot, now)


class Code:
    """The codes of findings about feeds."""

    MISSING = "feed.missing"
    OWNER = "feed.wrong_owner"
    UNREADABLE = "feed.unreadable"
    MISMATCH = "feed.decode_mismatch"
    WRONG = "feed.wrong_feed"
    FROZEN = "feed.frozen"
    DEAD = "feed.dead"
    STALE = "feed.stale"
    WIDE = "feed.wide"
    REJECTED = "feed.rejected"
    OK = "feed.fresh"
    ANOTHER_ACCOUNT = (MISSING, OWNER, UNREADABLE, WRONG, FROZEN, DEAD)
    """Those that another account cures."""


def _wrong_feed(feed: Feed, update: PriceUpdate, owner: str) -> Finding | None:
    held = update.feed_id
    if held is None and LEGACY_PROGRAMS.get(owner) == "mainnet-beta":
        held = feed_id_of_legacy_mainnet(feed.pubkey)
    if feed.feed_id is None or held is None or held == feed.feed_id:
        return None
    return fail(
        Code.WRONG,
        feed.name,
        f"the account holds {_symbol(held)}, the market wants {_symbol(feed.feed_id)}.",
        _instead(feed),
    )


def _print(
    market: Market, feed: Feed, generation: Generation, update: PriceUpdate, slot: int, now: int
) -> Finding:
    age = max(0, now // SECOND - update.publish_time)
    ratio = update.confidence * 10_000 / update.price if update.price > 0 else 0.0
    held = _symbol(update.feed_id) if update.feed_id else market.base_asset
    said = (
        f"{held}, {generation}: {scaled(update.price, update.exponent):f} ± {ratio:.1f} bp, "
        f"published {_span(age)} ago."
    )
    by_chain = age_of(update, now, slot, market.use) // SECOND
    if by_chain > age:
        said += f" By the chain's own slots it is {_span(by_chain)} old."
    figures = {
        "age_seconds": age,
        "confidence_bp": round(ratio, 2),
        "account": feed.pubkey,
        "slot": update.slot,
    }
    judgement = judge(update, market.storage, now)
    if judgement.verdict is Verdict.REJECTED:
        assert judgement.reason is not None
        return fail(
            Code.REJECTED,
            feed.name,
            f"{said} It would be rejected: {judgement.reason}.",
            _CURES.get(judgement.reason, "Wait for the next print; if it stays, see docs/errors.md."),
            **figures,
        )
    freshness = freshness_of(update, now, max(slot, update.slot), market.use)
    if freshness is Freshness.DEAD:
        if generation is Generation.LEGACY:
            return fail(
                Code.FROZEN, feed.name, f"{said} Legacy accounts were frozen in August 2024.", _instead(feed)
            )
        return fail(
            Code.DEAD,
            feed.name,
            f"{said} That is older than {market.use.stale / SECOND:.0f} s: no marks are made of it.",
            f"If Pyth is well, this account is not pushed any more: {_instead(feed)}",
            **figures,
        )
    if judgement.verdict is not Verdict.ACCEPTED:
        cure = "Nothing to do if the market is wild; else compare with another source before trusting it."
        return warn(Code.WIDE, feed.name, f"{said} It is stored as {judgement.verdict}.", cure, **figures)
    if freshness is Freshness.STALE:
        cure = "Watch it: beyond the limit of [use] stale there are no marks."
        return warn(Code.STALE, feed.name, f"{said} That is stale.", cure, **figures)
    return ok(Code.OK, feed.name, said, **figures)


_CURES = {
    Reason.UNCERTAIN: "The oracle itself is unsure: wait; marks resume by themselves.",
    Reason.FUTURE: "This machine's clock is behind: set it (NTP).",
}


def _line(feed: Feed) -> dict[str, object]:
    """The line to write instead, where a variable names the account and there is a better one."""
    if feed.feed_id is None or not feed.configured_by or not feed.configured_by.isupper():
        return {}
    account = price_feed_address(feed.feed_id, Generation.CORE_UPGRADED)
    return {} if account == feed.pubkey else {"line": f"{feed.configured_by}={account}"}


def _instead(feed: Feed) -> str:
    """What to follow instead, in words."""
    if feed.feed_id is None:
        return "Give the market a feed_id in the configuration file."
    account = price_feed_address(feed.feed_id, Generation.CORE_UPGRADED)
    if account == feed.pubkey:
        return "Check SOLANA_NETWORK: the account is the right one for Pyth's sponsored feeds."
    if feed.configured_by and feed.configured_by.isupper():
        return f"Set {feed.configured_by}={account}, or remove the line: it is the default."
    return f"Use {account} (core_upgraded), the current account of this feed."


def _symbol(feed_id: bytes) -> str:
    return FEED_SYMBOLS.get(feed_id.hex(), f"feed {feed_id.hex()[:8]}…")


def _span(seconds: int) -> str:
    for length, name in ((86_400, "days"), (3_600, "hours"), (60, "minutes")):
        if seconds >= 2 * length:
            return f"{seconds // length} {name}"
    return f"{seconds} s"
