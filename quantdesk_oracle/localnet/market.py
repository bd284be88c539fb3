"""A simulated market: prices that move like a market's and mean nothing. Pure.

Every print follows from the one before it, the seed and its number in the feed's series alone: so a run can be
repeated, and a restarted node goes on where its ledger ends.
"""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING, Final

from quantdesk_oracle.localnet.settings import EXPONENT
from quantdesk_oracle.model import PriceUpdate

if TYPE_CHECKING:
    from quantdesk_oracle.localnet.settings import Feed

_SECONDS_A_YEAR: Final = 365 * 86_400
_TAIL_DEGREES: Final = 4
"""Degrees of freedom of Student's t: kurtosis as in a crypto market's returns of a second."""
_LARGEST_STEP: Final = 0.02
"""Of the log price in one push: a crash, and still no halt."""
_EMA_DECAY: Final = 117_065
"""Per slot, in 10**-9: log 2 / 5921 slots, about an hour. Source: pyth-client `upd_aggregate.h`."""
_EMA_LONGEST_GAP: Final = 4_145
"""Slots without a price after which the average starts anew. Source: the same."""


def next_update(
    feed: Feed,
    last: PriceUpdate | None,
    *,
    number: int,
    seed: int,
    push_every: float,
    publish_time: int,
    slot: int,
) -> PriceUpdate:
    """The feed's print ``number`` (0 the first), published at ``publish_time`` (Unix seconds) in ``slot``."""
    draw = random.Random(f"{seed}/{feed.symbol}/{number}")  # noqa: S311 - a simulation
    start = last.price if last else feed.start_price
    sigma = feed.volatility * math.sqrt(push_every / _SECONDS_A_YEAR) if last else 0.005
    step = max(-_LARGEST_STEP, min(_LARGEST_STEP, sigma * _student_t(draw)))
    price = max(1, round(start * math.exp(step)))
    confidence = _confidence(feed, price, abs(step) / sigma, draw)
    ema_price, ema_confidence = next_ema(last, price, confidence, publish_time)
    return PriceUpdate(
        feed_id=feed.feed_id,
        price=price,
        confidence=confidence,
        exponent=EXPONENT,
        publish_time=publish_time,
        # Pythnet's own publish before this one, whether or not anybody pushed it.
        prev_publish_time=publish_time - 1,
        ema_price=ema_price,
        ema_confidence=ema_confidence,
        slot=slot,
    )


def next_ema(last: PriceUpdate | None, price: int, confidence: int, publish_time: int) -> tuple[int, int]:
    """The averages of price and confidence, raw.

    Pyth weighs each price by its slots and by the inverse of its confidence. Its running denominator is not in
    the account; here it stands at its steady state, the inverse of the average confidence, so that the average
    follows from the last print alone.
    """
    seconds = publish_time - last.publish_time if last else 0
    if last is None or not 0 <= seconds * 5 <= _EMA_LONGEST_GAP * 2:
        return price, confidence
    # Five slots are two seconds.
    weight = seconds * 5 * _EMA_DECAY * last.ema_confidence
    whole = max(2 * 10**9 * confidence, weight, 1)
    return (
        last.ema_price + (price - last.ema_price) * weight // whole,
        last.ema_confidence + (confidence - last.ema_confidence) * weight // whole,
    )


def _student_t(draw: random.Random) -> float:
    """Fat tails with a standard deviation of 1."""
    chi_squared = -2 * sum(math.log(1 - draw.random()) for _ in range(_TAIL_DEGREES // 2))
    scale = math.sqrt((_TAIL_DEGREES - 2) / _TAIL_DEGREES)
    return scale * draw.gauss(0, 1) / math.sqrt(max(chi_squared, 1e-9) / _TAIL_DEGREES)


def _confidence(feed: Feed, price: int, surprise: float, draw: random.Random) -> int:
    """Mostly within half and twice the typical one; wider when the price has just jumped."""
    spread = max(0.55, min(1.7, math.exp(0.25 * draw.gauss(0, 1))))
    jump = 1 + 0.3 * max(0.0, surprise - 3)
    return max(1, round(price * feed.confidence_bp * spread * jump / 10_000))
