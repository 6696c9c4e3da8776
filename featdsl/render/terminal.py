"""A plan as text, for a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from featdsl.definitions import Definition, FeatureDefinition
from featdsl.diff import SYMBOLS, Action, Change
from featdsl.plan import Plan, PlannedChange
from featdsl.render.phrases import (
    LONG,
    NOTHING,
    affected,
    by_owner,
    counts_line,
    group_of,
    kept,
    line_changes,
    reason_line,
    recorded,
    sql_lines,
    steps_line,
    summary,
    title,
    used_by,
)
from featdsl.render.shifts import shift_lines

Paint = Callable[[str, str], str]
"""Colours a text: called with the text and the name of a colour."""
_COLOURS: dict[Action, str] = {"create": "green", "change": "yellow", "recompute": "cyan", "remove": "red"}


def plain(text: str, colour: str) -> str:
    """Leave a text as it is."""
    del colour
    return text


def ansi(text: str, colour: str) -> str:
    """Colour a text for a terminal."""
    import click

    return click.style(text, bold=True) if colour == "bold" else click.style(text, fg=colour)


def text(plan: Plan, *, sql: bool = False, width: int = 100, paint: Paint = plain) -> str:
    """Return the plan as text of at most `width` columns, SQL only on request."""
    return "\n".join(_lines(plan, sql=sql, width=width, paint=paint)) + "\n"


def _lines(plan: Plan, *, sql: bool, width: int, paint: Paint) -> Iterator[str]:
    yield paint(title(plan), "bold")
    if plan.empty:
        yield NOTHING
    page = _Page(plan, width, paint, recorded(plan))
    for owner, changes in by_owner(plan.changes):
        yield ""
        yield paint(owner, "bold")
        yield from page.changes(changes)
    yield from shift_lines(plan.preview, width=width, paint=paint)
    yield from _section("Repairs", [f"{name} is lost from the store and is made again" for name in plan.repairs], paint)
    yield from _section("Lost for good", plan.lost, paint)
    yield from _section("Downstream", page.downstream(), paint)
    yield from _section("Ad hoc, kept until code declares them", _wrapped(", ".join(plan.adhoc), width), paint)
    yield from _section("SQL", sql_lines(plan) if sql else [], paint)
    if not plan.empty:
        yield ""
        yield steps_line(plan)
        yield paint(counts_line(plan), "bold")


def _section(title: str, lines: Iterable[str], paint: Paint) -> Iterator[str]:
    listed = list(lines)
    if listed:
        yield ""
        yield paint(title, "bold")
        yield from (f"  {line}".rstrip() for line in listed)


def _wrapped(line: str, width: int) -> list[str]:
    return textwrap.wrap(line, max(20, width - 2), break_long_words=False, break_on_hyphens=False)


@dataclass(frozen=True)
class _Page:
    """The parts of a plan's text that need its width, its colours and its definitions."""

    plan: Plan
    width: int
    paint: Paint
    definitions: Mapping[tuple[str, str], Definition]

    def changes(self, changes: Sequence[PlannedChange]) -> Iterator[str]:
        left = max(len(_indent(each.change)) + len(_name(each.change)) for each in changes)
        types = [self._dtype(each.change) for each in changes if each.change.action == "create"]
        group = ""
        for each in changes:
            if each.change.kind == "feature" and group_of(each.change) != group:
                yield f"    group {group_of(each.change)}"
            group = group_of(each.change)
            yield from self._change(each, left, max(map(len, types), default=0))

    def _change(self, each: PlannedChange, left: int, dtypes: int) -> Iterator[str]:
        change, indent = each.change, _indent(each.change)
        symbol = self.paint(SYMBOLS[change.action], _COLOURS[change.action])
        name = _name(change).ljust(left - len(indent) + 2)
        room = self.width - len(indent) - 2 - len(name)
        yield f"{indent}{symbol} {name}{_cut(self._detail(change, dtypes), room)}".rstrip()
        below = f"{indent}      "
        for line in self._reasons(change):
            yield f"{below}{line}"
        for line in used_by(each):
            yield from textwrap.wrap(
                line, self.width, initial_indent=below, subsequent_indent=f"{below}  ", break_on_hyphens=False
            )

    def _detail(self, change: Change, dtypes: int) -> str:
        definition = self.definitions.get((change.kind, change.address))
        if change.action != "create" or definition is None:
            return change.change_class
        if isinstance(definition, FeatureDefinition):
            return f"{definition.dtype.ljust(dtypes)}  {summary(definition)}"
        return summary(definition)

    def _dtype(self, change: Change) -> str:
        definition = self.definitions.get((change.kind, change.address))
        return definition.dtype if isinstance(definition, FeatureDefinition) else ""

    def _reasons(self, change: Change) -> Iterator[str]:
        for reason in change.reasons:
            if reason.code in LONG:
                yield f"{reason.code}:"
                for sign, line in line_changes(reason):
                    yield self.paint(f"  {sign} {line}".rstrip(), _SIGN_COLOURS.get(sign, "reset"))
            else:
                yield reason_line(reason)

    def downstream(self) -> Iterator[str]:
        met = affected(self.plan)
        left = max((len(f"{each.kind} {each.address}") for each, _ in met), default=0)
        owners = max((len(each.owner) for each, _ in met), default=0)
        for each, causes in met:
            lead = f"{f'{each.kind} {each.address}'.ljust(left)}  {each.owner.ljust(owners)}  "
            room = max(30, self.width - 2 - len(lead))
            first, *rest = textwrap.wrap(kept(each, causes), room, break_on_hyphens=False)
            yield lead + first
            yield from (" " * (len(lead) + 2) + line for line in rest)


_SIGN_COLOURS = {"-": "red", "+": "green"}


def _indent(change: Change) -> str:
    return "    " if change.kind == "feature" else "  "


def _name(change: Change) -> str:
    return change.address.partition(".")[2] if change.kind == "feature" else f"{change.kind} {change.address}"


def _cut(line: str, room: int) -> str:
    return line if len(line) <= room else line[: max(0, room - 1)].rstrip() + "…"
