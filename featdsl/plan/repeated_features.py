"""Notice features that a plan adds although another group has them: the reviewer can still use the first."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from featdsl.definitions.catalog import Catalog
from featdsl.definitions.kinds import FeatureDefinition
from featdsl.definitions.notices import Notice
from featdsl.plan.diff import Change
from featdsl.plan.sides import Sides

if TYPE_CHECKING:
    from featdsl.sql.feature_meanings import Meanings

_ONE_BY_ONE = 3
"""The most features of one group that are named one by one beside those of one other group."""
_NAMED = 6
"""The most pairs that one notice lists."""
_MOST = 50
"""The most notices; a plan may copy hundreds of groups."""


@dataclass(frozen=True)
class _Pair:
    """A feature of the plan, and the feature of another group that has the same meaning."""

    feature: FeatureDefinition
    other: FeatureDefinition
    is_new: bool
    """Whether the other feature is new in this plan too."""


def notices(changes: Iterable[Change], sides: Sides) -> Iterator[Notice]:
    """Yield a notice for each feature that a plan creates or changes so that it repeats a feature of another group.

    Names only features that the owner of the feature may use, and leaves out pairs that were alike before.
    """
    wanted = {each.address for each in changes if each.kind == "feature" and _is_other(each, sides)}
    if not wanted:
        return
    from featdsl.sql.feature_meanings import Meanings  # loaded late: most plans change no feature

    several = Meanings(sides.after).of_one_meaning(wanted)
    if several:
        known = _Known(sides, wanted, Meanings(sides.snapshot.catalog))
        pairs = [pair for features in several for pair in known.pairs(features)]
        yield from _limited([*_folded(sorted(pairs, key=lambda pair: pair.feature.address))])


def _is_other(change: Change, sides: Sides) -> bool:
    """Return whether a change gives a feature another meaning, or creates it."""
    now, was = sides.target.features.get(change.address), sides.before.features.get(change.address)
    return now is not None and (was is None or was.fingerprint != now.fingerprint)


@dataclass(frozen=True)
class _Known:
    """What decides which of several features of one meaning is the first: the one that others should use."""

    sides: Sides
    wanted: Collection[str]
    before: Meanings

    def pairs(self, features: Sequence[FeatureDefinition]) -> Iterator[_Pair]:
        """Yield each changed feature with the first of those that its team may use instead."""
        ordered = sorted(features, key=self._place)
        for at, feature in enumerate(ordered):
            if feature.address not in self.wanted or self._after.deprecation_of(feature):
                continue
            other = next((each for each in ordered[:at] if self._is_usable(each, feature)), None)
            if other and not self._were_alike(feature, other):
                yield _Pair(feature, other, other.address not in self.sides.snapshot.catalog.features)

    @property
    def _after(self) -> Catalog:
        return self.sides.after

    def _place(self, feature: FeatureDefinition) -> tuple[bool, bool, int, str]:
        address = feature.address
        is_new = address not in self.sides.snapshot.catalog.features
        return address in self.wanted, is_new, -self._uses.get(address, 0), address

    @cached_property
    def _uses(self) -> dict[str, int]:
        """The number of set versions that contain each feature."""
        uses: dict[str, int] = {}
        for each in self._after.sets.values():
            for member in each.members:
                uses[member.feature] = uses.get(member.feature, 0) + 1
        return uses

    def _is_usable(self, other: FeatureDefinition, feature: FeatureDefinition) -> bool:
        group = self._after.groups.get(other.group)
        is_hidden = group is not None and group.access == "private" and other.owner != feature.owner
        return other.group != feature.group and not is_hidden and not self._after.deprecation_of(other)

    def _were_alike(self, one: FeatureDefinition, other: FeatureDefinition) -> bool:
        applied = self.before.catalog.features
        was = [applied.get(each.address) for each in (one, other)]
        meanings = [self.before.of(each) for each in was if each is not None]
        return len(meanings) == len(was) and len(set(meanings)) == 1


def _folded(pairs: Sequence[_Pair]) -> Iterator[Notice]:
    by_groups: dict[tuple[str, str], list[_Pair]] = {}
    for pair in pairs:
        by_groups.setdefault((pair.feature.group, pair.other.group), []).append(pair)
    for (group, other), several in by_groups.items():
        if len(several) <= _ONE_BY_ONE:
            yield from map(_notice, several)
            continue
        listed = ", ".join(f"{each.feature.name} = {each.other.name}" for each in several[:_NAMED])
        more = f" and {len(several) - _NAMED:,} more" if len(several) > _NAMED else ""
        what = f"{len(several):,} features of {group} look like those of {_owned(other, several[0])}: {listed}{more}"
        yield replace(_notice(several[0]), address=group, what=f"{what}: the same columns and SQL.")


def _notice(pair: _Pair) -> Notice:
    feature, other = pair.feature, pair.other
    what = f"{feature.address} looks like {_owned(other.address, pair)}: {_shared(feature)}."
    fix = "Both are new in this plan: keep one." if pair.is_new else f"Use it instead: featdsl show {other.address}"
    return Notice(code="duplicate", address=feature.address, what=what, fix=fix)


def _owned(name: str, pair: _Pair) -> str:
    return f"{name} ({pair.other.owner})" if pair.other.owner != pair.feature.owner else name


def _shared(feature: FeatureDefinition) -> str:
    if feature.function:
        return "the same columns and function"
    return f"the same {'inputs' if feature.inputs else 'columns'} and SQL"


def _limited(found: Sequence[Notice]) -> Iterator[Notice]:
    yield from found[:_MOST]
    if len(found) > _MOST:
        what = f"{len(found) - _MOST:,} more notices say that features look like those of another group."
        yield Notice(code="duplicate", address="", what=what, fix="See all of them once applied: featdsl report")
