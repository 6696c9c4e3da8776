"""What both renderings of a plan say: its order, its counts, what a thing is and who is touched."""

from __future__ import annotations

import difflib
import inspect
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence

from featdsl.definitions import (
    KINDS,
    Definition,
    EntityDefinition,
    FeatureDefinition,
    GroupDefinition,
    ModelDefinition,
    SetDefinition,
    SourceDefinition,
    address,
)
from featdsl.diff import Action, Change, Reason
from featdsl.plan import Affected, BuildTable, CheckRows, DropView, OpenSource, Plan, PlannedChange, PutView, Record

_VERBS: dict[Action, str] = {
    "create": "to create",
    "change": "to change",
    "recompute": "to recompute",
    "remove": "to remove",
}
NOTHING = "Nothing to do: the store holds what the code declares."
LONG = frozenset({"sql", "description", "function"})
"""Reasons whose two sides are shown line by line."""


def title(plan: Plan) -> str:
    """Return what the plan is of, and against which state of the store."""
    state = f"state {plan.base.serial} of its store" if plan.base.serial else "an empty store"
    return f"Plan for {plan.project}, against {state}"


def by_owner(changes: Iterable[PlannedChange]) -> Iterator[tuple[str, list[PlannedChange]]]:
    """Yield the changes of each team, in the order for reading."""
    owners: dict[str, list[PlannedChange]] = defaultdict(list)
    for planned in changes:
        owners[planned.change.owner].append(planned)
    for owner in sorted(owners):
        yield owner, sorted(owners[owner], key=_place)


def _place(planned: PlannedChange) -> tuple[int, str, bool]:
    """Order changes for reading: each group is followed by its features."""
    change = planned.change
    kind = "group" if change.kind == "feature" else change.kind
    return KINDS.index(kind), group_of(change) or change.address, change.kind == "feature"


def group_of(change: Change) -> str:
    """Return the group that a change of a group or of a feature belongs to."""
    return change.address.partition(".")[0] if change.kind in {"feature", "group"} else ""


def summary(definition: Definition) -> str:
    """Return what someone new to a thing wants to know first."""
    first_line = definition.description.partition("\n")[0]
    match definition:
        case EntityDefinition():
            return ", ".join(f"{key.name} {key.dtype}" for key in definition.keys)
        case SourceDefinition():
            return _whence(definition) + (f", known from {definition.available_at}" if definition.available_at else "")
        case GroupDefinition():
            return first_line or (f"of each {definition.entity}" if definition.entity else "one value for everyone")
        case FeatureDefinition():
            over = f"over {definition.window}" if definition.window else ""
            asked = ", ".join(f"{column.name} {column.dtype}" for column in definition.request)
            said = ": ".join(part for part in (over, first_line) if part)  # the ends first, for a line may be cut
            return f"From the call's {asked}. {said}".rstrip() if asked else said
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
        case "python":
            over = f" over {', '.join(source.inputs)}" if source.inputs else ""
            return f"Python {source.function.qualname if source.function else ''}{over}"
        case _:
            return ", ".join(source.location)


def reason_line(reason: Reason) -> str:
    """Return a reason whose two sides are short."""
    if reason.code == "upstream":
        return f"because {reason.after} changes"
    if reason.before and reason.after:
        return f"{reason.code}: {reason.before} → {reason.after}"
    return f"{reason.code}: {f'+ {reason.after}' if reason.after else f'- {reason.before}'}"


def line_changes(reason: Reason) -> Iterator[tuple[str, str]]:
    """Yield the lines of a text that changes, with `-`, `+` or a space for the lines around those."""
    is_python = reason.code == "function"  # where leading spaces mean something, and empty lines nothing
    clean = str if is_python else inspect.cleandoc
    before, after = (clean(side).splitlines() for side in (reason.before, reason.after))
    for line in list(difflib.unified_diff(before, after, n=1, lineterm=""))[2:]:
        if line.startswith("@@") or (is_python and not line[1:]):
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
    return KINDS.index(each.kind), each.address


def kept(each: Affected, causes: Sequence[str]) -> str:
    """Return how something applied stays what it is."""
    return f"{'trains on' if each.kind == 'model' else 'keeps'} the old {_some(causes, 3)}"


def _some(names: Sequence[str], most: int) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def affected(plan: Plan) -> list[tuple[Affected, list[str]]]:
    """Return who keeps what it was applied with, and of which changed features: sets, models, and other projects.

    What is new or moves stands among the changes itself.
    """
    causes: dict[Affected, list[str]] = defaultdict(list)
    for planned in plan.changes:
        change = planned.change
        if change.kind == "feature" and change.change_class != "metadata":
            for each in planned.downstream:
                if each.effect == "keeps":
                    causes[each].append(change.address)
    return [(each, causes[each]) for each in sorted(causes, key=_reading_order)]


def recorded(plan: Plan) -> dict[tuple[str, str], Definition]:
    """Return the definitions that the plan records, by kind and address."""
    steps = (step for step in plan.steps if isinstance(step, Record))
    return {(step.definition.kind, address(step.definition)): step.definition for step in steps}


def sql_lines(plan: Plan) -> Iterator[str]:
    """Yield the SQL of every query, table and view, under its name and with its Jinja filled."""
    for step in plan.steps:
        if isinstance(step, OpenSource) and step.source.sql:
            yield f"-- source {step.source.name}"
            yield from step.source.sql.splitlines()
            yield ""
        elif isinstance(step, OpenSource) and step.source.function:
            yield from [f"-- source {step.source.name} is {step.source.function.name}", ""]
        elif isinstance(step, BuildTable | PutView):
            yield f"-- {f'table {step.table}' if isinstance(step, BuildTable) else f'view prod.{step.name}'}"
            for use in step.functions if isinstance(step, BuildTable) else ():
                yield f"-- {use.name} is {use.function.name}"
            yield from step.sql.splitlines()
            yield ""


def steps_line(plan: Plan) -> str:
    """Return how much there is to build, to check and to publish."""
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


def counts_line(plan: Plan) -> str:
    """Return how many things are created, changed, recomputed, removed and repaired."""
    counts = Counter(planned.change.action for planned in plan.changes)
    said = [f"{counts[action]} {verb}" for action, verb in _VERBS.items() if counts[action]]
    said += [f"{len(plan.repairs)} to repair"] if plan.repairs else []
    return f"Plan: {', '.join(said) or 'nothing that a reader sees'}."
