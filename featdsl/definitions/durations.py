"""Parse and format durations: `"30 days"`, `"1 hour"`, `"1 month"`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta

_SECONDS = {"second": 1, "minute": 60, "hour": 3_600, "day": 86_400, "week": 604_800}
_MONTHS = {"month": 1, "year": 12}
_SHORT = {"second": "s", "minute": "min", "hour": "h", "day": "d", "week": "w", "month": "mo", "year": "y"}
_WRITTEN = re.compile(r"\s*(\d+)\s*(second|minute|hour|day|week|month|year)s?\s*")
_MILLISECONDS = re.compile(r"\s*(\d+)\s*milliseconds?\s*")
_LONGEST = 10_000 * 366 * 86_400


@dataclass(frozen=True, kw_only=True)
class Length:
    """A duration in seconds, or in calendar months. One of the two is 0."""

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
    """Parse a duration. Raises ValueError unless the text is a positive whole number and a unit."""
    match = _WRITTEN.fullmatch(text)
    if match is None or int(match[1]) == 0:
        raise ValueError(f"{text!r} is not a duration, such as '30 days' or '1 hour'")
    count, unit = int(match[1]), match[2]
    if count * _SECONDS.get(unit, 31 * _SECONDS["day"]) > _LONGEST:
        raise ValueError(f"{text!r} is too long; the maximum is 10,000 years")
    return Length(months=count * _MONTHS[unit]) if unit in _MONTHS else Length(seconds=count * _SECONDS[unit])


def seconds(text: str) -> int:
    """Return a duration in seconds. Raises ValueError, also for months and years, which have no fixed length."""
    duration = length(text)
    if duration.months:
        raise ValueError(f"{text!r} has no fixed length; write it in days")
    return duration.seconds


def timeout(text: str) -> float:
    """Return a timeout in seconds, from a duration of fixed length or from milliseconds: `"250 milliseconds"` is 0.25.

    Raises ValueError.
    """
    match = _MILLISECONDS.fullmatch(text)
    if match is None:
        return float(seconds(text))
    if int(match[1]) == 0:
        raise ValueError(f"{text!r} is not a timeout, such as '1 second' or '250 milliseconds'")
    return int(match[1]) / 1000


def checked_timeout(text: str) -> str:
    """Return `text` if it is a timeout. Raises ValueError."""
    timeout(text)
    return text


def checked(text: str) -> str:
    """Return `text` if it is a duration of fixed length. Raises ValueError."""
    seconds(text)
    return text


def written(size: int) -> str:
    """Format a number of seconds in the largest whole unit: `2592000` is `"30 days"`."""
    return str(Length(seconds=size))


def written_of(delta: timedelta) -> str:
    """Format a timedelta: `timedelta(days=30)` is `"30 days"`. Raises ValueError unless it is a positive number of seconds."""
    if delta < timedelta(seconds=1) or delta % timedelta(seconds=1):
        raise ValueError(f"{delta!r} is not a duration in whole seconds, such as timedelta(days=30)")
    return written(delta // timedelta(seconds=1))


def suffix(text: str) -> str:
    """Return a duration as the ending of a feature name: `"7 days"` is `"7d"`. Raises ValueError."""
    length(text)
    match = _WRITTEN.fullmatch(text)
    return f"{int(match[1])}{_SHORT[match[2]]}" if match else ""


def _divides(units: dict[str, int], unit: str, size: int) -> bool:
    return unit in units and size % units[unit] == 0


def about(seconds: int) -> str:
    """Format a number of seconds in the largest unit that it holds twice, rounded down: `3 days`, `2 minutes`."""
    unit = next((each for each in (86_400, 3_600, 60) if seconds >= 2 * each), 1)
    return written(seconds // unit * unit)
