"""Whom a plan touches: the verdict, and who follows a change, who is pinned and who is not hit."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from featdsl.definitions import KINDS
from featdsl.diff import Change
from featdsl.impact import changes_values
from featdsl.plan import Affected, BuildTable, Plan, PlannedChange
from featdsl.render.phrases import counted, nothing, some

_TEAMS, _CAUSES = 4, 3
"""How many teams a verdict names, and how many causes an effect."""


# The verdict


def verdict(plan: Plan) -> str:
    """Return in one line whether a plan is blocked, needs approval, touches others, or is safe, and why."""
    if plan.blocks:
        first, more = plan.blocks[0].what.partition("\n")[0].rstrip("."), len(plan.blocks) - 1
        return f"Blocked: {first}{f', and {more:,} more' if more else ''}."
    if plan.empty:
        return f"{nothing(plan)} But what older versions hold is lost." if plan.lost else nothing(plan)
    touched = _touched(plan)
    if plan.unapproved:
        said = some([_with_count(team, touched) for team in plan.unapproved], _TEAMS)
        return f"Needs approval: {said}.{_pinned_stay(plan)}"
    teams = sorted({*touched, *(each.team for each in plan.approvals)})
    if teams:
        return f"Touches {some([_with_count(team, touched) for team in teams], _TEAMS)}.{_pinned_stay(plan)}"
    if names := [f'"{each.address}"' for each in plan.notices if each.code == "name"]:
        return f"Touches whoever reads {some(names, _TEAMS)} by that name."
    return f"Safe: {_why_safe(plan)}."


def _why_safe(plan: Plan) -> str:
    causes = list(_causes(plan)) or [each for each in plan.changes if each.change.action == "recompute"]
    own = sorted({each.change.owner for each in causes if not reads_columns(each.change)})
    if own:
        whose = _listed([*own[:-1], f"{own[-1]}'" if own[-1].endswith("s") else f"{own[-1]}'s"])
        return f"nobody's values change but {whose} own" if len(own) <= _TEAMS else "each team changes only its own"
    if causes:
        return "nobody reads the columns that are gone or of another type"
    if not any(isinstance(step, BuildTable) for step in plan.steps):
        return "nothing is recomputed"
    return "what was lost is made again" if plan.repairs and not plan.changes else "nobody's values change"


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _causes(plan: Plan) -> Iterator[PlannedChange]:
    """Yield the changes that others may notice, not those that follow from another."""
    yield from (each for each in plan.changes if changes_values(each.change) and each.change.change_class != "upstream")


def _touched(plan: Plan) -> dict[str, str]:
    """Return what of each team changes or goes because of what another team does, counted."""
    found: dict[str, dict[tuple[str, str], str]] = defaultdict(dict)
    for cause in _causes(plan):
        for each in cause.downstream:
            if reads_columns(cause.change):  # which no pin helps against
                found[each.owner][each.kind, each.address] = "reads|read changed columns"
            elif each.owner != cause.change.owner and each.effect in {"changes", "removed"}:
                verb = "changes|change" if each.effect == "changes" else "goes|go"
                found[each.owner][each.kind, each.address] = verb
    return {team: _counts((verb, kind) for (kind, _), verb in things.items()) for team, things in found.items()}


def _counts(things: Iterable[tuple[str, str]]) -> str:
    """Return how many of each kind do what, each verb given for one and for more: `2 features and 1 set follow`."""
    kinds: dict[str, Counter[str]] = defaultdict(Counter)
    for verb, kind in things:
        kinds[verb][kind] += 1
    said = []
    for verb, numbers in kinds.items():
        one, _, many = verb.partition("|")
        more = many.partition(" ")[2]
        does = f"{one} {more}".rstrip() if sum(numbers.values()) == 1 else many
        said.append(f"{_listed([counted(numbers[kind], kind) for kind in KINDS if numbers[kind]])} {does}")
    return "; ".join(said)


def _with_count(team: str, touched: dict[str, str]) -> str:
    return f"{team} ({touched[team]})" if team in touched else team


def _pinned_stay(plan: Plan) -> str:
    keeps = any(each.effect == "keeps" and not reads_columns(c.change) for c in _causes(plan) for each in c.downstream)
    return " What is pinned keeps its values." if keeps else ""


def reads_columns(change: Change) -> bool:
    """Return whether it is the files of a source that changed, by columns, and not its definition."""
    codes = {reason.code for reason in change.reasons if reason.change_class != "metadata"}
    return change.kind == "source" and bool(codes) and codes <= {"column gone", "column type"}


# Who is affected


@dataclass(frozen=True)
class Met:
    """One thing that a plan touches, and what that means for it."""

    kind: str
    address: str
    symbol: str
    said: str

    @property
    def name(self) -> str:
        """What it is called beside others: a feature by its address alone."""
        return self.address if self.kind == "feature" else f"{self.kind} {self.address}"


@dataclass(frozen=True)
class Team:
    """What of one team a plan touches, in order for reading."""

    owner: str
    met: tuple[Met, ...]

    @property
    def counts(self) -> str:
        """How much follows, is pinned, adopts and reads: `2 features follow; 1 set and 1 model are pinned`."""
        verbs = {
            "↻": "follows|follow",
            "=": "is|are pinned",
            "+": "adopts|adopt",
            "-": "lets|let go",
            "!": "reads|read changed columns",
        }
        return _counts((verbs[each.symbol], each.kind) for each in self.met)


def affected(plan: Plan) -> list[Team]:
    """Return by team who follows a change, keeps what it pinned, or adopts what is new."""
    rows: dict[tuple[str, str, str], _Row] = defaultdict(_Row)
    own = {(each.change.kind, each.change.address) for each in plan.changes if each.change.action != "recompute"}
    for planned in plan.changes:
        change = planned.change
        if change.action == "recompute":
            rows[change.owner, change.kind, change.address].follows += _upstream(change)
        if not changes_values(change):
            continue
        for each in planned.downstream:
            if each.effect == "removed" or (each.kind in {"feature", "source"} and (each.kind, each.address) in own):
                continue
            row = rows[each.owner, each.kind, each.address]
            if reads_columns(change):
                row.reads.append(_column_of(change))
            elif change.kind == "feature" and (each.kind in {"set", "model"} or each.effect == "keeps"):
                moved = row.leaves if change.action == "remove" else row.adopts
                (row.keeps if each.effect == "keeps" else moved).append(change.address)
    teams: dict[str, list[Met]] = defaultdict(list)
    for (owner, kind, address), row in sorted(rows.items(), key=lambda item: (item[0][0], _order(*item[0][1:]))):
        teams[owner] += [Met(kind, address, symbol, said) for symbol, said in row.told(kind)]
    return [Team(owner, tuple(met)) for owner, met in teams.items() if met]


def few(team: Team, most: int) -> tuple[list[Met], int]:
    """Return what of a team is shown, at most so many of each kind, and how many are left."""
    seen: Counter[str] = Counter()
    shown = []
    for each in team.met:
        seen[each.kind] += 1
        if seen[each.kind] <= most:
            shown.append(each)
    return shown, len(team.met) - len(shown)


@dataclass
class _Row:
    """Why one thing is touched, by the names of the causes."""

    follows: list[str] = field(default_factory=list)
    keeps: list[str] = field(default_factory=list)
    adopts: list[str] = field(default_factory=list)
    leaves: list[str] = field(default_factory=list)
    reads: list[str] = field(default_factory=list)

    def told(self, kind: str) -> Iterator[tuple[str, str]]:
        if self.reads:
            yield "!", f"reads {some(self.reads, _CAUSES)}"
        if self.follows:
            yield "↻", f"follows {some(self.follows, _CAUSES)}"
        if self.keeps:
            yield "=", f"{'trains on' if kind == 'model' else 'keeps'} the old {some(self.keeps, _CAUSES)}"
        if self.adopts:
            yield "+", f"adopts the new {some(self.adopts, _CAUSES)}"
        if self.leaves:
            yield "-", f"lets go of {some(self.leaves, _CAUSES)}"


def _column_of(change: Change) -> str:
    """Return which column of a source is other; of several it is not known here who reads which."""
    columns = [reason for reason in change.reasons if reason.change_class != "metadata"]
    if len(columns) > 1:
        return f"changed columns of source {change.address}"
    if columns[0].code == "column gone":
        return f"a column of source {change.address} that is gone: {columns[0].before}"
    return f"a column of source {change.address} that is now {columns[0].after}"


def _upstream(change: Change) -> list[str]:
    return [each.after.removeprefix("feature ") for each in change.reasons if each.code == "upstream"]


def _order(kind: str, address: str) -> tuple[int, str]:
    return KINDS.index(kind), address


def not_hit(plan: Plan, most: int) -> str:
    """Return who reads something near a change and none of what changes: by team, `most` names of each."""
    teams: dict[str, list[Affected]] = defaultdict(list)
    for each in plan.untouched:
        teams[each.owner].append(each)
    told = [f"{some(_names(teams[owner]), most)} ({owner})" for owner in sorted(teams)]
    more = f"; and of {counted(len(told) - _TEAMS, 'more team')}" if len(told) > _TEAMS else ""
    return f"{'; '.join(told[:_TEAMS])}{more}"


def _names(things: Iterable[Affected]) -> Sequence[str]:
    """Return the names of sets and models first: they tell more than the features that they are made of."""
    listed = sorted(things, key=lambda each: (each.kind == "feature", _order(each.kind, each.address)))
    return [each.address if each.kind == "feature" else f"{each.kind} {each.address}" for each in listed]
