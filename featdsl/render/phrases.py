"""Phrases that the text and the Markdown of a plan share: title, counts, summaries, estimates, kept versions, checks."""

from __future__ import annotations

import difflib
import inspect
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from featdsl.definitions.dialects import STORE, TITLES, Dialect
from featdsl.definitions.kinds import (
    Definition,
    EntityDefinition,
    FeatureDefinition,
    GroupDefinition,
    ModelDefinition,
    PolicyDefinition,
    SetDefinition,
    address,
)
from featdsl.definitions.snapshot import PROD
from featdsl.definitions.sources import SourceDefinition
from featdsl.plan.diff import SIGNS, Action, Change, MemberChange, Reason
from featdsl.plan.document import BuildTable, CheckRows, DropView, Estimate, Kept, OpenSource, Plan, PutView, Record
from featdsl.render.sizes import rows, size, together

_VERBS: dict[Action, str] = {
    "create": "to create",
    "change": "to change",
    "recompute": "to recompute",
    "remove": "to remove",
}
LONG = frozenset({"sql", "description", "function"})
"""Codes of reasons that are shown as a diff."""
WHOLE = "featdsl plan --format json"
"""The command that shows the whole plan."""
_NAMES = 6
"""The most names in a list; the rest are counted."""
_BASES = {"last build": "the last build", "inputs": "its inputs", "source": "its source"}
"""The bases of estimates, as the end of a clause."""


def title(plan: Plan) -> str:
    """Return the title of a plan: its project, its environment and the state it was made against."""
    state = f"state {plan.base.serial} of its store" if plan.base.serial else "an empty store"
    environment = f" in the environment {plan.environment}" if plan.environment != PROD else ""
    name = "Plan" if plan.back_to is None else f"Rollback plan to state {plan.back_to}"
    return f"{name} for {plan.project}{environment}, against {state}"


def nothing(plan: Plan) -> str:
    """Return the message of an empty plan."""
    target = "the code" if plan.back_to is None else f"state {plan.back_to}"
    return f"Nothing to do: the store matches {target}."


def summary(definition: Definition) -> str:  # noqa: PLR0911 - one a kind
    """Return one line that describes a new definition."""
    first_line = definition.description.partition("\n")[0]
    match definition:
        case EntityDefinition():
            return ", ".join(f"{key.name} {key.dtype}" for key in definition.keys)
        case SourceDefinition():
            return _whence(definition) + (f", known from {definition.available_at}" if definition.available_at else "")
        case GroupDefinition():
            return first_line or (f"one value per {definition.entity}" if definition.entity else "one global value")
        case FeatureDefinition():
            over = f"over {definition.window}" if definition.window else ""
            over = "up to the requested time" if definition.as_of else over
            request = ", ".join(f"{column.name} {column.dtype}" for column in definition.request)
            text = ": ".join(part for part in (over, first_line) if part)  # the window first: a long line is cut
            return f"Request data: {request}. {text}".rstrip() if request else text
        case SetDefinition():
            columns = ", ".join(member.column for member in definition.members)
            return f"{counted(len(definition.members), 'feature')}: {columns}"
        case ModelDefinition():
            return f"trains on {definition.features}"
        case PolicyDefinition():
            return "apply requires the approval of every affected team"


def _whence(source: SourceDefinition) -> str:
    match source.format:
        case "push":
            return "pushed events"
        case "frame":
            return "rows in memory"
        case "sql":
            return f"SQL over {', '.join(source.inputs)}" if source.inputs else "SQL without inputs"
        case "python":
            over = f" over {', '.join(source.inputs)}" if source.inputs else ""
            return f"Python {source.function.qualname if source.function else ''}{over}"
        case _:
            return ", ".join(source.location)


def reason_line(reason: Reason) -> str:
    """Return a reason in one line."""
    if reason.code == "upstream":
        return f"because {reason.after} changes"
    if reason.code == "renamed from":
        return f"renamed from {reason.after}" if reason.after else f"drops the former name {reason.before}"
    if reason.before and reason.after:
        return f"{reason.code}: {reason.before} → {reason.after}"
    return f"{reason.code}: {f'+ {reason.after}' if reason.after else f'- {reason.before}'}"


def members_line(since: str, members: Sequence[MemberChange]) -> str:
    """Return how many features of a set version differ from an earlier one: `compared with credit_risk@1: 1 added`."""
    counts = [(how, sum(each.how == how for each in members)) for how in SIGNS]
    differences = ", ".join(f"{count} {how}" for how, count in counts if count)
    return f"compared with {since}: {differences or 'the same features'}"


def members_shown(plan: Plan, change: Change) -> Sequence[MemberChange]:
    """Return the features to list below a change; none for a model if the plan lists the same ones below its set."""
    sets = (each.change for each in plan.changes if each.change.kind == "set" and change.kind == "model")
    alike = any((each.since, each.members) == (change.since, change.members) for each in sets)
    return () if alike else change.members


def member_line(member: MemberChange) -> str:
    """Return a feature that differs between two set versions, with its address if its column does not identify it."""
    address = "" if member.feature.rpartition(".")[2] == member.column and member.how == "removed" else member.feature
    return f"{SIGNS[member.how]} {member.column}{f'  {address}' if address else ''}"


def some(names: Sequence[str], most: int) -> str:
    """Return at most `most` names, and how many more there are: `a, b and 3 more`."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def line_changes(reason: Reason) -> Iterator[tuple[str, str]]:
    """Yield the lines of a diff, each with `-`, `+` or, for context, a space."""
    is_python = reason.code == "function"  # in Python indentation matters and empty lines do not
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
    """Yield the rendered SQL of every source query, table and view, each with its name as a comment."""
    for step in plan.steps:
        if isinstance(step, OpenSource) and step.source.sql:
            yield f"-- source {step.source.name}", step.source.sql.splitlines()
        elif isinstance(step, OpenSource) and step.source.function:
            yield f"-- source {step.source.name} is {step.source.function.name}", []
        elif isinstance(step, BuildTable):
            yield (
                f"-- table {step.table}{'' if step.dialect == STORE else f', on {TITLES[step.dialect]}'}",
                [
                    *(f"-- {use.name} is {use.function.name}" for use in step.functions),
                    *step.sql.splitlines(),
                ],
            )
        elif isinstance(step, PutView):
            yield f"-- view {plan.environment}.{step.name}", step.sql.splitlines()


def steps_line(plan: Plan) -> str:
    """Return how many tables are built, checks run, and views published and dropped."""
    kinds = Counter(type(step) for step in plan.steps)
    built = [step.group for step in plan.steps if isinstance(step, BuildTable)]
    parts = [counted(len(built), "table") + " to build" if built else ""]
    parts += [counted(kinds[CheckRows], "check") + " to run" if kinds[CheckRows] else ""]
    parts += [counted(kinds[PutView], "view") + " to publish" if kinds[PutView] else ""]
    parts += [counted(kinds[DropView], "view") + " to drop" if kinds[DropView] else ""]
    steps = ", ".join(part for part in parts if part)
    return f"Steps: {steps or 'only the registry is updated'}."


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: `2 tables`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def counts_line(plan: Plan) -> str:
    """Return how many definitions are created, changed, recomputed and removed, and how many objects are repaired."""
    counts = Counter(planned.change.action for planned in plan.changes)
    parts = [f"{counts[action]:,} {verb}" for action, verb in _VERBS.items() if counts[action]]
    parts += [f"{len(plan.repairs)} to repair"] if plan.repairs else []
    return f"Plan: {', '.join(parts) or 'no visible changes'}."


# Blocks, approvals and notices


class Line(NamedTuple):
    """A line of two columns; `is_thing` marks a name of the project, which Markdown shows as code."""

    name: str
    text: str
    is_thing: bool = False


def block_lines(plan: Plan) -> Iterator[tuple[str, str]]:
    """Yield why the plan cannot be applied, each reason with its fix."""
    yield from ((each.what, each.fix) for each in plan.blocks)


def approval_lines(plan: Plan) -> Iterator[Line]:
    """Yield the teams that must approve, each with its affected definitions."""
    if plan.unapproved:
        yield from (Line(each.team, some(each.because, _NAMES)) for each in plan.approvals)


def notice_lines(plan: Plan) -> Iterator[tuple[str, str]]:
    """Yield the notices of a plan, each with its fix."""
    yield from ((each.what, each.fix) for each in plan.notices)


# What is built and what is kept


def compute_lines(plan: Plan, most: int) -> Iterator[Line]:
    """Yield the estimates of built groups, at most `most`, totals by engine, first builds and reused groups."""
    builds = [step for step in plan.steps if isinstance(step, BuildTable)]
    by_group: dict[str, list[Estimate]] = defaultdict(list)
    engines = {step.group: step.dialect for step in builds}
    elsewhere = {group: f", on {TITLES[engine]}" for group, engine in engines.items() if engine != STORE}
    for step in builds:
        if step.estimate:
            by_group[step.group].append(step.estimate)
    known = sorted(by_group.items(), key=_largest)
    for group, estimates in known[:most]:
        basis = f"based on {_BASES[estimates[0].basis]}"
        yield Line(group, f"{together(estimates)}{elsewhere.get(group, '')}, {basis}", is_thing=True)
    if len(known) > most:
        yield Line(f"{len(known) - most:,} more", together(_all(known[most:])))
    if len(known) > 2:  # noqa: PLR2004 - a reader adds up two at sight
        yield from _totals(known, engines)
    first = list(dict.fromkeys(step.group for step in builds if step.estimate is None))
    if first:
        yield Line(
            "first build", some([f"{name}{elsewhere.get(name, '').replace(', ', ' ')}" for name in first], _NAMES)
        )
    existing = [each.group for each in plan.reused if each.new]
    if existing:
        yield Line("already built", f"{some(existing, _NAMES)}: nothing to compute")
    same = list(dict.fromkeys(each.group for each in plan.reused if not each.new))
    if same and (builds or existing):
        yield Line("reused", some(same, _NAMES))


def _totals(known: Sequence[tuple[str, list[Estimate]]], engines: Mapping[str, Dialect]) -> Iterator[Line]:
    """Yield the sum of the estimates of groups, for each engine if there are several."""
    used = sorted({engines[group] for group, _ in known})
    for engine in used:
        own = [each for each in known if engines[each[0]] == engine]
        yield Line("total" if len(used) == 1 else f"total on {TITLES[engine]}", together(_all(own)))


def _largest(known: tuple[str, list[Estimate]]) -> tuple[float, int, str]:
    """Return a sort key: the slowest group first, in steps of 10 s, as times are shown."""
    group, estimates = known
    return -(sum(each.seconds for each in estimates) // 10), -sum(each.rows for each in estimates), group


def _all(known: Sequence[tuple[str, list[Estimate]]]) -> Iterator[Estimate]:
    return (estimate for _, estimates in known for estimate in estimates)


def warning_lines(plan: Plan) -> Iterator[str]:
    """Yield warnings for the top of a plan: large shifts of values, and data that cannot be rebuilt."""
    for each in plan.preview:
        yield from (f"{each.feature}: {flag.code}, {flag.reason}" for flag in getattr(each, "flags", ()))
    yield from (f"Data loss: {text}" for text in plan.lost)


def kept_lines(plan: Plan, most: int, whole: str = WHOLE) -> Iterator[Line]:
    """Yield the old versions of changed features that are kept, who uses each, and how much they store."""
    changed = {each.change.address for each in plan.changes if each.change.kind == "feature"}
    of_changed = [each for each in plan.kept if each.feature in changed]
    for each in of_changed[:most]:
        yield Line(each.feature, f"used by {some(_holders(each), _NAMES)}", is_thing=True)
    if len(of_changed) > most:
        yield Line(f"{len(of_changed) - most:,} more", whole)
    tables = {each.table: each for each in of_changed if each.table}
    if tables:
        row_count, byte_count = (sum(getattr(each, part) for each in tables.values()) for part in ("rows", "bytes"))
        stored = size(byte_count) if all(each.bytes for each in tables.values()) else ""
        parts = [counted(len(tables), "table"), rows(row_count), stored]
        yield Line("stored", ", ".join(part for part in parts if part))
    others = len(plan.kept) - len(of_changed)
    if of_changed and others:
        yield Line("other features", counted(others, "more old version"))


def _holders(kept: Kept) -> list[str]:
    """Return who uses an old version; a feature derived from it is an old version too."""
    return [name if "@" in name else f"the old {name}" for name in kept.held_by]


def repair_lines(plan: Plan) -> Iterator[str]:
    """Yield the tables and views that are missing from the store and that apply creates again."""
    yield from (f"{name} is missing from the store; apply recreates it" for name in plan.repairs)


def checks(plan: Plan) -> list[tuple[str, list[str]]]:
    """Return the data quality rules that apply checks, declared ones first, each with the addresses it is checked on."""
    rules: dict[str, list[str]] = defaultdict(list)
    steps = [step for step in plan.steps if isinstance(step, CheckRows)]
    for step in sorted(steps, key=lambda each: (each.kind == "identity", each.rule_text, each.address)):
        rules[step.rule_text].append(step.address)
    return list(rules.items())
