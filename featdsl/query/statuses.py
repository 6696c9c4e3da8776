"""The status of a value: present, NULL, of an unknown entity, or expired."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from featdsl.definitions.kinds import FeatureDefinition
from featdsl.definitions.moments import time_of
from featdsl.engines.reading import RowTime
from featdsl.query.answer import ServedValue


def served_value(value: Any, rows: Iterable[tuple[FeatureDefinition, RowTime]], now: int) -> ServedValue:
    """Return a value with its status.

    `rows` has each stored feature that the value is computed from, with the time of its newest row; `now` is the time of the
    read in microseconds since 1970 in UTC. An entity without rows may have a value: a count is 0. A value that is computed from an expired one and is NULL is expired.
    """
    listed = list(rows)
    newest = max((time.at for _, time in listed if time.at), default=None)
    timestamp = time_of(newest) if newest is not None else None
    if listed and all(time.at is None for _, time in listed):
        return ServedValue(value, "unknown_entity", None)
    if value is not None:
        return ServedValue(value, "present", timestamp)
    expired = any(_is_expired(feature, time, now) for feature, time in listed)
    return ServedValue(None, "expired" if expired else "null", timestamp)


def _is_expired(feature: FeatureDefinition, time: RowTime, now: int) -> bool:
    if time.at is None or feature.window:
        return False
    is_old = feature.ttl is not None and feature.timed and time.at + feature.ttl * 1_000_000 <= now
    return is_old or (time.until is not None and time.until <= now)
