"""Resolve what a derived group reads: its inputs, the keys they are looked up by, and request-time data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from featdsl.catalog.builder import CatalogBuilder, target_of
from featdsl.declarations.feature import Feature, FeatureAlias
from featdsl.declarations.feature_group import GroupDeclaration
from featdsl.declarations.references import Reference
from featdsl.definitions.dtypes import gives
from featdsl.definitions.kinds import FeatureDefinition, Input, Role
from featdsl.definitions.names import AS_OF_TIMESTAMP, did_you_mean
from featdsl.definitions.sources import Column
from featdsl.errors import Origin


def groups_needed(group: GroupDeclaration) -> list[str]:
    """Return the names of the groups that a group is derived from, sorted."""
    return sorted({name for reference in group.references for name in _groups_of(reference)})


def _groups_of(reference: Reference) -> Iterable[str]:
    if isinstance(reference, str):
        return [reference.partition(".")[0]]
    givers = reference.keys.values() if isinstance(reference, FeatureAlias) else ()
    return [each.group.address for each in (target_of(reference), *givers) if isinstance(each, Feature)]


def inputs_of(builder: CatalogBuilder, group: GroupDeclaration) -> tuple[Input, ...]:
    """Return the inputs of a group by column; adds a problem to the builder for each unusable one."""
    address = f"group {group.name}"
    inputs: dict[str, Input] = {}
    for reference in group.references:
        usable = not isinstance(reference, FeatureAlias) or reference.valid
        member = builder.member(address, reference, group.origin) if usable else None
        if member is None:
            builder.broken.add(address)
            continue
        feature = builder.features[member.feature]
        roles = _roles(builder, group, feature, _alias_keys(reference))
        if roles is None:
            continue
        if member.column in inputs:
            what = f"{address} has two inputs named {member.column}."
            fix = f'Rename one: .alias("{feature.group}_{member.column}").'
            builder.refuse(address, "Column used twice", what, group.origin, fix)
        else:
            inputs[member.column] = Input(
                column=member.column, feature=feature.address, fingerprint=feature.fingerprint, keys=roles
            )
    return tuple(inputs[column] for column in sorted(inputs))


def requested(builder: CatalogBuilder, group: GroupDeclaration, inputs: Iterable[Input]) -> tuple[Column, ...]:
    """Return the request-time columns that a group declares, by name."""
    address = f"group {group.name}"
    columns: dict[str, Column] = {}
    names = {item.column: f"the input {item.feature}" for item in inputs}
    for request in group.requests:
        if not request.valid:
            builder.broken.add(address)
            continue
        for name, dtype in request.columns.items():
            if name in names:
                what = f"{address}: the request {name} has the same name as {names[name]}."
                fix = "Rename the request, or the input: .alias(...)."
                builder.refuse(address, "Column used twice", what, request.origin, fix)
            names[name] = "another request"
            columns[name] = Column(name=name, dtype=dtype)
    return tuple(columns[name] for name in sorted(columns))


def needed(builder: CatalogBuilder, feature: FeatureDefinition, where: Origin) -> tuple[Column, ...]:
    """Return the request-time columns of a feature, including those of its inputs; refuses conflicting ones."""
    address = f"feature {feature.address}"
    columns = {column.name: (column, feature.address) for column in feature.asks}
    for name, _ in feature.upstream:
        for column in builder.features[name].request:
            other, first = columns.setdefault(column.name, (column, name))
            if other.dtype != column.dtype:
                both = f"{other.dtype} for {first}, but {column.dtype} for {name}"
                what = f"{address}: the request {column.name} is {both}."
                builder.refuse(
                    address, "Request with two types", what, where, "Give both the same type, or rename one."
                )
    for name in sorted(columns.keys() & {feature.name, *(key.name for key in feature.keys)}):
        what = f"{address} needs the request {name}, which is {'its own name' if name == feature.name else 'a key'}."
        builder.refuse(address, "Column used twice", what, where, "Rename the feature or the request.")
    if feature.as_of and (feature.expect or feature.whole):
        what = f"{address} depends on {AS_OF_TIMESTAMP}, so it has no stored rows that expect= could check."
        builder.refuse(address, "Check on a time", what, where, "Remove expect=, or move it to the inputs.")
    elif columns and (feature.expect or feature.whole):
        what = f"{address} needs the request {', '.join(sorted(columns))}, so it has no stored rows that expect= could check."
        builder.refuse(address, "Check on a request", what, where, "Remove expect=, or move it to the inputs.")
    return tuple(columns[name][0] for name in sorted(columns))


def _alias_keys(reference: Reference) -> Mapping[str, object]:
    return reference.keys if isinstance(reference, FeatureAlias) else {}


def _roles(
    builder: CatalogBuilder, group: GroupDeclaration, feature: FeatureDefinition, alias_keys: Mapping[str, object]
) -> tuple[Role, ...] | None:
    """Return the roles of an input's keys that differ from the group's keys; None, after a problem, if a key is unusable."""
    roles = []
    for key in feature.keys:
        by = alias_keys.get(key.name, key.name)
        if isinstance(by, Feature):
            role = _by_feature(builder, group, key, by)
        else:
            role = _by_column(builder, group, feature.address, key, str(by))
        if role is None:
            return None
        roles.append(role)
    return tuple(role for role in roles if role.column != role.key)


def _by_column(builder: CatalogBuilder, group: GroupDeclaration, feature: str, key: Column, column: str) -> Role | None:
    """Return the role of a key column of the group's entity as a key of an input."""
    address, own = f"group {group.name}", group.entity.keys if group.entity else {}
    if column not in own:
        what = f"{address} reads {feature}, but lacks its key {key.name}."
        if column != key.name:
            what = f"{address} looks up {feature} by {column!r}, which is not a key of the group's entity."
        near = did_you_mean(column, own) if column != key.name else ""
        fix = f'Name the key or the feature of the group\'s entity to look it up by: .alias(..., keys={{"{key.name}": ...}}).'
        builder.refuse(address, "Input of another entity", what, group.origin, near or fix)
        return None
    if own[column] != key.dtype:
        what = (
            f"{address} looks up {feature} by {column}, which is {own[column]}, but its key {key.name} is {key.dtype}."
        )
        builder.refuse(address, "Wrong key type", what, group.origin, "Give both keys the same type.")
        return None
    return Role(key=key.name, column=column)


def _by_feature(builder: CatalogBuilder, group: GroupDeclaration, key: Column, giver: Feature[object]) -> Role | None:
    """Return the role of a feature of the group's entity as a key of an input."""
    address = f"group {group.name}"
    member = builder.member(address, giver, group.origin)
    if member is None:
        builder.broken.add(address)
        return None
    source = builder.features[member.feature]
    missing = sorted({each.name for each in source.keys} - (group.entity.keys.keys() if group.entity else set()))
    if missing:
        what = (
            f"{address} takes the key {key.name} from {source.address}, but lacks the key {missing[0]} of that feature."
        )
        fix = f"Take it from a feature of {group.entity.name if group.entity else 'no entity'}."
        builder.refuse(address, "Input of another entity", what, group.origin, fix)
        return None
    if not gives(source.dtype, key.dtype):
        types = f"which is {key.dtype}, from {source.address}, which is {source.dtype}"
        fix = f"Derive a feature that casts it to {key.dtype}."
        builder.refuse(address, "Wrong key type", f"{address} takes the key {key.name}, {types}.", group.origin, fix)
        return None
    return Role(key=key.name, feature=source.address, fingerprint=source.fingerprint)
