import statistics
from itertools import pairwise

from quantdesk_oracle.localnet import market
from quantdesk_oracle.localnet.settings import DEFAULT_FEEDS, Feed
from quantdesk_oracle.model import PriceUpdate

BTC, ETH, SOL = DEFAULT_FEEDS
START = 1_800_000_000


def series(feed: Feed, length: int, *, seed: int = 7, start: int = START) -> list[PriceUpdate]:
    prints: list[PriceUpdate] = []
    for number in range(length):
        prints.append(
            market.next_update(
                feed,
                prints[-1] if prints else None,
                number=number,
                seed=seed,
                push_every=1.0,
                publish_time=start + number,
                slot=(start + number) * 5 // 2,
            )
        )
    return prints


def returns(prints: list[PriceUpdate]) -> list[float]:
    return [(after.price - before.price) / before.price for before, after in pairwise(prints)]


def test_the_same_seed_gives_the_same_prints_at_another_time() -> None:
    def values(prints: list[PriceUpdate]) -> list[tuple[int, int, int, int]]:
        return [(one.price, one.confidence, one.ema_price, one.ema_confidence) for one in prints]

    assert values(series(BTC, 50)) == values(series(BTC, 50, start=START + 12_345))


def test_another_seed_gives_another_market() -> None:
    assert series(BTC, 5)[-1].price != series(BTC, 5, seed=8)[-1].price


def test_feeds_do_not_move_together() -> None:
    def ups(feed: Feed) -> list[bool]:
        return [step > 0 for step in returns(series(feed, 60))]

    assert ups(BTC) != ups(ETH)


def test_everything_in_a_print_is_a_whole_number() -> None:
    for update in series(SOL, 20):
        assert all(isinstance(value, int) for value in update[1:9])
        assert update.exponent == -8


def test_a_print_names_the_second_before_as_the_previous_publish() -> None:
    assert series(SOL, 2)[1].prev_publish_time == START


def test_prices_stay_near_where_they_started_and_move_every_second() -> None:
    prints = series(BTC, 600)
    assert all(0.9 < update.price / BTC.start_price < 1.1 for update in prints)
    assert sum(step != 0 for step in returns(prints)) > 590


def test_a_seconds_volatility_is_that_of_the_feed() -> None:
    wanted = BTC.volatility / (365 * 86_400) ** 0.5
    assert 0.7 * wanted < statistics.pstdev(returns(series(BTC, 3000))) < 1.4 * wanted


def test_returns_have_fat_tails() -> None:
    steps = returns(series(BTC, 3000))
    sigma = statistics.pstdev(steps)
    assert statistics.fmean((step / sigma) ** 4 for step in steps) > 4


def test_confidence_is_mostly_two_to_six_basis_points() -> None:
    for feed in DEFAULT_FEEDS:
        points = sorted(update.confidence * 10_000 / update.price for update in series(feed, 500))
        assert points[25] > 1.9
        assert points[-25] < 6


def test_the_first_average_is_the_first_price() -> None:
    first = series(ETH, 1)[0]
    assert (first.ema_price, first.ema_confidence) == (first.price, first.confidence)


def test_the_average_follows_the_price_with_a_half_life_of_5921_slots() -> None:
    last = series(SOL, 1)[0]._replace(price=100 * 10**8, ema_price=100 * 10**8, ema_confidence=10**6)
    price, now, average = 200 * 10**8, START, last
    for _ in range(2368):  # seconds: 5,920 slots
        now += 1
        ema, _ = market.next_ema(average, price, 10**6, now)
        average = average._replace(ema_price=ema, publish_time=now)
    assert abs(average.ema_price - 150 * 10**8) < 0.1 * 10**8


def test_an_uncertain_price_moves_the_average_less() -> None:
    last = series(SOL, 1)[0]
    sure, _ = market.next_ema(last, last.price * 2, last.confidence, START + 1)
    unsure, _ = market.next_ema(last, last.price * 2, last.confidence * 10, START + 1)
    assert 5 * (unsure - last.ema_price) < sure - last.ema_price


def test_after_a_long_pause_the_average_starts_anew() -> None:
    last = series(SOL, 1)[0]
    assert market.next_ema(last, 5, 3, START + 4145 * 2 // 5 + 2) == (5, 3)
