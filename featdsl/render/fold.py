"""Fold similar changes of a long plan: show a few, count the rest."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from featdsl.definitions.catalog import KINDS
from featdsl.plan.diff import SYMBOLS, Change
from featdsl.plan.document import Plan, PlannedChange
from featdsl.render.phrases import LONG, counted, some

_ALIKE, _SHOWN_ALIKE = 6, 3
"""Up to `_ALIKE` similar changes are all shown; of more, the first `_SHOWN_ALIKE`."""
_GROUPS, _A_TEAM = 4, 4
"""The most groups named among changes that are only counted, and how many changes each team gets room for."""


@dataclass(frozen=True)
class Rest:
    """Changes that are counted, not shown one by one."""

    symbol: str
    text: str
    changes: tuple[PlannedChange, ...]


Shown = PlannedChange | Rest


@dataclass(frozen=True)
class FoldedPart:
    """The changes of one team in reading order: each group is followed by its features."""

    owner: str
    count: int
    shown: tuple[Shown, ...]

    @property
    def folded(self) -> bool:
        """Whether some changes are only counted."""
        return any(isinstance(each, Rest) for each in self.shown)


def parts(plan: Plan, most: int) -> tuple[list[FoldedPart], str]:
    """Return the edited definitions by team, about `most` at most, and a text that counts the teams left out.

    Definitions that are only recomputed are not included.
    """
    owners: dict[str, list[PlannedChange]] = defaultdict(list)
    for planned in plan.changes:
        if planned.change.action != "recompute":
            owners[planned.change.owner].append(planned)
    teams = sorted(owners)
    shown = teams[: max(1, most // _A_TEAM)]
    shares = _shares([len(owners[owner]) for owner in shown], most)
    listed = [
        FoldedPart(owner, len(owners[owner]), tuple(_capped(owners[owner], share)))
        for owner, share in zip(shown, shares, strict=True)
    ]
    left = teams[len(shown) :]
    changes = sum(len(owners[owner]) for owner in left)
    return listed, f"and {counted(changes, 'change')} of {counted(len(left), 'more team')}" if left else ""


def _shares(sizes: Sequence[int], most: int) -> list[int]:
    """Return how many changes each team may show: large teams get the room that small ones leave."""
    shares = dict.fromkeys(range(len(sizes)), 0)
    room = most
    for number, index in enumerate(sorted(shares, key=lambda each: sizes[each])):
        shares[index] = min(sizes[index], max(2, room // (len(sizes) - number)))
        room -= shares[index]
    return list(shares.values())


def _capped(changes: Sequence[PlannedChange], most: int) -> Iterator[Shown]:
    listed = list(_folded(sorted(changes, key=_place)))
    if len(listed) <= most:
        yield from listed
        return
    yield from listed[:most]
    left = [change for each in listed[most:] for change in (each.changes if isinstance(each, Rest) else [each])]
    groups = Counter(group_of(each.change) for each in left if group_of(each.change))
    named = [f"{number:,} of group {group}" for group, number in sorted(groups.items())]
    text = f"and {counted(len(left), 'more change')}{f': {some(named, _GROUPS)}' if named else ''}"
    yield Rest(" ", text, tuple(left))


def _folded(changes: Sequence[PlannedChange]) -> Iterator[Shown]:
    """Yield the changes of one team; similar ones are folded at the end of their group."""
    alike: dict[tuple[object, ...], list[PlannedChange]] = defaultdict(list)
    headings = {group_of(each.change) for each in changes if each.change.kind == "feature"}
    for each in changes:
        alike[_likeness(each.change, headings)].append(each)
    pending: list[Rest] = []
    place: object = None
    seen: Counter[tuple[object, ...]] = Counter()
    for each in changes:
        here = _place(each)[:2] if each.change.kind == "feature" else (each.change.kind,)
        if here != place:
            yield from pending
            pending, place = [], here
        likeness = _likeness(each.change, headings)
        seen[likeness] += 1
        number = len(alike[likeness])
        if number <= _ALIKE or seen[likeness] <= _SHOWN_ALIKE:
            yield each
        elif seen[likeness] == number:
            pending.append(_rest(alike[likeness][_SHOWN_ALIKE:]))
    yield from pending


def _rest(changes: Sequence[PlannedChange]) -> Rest:
    change = changes[0].change
    of = f" of group {group_of(change)}" if change.kind == "feature" else ""
    text = f"and {counted(len(changes), f'more {change.kind}')}{of} ({change.change_class})"
    return Rest(SYMBOLS[change.action], text, tuple(changes))


def _likeness(change: Change, headings: AbstractSet[str]) -> tuple[object, ...]:
    """Return what folded changes have in common; a group that heads features in the list is never folded."""
    group = group_of(change) if change.kind == "feature" or group_of(change) in headings else ""
    codes = tuple(reason.code for reason in change.reasons)
    return change.kind, group, change.action, change.change_class, codes


def edits(shown: Sequence[Shown]) -> Iterator[Sequence[Shown]]:
    """Yield the shown changes in runs: neighbouring features with the same edit, such as a family of windows, are one run."""
    run: list[Shown] = []
    for each in shown:
        if run and not _is_one_edit(run[-1], each):
            yield run
            run = []
        run.append(each)
    if run:
        yield run


def _is_one_edit(one: Shown, other: Shown) -> bool:
    if isinstance(one, Rest) or isinstance(other, Rest):
        return False
    was, now = one.change, other.change
    alike = was.kind == now.kind == "feature" and group_of(was) == group_of(now) and was.action == now.action
    return alike and was.reasons == now.reasons and any(each.code in LONG for each in now.reasons)


def _place(planned: PlannedChange) -> tuple[int, str, bool]:
    """Return a sort key for reading order: each group is followed by its features."""
    change = planned.change
    kind = "group" if change.kind == "feature" else change.kind
    return KINDS.index(kind), group_of(change) or change.address, change.kind == "feature"


def group_of(change: Change) -> str:
    """Return the group of a changed feature or group, or an empty text for other kinds."""
    return change.address.partition(".")[0] if change.kind in {"feature", "group"} else ""
