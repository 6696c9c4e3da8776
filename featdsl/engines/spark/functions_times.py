"""Functions of dates and times. Times are TIMESTAMP_NTZ in UTC; parts of a second are computed in whole microseconds."""

from __future__ import annotations

from featdsl.engines.spark.scopes import Translated
from featdsl.engines.spark.signatures import CONSTANT, Signature
from featdsl.engines.spark.sql_text import literal

TEXT_LITERAL = f"VARCHAR {CONSTANT}"
MICROSECONDS = "unix_micros(CAST({0} AS TIMESTAMP))"
"""Microseconds since 1970: the session's time zone is UTC."""
UNITS = {
    "microsecond": 1,
    "millisecond": 1_000,
    "second": 1_000_000,
    "minute": 60_000_000,
    "hour": 3_600_000_000,
}
_ISO_DAY = "((dayofweek({0}) + 5) % 7 + 1)"
_SECOND_OF_HOUR = f"pmod({MICROSECONDS}, 3600000000)"
_PARTS = {
    "year": "year({0})",
    "month": "month({0})",
    "day": "day({0})",
    "quarter": "quarter({0})",
    "doy": "dayofyear({0})",
    "dow": "(dayofweek({0}) - 1)",
    "isodow": _ISO_DAY,
    "week": "weekofyear({0})",
}
"""Parts of a date or a time, as Spark computes them."""
_CLOCK = {
    "hour": "hour({0})",
    "minute": "minute({0})",
    "second": f"((pmod({MICROSECONDS}, 60000000) - pmod({MICROSECONDS}, 1000000)) div 1000000)",
}
_SYNONYMS = {
    "years": "year", "y": "year", "yr": "year", "months": "month", "mon": "month", "days": "day", "d": "day", "dayofmonth": "day",
    "quarters": "quarter", "dayofyear": "doy", "dayofweek": "dow", "weekday": "dow", "weeks": "week", "w": "week", "weekofyear": "week",
    "hours": "hour", "h": "hour", "hr": "hour", "minutes": "minute", "min": "minute", "m": "minute", "seconds": "second",
    "sec": "second", "s": "second", "milliseconds": "millisecond", "ms": "millisecond", "microseconds": "microsecond", "us": "microsecond",
}  # fmt: skip
_NAMES = {
    "year": ("year",),
    "month": ("month",),
    "day": ("day", "dayofmonth"),
    "quarter": ("quarter",),
    "doy": ("dayofyear",),
    "dow": ("dayofweek",),
    "isodow": ("isodow",),
    "week": ("week", "weekofyear"),
    "hour": ("hour",),
    "minute": ("minute",),
    "second": ("second",),
}
"""The functions that return a part."""
_WHOLE_UNITS = {
    "day": "{0}",
    "week": f"date_add({{0}}, 1 - {_ISO_DAY})",
    "month": "make_date(year({0}), month({0}), 1)",
    "quarter": "make_date(year({0}), quarter({0}) * 3 - 2, 1)",
    "year": "make_date(year({0}), 1, 1)",
}
"""The first day of each unit, of a date."""
_DAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December",
)  # fmt: skip
_CODES = {"Y": "yyyy", "m": "MM", "d": "dd", "H": "HH", "M": "mm", "S": "ss", "j": "DDD"}
"""Codes of strftime, with the pattern of Spark."""


def unit_of(part: Translated) -> str:
    """Return the unit that a text names, in one spelling."""
    written = (part.constant or "").lower()
    return _SYNONYMS.get(written, written)


def as_bigint(sql: str) -> str:
    """Return a whole number as a BIGINT, which parts and differences are in DuckDB."""
    return f"CAST({sql} AS BIGINT)"


def as_date(value: Translated) -> str:
    """Return the day of a date or a time."""
    return value.sql if value.dtype == "DATE" else f"CAST({value.sql} AS DATE)"


def _part(part: Translated, value: Translated) -> str:
    return as_bigint({**_PARTS, **_CLOCK}[unit_of(part)].format(value.sql))


def _is_part(part: Translated, value: Translated) -> bool:
    return unit_of(part) in (_PARTS if value.dtype == "DATE" else {**_PARTS, **_CLOCK})


def _truncated(part: Translated, value: Translated) -> str:
    unit = unit_of(part)
    if unit in _WHOLE_UNITS:
        return f"CAST({_WHOLE_UNITS[unit].format(as_date(value))} AS TIMESTAMP_NTZ)"
    micros = MICROSECONDS.format(value.sql)
    return f"CAST(timestamp_micros({micros} - pmod({micros}, {UNITS[unit]})) AS TIMESTAMP_NTZ)"


def _is_truncated(part: Translated, value: Translated) -> bool:
    unit = unit_of(part)
    return unit in _WHOLE_UNITS or (value.dtype == "TIMESTAMP" and unit in UNITS)


def _later(date: str, sign: str, days: str) -> str:
    """Return the template of a date some days later or earlier: Spark's own sum of days may wrap around."""
    return f"date_from_unix_date(CAST((CAST(unix_date({date}) AS BIGINT) {sign} CAST({days} AS BIGINT)) AS INT))"


def _name(names: tuple[str, ...], number: str) -> str:
    branches = " ".join(f"WHEN {each} THEN {literal(name)}" for each, name in enumerate(names, 1))
    return f"CASE {number} {branches} END"


def _formatted(value: Translated, written: Translated) -> str:
    text, pieces = written.constant or "", []
    while text:
        if text[0] == "%":
            pieces.append(f"date_format({value.sql}, {literal(_CODES[text[1]])})")
            text = text[2:]
        else:
            plain = text.partition("%")[0]
            pieces.append(literal(plain))
            text = text[len(plain) :]
    return f"concat({', '.join(pieces)})" if len(pieces) > 1 else pieces[0]


def _is_formatted(_value: Translated, written: Translated) -> bool:
    parts = (written.constant or "").split("%")
    return len(parts) > 1 and all(each and each[0] in _CODES for each in parts[1:])


TIMES = (
    *(
        Signature(name, (dtype,), "BIGINT", as_bigint({**_PARTS, **_CLOCK}[part]))
        for part, names in _NAMES.items()
        for name in names
        for dtype in ("DATE", "TIMESTAMP")
        if dtype == "TIMESTAMP" or part not in _CLOCK
    ),
    *(Signature("date_part", (TEXT_LITERAL, dtype), "BIGINT", _part, _is_part) for dtype in ("DATE", "TIMESTAMP")),
    *(Signature("date_trunc", (TEXT_LITERAL, dtype), "TIMESTAMP", _truncated, _is_truncated) for dtype in ("DATE", "TIMESTAMP")),
    *(Signature("dayname", (dtype,), "VARCHAR", _name(_DAYS, "dayofweek({0})")) for dtype in ("DATE", "TIMESTAMP")),
    *(Signature("monthname", (dtype,), "VARCHAR", _name(_MONTHS, "month({0})")) for dtype in ("DATE", "TIMESTAMP")),
    *(Signature("last_day", (dtype,), "DATE", f"last_day({value})") for dtype, value in (("DATE", "{0}"), ("TIMESTAMP", "CAST({0} AS DATE)"))),
    *(Signature("strftime", (dtype, TEXT_LITERAL), "VARCHAR", _formatted, _is_formatted) for dtype in ("DATE", "TIMESTAMP")),
    Signature("epoch", ("TIMESTAMP",), "DOUBLE", f"(CAST({MICROSECONDS} AS DOUBLE) / 1000000D)"),
    Signature("epoch", ("DATE",), "DOUBLE", "(CAST(unix_date({0}) AS DOUBLE) * 86400D)"),
    Signature("epoch_us", ("TIMESTAMP",), "BIGINT", MICROSECONDS),
    Signature("-", ("DATE", "DATE"), "BIGINT", as_bigint("datediff({0}, {1})")),
    Signature("+", ("DATE", "INTEGER"), "DATE", _later("{0}", "+", "{1}")),
    Signature("+", ("INTEGER", "DATE"), "DATE", _later("{1}", "+", "{0}")),
    Signature("-", ("DATE", "INTEGER"), "DATE", _later("{0}", "-", "{1}")),
    *(Signature(sign, ("TIMESTAMP", f"INTERVAL {CONSTANT}"), "TIMESTAMP", f"({{0}} {sign} {{1}})") for sign in ("+", "-")),
    *(Signature(sign, ("DATE", f"INTERVAL {CONSTANT}"), "TIMESTAMP", f"(CAST({{0}} AS TIMESTAMP_NTZ) {sign} {{1}})") for sign in ("+", "-")),
)  # fmt: skip
