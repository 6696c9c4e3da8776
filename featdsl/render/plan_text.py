"""Render a plan as text for a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from featdsl.definitions.kinds import Definition, FeatureDefinition
from featdsl.plan.diff import SYMBOLS, Change
from featdsl.plan.document import Plan, PlannedChange
from featdsl.render.audience import Team, affected, few, not_affected, verdict
from featdsl.render.differences import Room, member_lines, reason_lines
from featdsl.render.fold import Rest, Shown, edits, group_of, parts
from featdsl.render.phrases import (
    WHOLE,
    Line,
    approval_lines,
    block_lines,
    checks,
    compute_lines,
    counted,
    counts_line,
    kept_lines,
    members_line,
    members_shown,
    notice_lines,
    recorded,
    repair_lines,
    some,
    statements,
    steps_line,
    summary,
    title,
    warning_lines,
)
from featdsl.render.value_shifts import shift_lines

Paint = Callable[[str, str], str]
"""Return a text in a colour; the arguments are the text and the name of the colour."""
_COLOURS: dict[str, str] = {SYMBOLS["create"]: "green", SYMBOLS["change"]: "yellow", SYMBOLS["recompute"]: "cyan"}
_COLOURS |= {SYMBOLS["remove"]: "red", "!": "red"}
_VERDICTS = {"Blocked": "red", "Needs": "yellow", "Touches": "yellow", "Safe": "green"}
_CHANGES, _ALIKE, _TEAMS, _LINES, _RULES = 48, 6, 8, 24, 16
"""The most changes, effects of one kind, teams, lines of a diff and rules that a person still reads."""
_FEW_TEAMS = 4
"""The most affected teams that are shown in full detail."""
_ALL_LINES = 240
"""The most lines of all diffs together; each diff may show at least four."""
_TABLES = 8
"""The most tables that are listed one by one."""
_DETAIL = 10
"""The least room beside a name that a detail needs; with less it moves to the next line."""


def plain(text: str, colour: str) -> str:
    """Return a text without colour."""
    del colour
    return text


def ansi(text: str, colour: str) -> str:
    """Return a text in a colour, or bold, for a terminal."""
    import click

    return click.style(text, bold=True) if colour == "bold" else click.style(text, fg=colour)


def text(plan: Plan, *, sql: bool = False, width: int = 100, paint: Paint = plain, whole: str = WHOLE) -> str:
    """Return the plan as text of at most `width` columns; similar changes are folded, and SQL is shown only if `sql`.

    `whole` is the command that shows the whole plan.
    """
    return "\n".join(_lines(plan, _Page(plan, max(40, width), paint, recorded(plan), whole), sql=sql)) + "\n"


def _lines(plan: Plan, page: _Page, *, sql: bool) -> Iterator[str]:
    paint = page.paint
    yield paint(title(plan), "bold")
    line = verdict(plan)
    colour = _VERDICTS.get(line.partition(" ")[0].rstrip(":"))
    yield from (paint(each, colour) if colour else each for each in textwrap.wrap(line, page.width))
    yield from _section("Warnings", page.with_fixes((warning, "") for warning in warning_lines(plan)), paint)
    yield from _section("Blocked", page.with_fixes(block_lines(plan)), paint)
    yield from _section("Required approvals (--approved-by TEAM)", page.pairs(approval_lines(plan)), paint)
    yield from _section("Notices", page.with_fixes(notice_lines(plan)), paint)
    yield from _section("Changes", page.changes(), paint)
    yield from shift_lines(plan.preview, width=page.width, paint=paint)
    yield from _section("Impact", page.affected(), paint)
    if not plan.empty:
        yield from _section("Tables to build", page.pairs(compute_lines(plan, _TABLES)), paint)
        yield from _section("Old versions kept", page.pairs(kept_lines(plan, _TABLES, page.whole)), paint)
    yield from _section("Data checks", page.checks(), paint)
    yield from _section("Repairs", repair_lines(plan), paint)
    yield from _section("Ad hoc, kept until the code declares them", page.wrapped(", ".join(plan.adhoc)), paint)
    yield from _section("SQL", _sql(plan) if sql else [], paint)
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


def _sql(plan: Plan) -> Iterator[str]:
    for name, lines in statements(plan):
        yield from [name, *lines, ""]


@dataclass(frozen=True)
class _Page:
    """Renders the sections of a plan's text that depend on its width, colours and definitions."""

    plan: Plan
    width: int
    paint: Paint
    definitions: Mapping[tuple[str, str], Definition]
    whole: str

    # Lists

    def wrapped(self, line: str, first: str = "", further: str = "") -> list[str]:
        """Return a text as lines of a section."""
        return textwrap.wrap(
            line, self.width - 2, initial_indent=first, subsequent_indent=further, break_on_hyphens=False
        )

    def with_fixes(self, pairs: Iterable[tuple[str, str]]) -> Iterator[str]:
        """Yield each message, and its fix indented below it."""
        for what, fix in pairs:
            for line in what.splitlines():
                yield from self.wrapped(line, "", "  ")
            for line in fix.splitlines():
                yield from self.wrapped(line, "  ", "  ")

    def pairs(self, lines: Iterable[Line]) -> Iterator[str]:
        """Yield lines as two aligned columns."""
        listed = list(lines)
        left = min(max((len(name) for name, *_ in listed), default=0), self.width // 2)
        for name, text, _ in listed:
            yield from self._beside(name.ljust(left), text)

    def _beside(self, name: str, text: str, less: int = 0) -> list[str]:
        """Return a name with a text beside it, in lines that are `less` columns shorter than the page."""
        room, indent = self.width - 2 - less, len(name) + 2
        further = " " * (indent if indent < self.width // 2 else 4)
        lines = textwrap.wrap(text, room, initial_indent=f"{name}  ", subsequent_indent=further, break_on_hyphens=False)
        return lines or [name]

    # Changes

    def changes(self) -> Iterator[str]:
        """Yield the edited definitions, by team."""
        teams, left = parts(self.plan, _CHANGES)
        shown = sum(len(part.shown) for part in teams)
        for part in teams:
            count = f": {counted(part.count, 'change')}" if part.folded else ""
            yield f"{self.paint(part.owner, 'bold')}{count}"
            yield from self._part(part.shown, max(4, min(_LINES, _ALL_LINES // shown)))
        if left:
            yield from self.wrapped(f"{left}: {self.whole}", "", "  ")

    def _part(self, shown: Sequence[Shown], most: int) -> Iterator[str]:
        changes = [each.change for each in shown if isinstance(each, PlannedChange)]
        left = max((len(_indent(each)) + len(_name(each)) for each in changes), default=0)
        types = max((len(self._dtype(each)) for each in changes if each.action == "create"), default=0)
        group, indent = "", "  "
        for each, is_last in [(each, each is edit[-1]) for edit in edits(shown) for each in edit]:
            if isinstance(each, Rest):
                first, *rest = self.wrapped(each.text, f"{indent}  ", f"{indent}    ")
                yield f"{indent}{self._symbol(each.symbol)}{first[len(indent) + 1 :]}"
                yield from rest
                continue
            change, indent = each.change, _indent(each.change)
            if change.kind == "feature" and group_of(change) != group:
                yield f"    group {group_of(change)}"
            group = group_of(change)
            yield from self._change(change, min(left, self.width // 2), types)
            room = Room(self.width - 6 - len(indent), most, self.paint, self.whole)
            lines = [line for reason in change.reasons if is_last for line in reason_lines(reason, room)]
            if change.since:
                lines += [members_line(change.since, change.members)]
                lines += member_lines(members_shown(self.plan, change), room)
            yield from (f"{indent}    {line}" for line in lines)

    def _change(self, change: Change, left: int, dtypes: int) -> Iterator[str]:
        indent = _indent(change)
        name = _name(change).ljust(left - len(indent) + 2)
        lead = f"{indent}{self._symbol(SYMBOLS[change.action])} {name}"
        room = self.width - 2 - len(indent) - 2 - len(name)
        if room >= _DETAIL:
            yield f"{lead}{_cut(self._detail(change, dtypes), room)}".rstrip()
        else:
            yield lead.rstrip()
            yield f"{indent}    {_cut(self._detail(change, dtypes), self.width - 2 - len(indent) - 4)}".rstrip()

    def _symbol(self, symbol: str) -> str:
        return self.paint(symbol, _COLOURS[symbol]) if symbol in _COLOURS else symbol

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

    # Impact

    def affected(self) -> Iterator[str]:
        """Yield, by team, what is recomputed, is pinned or adopts a change, then who is not affected."""
        teams = affected(self.plan)
        for team in teams[:_TEAMS]:
            yield from self.wrapped(f"{team.owner}: {team.counts}", "", "  ")
            yield from self._team(team, _ALIKE if len(teams) <= _FEW_TEAMS else _ALIKE // 2)
        if len(teams) > _TEAMS:
            more = counted(len(teams) - _TEAMS, "more team")
            yield from self.wrapped(f"and {more}: {some([each.owner for each in teams[_TEAMS:]], _ALIKE)}", "", "  ")
        spared = not_affected(self.plan, _ALIKE)
        if spared:
            yield from [] if teams else ["nobody"]
            yield from self.wrapped(f"not affected: {spared}", "", "  ")

    def _team(self, team: Team, most: int) -> Iterator[str]:
        shown, left = few(team, most)
        width = min(max(len(each.name) for each in shown), self.width // 2)
        for each in shown:
            lines = self._beside(each.name.ljust(width), each.text, 4)
            yield f"  {self._symbol(each.symbol)} {lines[0]}"
            yield from (f"    {line}" for line in lines[1:])
        if left:
            yield f"    and {left:,} more"

    def checks(self) -> Iterator[str]:
        """Yield the data quality rules that apply checks, with the addresses they are checked on."""
        rules = checks(self.plan)
        for rule, addresses in rules[:_RULES]:
            yield from self.wrapped(f"{rule}: {some(addresses, _ALIKE)}", "", "    ")
        if len(rules) > _RULES:
            yield f"and {counted(len(rules) - _RULES, 'more rule')}: {self.whole}"


def _indent(change: Change) -> str:
    return "    " if change.kind == "feature" else "  "


def _name(change: Change) -> str:
    return change.address.partition(".")[2] if change.kind == "feature" else f"{change.kind} {change.address}"


def _cut(line: str, room: int) -> str:
    return line if len(line) <= room else line[: max(0, room - 1)].rstrip() + "…"
