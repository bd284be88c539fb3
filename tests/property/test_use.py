"""No sequence of prints leads to a state with no way out, back in time, or to a price that was refused."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from quantdesk_oracle.model import SECOND, Freshness, PriceUpdate, Verdict
from quantdesk_oracle.pricing.acceptance import StorageLimits, judge
from quantdesk_oracle.pricing.quarantine import Quarantine
from quantdesk_oracle.pricing.use import IndexUse, UseLimits, freshness_of

START = 1_770_000_000
LIMITS = UseLimits()
STORAGE = StorageLimits()
USABLE = (Freshness.FRESH, Freshness.STALE)
PRICES = st.sampled_from([100, 101, 105, 109, 112, 150, 450, 600, 20]).map(lambda price: price * 10**8)
STEPS = st.lists(
    st.tuples(
        st.integers(0, 1),  # feed
        st.integers(0, 200),  # seconds since the last step
        st.integers(-30, 3),  # publish time against the clock
        PRICES,
        st.sampled_from([10**5, 10**7]),  # confidence
        st.booleans(),  # read again
    ),
    max_size=40,
)


class Feeds:
    """Two feeds of one market as ingest drives them."""

    def __init__(self) -> None:
        self.now = START
        self.index = IndexUse(2, LIMITS)
        self.quarantines = [Quarantine(), Quarantine()]
        self.refused: list[PriceUpdate] = []
        self.highest = 0

    def step(self, feed: int, passed: int, published: int, price: int, confidence: int, again: bool) -> None:
        self.now += passed
        at = self.now + published
        ema = 100 * 10**8
        update = PriceUpdate(bytes(32), price, confidence, -8, at, at - 1, ema, 1, (at - START) * 5 // 2)
        self.deliver(feed, update)
        if again:
            self.index.feeds[feed].confirm(update, self.now * SECOND, self.highest)

    def deliver(self, feed: int, update: PriceUpdate) -> None:
        self.highest = max(self.highest, update.slot)
        now, verdict = self.now * SECOND, judge(update, STORAGE, self.now * SECOND).verdict
        if verdict in (Verdict.ACCEPTED, Verdict.WIDE):
            self.quarantines[feed].clear()
            self.index.feeds[feed].accept(update, now, self.highest)
        elif verdict is Verdict.QUARANTINED and self.quarantines[feed].offer(update):
            self.index.feeds[feed].accept(update, now, self.highest)
        else:
            self.refused.append(update)


@given(STEPS)
def test_the_index_never_goes_back_in_time_nor_to_a_print_that_was_refused(steps):
    feeds, last = Feeds(), None
    for step in steps:
        feeds.step(*step)
        in_use = feeds.index.at(feeds.now * SECOND, feeds.highest)
        if in_use.freshness not in USABLE:
            continue
        assert in_use.update is not None
        assert in_use.update not in feeds.refused
        assert last is None or in_use.update.identity >= last
        last = in_use.update.identity
        fresh = freshness_of(in_use.update, feeds.now * SECOND, feeds.highest, LIMITS)
        assert fresh is in_use.freshness


@given(STEPS, st.integers(0, 1), PRICES.filter(lambda price: 20 * 10**8 < price < 500 * 10**8))
def test_from_every_state_a_feed_that_says_the_same_for_a_while_is_used(steps, feed, price):
    feeds = Feeds()
    for step in steps:
        feeds.step(*step)
    feeds.now += 60  # whatever has been published up to 3 s ahead is past
    for _ in range(7):
        feeds.step(feed, 5, 0, price, 10**5, False)
    in_use = feeds.index.at(feeds.now * SECOND, feeds.highest)
    assert in_use.freshness is Freshness.FRESH
    assert in_use.update is not None
    assert in_use.update.price == price


@given(STEPS)
def test_asking_changes_nothing(steps):
    asked, unasked = Feeds(), Feeds()
    for step in steps:
        for feeds in (asked, unasked):
            feeds.step(*step)
        asked.index.at(asked.now * SECOND, asked.highest)
    for feeds in (asked, unasked):
        feeds.answer = feeds.index.at(feeds.now * SECOND, feeds.highest)
    assert asked.answer.freshness is unasked.answer.freshness
