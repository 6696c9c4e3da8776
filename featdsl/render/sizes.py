"""Rows, bytes and seconds as people say them: as coarse as what a last build tells of the next one."""

from __future__ import annotations

from collections.abc import Iterable

from featdsl.plan import Estimate

_EXACT_ROWS = 10_000
_FEW_SECONDS, _MINUTE, _HOUR = 10, 60, 3600


def rows(number: int) -> str:
    """Return a number of rows: `20 rows`, `12 k rows`, `1.2 M rows`."""
    if number < _EXACT_ROWS:
        return f"{number:,} row{'' if number == 1 else 's'}"
    for unit, name in ((1_000, "k"), (1_000_000, "M"), (1_000_000_000, "G")):
        if number / unit < 999.5 or name == "G":  # noqa: PLR2004 - what rounds to 1,000
            return f"{_short(number / unit)} {name} rows"
    raise AssertionError(number)


def size(number: int) -> str:
    """Return a size in bytes: `under 1 MB`, `12 MB`, `1.2 GB`; nothing where it is not known."""
    if not number:
        return ""
    if number < 1_000_000:  # noqa: PLR2004 - a megabyte
        return "under 1 MB"
    for unit, name in ((1_000_000, "MB"), (1_000_000_000, "GB"), (1_000_000_000_000, "TB")):
        if number / unit < 999.5 or name == "TB":  # noqa: PLR2004 - what rounds to 1,000
            return f"{_short(number / unit)} {name}"
    raise AssertionError(number)


def time(seconds: float) -> str:
    """Return a time in seconds: `a few seconds`, `30 s`, `12 min`, `3.5 h`; nothing where it is not known."""
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
    """Return what builds take together: `about 1.2 M rows, 40 MB, a few seconds`; a part that one of them lacks is out."""
    known = list(estimates)
    parts = [
        rows(sum(each.rows for each in known)),
        size(sum(each.bytes for each in known)) if all(each.bytes for each in known) else "",
        time(sum(each.seconds for each in known)) if all(each.seconds for each in known) else "",
    ]
    return f"about {', '.join(part for part in parts if part)}"
