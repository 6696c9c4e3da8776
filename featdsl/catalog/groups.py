"""Add groups and their features to the catalogue."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from featdsl.catalog.builder import CatalogBuilder, key_columns
from featdsl.catalog.group_features import Scope, define_feature, former_address
from featdsl.catalog.group_rules import rules_of
from featdsl.catalog.inputs import groups_needed, inputs_of, requested
from featdsl.declarations.feature_group import GroupDeclaration
from featdsl.definitions import fingerprints
from featdsl.definitions.durations import seconds
from featdsl.definitions.kinds import FeatureDefinition, GroupDefinition, Member, Moments, revised
from featdsl.definitions.sources import SourceDefinition
from featdsl.engines import derived_rows
from featdsl.engines.lookups import reads


def add_groups(builder: CatalogBuilder, groups: Sequence[GroupDeclaration]) -> None:
    """Add the groups and their features to the builder, each group after the ones that it is derived from."""
    by_name = {group.name: group for group in groups}
    builder.declared = frozenset(by_name)
    needs = {group.name: groups_needed(group) for group in groups}
    for name in builder.ordered("group", by_name, needs):
        _add_group(builder, by_name[name])


def _add_group(builder: CatalogBuilder, group: GroupDeclaration) -> None:
    address = f"group {group.name}"
    source = _source_of(builder, group)
    inputs = inputs_of(builder, group)
    request = requested(builder, group, inputs)
    if group.entity and group.entity.name not in builder.entities:
        builder.refuse_undeclared(address, "entity", group.entity.name, group.origin)
    if address in builder.broken or (source is None and group.source is not None):
        builder.broken.update({address, *(f"feature {group.name}.{name}" for name in group.features)})
        return
    scope = Scope(
        group=group,
        source=source,
        inputs=inputs,
        request=request,
        keys=key_columns(group.entity.keys) if group.entity else (),
        key_sources=_key_sources(group),
        ttl=seconds(group.ttl) if group.ttl else None,
        engine=builder.engine_of(group),
    )
    declared = [define_feature(builder, name, scope) for name in sorted(group.features)]
    features = builder.applied.totals_of([feature for feature in declared if feature is not None])
    if source is None:
        _refuse_no_entities(builder, group, features)
    stored = [feature for feature in features if not feature.is_rowless]
    moments = _moments(builder, group, stored)
    for feature in (*_placed(builder, group, scope, stored, moments), *_rowless(builder, features)):
        builder.features[feature.address] = feature
    builder.groups[group.name] = GroupDefinition(
        name=group.name,
        description=group.description,
        tags=group.tags,
        entity=group.entity.name if group.entity else None,
        source=source.name if source else None,
        keys=builder.applied.keys(group.name, tuple(sorted(group.keys.items()))),
        ttl=scope.ttl,
        access=group.access,
        rules=rules_of(builder, group, stored),
        moments=moments,
        online=group.online,
        engine=scope.engine,
        members=tuple(map(_member, features)),
        renamed_from=former_address(builder, address, group, builder.declared),
        **builder.guards(address, group.protect, group.deprecated),
        **builder.common(group),
    )


def _placed(
    builder: CatalogBuilder,
    group: GroupDeclaration,
    scope: Scope,
    stored: Sequence[FeatureDefinition],
    moments: Moments,
) -> Iterator[FeatureDefinition]:
    """Yield the stored features with their tables and the kinds of times in them."""
    source = scope.source
    timed = bool(source.timestamp) if source else any(each.timed for each in _read(builder, stored))
    late, ends = bool(source and source.available_at), bool(source and source.valid_to)
    plain = [_member(each) for each in stored if not each.window]
    values = _values_table(group, scope, plain, timed=timed, moments=moments)
    events = _events_table(group, scope, stored)
    for feature in stored:
        yield revised(
            feature,
            table=events if feature.window else values,
            timed=timed,
            late=late,
            ends=ends and not feature.window,
            time_unit=source.time_unit if source else None,
            moments=moments,
        )


def _rowless(builder: CatalogBuilder, features: Iterable[FeatureDefinition]) -> Iterator[FeatureDefinition]:
    """Yield the features without stored values, with `timed` set."""
    for feature in features:
        if feature.is_rowless:
            yield revised(feature, timed=feature.as_of or any(each.timed for each in _read(builder, [feature])))


def _member(feature: FeatureDefinition) -> Member:
    return Member(column=feature.name, feature=feature.address, fingerprint=feature.fingerprint)


def _moments(builder: CatalogBuilder, group: GroupDeclaration, stored: Sequence[FeatureDefinition]) -> Moments:
    """Return which changes of its inputs give a group rows: with inputs of other entities, all changes may be too many."""
    if group.inputs is None or group.materialize or not stored:
        return "every change"
    versions = {(each.address, each.fingerprint): each for each in _read(builder, stored)}
    return derived_rows.moments_of(stored, versions)


def _values_table(
    group: GroupDeclaration, scope: Scope, stored: Sequence[Member], *, timed: bool, moments: Moments
) -> str:
    """Return the name of the table that stores the values of a group's features."""
    return f"{group.name}_{fingerprints.table(stored, keys=scope.keys, timed=timed, moments=moments)[:8]}"


def _events_table(group: GroupDeclaration, scope: Scope, features: Sequence[FeatureDefinition]) -> str:
    """Return the name of the table that stores the rows of a group's windows."""
    read = {column for feature in features if feature.window for column in [*feature.reads, *feature.order]}
    source = scope.source.fingerprint if scope.source else ""
    digest = fingerprints.events(read, keys=scope.key_sources, source=source)
    return f"{group.name}_events_{digest[:8]}"


def _key_sources(group: GroupDeclaration) -> tuple[tuple[str, str, str], ...]:
    """Return the name, type and source column of each key."""
    keys = key_columns(group.entity.keys) if group.entity else ()
    return tuple((key.name, key.dtype, group.keys.get(key.name, key.name).lower()) for key in keys)


def _read(builder: CatalogBuilder, features: Iterable[FeatureDefinition]) -> list[FeatureDefinition]:
    """Return the upstream features of these features; a group's unused inputs do not count."""
    return [builder.features[name] for feature in features for name, _ in feature.upstream]


def _refuse_no_entities(
    builder: CatalogBuilder, group: GroupDeclaration, features: Sequence[FeatureDefinition]
) -> None:
    """Refuse a derived group whose entities are unknown: a stored feature needs inputs, and one input needs all keys.

    Features that are computed at request time have no rows.
    """
    for feature in features:
        if not feature.computed:
            what = f"feature {feature.address} reads none of its group's inputs: {feature.sql}"
            fix = "Read one of the inputs, or move it to a group over a source."
            builder.refuse(f"feature {feature.address}", "No input", what, feature.origin, fix)
            builder.broken.add(f"group {group.name}")
    keys = group.entity.keys if group.entity else {}
    stored = [feature for feature in features if not feature.is_rowless]
    versions = {(each.address, each.fingerprint): each for each in _read(builder, stored)}
    if versions and not any(read.identifies(keys) for feature in stored for read in reads(feature, versions)):
        what = f"group {group.name} reads no input with the key {', '.join(keys)}, so its entities are unknown."
        fix = "Read at least one feature of its own entity."
        builder.refuse(f"group {group.name}", "No input of the entity", what, group.origin, fix)


def _source_of(builder: CatalogBuilder, group: GroupDeclaration) -> SourceDefinition | None:
    if group.source is None:
        return None
    if group.source.name not in builder.sources:
        builder.refuse_undeclared(f"group {group.name}", "source", group.source.name, group.origin)
        return None
    return builder.sources[group.source.name]
