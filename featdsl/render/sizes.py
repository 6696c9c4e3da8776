"""Format rows, bytes and seconds coarsely: the last build only predicts the next one roughly."""

from __future__ import annotations

from collections.abc import Iterable

from featdsl.plan.document import Estimate

_EXACT_ROWS = 10_000
_FEW_SECONDS, _MINUTE, _HOUR = 10, 60, 3600


def rows(number: int) -> str:
    """Return a row count: `20 rows`, `12 k rows`, `1.2 M rows`."""
    if number < _EXACT_ROWS:
        return f"{number:,} row{'' if number == 1 else 's'}"
    for unit, name in ((1_000, "k"), (1_000_000, "M"), (1_000_000_000, "G")):
        if number / unit < 999.5 or name == "G":  # noqa: PLR2004 - 999.5 rounds to 1,000
            return f"{_short(number / unit)} {name} rows"
    raise AssertionError(number)


def size(number: int) -> str:
    """Return a size in bytes: `under 1 MB`, `12 MB`, `1.2 GB`, or an empty text if it is 0, unknown."""
    if not number:
        return ""
    if number < 1_000_000:  # noqa: PLR2004 - a megabyte
        return "under 1 MB"
    for unit, name in ((1_000_000, "MB"), (1_000_000_000, "GB"), (1_000_000_000_000, "TB")):
        if number / unit < 999.5 or name == "TB":  # noqa: PLR2004 - 999.5 rounds to 1,000
            return f"{_short(number / unit)} {name}"
    raise AssertionError(number)


def time(seconds: float) -> str:
    """Return a time in seconds: `a few seconds`, `30 s`, `12 min`, `3.5 h`, or an empty text if it is 0, unknown."""
    if not seconds:
        return ""
    if seconds < _FEW_SECONDS:
        return "a few seconds"
    if seconds < _MINUTE:
        return f"{round(seconds, -1):.0f} s"
    return f"{_short(seconds / _MINUTE)} min" if seconds < _HOUR else f"{_short(seconds / _HOUR)} h"


def _short(number: float) -> str:
    return f"{number:.1f}".removesuffix(".0") if number < 9.95 else f"{number:,.0f}"  # noqa: PLR2004 - two digits


def together(estimates: Iterable[Estimate]) -> str:
    """Return the sum of estimates: `about 1.2 M rows, 40 MB, a few seconds`, or of a source `about 1.2 M rows from 90 MB`.

    Leave out the sizes or the time if one of the estimates lacks it.
    """
    known = list(estimates)
    read = size(sum(each.source_bytes for each in known)) if all(each.source_bytes for each in known) else ""
    parts = [
        rows(sum(each.rows for each in known)) + (f" from {read}" if read else ""),
        size(sum(each.bytes for each in known)) if all(each.bytes for each in known) else "",
        time(sum(each.seconds for each in known)) if all(each.seconds for each in known) else "",
    ]
    return f"about {', '.join(part for part in parts if part)}"
