"""Follow renames: applied definitions under their new names, their stored tables, and changes that look like a rename."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from featdsl.definitions import fingerprints
from featdsl.definitions.catalog import Catalog
from featdsl.definitions.kinds import (
    Definition,
    FeatureDefinition,
    GroupDefinition,
    Input,
    Member,
    ModelDefinition,
    SetDefinition,
    revised,
)
from featdsl.definitions.notices import Notice
from featdsl.definitions.quality_rules import Expectation, GroupRule, Uniqueness
from featdsl.definitions.snapshot import Snapshot
from featdsl.definitions.table_spec import TableSpec
from featdsl.plan.diff import Change
from featdsl.sql import expressions

Versions = Mapping[tuple[str, str], FeatureDefinition]


@dataclass(frozen=True)
class _Names:
    """The new names of renamed groups, features and sets, by old name."""

    groups: Mapping[str, str]
    features: Mapping[str, str]
    sets: Mapping[str, str]

    def feature(self, address: str) -> str:
        """Return the new address of a feature; a removed feature of a renamed group moves with the group."""
        group, _, name = address.partition(".")
        return self.features.get(address) or f"{self.groups.get(group, group)}.{name}"

    def set(self, address: str) -> str:
        """Return the new address of a set version."""
        name, _, version = address.partition("@")
        return f"{self.sets.get(name, name)}@{version}"


def follow(snapshot: Snapshot, catalog: Catalog, project: str) -> Snapshot:
    """Return the snapshot with the definitions that the catalogue renames under their new names.

    Feature values stay in the columns that they were stored in. Versions that other projects refer to by an old name also
    stay under that name, with the new name as `successor`.
    """
    names = _renamed(snapshot.catalog, catalog, project)
    if not (names.groups or names.features or names.sets):
        return snapshot
    moved = [_moved(each, names) if each.project == project else each for each in _other_than_features(snapshot)]
    own = [_moved(each, names) if each.project == project else each for each in snapshot.versions.values()]
    versions = {(each.address, each.fingerprint): each for each in own if isinstance(each, FeatureDefinition)}
    groups = [each for each in moved if isinstance(each, GroupDefinition)]
    current = [versions[member.feature, member.fingerprint] for group in groups for member in group.members]
    succeeded = {key: _succeeded(each, names) for key, each in snapshot.versions.items() if each.project == project}
    old = {key: each for key, each in succeeded.items() if each is not snapshot.versions[key]}
    return replace(snapshot, catalog=Catalog.of([*moved, *current]), versions={**snapshot.versions, **versions, **old})


def _succeeded(feature: FeatureDefinition, names: _Names) -> FeatureDefinition:
    """Return a feature version under its old name, with the feature's new name as `successor`."""
    now = names.feature(feature.successor or feature.address)
    return feature if now == feature.address else replace(feature, successor=now)


def by_present_names(catalog: Catalog, versions: Versions) -> tuple[Catalog, Versions]:
    """Return other projects' definitions with references to renamed features under their present names, and all versions.

    Their code still reads the old names, but impact and pins follow the feature itself.
    """
    present = {key: each.successor for key, each in versions.items() if each.successor}
    if not present:
        return catalog, versions
    features = {name: _with_present(each, present) for name, each in catalog.features.items()}
    sets = {name: replace(each, members=_present_members(each, present)) for name, each in catalog.sets.items()}
    known = {(name, key[1]): versions[key] for key, name in present.items()}
    return replace(catalog, features=features, sets=sets), {**known, **versions}


def _present_members(feature_set: SetDefinition, present: Mapping[tuple[str, str], str]) -> tuple[Member, ...]:
    return tuple(
        replace(each, feature=present.get((each.feature, each.fingerprint), each.feature))
        for each in feature_set.members
    )


def _with_present(feature: FeatureDefinition, present: Mapping[tuple[str, str], str]) -> FeatureDefinition:
    if not any(key in present for key in feature.upstream):
        return feature

    inputs = tuple(_called_otherwise(item, lambda *key: present.get(key, key[0])) for item in feature.inputs)
    return revised(feature, inputs=inputs)


def _other_than_features(snapshot: Snapshot) -> Iterator[Definition]:
    yield from (each for each in snapshot.catalog if each.kind != "feature")


def _renamed(applied: Catalog, declared: Catalog, project: str) -> _Names:
    groups = {
        each.renamed_from: each.name
        for each in declared.groups.values()
        if _moves(each.renamed_from, each.name, applied.groups, declared.groups, project)
    }
    before = {new: old for old, new in groups.items()}
    features = {}
    for each in declared.features.values():
        old = f"{before.get(each.group, each.group)}.{each.renamed_from or each.name}"
        if _moves(old, each.address, applied.features, declared.features, project):
            features[old] = each.address
    sets = {}
    for each_set in declared.sets.values():
        old, new = f"{each_set.renamed_from}@{each_set.version}", each_set.address
        if each_set.renamed_from and _moves(old, new, applied.sets, declared.sets, project):
            sets[each_set.renamed_from] = each_set.name
    return _Names(groups, features, sets)


def _moves(
    old: str, new: str, applied: Mapping[str, Definition], declared: Mapping[str, Definition], project: str
) -> bool:
    return old != new and old in applied and applied[old].project == project and not (new in applied or old in declared)


def _moved(definition: Definition, names: _Names) -> Definition:
    match definition:
        case FeatureDefinition():
            return _moved_feature(definition, names)
        case GroupDefinition():
            members = tuple(_moved_group_member(each, names) for each in definition.members)
            rules = tuple(_moved_columns(each, definition.name, names) for each in definition.rules)
            name = names.groups.get(definition.name, definition.name)
            return replace(definition, name=name, members=members, rules=rules)
        case SetDefinition():
            members = tuple(_moved_set_member(each, names) for each in definition.members)
            return replace(definition, name=names.sets.get(definition.name, definition.name), members=members)
        case ModelDefinition():
            return replace(definition, features=names.set(definition.features))
        case _:
            return definition


def _moved_feature(feature: FeatureDefinition, names: _Names) -> FeatureDefinition:
    group, _, name = names.feature(feature.address).partition(".")
    return replace(
        feature,
        name=name,
        group=group,
        stored="" if feature.column == name else feature.column,
        expect=tuple(_moved_condition(each, feature.name, name) for each in feature.expect)
        if name != feature.name
        else feature.expect,
        inputs=tuple(_called_otherwise(each, lambda address, _: names.feature(address)) for each in feature.inputs),
    )


def _moved_condition(rule: Expectation, old: str, new: str) -> Expectation:
    return replace(rule, condition=expressions.renamed(rule.condition, old, new))


def _moved_columns(rule: GroupRule, group: str, names: _Names) -> GroupRule:
    if not isinstance(rule, Uniqueness):
        return rule
    columns = (names.feature(f"{group}.{column}").partition(".")[2] for column in rule.columns)
    return replace(rule, columns=tuple(columns))


def _called_otherwise(item: Input, called: Callable[[str, str], str]) -> Input:
    """Return an input with renamed features; `called` returns a new name by address and fingerprint."""
    keys = tuple(
        replace(role, feature=called(role.feature, role.fingerprint)) if role.feature else role for role in item.keys
    )
    return replace(item, feature=called(item.feature, item.fingerprint), keys=keys)


def _moved_group_member(member: Member, names: _Names) -> Member:
    """Return a member of a group under its feature's new name, and in a column of that name."""
    address = names.feature(member.feature)
    return replace(member, feature=address, column=address.partition(".")[2])


def _moved_set_member(member: Member, names: _Names) -> Member:
    """Return a member of a set under its feature's new name, in the same column."""
    address = names.feature(member.feature)
    was, now = member.feature.partition(".")[2], address.partition(".")[2]
    return replace(member, feature=address, renamed=member.renamed or (member.column == was != now))


# Stored tables


def in_place(snapshot: Snapshot, catalog: Catalog) -> dict[str, FeatureDefinition]:
    """Return, by address, the features that are stored in a table or a column of another name.

    A stored table is reused if it has exactly the features that the group declares, in the layout that it would have now.
    """
    found: dict[str, FeatureDefinition] = {}
    for group in catalog.groups.keys() & snapshot.catalog.groups.keys():
        stored = snapshot.catalog.tables_of(group)
        for table, features in catalog.tables_of(group).items():
            if table in snapshot.tables:
                continue
            for name, there in stored.items():
                if name in snapshot.tables and _same(features, there, table, name):
                    columns = {each.address: each.column for each in there}
                    found |= {each.address: _placed(each, name, columns[each.address]) for each in features}
    return found


def _placed(feature: FeatureDefinition, table: str, column: str) -> FeatureDefinition:
    return replace(feature, table=table, stored="" if column == feature.name else column)


def _same(features: list[FeatureDefinition], there: list[FeatureDefinition], wanted: str, name: str) -> bool:
    if {(each.address, each.fingerprint) for each in features} != {(e.address, e.fingerprint) for e in there}:
        return False
    spec = TableSpec.of(features)
    if spec.rows == "events":
        return _hash(wanted) == _hash(name)
    members = [Member(column=each.column, feature="", fingerprint=each.fingerprint) for each in there]
    found = fingerprints.table(members, keys=spec.keys, timed=spec.timed, moments=spec.moments)
    return found[:8] == _hash(name)


def _hash(table: str) -> str:
    return table.rpartition("_")[2]


# Probable renames


def probable(changes: Iterable[Change], before: Catalog, after: Catalog) -> Iterator[Notice]:
    """Yield a notice for each removed definition that equals a new one: an undeclared rename, probably."""
    listed = list(changes)
    gone = {kind: [c.address for c in listed if (c.kind, c.action) == (kind, "remove")] for kind in _CONTENTS}
    new = {kind: [c.address for c in listed if (c.kind, c.action) == (kind, "create")] for kind in _CONTENTS}
    reported: set[str] = set()
    for kind, contents in _CONTENTS.items():
        was = {contents(before, name): name for name in gone[kind]}
        for name in new[kind]:
            old = was.get(contents(after, name))
            if old and name.partition(".")[0] not in reported:
                reported.add(name)
                yield _notice(kind, old, name)


def _notice(kind: str, old: str, new: str) -> Notice:
    renamed_from = old.partition(".")[2] if kind == "feature" else old.partition("@")[0]
    what = f"The new {kind} {new} equals {old}, which this plan removes."
    return Notice(
        code="probable rename",
        address=new,
        what=what,
        fix=f'If it is a rename, declare renamed_from="{renamed_from}" to keep its history, pins and old name.',
    )


def _of_group(catalog: Catalog, name: str) -> object:
    return frozenset((each.name, each.fingerprint) for each in catalog.members_of(name))


def _of_feature(catalog: Catalog, name: str) -> object:
    return catalog.features[name].fingerprint


def _of_set(catalog: Catalog, name: str) -> object:
    feature_set = catalog.sets[name]
    return feature_set.version, frozenset((each.column, each.fingerprint) for each in feature_set.members)


_CONTENTS = {"group": _of_group, "feature": _of_feature, "set": _of_set}
