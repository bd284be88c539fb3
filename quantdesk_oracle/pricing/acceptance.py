"""Which prints are stored, decided by the message and the clock alone.

In whatever order prints arrive, by whichever way and at whichever daemon, the same rows come out.
Ratios are compared by cross-multiplied integers, so that nothing is rounded.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from quantdesk_oracle.model import SECOND, PriceUpdate, Reason, Verdict
from quantdesk_oracle.pyth import layouts

MIN_EXPONENT = -12
MAX_EXPONENT = 0
MAX_SLOT = 2**63 - 1
"""PostgreSQL's bigint; the chain reaches it in a hundred billion years."""
_PPM = 1_000_000


class StorageLimits(NamedTuple):
    """One market's thresholds. Ratios in parts per million (100 ppm = 1 basis point)."""

    future: int = 5 * SECOND
    """How far ahead of the clock a publish time may be, µs."""
    uncertain_ppm: int = 20_000
    implausible_factor: int = 5
    quarantine_ppm: int = 100_000
    wide_ppm: int = 2_500
    accept_partial: bool = False


DEFAULT_LIMITS: Final = StorageLimits()
_LIMITS_OF_SYMBOL: Final = {"Crypto.SOL/USD": StorageLimits(wide_ppm=5_000)}


def default_limits(symbol: str | None) -> StorageLimits:
    """The thresholds for a feed (``Crypto.SOL/USD``) where no configuration says otherwise."""
    return DEFAULT_LIMITS if symbol is None else _LIMITS_OF_SYMBOL.get(symbol, DEFAULT_LIMITS)


class Judgement(NamedTuple):
    """What storage decides about a print, and why it is not plainly accepted."""

    verdict: Verdict
    reason: Reason | None = None

    @property
    def usable(self) -> bool:
        """Whether a print with this verdict may be used at once: a quarantined one has to prove itself."""
        return self.verdict in (Verdict.ACCEPTED, Verdict.WIDE)


_ACCEPTED = Judgement(Verdict.ACCEPTED)
_WIDE = Judgement(Verdict.WIDE, Reason.WIDE)
_QUARANTINED = Judgement(Verdict.QUARANTINED, Reason.QUARANTINED)
_REJECTED = {reason: Judgement(Verdict.REJECTED, reason) for reason in Reason}


def judge(update: PriceUpdate, limits: StorageLimits, now: int | None) -> Judgement:
    """Decide whether ``update`` is stored, and with which verdict.

    ``now`` is in µs; None leaves out the one step that asks the clock. Whether the account is the feed's own
    (owner, feed id) is the caller's to know: a message does not say where it lay.
    """
    reason = _form(update, limits)
    if reason is not None:
        return _REJECTED[reason]
    price, confidence = update.price, update.confidence
    if now is not None and update.publish_time * SECOND > now + limits.future:
        return _REJECTED[Reason.FUTURE]
    if confidence * _PPM > price * limits.uncertain_ppm:
        return _REJECTED[Reason.UNCERTAIN]
    ema = update.ema_price
    if ema > 0:
        if price > ema * limits.implausible_factor or price * limits.implausible_factor < ema:
            return _REJECTED[Reason.IMPLAUSIBLE]
        if abs(price - ema) * _PPM > ema * limits.quarantine_ppm:
            return _QUARANTINED
    return _WIDE if is_wide(update, limits) else _ACCEPTED


def is_wide(update: PriceUpdate, limits: StorageLimits) -> bool:
    """Whether the oracle is less sure of ``update`` than it mostly is."""
    return update.confidence * _PPM > update.price * limits.wide_ppm


def _form(update: PriceUpdate, limits: StorageLimits) -> Reason | None:
    """What is wrong with the print whatever the market's thresholds, or None."""
    if update.price <= 0:
        return Reason.PRICE_NOT_POSITIVE
    if not MIN_EXPONENT <= update.exponent <= MAX_EXPONENT:
        return Reason.BAD_EXPONENT
    if update.signatures is not None and not limits.accept_partial:
        return Reason.NOT_FULL
    if not update.trading:
        return Reason.NOT_TRADING
    if update.publish_time < (layouts.LEGACY_TIME_STARTS if update.legacy else 0):
        return Reason.BAD_TIMESTAMP
    if update.slot > MAX_SLOT:
        return Reason.BAD_SLOT
    return None
