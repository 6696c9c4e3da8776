"""The precision of timestamp types, and whether they have a zone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

Clock = Literal["TIMESTAMP", "TIMESTAMP_NS"]
"""The type of stored times: nanoseconds only if the data has them, because their range ends in the year 2262."""
_FINE = frozenset({"TIMESTAMP_NS", "TIMESTAMPTZ_NS"})


def is_fine(dtype: str) -> bool:
    """Return whether a column of this type has nanoseconds."""
    return dtype in _FINE


def clock_of(dtypes: Iterable[str]) -> Clock:
    """Return the type that holds times of all these types without loss."""
    return "TIMESTAMP_NS" if any(is_fine(dtype) for dtype in dtypes) else "TIMESTAMP"


Ambiguous = Literal["refuse", "earlier", "later"]
"""How to read a local time that occurs twice. Times that are skipped are refused, or read with the offset before the gap."""
_ZONED = frozenset({"TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ_NS"})


def is_zoned(dtype: str) -> bool:
    """Return whether a type has a time zone."""
    return dtype in _ZONED


def in_order(time: str) -> tuple[int, int, str]:
    """Return the sort key of a time as DuckDB writes it, because the texts of some years are not in order."""
    if time.endswith("infinity"):
        return (-2 if time.startswith("-") else 2), 0, ""
    year, _, rest = time.partition("-")
    return (-1, -int(year), rest) if "(BC)" in rest else (1, int(year), rest)
