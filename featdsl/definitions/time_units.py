"""Units of numeric times, which count from the start of 1970 in UTC."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

from featdsl.definitions.dtypes import family, parse
from featdsl.definitions.names import did_you_mean

TimeUnit = Literal["ns", "us", "ms", "s", "minute", "hour", "day", "week"]

NANOSECONDS: Mapping[TimeUnit, int] = {
    "ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "minute": 60 * 10**9, "hour": 3_600 * 10**9, "day": 86_400 * 10**9,
    "week": 604_800 * 10**9,
}  # fmt: skip
_WORDS: Mapping[str, TimeUnit] = {
    "nanosecond": "ns", "microsecond": "us", "millisecond": "ms", "second": "s", **{unit: unit for unit in NANOSECONDS},
}  # fmt: skip
LISTED = ", ".join(get_args(TimeUnit))
"""The units, as messages list them."""
FIRST, LAST = -9_223_372_022_400_000_000, 9_223_372_000_000_000_000
"""The microseconds since 1970 that are times: from 290309 BC to 294247."""
EXACT = 2**53
"""Up to this number, a float represents every integer."""
_MOST_SCALE = 24
"""The maximum scale of a decimal; with a larger one, the product with a unit overflows."""


def checked(written: str) -> TimeUnit:
    """Return the unit for a word such as "day", "days" or "millisecond". Raises ValueError."""
    word = written.strip()
    singular = word[:-1] if len(word) > 2 and word.endswith("s") else word  # noqa: PLR2004 - "ms" is not a plural
    for each in (word, singular):
        if each in _WORDS:
            return _WORDS[each]
    raise ValueError(f"{written!r} is not a unit of time. {did_you_mean(word, _WORDS) or f'Give one of {LISTED}'}")


def is_number(dtype: str) -> bool:
    """Return whether a column of this type can hold numeric times."""
    kind = family(dtype)
    return kind in {"integer", "real"} or (kind == "decimal" and scale_of(dtype) <= _MOST_SCALE)


def is_fine(unit: TimeUnit) -> bool:
    """Return whether a unit needs nanoseconds."""
    return unit == "ns"


def scale_of(dtype: str) -> int:
    """Return the number of digits of a decimal after the point; -1 for other types."""
    return int(parse(dtype).arguments.partition(",")[2] or 0) if family(dtype) == "decimal" else -1
