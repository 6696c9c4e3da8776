"""Lengths of time that are computed, and times in zones."""

from __future__ import annotations

from featdsl.engines.spark import zones
from featdsl.engines.spark.literals import INTERVAL
from featdsl.engines.spark.scopes import Translated
from featdsl.engines.spark.signatures import CONSTANT, Signature
from featdsl.engines.spark.sql_text import literal

_MICROSECONDS = {
    "to_microseconds": ("BIGINT", 1),
    "to_minutes": ("BIGINT", 60_000_000),
    "to_hours": ("BIGINT", 3_600_000_000),
    "to_days": ("INTEGER", 86_400_000_000),
    "to_weeks": ("INTEGER", 7 * 86_400_000_000),
}
"""Functions that return a length of time, with the type of their argument and the microseconds of one unit.

Such a length is a BIGINT of microseconds here, and can only be added to a time or taken from one.
"""
_WIDE = "DECIMAL(20,0)"
"""A type in which no sum of two BIGINT overflows: Sail's own sums may wrap around."""


_SECONDS = "(CAST(({0} div 86400000000) * 86400 AS DOUBLE) + CAST({0} % 86400000000 AS DOUBLE) / 1000000D)"
"""The seconds of a length of time, added up as DuckDB does: those of whole days, and the rest."""


def _span(factor: int) -> str:
    return f"CAST((CAST({{0}} AS {_WIDE}) * {factor}) AS BIGINT)"


def _moved(time: str, sign: str, span: str) -> str:
    micros = f"CAST(unix_micros(CAST({time} AS TIMESTAMP_LTZ)) AS {_WIDE})"
    return f"CAST(timestamp_micros(CAST(({micros} {sign} CAST({span} AS {_WIDE})) AS BIGINT)) AS TIMESTAMP_NTZ)"


def _is_utc(zone: Translated, _time: Translated) -> bool:
    return zone.constant == "UTC"


def _between(end: Translated, start: Translated) -> str:
    last, first = (f"CAST(unix_micros(CAST({each.sql} AS TIMESTAMP_LTZ)) AS {_WIDE})" for each in (end, start))
    return f"CAST(({last} - {first}) AS BIGINT)"


def _in_zone(zone: Translated, time: Translated) -> str:
    """Return what the clocks of a zone show at an instant; an error for a zone and a time that are not proved."""
    unproved = ", ".join(map(literal, sorted(zones.UNPROVED)))
    wrong = f"{zone.sql} NOT LIKE '%/%' OR {zone.sql} LIKE 'SystemV/%' OR {zone.sql} IN ({unproved})"
    late = f"unix_micros({time.sql}) >= {zones.END}"
    refused = (
        f"raise_error(concat('the time zone ', {zone.sql}, ' is not proved on Spark, or not for times after 2099'))"
    )
    shown = f"CAST(from_utc_timestamp({time.sql}, {zone.sql}) AS TIMESTAMP_NTZ)"
    return f"CASE WHEN {wrong} OR {late} THEN CAST({refused} AS TIMESTAMP_NTZ) ELSE {shown} END"


SPANS = (
    *(Signature(name, (dtype,), INTERVAL, _span(factor)) for name, (dtype, factor) in _MICROSECONDS.items()),
    *(Signature(sign, ("TIMESTAMP", INTERVAL), "TIMESTAMP", _moved("{0}", sign, "{1}")) for sign in ("+", "-")),
    Signature("+", (INTERVAL, "TIMESTAMP"), "TIMESTAMP", _moved("{1}", "+", "{0}")),
    Signature("-", ("TIMESTAMP", "TIMESTAMP"), INTERVAL, _between),
    Signature("epoch", (INTERVAL,), "DOUBLE", _SECONDS),
    *(
        Signature(sign, ("DATE", INTERVAL), "TIMESTAMP", _moved("CAST({0} AS TIMESTAMP_NTZ)", sign, "{1}"))
        for sign in ("+", "-")
    ),
    Signature("timezone", (f"VARCHAR {CONSTANT}", "TIMESTAMP"), "TIMESTAMP WITH TIME ZONE", "CAST({1} AS TIMESTAMP_LTZ)", _is_utc),
    Signature("timezone", ("VARCHAR", "TIMESTAMP WITH TIME ZONE"), "TIMESTAMP", _in_zone),
)  # fmt: skip
