"""Moments: times in microseconds since 1970 in UTC, as records and requests have them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - times of the store are UTC without a zone
_EPOCH_UTC = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def moment(time: datetime) -> int:
    """Return a time in UTC, with or without a zone, in microseconds since 1970."""
    return (time - (_EPOCH_UTC if time.tzinfo else _EPOCH)) // _MICROSECOND


def time_of(moment: int) -> datetime:
    """Return microseconds since 1970 as a time with the zone UTC."""
    return _EPOCH_UTC + timedelta(microseconds=moment)


def naive_time_of(moment: int) -> datetime:
    """Return microseconds since 1970 as a time in UTC without a zone."""
    return _EPOCH + timedelta(microseconds=moment)
