"""What both renderings of a plan say of it: its counts, what a thing is, what is computed, kept and checked."""

from __future__ import annotations

import difflib
import inspect
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from featdsl.definitions import (
    Definition,
    EntityDefinition,
    FeatureDefinition,
    GroupDefinition,
    ModelDefinition,
    PolicyDefinition,
    SetDefinition,
    SourceDefinition,
    address,
)
from featdsl.diff import SIGNS, Action, Change, MemberChange, Reason
from featdsl.plan import BuildTable, CheckRows, DropView, Estimate, Kept, OpenSource, Plan, PutView, Record
from featdsl.render.sizes import rows, size, together
from featdsl.snapshot import PROD

_VERBS: dict[Action, str] = {
    "create": "to create",
    "change": "to change",
    "recompute": "to recompute",
    "remove": "to remove",
}
LONG = frozenset({"sql", "description", "function"})
"""Reasons whose two sides are shown line by line."""
WHOLE = "featdsl plan --format json"
"""The command that shows what is left out."""
_NAMES = 6
"""How many names a list has before the rest is counted."""


def title(plan: Plan) -> str:
    """Return what the plan is of, and against which state of the store."""
    state = f"state {plan.base.serial} of its store" if plan.base.serial else "an empty store"
    beside = f" in the environment {plan.environment}" if plan.environment != PROD else ""
    what = "Plan" if plan.back_to is None else f"Plan back to state {plan.back_to}"
    return f"{what} for {plan.project}{beside}, against {state}"


def nothing(plan: Plan) -> str:
    """Return that there is nothing to do, and why."""
    held = "what the code declares" if plan.back_to is None else f"what it did at state {plan.back_to}"
    return f"Nothing to do: the store holds {held}."


def summary(definition: Definition) -> str:  # noqa: PLR0911 - one a kind
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
            over = "up to the time asked for" if definition.as_of else over
            asked = ", ".join(f"{column.name} {column.dtype}" for column in definition.request)
            said = ": ".join(part for part in (over, first_line) if part)  # the ends first, for a line may be cut
            return f"From the call's {asked}. {said}".rstrip() if asked else said
        case SetDefinition():
            columns = ", ".join(member.column for member in definition.members)
            return f"{counted(len(definition.members), 'feature')}: {columns}"
        case ModelDefinition():
            return f"trains on {definition.features}"
        case PolicyDefinition():
            return "apply needs the approval of every team whose things change or go"


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
    if reason.code == "renamed from":
        return f"renamed from {reason.after}" if reason.after else f"no longer called {reason.before} as well"
    if reason.before and reason.after:
        return f"{reason.code}: {reason.before} → {reason.after}"
    return f"{reason.code}: {f'+ {reason.after}' if reason.after else f'- {reason.before}'}"


def members_line(since: str, members: Sequence[MemberChange]) -> str:
    """Return how many features of a set version are other than in an earlier one."""
    counts = [(how, sum(each.how == how for each in members)) for how in SIGNS]
    said = ", ".join(f"{count} {how}" for how, count in counts if count)
    return f"compared with {since}: {said or 'the same features'}"


def members_shown(plan: Plan, change: Change) -> Sequence[MemberChange]:
    """Return the features that a change shows one by one: none for a model whose set shows the same in this plan."""
    sets = (each.change for each in plan.changes if each.change.kind == "set" and change.kind == "model")
    alike = any((each.since, each.members) == (change.since, change.members) for each in sets)
    return () if alike else change.members


def member_line(member: MemberChange) -> str:
    """Return a feature that differs between two set versions, with its address where that says more."""
    address = "" if member.feature.rpartition(".")[2] == member.column and member.how == "removed" else member.feature
    return f"{SIGNS[member.how]} {member.column}{f'  {address}' if address else ''}"


def some(names: Sequence[str], most: int) -> str:
    """Return the first names, and how many more there are."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def line_changes(reason: Reason) -> Iterator[tuple[str, str]]:
    """Yield the lines of a text that changes, with `-`, `+` or a space for the lines around those."""
    is_python = reason.code == "function"  # where leading spaces mean something, and empty lines nothing
    clean = str if is_python else inspect.cleandoc
    before, after = (clean(side).splitlines() for side in (reason.before, reason.after))
    for line in list(difflib.unified_diff(before, after, n=1, lineterm=""))[2:]:
        if line.startswith("@@") or (is_python and not line[1:]):
            continue
        yield line[0], line[1:]


def recorded(plan: Plan) -> dict[tuple[str, str], Definition]:
    """Return the definitions that the plan records, by kind and address."""
    steps = (step for step in plan.steps if isinstance(step, Record))
    return {(step.definition.kind, address(step.definition)): step.definition for step in steps}


def statements(plan: Plan) -> Iterator[tuple[str, list[str]]]:
    """Yield the SQL of every query, table and view, with its name as a comment, its Jinja filled."""
    for step in plan.steps:
        if isinstance(step, OpenSource) and step.source.sql:
            yield f"-- source {step.source.name}", step.source.sql.splitlines()
        elif isinstance(step, OpenSource) and step.source.function:
            yield f"-- source {step.source.name} is {step.source.function.name}", []
        elif isinstance(step, BuildTable):
            yield (
                f"-- table {step.table}",
                [
                    *(f"-- {use.name} is {use.function.name}" for use in step.functions),
                    *step.sql.splitlines(),
                ],
            )
        elif isinstance(step, PutView):
            yield f"-- view {plan.environment}.{step.name}", step.sql.splitlines()


def steps_line(plan: Plan) -> str:
    """Return how much there is to build, to check and to publish."""
    kinds = Counter(type(step) for step in plan.steps)
    built = [step.group for step in plan.steps if isinstance(step, BuildTable)]
    parts = [counted(len(built), "table") + " to build" if built else ""]
    parts += [counted(kinds[CheckRows], "check") + " to run" if kinds[CheckRows] else ""]
    parts += [counted(kinds[PutView], "view") + " to publish" if kinds[PutView] else ""]
    parts += [counted(kinds[DropView], "view") + " to drop" if kinds[DropView] else ""]
    said = ", ".join(part for part in parts if part)
    return f"Steps: {said or 'only the registry is written'}."


def counted(number: int, noun: str) -> str:
    """Return a number of things: `2 tables`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def counts_line(plan: Plan) -> str:
    """Return how many things are created, changed, recomputed, removed and repaired."""
    counts = Counter(planned.change.action for planned in plan.changes)
    said = [f"{counts[action]:,} {verb}" for action, verb in _VERBS.items() if counts[action]]
    said += [f"{len(plan.repairs)} to repair"] if plan.repairs else []
    return f"Plan: {', '.join(said) or 'nothing that a reader sees'}."


# What a reviewer is told besides


class Line(NamedTuple):
    """A line of two columns: a thing of the project or a few words, and what is said of it."""

    name: str
    said: str
    is_thing: bool = False


def block_lines(plan: Plan) -> Iterator[tuple[str, str]]:
    """Yield why the plan cannot be applied, each with how to go on."""
    yield from ((each.what, each.mend) for each in plan.blocks)


def approval_lines(plan: Plan) -> Iterator[Line]:
    """Yield the teams that must agree, each with what of theirs changes or goes."""
    if plan.unapproved:
        yield from (Line(each.team, some(each.because, _NAMES)) for each in plan.approvals)


def notice_lines(plan: Plan) -> Iterator[tuple[str, str]]:
    """Yield what stops nothing and should be known, each with what to do about it."""
    yield from ((each.what, each.mend) for each in plan.notices)


# What is computed, and what lives on


def compute_lines(plan: Plan, most: int) -> Iterator[Line]:
    """Yield each group whose tables are built with what they may take, at most so many, then what is not built."""
    built = [step for step in plan.steps if isinstance(step, BuildTable)]
    found: dict[str, list[Estimate]] = defaultdict(list)
    for step in built:
        if step.estimate:
            found[step.group].append(step.estimate)
    known = sorted(found.items(), key=_largest)
    for group, estimates in known[:most]:
        by = "by the last build" if any(each.seconds or each.bytes for each in estimates) else "by what its inputs have"
        yield Line(group, f"{together(estimates)}, {by}", is_thing=True)
    if len(known) > most:
        yield Line(f"{len(known) - most:,} more", together(_all(known[most:])))
    if len(known) > 2:  # noqa: PLR2004 - two are added up at sight
        yield Line("together", together(_all(known)))
    first = list(dict.fromkeys(step.group for step in built if step.estimate is None))
    if first:
        yield Line("first build", some(first, _NAMES))
    here = [each.group for each in plan.reused if each.new]
    if here:
        yield Line("built already", f"{some(here, _NAMES)}: nothing to compute")
    same = list(dict.fromkeys(each.group for each in plan.reused if not each.new))
    if same and (built or here):
        yield Line("reused", some(same, _NAMES))


def _largest(known: tuple[str, list[Estimate]]) -> tuple[float, int, str]:
    """Order groups for reading: what takes longest first, as coarse as it is told."""
    group, estimates = known
    return -(sum(each.seconds for each in estimates) // 10), -sum(each.rows for each in estimates), group


def _all(known: Sequence[tuple[str, list[Estimate]]]) -> Iterator[Estimate]:
    return (estimate for _, estimates in known for estimate in estimates)


def warning_lines(plan: Plan) -> Iterator[str]:
    """Yield what a reviewer should see first: values that move far, and what is lost for good."""
    for each in plan.preview:
        yield from (f"{each.feature}: {flag.code}, {flag.reason}" for flag in getattr(each, "flags", ()))
    yield from (f"Lost for good: {said}" for said in plan.lost)


def kept_lines(plan: Plan, most: int, whole: str = WHOLE) -> Iterator[Line]:
    """Yield the old versions of what changes that live on, each with who holds it, and what they take in the store."""
    changed = {each.change.address for each in plan.changes if each.change.kind == "feature"}
    here = [each for each in plan.kept if each.feature in changed]
    for each in here[:most]:
        yield Line(each.feature, f"for {some(_holders(each), _NAMES)}", is_thing=True)
    if len(here) > most:
        yield Line(f"{len(here) - most:,} more", whole)
    tables = {each.table: each for each in here if each.table}
    if tables:
        number, taken = (sum(getattr(each, part) for each in tables.values()) for part in ("rows", "bytes"))
        known = size(taken) if all(each.bytes for each in tables.values()) else ""
        parts = [counted(len(tables), "table"), rows(number), known]
        yield Line("in the store", ", ".join(part for part in parts if part))
    earlier = len(plan.kept) - len(here)
    if here and earlier:
        yield Line("from before", f"{counted(earlier, 'more old version')} of other features")


def _holders(kept: Kept) -> list[str]:
    """Return who holds an old version: what is derived from it is old as well."""
    return [name if "@" in name else f"the old {name}" for name in kept.held_by]


def checks(plan: Plan) -> list[tuple[str, list[str]]]:
    """Return the rules that data must keep, what is declared first, each with what it is checked on."""
    rules: dict[str, list[str]] = defaultdict(list)
    steps = [step for step in plan.steps if isinstance(step, CheckRows)]
    for step in sorted(steps, key=lambda each: (each.kind == "identity", each.told, each.address)):
        rules[step.told].append(step.address)
    return list(rules.items())
