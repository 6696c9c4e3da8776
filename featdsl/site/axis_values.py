"""The values of an axis: numbers, and times as numbers of seconds, as `Bin` has them."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from featdsl.definitions.dtypes import family
from featdsl.site import figures

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY = 86400


def is_number(dtype: str) -> bool:
    """Return whether a type's bins have numbers, not times."""
    return family(dtype) in {"integer", "decimal", "real"}


def reading(dtype: str) -> Callable[[str | None], float | None]:
    """Return a function that reads a value as DuckDB prints it; it returns None for a text that is no such value."""
    if is_number(dtype):
        return _number
    return _instant if dtype.upper().startswith(("DATE", "TIMESTAMP")) else lambda _: None


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _instant(text: str | None) -> float | None:
    try:
        moment = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return (moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment).timestamp()


def written(value: float, dtype: str, span: float) -> str:
    """Return a value of an axis as text; `span` is the length of the axis: a short one has times of the day."""
    if is_number(dtype):
        return figures.number(value)
    try:
        if not dtype.upper().startswith(("DATE", "TIMESTAMP")):
            return str(timedelta(seconds=round(value)))
        moment = _EPOCH + timedelta(seconds=value)
    except OverflowError:
        return figures.short(value)
    return f"{moment:%Y-%m-%d %H:%M}" if span < 3 * _DAY and dtype.upper() != "DATE" else f"{moment:%Y-%m-%d}"


def shown_value(text: str | None, dtype: str) -> str | None:
    """Return a value as a page shows it: numbers with the digits that count, texts of at most 80 characters."""
    if text is None:
        return None
    value = _number(text) if is_number(dtype) else None
    if value is None:
        return text[:80]
    return figures.number(value) if family(dtype) == "real" else figures.digits(text)
