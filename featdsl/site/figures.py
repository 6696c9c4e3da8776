"""Write numbers, sizes and times for people."""

from __future__ import annotations

import math
from datetime import UTC, datetime

from featdsl.render import sizes

_SCALES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_MANY_DIGITS = 1e15
_LEAST = 0.1
"""The smallest share that is written exactly, in percent."""


def number(value: float | None) -> str:
    """Return a number with separators: `1,234`, `0.0421`, `1.2e+20`; floats have four digits that count."""
    if value is None:
        return "–"
    if isinstance(value, int):
        return f"{value:,}"
    if not math.isfinite(value):
        return str(value)
    if value == int(value) and abs(value) < _MANY_DIGITS:
        return f"{int(value):,}"
    if 1000 <= abs(value) < _MANY_DIGITS:  # noqa: PLR2004 - all four digits stand before the point
        return f"{value:,.0f}"
    return f"{value:.4g}"


def short(value: float) -> str:
    """Return a number for the axis of a chart: `12k`, `3.5M`."""
    for scale, letter in _SCALES:
        if abs(value) >= scale:
            return f"{value / scale:.3g}{letter}"
    return f"{value:.3g}"


def share(part: float, whole: float) -> str:
    """Return a part of a whole in percent; `<0.1 %` where rounding would say 0, and `>99.9 %` where it would say 100."""
    if not whole:
        return "–"
    percent = 100 * part / whole
    if 0 < percent < _LEAST:
        return "<0.1 %"
    if 100 - _LEAST < percent < 100:  # noqa: PLR2004 - all
        return ">99.9 %"
    return f"{percent:.0f} %" if percent in {0, 100} else f"{percent:.1f} %"


def size(count: int | None) -> str:
    """Return a number of bytes, in decimal units; a dash for none."""
    return "–" if count is None else sizes.size(count)


def day(at: str | None) -> str:
    """Return the date and minute of an ISO time in UTC; the text as it is if it is no ISO time, and a dash for none."""
    if not at:
        return "–"
    moment = _moment(at)
    return f"{moment:%Y-%m-%d %H:%M}" if moment else at


def instant(at: str) -> str:
    """Return an ISO time with its zone, for `<time datetime>`; empty if it is no ISO time."""
    moment = _moment(at)
    return moment.isoformat(timespec="seconds") if moment else ""


def _moment(at: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(at)
    except ValueError:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def digits(text: str) -> str:
    """Return a whole or decimal number with separators and all its digits: `1,234.50`."""
    sign, rest = ("-", text[1:]) if text.startswith("-") else ("", text)
    whole, point, fraction = rest.partition(".")
    return f"{sign}{int(whole):,}{point}{fraction}" if whole.isdecimal() else text
