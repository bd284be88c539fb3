"""Instants between Python's integers and PostgreSQL's timestamptz, exactly."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def to_timestamp(instant: int) -> datetime:
    """An instant in µs as asyncpg wants a timestamptz."""
    return _EPOCH + timedelta(microseconds=instant)


def to_instant(timestamp: datetime) -> int:
    """A timestamptz as an instant in µs."""
    return (timestamp - _EPOCH) // _MICROSECOND


def to_seconds(timestamp: datetime) -> int:
    """A timestamptz that holds a publish time, as whole Unix seconds."""
    return to_instant(timestamp) // 1_000_000
