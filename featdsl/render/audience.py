"""Summarize the impact of a plan: its verdict, who is recomputed, who is pinned and who is not affected."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from featdsl.definitions.catalog import KINDS
from featdsl.definitions.readers import Affected
from featdsl.plan.diff import Change
from featdsl.plan.document import BuildTable, Plan, PlannedChange
from featdsl.plan.impact import changes_values
from featdsl.render.phrases import counted, nothing, some

_TEAMS, _CAUSES = 4, 3
"""How many teams a verdict names, and how many causes an effect names."""


# The verdict


def verdict(plan: Plan) -> str:
    """Return one line: whether the plan is blocked, needs approval, touches other teams or is safe, and why."""
    if plan.blocks:
        first, more = plan.blocks[0].what.partition("\n")[0].rstrip("."), len(plan.blocks) - 1
        return f"Blocked: {first}{f', and {more:,} more' if more else ''}."
    if plan.empty:
        return f"{nothing(plan)} But values of old versions are lost." if plan.lost else nothing(plan)
    touched = _touched(plan)
    if plan.unapproved:
        teams = some([_with_count(team, touched) for team in plan.unapproved], _TEAMS)
        return f"Needs approval: {teams}.{_pinned_keep(plan)}"
    owners = sorted({*touched, *(each.team for each in plan.approvals)})
    if owners:
        return f"Touches {some([_with_count(team, touched) for team in owners], _TEAMS)}.{_pinned_keep(plan)}"
    if names := [f'"{each.address}"' for each in plan.notices if each.code == "name"]:
        return f"Touches code that reads {some(names, _TEAMS)} by name."
    return f"Safe: {_why_safe(plan)}."


def _why_safe(plan: Plan) -> str:
    causes = list(_causes(plan)) or [each for each in plan.changes if each.change.action == "recompute"]
    owners = sorted({each.change.owner for each in causes if not reads_columns(each.change)})
    if owners:
        if len(owners) > _TEAMS:
            return "no team is affected by another team's changes"
        return f"nobody outside {_listed(owners)} is affected"
    if causes:
        return "nobody reads the removed or retyped columns"
    if not any(isinstance(step, BuildTable) for step in plan.steps):
        return "nothing is recomputed"
    return "apply only rebuilds what is missing" if plan.repairs and not plan.changes else "nobody's values change"


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _causes(plan: Plan) -> Iterator[PlannedChange]:
    """Yield the changes that may affect others; leave out changes that only follow from another one."""
    yield from (each for each in plan.changes if changes_values(each.change) and each.change.change_class != "upstream")


def _touched(plan: Plan) -> dict[str, str]:
    """Return for each team how many of its definitions change or are removed because of another team's change."""
    effects: dict[str, dict[tuple[str, str], str]] = defaultdict(dict)
    for cause in _causes(plan):
        for each in cause.downstream:
            if reads_columns(cause.change):  # a pin does not protect against changed files
                effects[each.owner][each.kind, each.address] = "reads|read changed columns"
            elif each.owner != cause.change.owner and each.effect in {"changes", "removed"}:
                verb = "changes|change" if each.effect == "changes" else "is|are removed"
                effects[each.owner][each.kind, each.address] = verb
    return {team: _counts((verb, kind) for (kind, _), verb in each.items()) for team, each in effects.items()}


def _counts(effects: Iterable[tuple[str, str]]) -> str:
    """Return counts by verb and kind: `2 features and 1 set change; 1 model is pinned`.

    Each effect is a verb, written for one and for more (`is|are pinned`), and a kind.
    """
    kinds: dict[str, Counter[str]] = defaultdict(Counter)
    for verb, kind in effects:
        kinds[verb][kind] += 1
    clauses = []
    for verb, numbers in kinds.items():
        one, _, many = verb.partition("|")
        rest = many.partition(" ")[2]
        inflected = f"{one} {rest}".rstrip() if sum(numbers.values()) == 1 else many
        clauses.append(f"{_listed([counted(numbers[kind], kind) for kind in KINDS if numbers[kind]])} {inflected}")
    return "; ".join(clauses)


def _with_count(team: str, touched: dict[str, str]) -> str:
    return f"{team} ({touched[team]})" if team in touched else team


def _pinned_keep(plan: Plan) -> str:
    keeps = any(each.effect == "keeps" and not reads_columns(c.change) for c in _causes(plan) for each in c.downstream)
    return " Pinned set versions keep their values." if keeps else ""


def reads_columns(change: Change) -> bool:
    """Return whether the columns of a source's files changed, and not the source's definition."""
    codes = {reason.code for reason in change.reasons if reason.change_class != "metadata"}
    return change.kind == "source" and bool(codes) and codes <= {"column gone", "column type"}


# Impact


@dataclass(frozen=True)
class Effect:
    """One definition that a plan affects, and how."""

    kind: str
    address: str
    symbol: str
    text: str

    @property
    def name(self) -> str:
        """The address, after the kind of anything but a feature."""
        return self.address if self.kind == "feature" else f"{self.kind} {self.address}"


@dataclass(frozen=True)
class Team:
    """The effects of a plan on one team, in reading order."""

    owner: str
    effects: tuple[Effect, ...]

    @property
    def counts(self) -> str:
        """The effects counted by kind: `2 features are recomputed; 1 set and 1 model are pinned`."""
        verbs = {
            "↻": "is|are recomputed",
            "=": "is|are pinned",
            "+": "adopts|adopt",
            "-": "drops|drop features",
            "!": "reads|read changed columns",
        }
        return _counts((verbs[each.symbol], each.kind) for each in self.effects)


def affected(plan: Plan) -> list[Team]:
    """Return, by team, which definitions are recomputed, keep what they pinned, or adopt a change."""
    causes: dict[tuple[str, str, str], _EffectCauses] = defaultdict(_EffectCauses)
    own = {(each.change.kind, each.change.address) for each in plan.changes if each.change.action != "recompute"}
    for planned in plan.changes:
        change = planned.change
        if change.action == "recompute":
            causes[change.owner, change.kind, change.address].recomputed += _upstream(change)
        if not changes_values(change):
            continue
        for each in planned.downstream:
            if each.effect == "removed" or (each.kind in {"feature", "source"} and (each.kind, each.address) in own):
                continue
            row = causes[each.owner, each.kind, each.address]
            if reads_columns(change):
                row.columns.append(_column_of(change))
            elif change.kind == "feature" and (each.kind in {"set", "model"} or each.effect == "keeps"):
                moved = row.dropped if change.action == "remove" else row.adopted
                (row.kept if each.effect == "keeps" else moved).append(change.address)
    teams: dict[str, list[Effect]] = defaultdict(list)
    for (owner, kind, address), row in sorted(causes.items(), key=lambda item: (item[0][0], _order(*item[0][1:]))):
        teams[owner] += [Effect(kind, address, symbol, text) for symbol, text in row.effects(kind)]
    return [Team(owner, tuple(effects)) for owner, effects in teams.items() if effects]


def few(team: Team, most: int) -> tuple[list[Effect], int]:
    """Return at most `most` effects of each kind, and how many are left out."""
    seen: Counter[str] = Counter()
    shown = []
    for each in team.effects:
        seen[each.kind] += 1
        if seen[each.kind] <= most:
            shown.append(each)
    return shown, len(team.effects) - len(shown)


@dataclass
class _EffectCauses:
    """The names of the changes that affect one definition, by effect."""

    recomputed: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    adopted: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    columns: list[str] = field(default_factory=list)

    def effects(self, kind: str) -> Iterator[tuple[str, str]]:
        """Yield each effect as a symbol and a text."""
        if self.columns:
            yield "!", f"reads {some(self.columns, _CAUSES)}"
        if self.recomputed:
            yield "↻", f"recomputed from {some(self.recomputed, _CAUSES)}"
        if self.kept:
            yield "=", f"{'trains on' if kind == 'model' else 'keeps'} the old {some(self.kept, _CAUSES)}"
        if self.adopted:
            yield "+", f"adopts the new {some(self.adopted, _CAUSES)}"
        if self.dropped:
            yield "-", f"drops {some(self.dropped, _CAUSES)}"


def _column_of(change: Change) -> str:
    """Return which column of a source changed; with several the plan does not record who reads which."""
    columns = [reason for reason in change.reasons if reason.change_class != "metadata"]
    if len(columns) > 1:
        return f"changed columns of source {change.address}"
    if columns[0].code == "column gone":
        return f"a removed column of source {change.address}: {columns[0].before}"
    return f"a retyped column of source {change.address}: {columns[0].after}"


def _upstream(change: Change) -> list[str]:
    return [each.after.removeprefix("feature ") for each in change.reasons if each.code == "upstream"]


def _order(kind: str, address: str) -> tuple[int, str]:
    return KINDS.index(kind), address


def not_affected(plan: Plan, most: int) -> str:
    """Return who reads a changed table or source but no changed column: by team, at most `most` names of each."""
    teams: dict[str, list[Affected]] = defaultdict(list)
    for each in plan.untouched:
        teams[each.owner].append(each)
    listed = [f"{some(_names(teams[owner]), most)} ({owner})" for owner in sorted(teams)]
    more = f"; and of {counted(len(listed) - _TEAMS, 'more team')}" if len(listed) > _TEAMS else ""
    return f"{'; '.join(listed[:_TEAMS])}{more}"


def _names(definitions: Iterable[Affected]) -> Sequence[str]:
    """Return the names, sets and models first: they say more than the features that they contain."""
    listed = sorted(definitions, key=lambda each: (each.kind == "feature", _order(each.kind, each.address)))
    return [each.address if each.kind == "feature" else f"{each.kind} {each.address}" for each in listed]
