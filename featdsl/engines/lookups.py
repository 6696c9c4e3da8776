"""The lookups of a read, as plain data without SQL."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from featdsl.definitions.kinds import FeatureDefinition

ROW = "#row"
"""The column of a spine with the number of each row."""

Versions = Mapping[tuple[str, str], FeatureDefinition]
"""Every known feature by address and fingerprint."""
Roles = tuple[tuple[str, "str | Read"], ...]
"""Each key of an entity with the spine column or the feature that is its value, sorted."""
Key = tuple[str, Roles]
"""A lookup: a stored table, and the values of its keys."""
Lookups = dict[Key, list[FeatureDefinition]]
"""Stored features by their lookups."""


@dataclass(frozen=True)
class Read:
    """A feature at one fingerprint, looked up by its keys in their roles."""

    feature: str
    fingerprint: str
    roles: Roles

    def __str__(self) -> str:
        return self.feature

    @property
    def by(self) -> Iterator[Read]:
        """The features that give the values of keys."""
        return (target for _, target in self.roles if isinstance(target, Read))

    def identifies(self, keys: Iterable[str]) -> bool:
        """Return whether the rows of its table name the entities with these keys."""
        return sorted(str(target) for _, target in self.roles) == sorted(keys)


@dataclass(frozen=True)
class Want:
    """One feature to read, and the output column for it. `keys` renames keys of its entity to spine columns."""

    column: str
    feature: FeatureDefinition
    keys: tuple[tuple[str, str], ...] = ()

    @property
    def roles(self) -> tuple[tuple[str, str], ...]:
        """The spine column that each entity key is read from."""
        renamed = dict(self.keys)
        return tuple((key.name, renamed.get(key.name, key.name)) for key in self.feature.keys)

    @property
    def read(self) -> Read:
        """The feature, looked up by columns of the spine."""
        return Read(self.feature.address, self.feature.fingerprint, self.roles)


@dataclass(frozen=True)
class Spine:
    """Entity keys and times to read values for.

    `sql` is what may stand after FROM; `columns` come back as they are. `keys` maps each key column to its
    expression in the type of the entity's key, `time` is the expression of the time in UTC, to the microsecond, or None
    where no value depends on time; `time_ns` has its nanoseconds where there are any. `numbered` spines have a column
    `#row`, and come back in its order if they are `ordered`. `few` says that the spine has few of the stored entities.
    `request` maps each column of request-time data to its expression in the declared type.
    """

    sql: str
    columns: Sequence[str]
    keys: Mapping[str, str]
    time: str | None
    time_ns: str | None = None
    numbered: bool = False
    ordered: bool = False
    few: bool = False
    request: Mapping[str, str] = field(default_factory=dict)


def tables_of(features: Iterable[FeatureDefinition], versions: Versions) -> set[str]:
    """Return the stored tables that contain the values of `features` or of their inputs."""
    reads = _all_stored([Want("", feature) for feature in features], versions)
    return {versions[read.feature, read.fingerprint].table for read in reads}


def lookups_of(wants: Sequence[Want], versions: Versions) -> Lookups:
    """Return the stored features to look up, in an order in which their keys are known."""
    return {key: features for lookups in rounds_of(wants, versions) for key, features in lookups.items()}


def reads(feature: FeatureDefinition, versions: Versions) -> Iterator[Read]:
    """Yield the features that a derived feature reads directly: its inputs, and the features that are their keys."""
    for read in inputs_of(feature, Want("", feature).roles, versions):
        yield read
        yield from read.by


def inputs_of(feature: FeatureDefinition, roles: Roles, versions: Versions) -> Iterator[Read]:
    """Yield the inputs of a feature that is looked up in these roles."""
    own = dict(roles)
    for item in feature.inputs:
        targets: dict[str, str | Read] = {}
        for role in item.keys:
            keys = versions[role.feature, role.fingerprint].keys if role.feature else ()
            by_own = tuple((key.name, own[key.name]) for key in keys)
            targets[role.key] = Read(role.feature, role.fingerprint, by_own) if role.feature else own[role.column]
        keys = versions[item.feature, item.fingerprint].keys
        roles_of_input = tuple((key.name, targets.get(key.name) or own[key.name]) for key in keys)
        yield Read(item.feature, item.fingerprint, roles_of_input)


def stored_inputs(outputs: Iterable[Read], versions: Versions) -> list[Read]:
    """Return the stored features that the expressions of outputs read, each once; those that only give keys are not."""
    return _stored(outputs, versions, lambda feature, read: inputs_of(feature, read.roles, versions))


def _all_stored(wants: Iterable[Want], versions: Versions) -> list[Read]:
    """Return the stored features that values need, each once, also those that give keys."""
    return _stored(
        (want.read for want in wants),
        versions,
        lambda feature, read: (*inputs_of(feature, read.roles, versions), *read.by),
    )


def own_rows(want: Want, versions: Versions) -> list[Read]:
    """Return the stored features that a value needs whose keys are columns of the spine, also those that give keys."""
    return [read for read in _all_stored([want], versions) if not any(read.by)]


def _stored(
    first: Iterable[Read], versions: Versions, following: Callable[[FeatureDefinition, Read], Iterable[Read]]
) -> list[Read]:
    """Return the stored features among the first ones and all that follow from them, in depth-first order."""
    seen: dict[Read, None] = {}
    pending = list(first)[::-1]
    while pending:
        read = pending.pop()
        if read not in seen:
            seen[read] = None
            pending += list(following(versions[read.feature, read.fingerprint], read))[::-1]
    return [read for read in seen if not versions[read.feature, read.fingerprint].computed]


def rounds_of(wants: Iterable[Want], versions: Versions) -> list[Lookups]:
    """Return the rounds of lookups, each by table and roles: keys are columns of the spine, or values of earlier rounds."""
    depths: dict[Read, int] = {}
    rounds: dict[int, Lookups] = {}
    for read in _all_stored(wants, versions):
        feature = versions[read.feature, read.fingerprint]
        lookups = rounds.setdefault(_depth(read, versions, depths), {})
        lookups.setdefault((feature.table, read.roles), []).append(feature)
    return [rounds[depth] for depth in sorted(rounds)]


def _depth(read: Read, versions: Versions, known: dict[Read, int]) -> int:
    """Return the round of a lookup; a derived feature has the round of its last input."""
    if read not in known:
        inputs = inputs_of(versions[read.feature, read.fingerprint], read.roles, versions)
        depths = [_depth(each, versions, known) for each in inputs]
        known[read] = max([*depths, *(1 + _depth(each, versions, known) for each in read.by)], default=0)
    return known[read]
