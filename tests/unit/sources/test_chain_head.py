"""A slot that no chain can have reached is not believed, and nothing wrong is believed for ever."""

from __future__ import annotations

from quantdesk_oracle.model import SECOND
from quantdesk_oracle.workers.chain_head import ChainHead


def test_the_first_claim_is_believed() -> None:
    assert ChainHead().see(400_000_000, 0) == 400_000_000


def test_the_head_follows_the_chain_and_never_goes_back_by_little() -> None:
    head = ChainHead()
    for second in range(100):
        slot = 1_000 + second * 5 // 2
        assert head.see(slot, second * SECOND) == slot
        assert head.see(slot - 30, second * SECOND) == slot


def test_a_claim_far_ahead_of_what_time_allows_is_not_believed() -> None:
    head = ChainHead()
    head.see(1_000, 0)
    assert head.see(1_000_000, SECOND) == 1_000
    assert head.see(1_003, 2 * SECOND) == 1_003


def test_a_pause_of_an_hour_is_caught_up_with_at_once() -> None:
    head = ChainHead()
    head.see(1_000, 0)
    assert head.see(10_000, 3_600 * SECOND) == 10_000


def test_a_lie_that_came_first_is_left_once_nothing_supports_it() -> None:
    head = ChainHead()
    head.see(1_000_000, 0)
    for second in range(1, 61):
        assert head.see(1_000 + second, second * SECOND) == 1_000_000
    assert head.see(1_061, 61 * SECOND) == 1_061


def test_a_chain_that_starts_anew_is_believed_after_a_minute() -> None:
    head = ChainHead()
    head.see(1_000_000, 0)
    head.see(5, 59 * SECOND)
    assert head.see(170, 61 * SECOND) == 170
