"""Render value shifts: how the values of features differ between a plan and the store, or between two environments."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence

from featdsl.definitions.escaping import in_markdown
from featdsl.definitions.value_shifts import Compared, Example, NotCompared, Shift, ValueSummary

TITLE = "Value shifts"
_QUANTILES = ("p5", "p50", "p95")
_DIGITS = 9
_LONGEST_NAME = 40


def shift_lines(shifts: Sequence[Compared], *, width: int = 100, paint: Callable[[str, str], str]) -> Iterator[str]:
    """Yield the section as lines for a terminal, or nothing if `shifts` is empty; `paint` returns a text in a colour."""
    if shifts:
        yield ""
        yield paint(TITLE, "bold")
    for each in shifts:
        yield f"  {each.feature} ({each.owner})"
        if isinstance(each, NotCompared):
            yield from _wrapped(f"not compared: {each.why}", width)
            continue
        yield from _wrapped(_headline(each), width)
        if each.changed:
            yield from (f"      {line}" for line in _aligned(_rows(each)))
        if each.shares:
            yield from (_cut(f"      {line}", width) for line in _aligned(_share_rows(each)))
        yield from (line for example in each.examples for line in _wrapped(_example(each, example), width))
        yield from (
            paint(line, "red") for flag in each.flags for line in _wrapped(f"! {flag.code}: {flag.reason}", width)
        )
        yield from _wrapped(each.note, width)


def shift_section(shifts: Sequence[Compared]) -> Iterator[str]:
    """Yield the section as Markdown, or nothing if `shifts` is empty; examples are in a collapsed section."""
    if not shifts:
        return
    yield from ["", f"#### {TITLE}", ""]
    yield "| feature | owner | rows that change | nulls | mean | p5 | p50 | p95 | PSI | |"
    yield "|---|---|---|---|---|---|---|---|---|---|"
    for each in shifts:
        cells = _not_compared(each) if isinstance(each, NotCompared) else _cells(each)
        yield f"| `{each.feature}` | {_cell(each.owner)} | {' | '.join(cells)} |"
    with_shares = [each for each in shifts if isinstance(each, Shift) and each.shares]
    if with_shares:
        yield from ["", "| feature | category | before | after |", "|---|---|---|---|"]
        for each in with_shares:
            for name, *cells in list(_share_rows(each))[1:]:
                yield f"| `{each.feature}` | {_cell(name.strip())} | {' | '.join(cells)} |"
    shown = [each for each in shifts if isinstance(each, Shift) and each.examples]
    if shown:
        yield from [
            "",
            "<details><summary>Examples</summary>",
            "",
            "| feature | entity | before | after |",
            "|---|---|---|---|",
        ]
        for each in shown:
            for example in each.examples:
                sides = " | ".join(map(_cell, _sides(each, example)))
                yield f"| `{each.feature}` | {_cell(_place(example))} | {sides} |"
        yield from ["", "</details>"]


def _headline(shift: Shift) -> str:
    if not shift.rows:
        return "no rows to compare"
    if not shift.changed:
        return f"no value changes in {shift.rows:,} {_plural('row', shift.rows)} ({_entities(shift)})"
    share = f"{_share(shift.changed, shift.rows)} of {shift.rows:,} {_plural('row', shift.rows)} change"
    psi = f", PSI {shift.psi:.2f}" if shift.psi is not None else ""
    return f"{share} ({_entities(shift)}){psi}"


def _entities(shift: Shift) -> str:
    """Return how many entities were compared: `3 entities`, or `1,000 of 24,000 entities` for a sample."""
    sampled = f"{shift.entities:,} of " if shift.entities < shift.of else ""
    return f"{sampled}{shift.of:,} {'entity' if shift.of == 1 else 'entities'}"


def _rows(shift: Shift) -> Iterator[tuple[str, ...]]:
    """Yield the titles, then the figures before and after; a column is left out if neither side has its figure."""
    sides = {"before": shift.before, "after": shift.after}
    numbers, values = (any(getattr(s, name) is not None for s in sides.values()) for name in ("quantiles", "distinct"))
    mean = "mean" if numbers else "true" if any(each.mean is not None for each in sides.values()) else ""
    yield "", "nulls", *([mean] if mean else []), *(_QUANTILES if numbers else ()), *(["values"] if values else [])
    for name, side in sides.items():
        quantiles = side.quantiles or (None, None, None)
        shown = [_mean(side)] if mean else []
        shown += [_number(each) for each in quantiles] if numbers else []
        shown += ["" if side.distinct is None else f"{side.distinct:,}"] if values else []
        yield name, _share(side.nulls, shift.rows), *shown


def _share_rows(shift: Shift) -> Iterator[tuple[str, ...]]:
    """Yield the titles, then each category with its share of the rows before and after."""
    yield "share of rows", "before", "after"
    for each in shift.shares:
        name = "all others" if each.value is None else _one_line(each.value) or "''"
        yield f"  {name[:_LONGEST_NAME]}", _share(each.before, shift.rows), _share(each.after, shift.rows)


def _cut(line: str, width: int) -> str:
    return line if len(line) <= max(40, width) else f"{line[: max(40, width) - 1].rstrip()}…"


def _aligned(rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    listed = list(rows)
    wide = [max(len(row[column]) for row in listed) for column in range(len(listed[0]))]
    for name, *cells in listed:
        yield "  ".join([name.ljust(wide[0]), *(c.rjust(w) for c, w in zip(cells, wide[1:], strict=True))]).rstrip()


def _cells(shift: Shift) -> list[str]:
    was, now = shift.before, shift.after
    quantiles = zip(was.quantiles or [None] * 3, now.quantiles or [None] * 3, strict=True)
    return [
        f"{_share(shift.changed, shift.rows)} of {shift.rows:,} ({_entities(shift)})",
        _moved(_share(was.nulls, shift.rows), _share(now.nulls, shift.rows)),
        _moved(_mean(was), _mean(now)),
        *(_moved(_number(before), _number(after)) for before, after in quantiles),
        "" if shift.psi is None else f"{shift.psi:.2f}",
        "<br>".join(
            [
                *(f"**{flag.code}**: {_cell(flag.reason)}" for flag in shift.flags),
                *([_cell(shift.note)] if shift.note else []),
            ]
        ),
    ]


def _not_compared(feature: NotCompared) -> list[str]:
    return ["not compared", *[""] * 6, _cell(feature.why)]


def _moved(before: str, after: str) -> str:
    return before if before == after else f"{before or '-'} → {after or '-'}"


def _mean(side: ValueSummary) -> str:
    """Return a mean; for a BOOLEAN the share of true values."""
    if side.mean is not None and side.distinct is not None:
        return _percent(side.mean)
    return _number(side.mean)


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e15 else f"{value:.4g}"  # noqa: PLR2004 - larger values need no decimals or, beyond 15 digits, an exponent


def _share(part: int, whole: int) -> str:
    return _percent(part / whole if whole else 0)


def _percent(share: float) -> str:
    """Return a share in percent; a share between 0 and 1 is never rounded to 0 % or 100 %."""
    if 0 < share < 0.0005:  # noqa: PLR2004 - rounds to 0.0 %
        return "<0.1 %"
    if 0.9995 <= share < 1:  # noqa: PLR2004 - rounds to 100.0 %
        return ">99.9 %"
    return f"{100 * share:.1f} %"


def _example(shift: Shift, example: Example) -> str:
    before, after = _sides(shift, example)
    return f"{_place(example)}: {before} → {after}".removeprefix(": ")


def _place(example: Example) -> str:
    keys = ", ".join(f"{name} {_one_line(value)}" for name, value in example.keys)
    return " at ".join(part for part in (keys, example.time) if part)


def _one_line(value: str) -> str:
    return " ".join(value.split())


def _sides(shift: Shift, example: Example) -> tuple[str, str]:
    """Return both values of an example; long numbers are shortened if they still differ then."""
    before, after = ("NULL" if value is None else _one_line(value) for value in (example.before, example.after))
    if shift.before.quantiles and shift.after.quantiles:
        shorter = tuple(
            f"{float(value):.6g}" if "." in value and len(value) > _DIGITS else value for value in (before, after)
        )
        return (shorter[0], shorter[1]) if shorter[0] != shorter[1] else (before, after)
    return before, after


def _plural(noun: str, number: int) -> str:
    return noun if number == 1 else f"{noun}s"


def _wrapped(line: str, width: int) -> list[str]:
    return textwrap.wrap(
        line, max(40, width), initial_indent="    ", subsequent_indent="      ", break_on_hyphens=False
    )


def _cell(text: str) -> str:
    return in_markdown(text)
