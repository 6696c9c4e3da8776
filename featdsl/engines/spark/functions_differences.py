"""Differences of dates and times: the boundaries of a unit between two times, and the whole units between them."""

from __future__ import annotations

from featdsl.engines.spark.functions_times import MICROSECONDS, TEXT_LITERAL, UNITS, as_bigint, as_date, unit_of
from featdsl.engines.spark.scopes import Translated
from featdsl.engines.spark.signatures import Signature

_COUNTED = {
    "year": "year({0})",
    "quarter": "(year({0}) * 4 + quarter({0}))",
    "month": "(year({0}) * 12 + month({0}))",
}
"""The number of each unit that a date lies in."""
_MONTHS = {"year": 12, "quarter": 3, "month": 1}
_WIDE = "DECIMAL(20,0)"
"""A type in which no difference of two BIGINT overflows: Sail's own differences may wrap around."""
_OF_DAY = f"pmod({MICROSECONDS}, 86400000000)"


def _is_difference(part: Translated, start: Translated, _end: Translated) -> bool:
    unit = unit_of(part)
    return unit in {"day", "week", *_COUNTED} or (start.dtype == "TIMESTAMP" and unit in UNITS)


def _boundaries(part: Translated, start: Translated, end: Translated) -> str:
    """Return how many boundaries of a unit lie between two times."""
    unit = unit_of(part)
    one, other = as_date(start), as_date(end)
    if unit == "day":
        return as_bigint(f"datediff({other}, {one})")
    if unit == "week":
        return f"(CAST(datediff({other}, {one}) AS BIGINT) div 7)"
    if unit in _COUNTED:
        return as_bigint(f"({_COUNTED[unit].format(other)} - {_COUNTED[unit].format(one)})")
    first, last = (_begun(each.sql, UNITS[unit]) for each in (start, end))
    return f"({last} - {first})"


def _begun(time: str, unit: int) -> str:
    micros = MICROSECONDS.format(time)
    return f"(({micros} - pmod({micros}, {unit})) div {unit})"


def _whole_units(part: Translated, start: Translated, end: Translated) -> str:
    """Return how many whole units lie between two times; a rest of a unit does not count."""
    unit = unit_of(part)
    if unit in _MONTHS:
        later, earlier = _whole_months(start, end), _whole_months(end, start)
        months = f"CASE WHEN {start.sql} > {end.sql} THEN -{earlier} ELSE {later} END"
        return f"(CAST({months} AS BIGINT) div {_MONTHS[unit]})"
    if start.dtype == "DATE":
        days = f"CAST(datediff({end.sql}, {start.sql}) AS BIGINT)"
        return days if unit == "day" else f"({days} div 7)"
    length = UNITS.get(unit) or {"day": 1, "week": 7}[unit] * 24 * UNITS["hour"]
    first, last = (f"CAST({MICROSECONDS.format(each.sql)} AS {_WIDE})" for each in (start, end))
    return f"(CAST(({last} - {first}) AS BIGINT) div {length})"


def _whole_months(start: Translated, end: Translated) -> str:
    """Return the whole months from a time to a later one. The last day of a month completes the month of any later day."""
    first, last = as_date(start), as_date(end)
    day = f"CASE WHEN {last} = last_day({last}) THEN least(day({first}), day({last})) ELSE day({first}) END"
    is_begun = f"{day} > day({last})"
    if start.dtype == "TIMESTAMP":
        is_begun += f" OR ({day} = day({last}) AND {_OF_DAY.format(start.sql)} > {_OF_DAY.format(end.sql)})"
    months = f"{_COUNTED['month'].format(last)} - {_COUNTED['month'].format(first)}"
    return f"({months} - CASE WHEN {is_begun} THEN 1 ELSE 0 END)"


DIFFERENCES = tuple(
    Signature(name, (TEXT_LITERAL, dtype, dtype), "BIGINT", spark, _is_difference)
    for name, spark in (("date_diff", _boundaries), ("date_sub", _whole_units))
    for dtype in ("DATE", "TIMESTAMP")
)
