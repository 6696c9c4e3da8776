"""Lengths of time as people write them: `"30 days"`, `"1 hour"`, `"1 month"`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta

_SECONDS = {"second": 1, "minute": 60, "hour": 3_600, "day": 86_400, "week": 604_800}
_MONTHS = {"month": 1, "year": 12}
_SHORT = {"second": "s", "minute": "min", "hour": "h", "day": "d", "week": "w", "month": "mo", "year": "y"}
_WRITTEN = re.compile(r"\s*(\d+)\s*(second|minute|hour|day|week|month|year)s?\s*")
_LONGEST = 10_000 * 366 * 86_400


@dataclass(frozen=True, kw_only=True)
class Length:
    """A length of time: so many seconds, or so many months, which follow the calendar. One of the two is 0."""

    months: int = 0
    seconds: int = 0

    def __str__(self) -> str:
        size, units = (self.months, _MONTHS) if self.months else (self.seconds, _SECONDS)
        unit = next(
            unit for unit in ("year", "month", "day", "hour", "minute", "second") if _divides(units, unit, size)
        )
        count = size // units[unit]
        return f"{count} {unit}{'s' if count > 1 else ''}"


def length(text: str) -> Length:
    """Return a length of time. Raises ValueError for anything but a whole number and a unit."""
    match = _WRITTEN.fullmatch(text)
    if match is None or int(match[1]) == 0:
        raise ValueError(f"{text!r} is not a length of time, such as '30 days' or '1 hour'")
    count, unit = int(match[1]), match[2]
    if count * _SECONDS.get(unit, 31 * _SECONDS["day"]) > _LONGEST:
        raise ValueError(f"{text!r} is too long: give 10,000 years at most")
    return Length(months=count * _MONTHS[unit]) if unit in _MONTHS else Length(seconds=count * _SECONDS[unit])


def seconds(text: str) -> int:
    """Return a length of time in seconds. Raises ValueError for months and years too, which have no fixed length."""
    found = length(text)
    if found.months:
        raise ValueError(f"{text!r} has no fixed length; write it in days")
    return found.seconds


def checked(text: str) -> str:
    """Return `text` when it is a length of time in seconds. Raises ValueError."""
    seconds(text)
    return text


def written(size: int) -> str:
    """Return so many seconds in the largest whole unit: `2592000` is `"30 days"`."""
    return str(Length(seconds=size))


def written_of(delta: timedelta) -> str:
    """Return a timedelta as text: `timedelta(days=30)` is `"30 days"`. Raises ValueError for what is no whole seconds."""
    if delta < timedelta(seconds=1) or delta % timedelta(seconds=1):
        raise ValueError(f"{delta!r} is not a length of time in whole seconds, such as timedelta(days=30)")
    return written(delta // timedelta(seconds=1))


def suffix(text: str) -> str:
    """Return a length of time as the end of a name: `"7 days"` is `"7d"`. Raises ValueError."""
    length(text)
    match = _WRITTEN.fullmatch(text)
    return f"{int(match[1])}{_SHORT[match[2]]}" if match else ""


def _divides(units: dict[str, int], unit: str, size: int) -> bool:
    return unit in units and size % units[unit] == 0


def about(seconds: int) -> str:
    """Return a length of time in whole units of which there are two at least: `3 days`, `140 seconds`."""
    unit = next((each for each in (86_400, 3_600, 60) if seconds >= 2 * each), 1)
    return written(seconds // unit * unit)
