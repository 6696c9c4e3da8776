"""Show a plan to people: text for a terminal, Markdown for a pull request."""

from __future__ import annotations

import difflib
import inspect
import textwrap
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from featdsl.definitions import (
    Definition,
    EntityDefinition,
    FeatureDefinition,
    GroupDefinition,
    ModelDefinition,
    SetDefinition,
    SourceDefinition,
    address,
)
from featdsl.diff import SYMBOLS, Action, Change, Reason
from featdsl.plan import (
    Affected,
    BuildTable,
    CheckRows,
    DropView,
    Plan,
    PlannedChange,
    PutView,
    Record,
)

Paint = Callable[[str, str], str]
"""Colours a text: called with the text and the name of a colour."""

_COLOURS: dict[Action, str] = {"create": "green", "change": "yellow", "recompute": "cyan", "remove": "red"}
_VERBS: dict[Action, str] = {
    "create": "to create",
    "change": "to change",
    "recompute": "to recompute",
    "remove": "to remove",
}
_ORDER = ("entity", "source", "group", "feature", "set", "model")


def plain(text: str, colour: str) -> str:
    """Leave a text as it is."""
    del colour
    return text


def ansi(text: str, colour: str) -> str:
    """Colour a text for a terminal."""
    import click

    return click.style(text, bold=True) if colour == "bold" else click.style(text, fg=colour)


# Text


def text(plan: Plan, *, sql: bool = False, width: int = 100, paint: Paint = plain) -> str:
    """Return the plan as text of at most `width` columns, SQL only on request."""
    return "\n".join(_lines(plan, sql=sql, width=width, paint=paint)) + "\n"


def _lines(plan: Plan, *, sql: bool, width: int, paint: Paint) -> Iterator[str]:
    yield paint(_title(plan), "bold")
    if plan.empty:
        yield _NOTHING
    page = _Page(plan, width, paint, recorded(plan))
    for owner, changes in _by_owner(plan.changes):
        yield ""
        yield paint(owner, "bold")
        yield from page.changes(changes)
    yield from _section("Repairs", [f"{name} is lost from the store and is made again" for name in plan.repairs], paint)
    yield from _section("Lost for good", plan.lost, paint)
    yield from _section("Downstream", page.downstream(), paint)
    yield from _section("Ad hoc, kept until code declares them", _wrapped(", ".join(plan.adhoc), width), paint)
    yield from _section("SQL", _sql_lines(plan) if sql else [], paint)
    if not plan.empty:
        yield ""
        yield _steps_line(plan)
        yield paint(_counts_line(plan), "bold")


def _title(plan: Plan) -> str:
    state = f"state {plan.base.serial} of its store" if plan.base.serial else "an empty store"
    return f"Plan for {plan.project}, against {state}"


def _section(title: str, lines: Iterable[str], paint: Paint) -> Iterator[str]:
    listed = list(lines)
    if listed:
        yield ""
        yield paint(title, "bold")
        yield from (f"  {line}".rstrip() for line in listed)


def _wrapped(line: str, width: int) -> list[str]:
    return textwrap.wrap(line, max(20, width - 2), break_long_words=False, break_on_hyphens=False)


def _by_owner(changes: Iterable[PlannedChange]) -> Iterator[tuple[str, list[PlannedChange]]]:
    owners: dict[str, list[PlannedChange]] = defaultdict(list)
    for planned in changes:
        owners[planned.change.owner].append(planned)
    for owner in sorted(owners):
        yield owner, sorted(owners[owner], key=_place)


def _place(planned: PlannedChange) -> tuple[int, str, bool]:
    """Order changes for reading: each group is followed by its features."""
    change = planned.change
    kind = "group" if change.kind == "feature" else change.kind
    return _ORDER.index(kind), _group(change) or change.address, change.kind == "feature"


def _group(change: Change) -> str:
    """Return the group that a change of a group or of a feature belongs to."""
    return change.address.partition(".")[0] if change.kind in {"feature", "group"} else ""


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
            if each.change.kind == "feature" and _group(each.change) != group:
                yield f"    group {_group(each.change)}"
            group = _group(each.change)
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
            return f"{definition.dtype.ljust(dtypes)}  {_summary(definition)}"
        return _summary(definition)

    def _dtype(self, change: Change) -> str:
        definition = self.definitions.get((change.kind, change.address))
        return definition.dtype if isinstance(definition, FeatureDefinition) else ""

    def _reasons(self, change: Change) -> Iterator[str]:
        for reason in change.reasons:
            if reason.code in _LONG:
                yield f"{reason.code}:"
                for sign, line in line_changes(reason):
                    yield self.paint(f"  {sign} {line}".rstrip(), _SIGN_COLOURS.get(sign, "reset"))
            else:
                yield _said(reason)

    def downstream(self) -> Iterator[str]:
        met = affected(self.plan)
        left = max((len(f"{each.kind} {each.address}") for each, _ in met), default=0)
        owners = max((len(each.owner) for each, _ in met), default=0)
        for each, causes in met:
            lead = f"{f'{each.kind} {each.address}'.ljust(left)}  {each.owner.ljust(owners)}  "
            room = max(30, self.width - 2 - len(lead))
            first, *rest = textwrap.wrap(_kept(each, causes), room, break_on_hyphens=False)
            yield lead + first
            yield from (" " * (len(lead) + 2) + line for line in rest)


_NOTHING = "Nothing to do: the store holds what the code declares."
_LONG = frozenset({"sql", "description"})
"""Reasons whose two sides are shown line by line."""
_CELL = 80
"""The longest text that stays within a cell of a Markdown table."""
_SIGN_COLOURS = {"-": "red", "+": "green"}


def _indent(change: Change) -> str:
    return "    " if change.kind == "feature" else "  "


def _name(change: Change) -> str:
    return change.address.partition(".")[2] if change.kind == "feature" else f"{change.kind} {change.address}"


def _cut(line: str, room: int) -> str:
    return line if len(line) <= room else line[: max(0, room - 1)].rstrip() + "…"


def _summary(definition: Definition) -> str:
    """Return what someone new to a thing wants to know first."""
    first_line = definition.description.partition("\n")[0]
    match definition:
        case EntityDefinition():
            return ", ".join(f"{key.name} {key.dtype}" for key in definition.keys)
        case SourceDefinition():
            return _whence(definition)
        case GroupDefinition():
            return first_line or (f"of each {definition.entity}" if definition.entity else "one value for everyone")
        case FeatureDefinition():
            return first_line
        case SetDefinition():
            columns = ", ".join(member.column for member in definition.members)
            return f"{_count(len(definition.members), 'feature')}: {columns}"
        case ModelDefinition():
            return f"trains on {definition.features}"


def _whence(source: SourceDefinition) -> str:
    match source.format:
        case "frame":
            return "rows in memory"
        case "sql":
            return f"SQL over {', '.join(source.inputs) or 'nothing'}"
        case _:
            return ", ".join(source.location)


def _said(reason: Reason) -> str:
    """Return a reason whose two sides are short."""
    if reason.code == "upstream":
        return f"because {reason.after} changes"
    if reason.before and reason.after:
        return f"{reason.code}: {reason.before} → {reason.after}"
    return f"{reason.code}: {f'+ {reason.after}' if reason.after else f'- {reason.before}'}"


def line_changes(reason: Reason) -> Iterator[tuple[str, str]]:
    """Yield the lines of a text that changes, with `-`, `+` or a space for the lines around those."""
    before, after = (inspect.cleandoc(side).splitlines() for side in (reason.before, reason.after))
    for line in list(difflib.unified_diff(before, after, n=1, lineterm=""))[2:]:
        if line.startswith("@@"):
            continue
        yield line[0], line[1:]


def used_by(planned: PlannedChange, most: int = 6) -> Iterator[str]:
    """Yield for each team who reads what changes, where the change itself is made.

    Nothing where values stay, where nobody could read it yet, or where the change above it has told already.
    """
    change = planned.change
    if change.action == "create" or change.change_class in {"metadata", "upstream"}:
        return
    teams: dict[str, list[Affected]] = defaultdict(list)
    for each in planned.downstream:
        if each.effect in {"changes", "keeps"}:
            teams[each.owner].append(each)
    for owner in sorted(teams):
        readers = sorted(teams[owner], key=_reading_order)
        names = [f"{'' if each.kind == 'feature' else f'{each.kind} '}{each.address}" for each in readers]
        yield f"used by {owner}: {_some(names, most)}"


def _reading_order(each: Affected) -> tuple[int, str]:
    return _ORDER.index(each.kind), each.address


def _kept(each: Affected, causes: Sequence[str]) -> str:
    """Return how something applied stays what it is."""
    return f"{'trains on' if each.kind == 'model' else 'keeps'} the old {_some(causes, 3)}"


def _some(names: Sequence[str], most: int) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def affected(plan: Plan) -> list[tuple[Affected, list[str]]]:
    """Return the sets and models that keep what they were applied with, and of which changed features.

    What is new or moves stands among the changes itself.
    """
    causes: dict[Affected, list[str]] = defaultdict(list)
    for planned in plan.changes:
        change = planned.change
        if change.kind == "feature" and change.change_class != "metadata":
            for each in planned.downstream:
                if each.kind in {"set", "model"} and each.effect == "keeps":
                    causes[each].append(change.address)
    return [(each, causes[each]) for each in sorted(causes, key=_reading_order)]


def recorded(plan: Plan) -> dict[tuple[str, str], Definition]:
    """Return the definitions that the plan records, by kind and address."""
    steps = (step for step in plan.steps if isinstance(step, Record))
    return {(step.definition.kind, address(step.definition)): step.definition for step in steps}


def _sql_lines(plan: Plan) -> Iterator[str]:
    for step in plan.steps:
        if isinstance(step, BuildTable | PutView):
            yield f"-- {f'table {step.table}' if isinstance(step, BuildTable) else f'view prod.{step.name}'}"
            yield from step.sql.splitlines()
            yield ""


def _steps_line(plan: Plan) -> str:
    kinds = Counter(type(step) for step in plan.steps)
    built = [step.group for step in plan.steps if isinstance(step, BuildTable)]
    parts = [_count(len(built), "table") + " to build" if built else ""]
    parts += [_count(kinds[CheckRows], "check") + " to run" if kinds[CheckRows] else ""]
    parts += [_count(kinds[PutView], "view") + " to publish" if kinds[PutView] else ""]
    parts += [_count(kinds[DropView], "view") + " to drop" if kinds[DropView] else ""]
    said = ", ".join(part for part in parts if part)
    return f"Steps: {said or 'only the registry is written'}."


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _counts_line(plan: Plan) -> str:
    counts = Counter(planned.change.action for planned in plan.changes)
    said = [f"{counts[action]} {verb}" for action, verb in _VERBS.items() if counts[action]]
    said += [f"{len(plan.repairs)} to repair"] if plan.repairs else []
    return f"Plan: {', '.join(said) or 'nothing that a reader sees'}."


# Markdown


def markdown(plan: Plan) -> str:
    """Return the plan as Markdown for a pull request, its SQL folded away."""
    return "\n".join(_markdown_lines(plan)) + "\n"


def _markdown_lines(plan: Plan) -> Iterator[str]:
    yield f"### {_title(plan)}"
    yield ""
    if plan.empty:
        yield _NOTHING
        yield from (f"\n**Lost for good:** {said}." for said in plan.lost)
        return
    yield f"**{_counts_line(plan)}** {_steps_line(plan)}"
    definitions = recorded(plan)
    for owner, changes in _by_owner(plan.changes):
        yield from ["", f"#### {owner}", "", "| | what | class | detail |", "|---|---|---|---|"]
        for planned in changes:
            yield _markdown_row(planned, definitions.get((planned.change.kind, planned.change.address)))
        for planned in changes:
            yield from _markdown_diffs(planned.change)
    met = affected(plan)
    if met:
        yield from ["", "#### Downstream", "", "| who | owner | effect |", "|---|---|---|"]
        for each, causes in met:
            yield f"| {each.kind} `{each.address}` | {each.owner} | {_cell(_kept(each, causes))} |"
    if plan.repairs:
        yield from [
            "",
            "#### Repairs",
            "",
            *(f"- {name} is lost from the store and is made again" for name in plan.repairs),
        ]
    yield from (f"\n**Lost for good:** {said}." for said in plan.lost)
    if plan.adhoc:
        yield from ["", f"**Ad hoc**, kept until code declares them: {', '.join(f'`{name}`' for name in plan.adhoc)}."]
    statements = list(_sql_lines(plan))
    if statements:
        yield from ["", "<details><summary>SQL</summary>", "", "```sql", *statements[:-1], "```", "", "</details>"]


def _markdown_row(planned: PlannedChange, definition: Definition | None) -> str:
    change = planned.change
    details = [_reason_cell(reason) for reason in change.reasons]
    if change.action == "create" and definition is not None:
        dtype = f"`{definition.dtype}` " if isinstance(definition, FeatureDefinition) else ""
        details = [f"{dtype}{_cell(_summary(definition))}".rstrip()]
    details += [_cell(line) for line in used_by(planned)]
    what = f"{change.kind} `{change.address}`"
    return f"| `{SYMBOLS[change.action]}` | {what} | {change.change_class} | {'<br>'.join(details)} |"


def _reason_cell(reason: Reason) -> str:
    if _is_long(reason):
        return f"{reason.code}: below"
    if reason.code == "upstream":
        return _said(reason)
    sides = [_code(side) for side in (reason.before, reason.after) if side]
    lead = "" if len(sides) > 1 else "+ " if reason.after else "- "
    return f"{reason.code}: {lead}{' → '.join(sides)}"


def _markdown_diffs(change: Change) -> Iterator[str]:
    """Yield what is too long for a cell of the table."""
    for reason in change.reasons:
        if _is_long(reason):
            listed = (f"{sign} {line}".rstrip() for sign, line in line_changes(reason))
            yield from ["", f"{reason.code} of `{change.address}`:", "", "```diff", *listed, "```"]


def _is_long(reason: Reason) -> bool:
    return reason.code in _LONG and any("\n" in side or len(side) > _CELL for side in (reason.before, reason.after))


def _code(said: str) -> str:
    fence = "``" if "`" in said else "`"
    return f"{fence}{_cell(said)}{fence}"


def _cell(said: str) -> str:
    return " ".join(said.split()).replace("|", "\\|")
