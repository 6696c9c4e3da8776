"""Lengths of time as people write them: `"30 days"`, `"1 hour"`."""

from __future__ import annotations

import re

_SECONDS = {"second": 1, "minute": 60, "hour": 3_600, "day": 86_400, "week": 604_800}
_WRITTEN = re.compile(r"\s*(\d+)\s*(second|minute|hour|day|week)s?\s*")


def seconds(written: str) -> int:
    """Return a length of time in seconds. Raises ValueError for anything but a whole number and a unit."""
    match = _WRITTEN.fullmatch(written)
    if match is None or int(match[1]) == 0:
        raise ValueError(f"{written!r} is not a length of time, such as '30 days' or '1 hour'")
    return int(match[1]) * _SECONDS[match[2]]


def checked(text: str) -> str:
    """Return `text` when it is a length of time. Raises ValueError."""
    seconds(text)
    return text


def written(length: int) -> str:
    """Return `length` seconds in the largest whole unit: `2592000` is `"30 days"`."""
    unit = next(unit for unit in ("day", "hour", "minute", "second") if length % _SECONDS[unit] == 0)
    count = length // _SECONDS[unit]
    return f"{count} {unit}{'s' if count > 1 else ''}"
