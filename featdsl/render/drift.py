"""Render how far the values of features have moved."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from featdsl.discovery.drift import DriftReport, DriftSide, FeatureDrift
from featdsl.render.phrases import counted

_SHOWN = 5


def drift(report: DriftReport, width: int) -> str:
    """Return a report as text: the features that have drifted with their reasons, then the steady ones and the rest.

    Lists are wrapped at `width` characters.
    """
    by_verdict: dict[str, list[FeatureDrift]] = {"drifted": [], "steady": [], "not compared": []}
    for each in report.features:
        by_verdict[each.verdict].append(each)
    lines = [line for each in by_verdict["drifted"] for line in _drifted(each)]
    if steady := by_verdict["steady"]:
        lines += ["Steady", *(f"  {_line(each)}" for each in steady), ""]
    if left := by_verdict["not compared"]:
        notes = {each.note: [other.feature for other in left if other.note == each.note] for each in left}
        for note, names in notes.items():
            lines += [f"Not compared: {note}", *_wrapped(", ".join(names), width), ""]
    count = len(by_verdict["drifted"])
    of = counted(len(report.features), "feature")
    lines.append(f"{count} of {of} {'has' if count == 1 else 'have'} drifted." if report.features else "No features.")
    return "\n".join(lines) + "\n"


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(
        text,
        max(width, 20),
        initial_indent="  ",
        subsequent_indent="  ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def _drifted(each: FeatureDrift) -> Iterator[str]:
    yield f"{each.feature} ({each.owner}) has drifted from {each.against}"
    yield from (f"  {reason.text}" for reason in each.reasons)
    for name, side in (("before", each.before), ("now", each.now)):
        if side is not None:
            yield f"  {name:<6}  {_side(side)}"
    for title, values in (("new", each.new_values), ("gone", each.gone_values)):
        if values:
            yield f"  {title:<6}  {_listed(values)}"
    if each.note:
        yield f"  {each.note}"
    yield ""


def _side(side: DriftSide) -> str:
    parts = [f"state {side.serial}", counted(side.rows, "row")]
    parts += [f"{100 * side.null_share:.1f} % NULL"] if side.null_share is not None else []
    parts += [f"mean {side.mean:.4g}"] if side.mean is not None else []
    parts += [f"PSI of a sample of {counted(side.sampled, 'row')}"] if side.sampled is not None else []
    return ", ".join(parts)


def _listed(values: Sequence[str]) -> str:
    more = [f"and {len(values) - _SHOWN} more"] if len(values) > _SHOWN else []
    return ", ".join([*values[:_SHOWN], *more])


def _line(each: FeatureDrift) -> str:
    parts = [f"PSI {each.psi:.2f}"] if each.psi is not None else []
    parts += [
        f"{len(values)} {name} {'value' if len(values) == 1 else 'values'}"
        for name, values in (("new", each.new_values), ("gone", each.gone_values))
        if values
    ]
    parts += [each.note] if each.note else []
    return f"{each.feature}: {', '.join(parts)}" if parts else each.feature
