"""Times that are numbers: so many units since the start of 1970 in UTC, which is day 0 of relative times."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

from featdsl import datafaults, instants
from featdsl.dtypes import family, parse
from featdsl.instants import Clock
from featdsl.names import did_you_mean, quote

TimeUnit = Literal["ns", "us", "ms", "s", "minute", "hour", "day", "week"]

_NANOSECONDS: Mapping[TimeUnit, int] = {
    "ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "minute": 60 * 10**9, "hour": 3_600 * 10**9, "day": 86_400 * 10**9,
    "week": 604_800 * 10**9,
}  # fmt: skip
_WORDS: Mapping[str, TimeUnit] = {
    "nanosecond": "ns", "microsecond": "us", "millisecond": "ms", "second": "s", **{unit: unit for unit in _NANOSECONDS},
}  # fmt: skip
LISTED = ", ".join(get_args(TimeUnit))
"""The units, as messages list them."""
_FIRST, _LAST = -9_223_372_022_400_000_000, 9_223_372_000_000_000_000  # microseconds: 290309 BC, 294247
_FIRST_NS, _LAST_NS = -9_223_286_400_000_000_000, 9_223_372_036_000_000_000  # nanoseconds: 1677-09-22, 2262-04-11
_EXACT = 2**53
"""Up to here a float tells every whole number from the next."""
_MOST_SCALE = 24
"""A decimal with more digits after its point is too wide to multiply by a unit."""


def checked(written: str) -> TimeUnit:
    """Return the unit of a text such as "day", "days" or "millisecond". Raises ValueError."""
    word = written.strip()
    singular = word[:-1] if len(word) > 2 and word.endswith("s") else word  # noqa: PLR2004 - "ms" is no plural
    for each in (word, singular):
        if each in _WORDS:
            return _WORDS[each]
    raise ValueError(f"{written!r} is not a unit of time. {did_you_mean(word, _WORDS) or f'Give one of {LISTED}'}")


def is_number(dtype: str) -> bool:
    """Return whether a column of this type may count units of time."""
    kind = family(dtype)
    return kind in {"integer", "real"} or (kind == "decimal" and _scale(dtype) <= _MOST_SCALE)


def is_fine(unit: TimeUnit) -> bool:
    """Return whether a unit takes a clock with nanoseconds."""
    return unit == "ns"


def instant(column: str, dtype: str, unit: TimeUnit, clock: Clock) -> str:
    """Return the SQL of the time that a numeric column tells; what is no whole number of microseconds raises a fault."""
    number = quote(column)
    size, ends = (1, (_FIRST_NS, _LAST_NS)) if is_fine(unit) else (_NANOSECONDS[unit] // 1_000, (_FIRST, _LAST))
    time = "make_timestamp_ns({})" if is_fine(unit) else "make_timestamp({})"
    first, last = -(-ends[0] // size), ends[1] // size
    beyond = datafaults.raising(
        "Time out of range", f"{column} is", number, f", but {unit} counts from {first} to {last}",
        "Correct the data, or leave such rows out in a Source(sql=...).",
    )  # fmt: skip
    whole = time.format(f"CAST({number} AS BIGINT){f' * {size}' if size > 1 else ''}")
    arms = [f"WHEN NOT {number} BETWEEN {first} AND {last} THEN {beyond}", *_parts(column, dtype, size, time, whole)]
    found = f"CASE {' '.join(arms)} ELSE {whole} END"
    if is_fine(unit):
        return found if clock == "TIMESTAMP_NS" else instants.floored(found)
    return found if clock == "TIMESTAMP" else instants.widened(found)


def _parts(column: str, dtype: str, size: int, time: str, whole: str) -> list[str]:
    """Return the arms of a CASE for numbers with a fraction: times in microseconds where they are exact, else a fault."""
    number = quote(column)
    if family(dtype) == "integer" or _scale(dtype) == 0:
        return []
    if family(dtype) == "decimal":
        scale = _scale(dtype)
        part = f"CAST({number} - trunc({number}) AS DECIMAL({scale + 1},{scale})) * CAST({size} AS DECIMAL(13,0))"
        is_exact, exact = (
            f"{part} = trunc({part})",
            f"CAST(trunc({number}) AS BIGINT) * {size} + CAST({part} AS BIGINT)",
        )
    else:
        # The nearest float to a whole number of microseconds stands for that number, and nothing else does.
        counted = f"round(CAST({number} AS DOUBLE) * {size})"
        is_exact = f"{counted} / {size} = {number} AND abs({counted}) < {_EXACT}"
        exact = f"CAST({counted} AS BIGINT)"
    inexact = datafaults.raising(
        "Time is not exact", f"{column} is", number, ", which is no whole number of microseconds",
        "Round it in a Source(sql=...).",
    )  # fmt: skip
    return [
        f"WHEN {number} = trunc({number}) THEN {whole}",
        f"WHEN {is_exact} THEN {time.format(exact)}",
        f"WHEN {number} IS NOT NULL THEN {inexact}",
    ]


def _scale(dtype: str) -> int:
    """Return how many digits a decimal has after its point, -1 for a float."""
    return int(parse(dtype).arguments.partition(",")[2] or 0) if family(dtype) == "decimal" else -1
