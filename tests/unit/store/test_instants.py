"""Instants between integers and datetimes, exactly."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from quantdesk_oracle.store.instants import to_instant, to_seconds, to_timestamp

LAST = 253_402_300_799_999_999
"""The last microsecond that a datetime can be."""


@given(st.integers(min_value=-62_135_596_800_000_000, max_value=LAST))
def test_an_instant_comes_back_as_it_went(instant: int) -> None:
    assert to_instant(to_timestamp(instant)) == instant


@given(st.integers(min_value=0, max_value=LAST // 1_000_000))
def test_a_publish_time_has_whole_seconds(seconds: int) -> None:
    assert to_seconds(to_timestamp(seconds * 1_000_000)) == seconds


def test_the_epoch_is_zero() -> None:
    assert to_timestamp(0) == datetime(1970, 1, 1, tzinfo=UTC)
