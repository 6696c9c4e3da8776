"""Show a plan to people: text for a terminal, Markdown for a pull request."""

from __future__ import annotations

import textwrap
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
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


# Text


def text(plan: Plan, *, sql: bool = False, width: int = 100, paint: Paint = plain) -> str:
    """Return the plan as text of at most `width` columns, SQL only on request."""
    return "\n".join(_lines(plan, sql=sql, width=width, paint=paint)) + "\n"


def _lines(plan: Plan, *, sql: bool, width: int, paint: Paint) -> Iterator[str]:
    yield paint(_title(plan), "bold")
    if plan.empty:
        yield "Nothing to do: the store holds what the code declares."
    page = _Page(plan, width, paint)
    for owner, changes in _by_owner(plan.changes):
        yield ""
        yield paint(owner, "bold")
        yield from page.changes(changes)
    yield from _section("Repairs", [f"{name} is lost from the store and is made again" for name in plan.repairs], paint)
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
        yield from (f"  {line}" for line in listed)


def _wrapped(line: str, width: int) -> list[str]:
    return textwrap.wrap(line, max(20, width - 2), break_long_words=False, break_on_hyphens=False)


def _by_owner(changes: Iterable[PlannedChange]) -> Iterator[tuple[str, list[PlannedChange]]]:
    owners: dict[str, list[PlannedChange]] = defaultdict(list)
    for planned in changes:
        owners[planned.change.owner].append(planned)
    for owner in sorted(owners):
        yield owner, sorted(owners[owner], key=_place)


def _place(planned: PlannedChange) -> tuple[int, str, int]:
    """Order changes for reading: each group is followed by its features."""
    change = planned.change
    group = change.address.partition(".")[0] if change.kind == "feature" else change.address
    kind = "group" if change.kind == "feature" else change.kind
    return _ORDER.index(kind), group, 0 if change.kind != "feature" else 1


@dataclass(frozen=True)
class _Page:
    """The parts of a plan's text that need its width, its colours and its definitions."""

    plan: Plan
    width: int
    paint: Paint

    def changes(self, changes: Sequence[PlannedChange]) -> Iterator[str]:
        definitions = recorded(self.plan)
        left = max(len(_name(each.change)) for each in changes)
        for each in changes:
            change = each.change
            symbol = self.paint(SYMBOLS[change.action], _COLOURS[change.action])
            indent = "    " if change.kind == "feature" else "  "
            detail = _detail(change, definitions.get((change.kind, change.address)))
            name = _name(change).ljust(left + 2 - (2 if change.kind == "feature" else 0))
            room = self.width - len(indent) - 2 - len(name)
            yield f"{indent}{symbol} {name}{_cut(detail, room)}".rstrip()
            for line in self._reasons(change):
                yield f"{indent}      {line}"
            if change.action != "create" and each.downstream:
                used = f"used by {_names(each.downstream)}"
                for line in textwrap.wrap(used, max(30, self.width - len(indent) - 6), subsequent_indent="  "):
                    yield f"{indent}      {line}"

    def _reasons(self, change: Change) -> Iterator[str]:
        for reason in change.reasons:
            if reason.code == "upstream":
                yield f"because {reason.after} changes"
            elif reason.code in {"sql", "description"}:
                yield f"{reason.code}:"
                yield from (self.paint(f"  - {line}", "red") for line in reason.before.splitlines())
                yield from (self.paint(f"  + {line}", "green") for line in reason.after.splitlines())
            else:
                yield f"{reason.code}: {reason.before or 'none'} → {reason.after or 'none'}"

    def downstream(self) -> Iterator[str]:
        met = affected(self.plan)
        if met:
            left = max(len(f"{each.kind} {each.address}") for each, _ in met)
            owners = max(len(each.owner) for each, _ in met)
            for each, causes in met:
                said = _effect(each, causes)
                yield f"{f'{each.kind} {each.address}'.ljust(left)}  {each.owner.ljust(owners)}  {said}"


def _name(change: Change) -> str:
    return change.address.partition(".")[2] if change.kind == "feature" else f"{change.kind} {change.address}"


def _cut(line: str, room: int) -> str:
    return line if len(line) <= room else line[: max(0, room - 1)].rstrip() + "…"


def _detail(change: Change, definition: Definition | None) -> str:
    if change.action == "remove" or definition is None:
        return change.change_class if change.action != "create" else ""
    if change.action != "create":
        return change.change_class
    return _summary(definition)


def _summary(definition: Definition) -> str:
    """Return what someone new to a thing wants to know first."""
    first_line = definition.description.partition("\n")[0]
    match definition:
        case EntityDefinition():
            return ", ".join(f"{key.name} {key.dtype}" for key in definition.keys)
        case SourceDefinition():
            return ", ".join(definition.location) or f"SQL over {', '.join(definition.inputs) or 'nothing'}"
        case GroupDefinition():
            return first_line or (f"of each {definition.entity}" if definition.entity else "one value for everyone")
        case FeatureDefinition():
            return f"{definition.dtype}  {first_line}".rstrip()
        case SetDefinition():
            return f"{len(definition.members)} features"
        case ModelDefinition():
            return f"trains on {definition.features}"


def _names(affected: Sequence[Affected], most: int = 6) -> str:
    shown = [f"{'' if each.kind == 'feature' else f'{each.kind} '}{each.address}" for each in affected[:most]]
    more = [f"{len(affected) - most} more"] if len(affected) > most else []
    return ", ".join([*shown, *more])


def _effect(each: Affected, causes: Sequence[str]) -> str:
    match each.effect:
        case "new":
            return "new"
        case "keeps":
            return f"keeps what it was applied with ({_some(causes)})"
        case "changes":
            return f"changes with {_some(causes)}"


def _some(names: Sequence[str], most: int = 3) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def affected(plan: Plan) -> list[tuple[Affected, list[str]]]:
    """Return the sets and models downstream of what the plan changes, with the features that reach them."""
    causes: dict[Affected, list[str]] = defaultdict(list)
    for planned in plan.changes:
        for each in planned.downstream:
            if each.kind in {"set", "model"} and planned.change.kind == "feature":
                causes[each].append(planned.change.address)
    return [(each, causes[each]) for each in sorted(causes, key=lambda a: (_ORDER.index(a.kind), a.address))]


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
    return "Plan: " + ", ".join(f"{counts[action]} {verb}" for action, verb in _VERBS.items()) + "."


# Markdown


def markdown(plan: Plan) -> str:
    """Return the plan as Markdown for a pull request, its SQL folded away."""
    return "\n".join(_markdown_lines(plan)) + "\n"


def _markdown_lines(plan: Plan) -> Iterator[str]:
    yield f"### {_title(plan)}"
    yield ""
    if plan.empty:
        yield "Nothing to do: the store holds what the code declares."
        return
    yield f"**{_counts_line(plan)}** {_steps_line(plan)}"
    definitions = recorded(plan)
    for owner, changes in _by_owner(plan.changes):
        yield from ["", f"#### {owner}", "", "| | what | class | detail |", "|---|---|---|---|"]
        for planned in changes:
            change = planned.change
            summary = _summary(definitions[change.kind, change.address]) if change.action == "create" else ""
            said = summary or "; ".join(_reason_cell(reason) for reason in change.reasons)
            cells = [
                f"`{SYMBOLS[change.action]}`",
                f"{change.kind} `{change.address}`",
                change.change_class,
                _cell(said),
            ]
            yield f"| {' | '.join(cells)} |"
    met = affected(plan)
    if met:
        yield from ["", "#### Downstream", "", "| who | owner | effect |", "|---|---|---|"]
        for each, causes in met:
            yield f"| {each.kind} `{each.address}` | {each.owner} | {_cell(_effect(each, causes))} |"
    if plan.repairs:
        yield from ["", f"**Repairs:** {', '.join(f'`{name}`' for name in plan.repairs)} lost from the store."]
    if plan.adhoc:
        yield from ["", f"**Ad hoc**, kept until code declares them: {', '.join(f'`{name}`' for name in plan.adhoc)}."]
    statements = list(_sql_lines(plan))
    if statements:
        yield from ["", "<details><summary>SQL</summary>", "", "```sql", *statements, "```", "", "</details>"]


def _reason_cell(reason: Reason) -> str:
    if reason.code == "upstream":
        return f"because {reason.after} changes"
    return f"{reason.code}: `{_one_line(reason.before) or 'none'}` → `{_one_line(reason.after) or 'none'}`"


def _one_line(written: str) -> str:
    return " ".join(written.split())


def _cell(said: str) -> str:
    return _one_line(said).replace("|", "\\|")
