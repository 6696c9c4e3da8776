"""Groups and their features in the catalogue."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from featdsl import aggregates, fingerprints, sql
from featdsl.definitions import Column, FeatureDefinition, GroupDefinition, Input, Member, SourceDefinition, Window
from featdsl.draft import Draft, key_columns, target_of
from featdsl.draft_functions import call, feature_function
from featdsl.durations import length, seconds
from featdsl.feature import Feature
from featdsl.group import GroupDeclaration, Reference
from featdsl.names import did_you_mean
from featdsl.pythonfeature import PythonFeature
from featdsl.window import LIFETIME


def add_groups(draft: Draft, groups: Sequence[GroupDeclaration]) -> None:
    """Add the groups and their features, each after those that it is derived from."""
    by_name = {group.name: group for group in groups}
    needs = {group.name: sorted({_group_of(item) for item in group.inputs or ()}) for group in groups}
    for name in draft.ordered("group", by_name, needs):
        _add_group(draft, by_name[name])


def _group_of(reference: Reference) -> str:
    if isinstance(reference, str):
        return reference.partition(".")[0]
    return target_of(reference).group.address


def _add_group(draft: Draft, group: GroupDeclaration) -> None:
    address = f"group {group.name}"
    source = _source_of(draft, group)
    inputs = _inputs_of(draft, group)
    if group.entity and group.entity.name not in draft.entities:
        draft.refuse_foreign(address, "entity", group.entity.name, group.origin)
    if address in draft.broken or (source is None and group.source is not None):
        draft.broken.update({address, *(f"feature {group.name}.{name}" for name in group.features)})
        return
    scope = _Scope(
        source=source,
        inputs=inputs,
        keys=key_columns(group.entity.keys) if group.entity else (),
        ttl=seconds(group.ttl) if group.ttl else None,
    )
    found = [_feature(draft, group, name, scope) for name in sorted(group.features)]
    features = [feature for feature in found if feature is not None]
    timed = bool(source.timestamp) if source else any(each.timed for each in _read(draft, features))
    late = bool(source and source.available_at)
    if source is None:
        _refuse_no_entities(draft, group, features)
    values = _values_table(group, scope, features, timed=timed)
    events = _events_table(group, scope, features)
    for feature in features:
        table = events if feature.window else values
        draft.features[feature.address] = replace(feature, table=table, timed=timed, late=late)
    draft.groups[group.name] = GroupDefinition(
        name=group.name,
        description=group.description,
        tags=group.tags,
        entity=group.entity.name if group.entity else None,
        source=source.name if source else None,
        keys=tuple(sorted(group.keys.items())),
        ttl=scope.ttl,
        members=tuple(_member(feature) for feature in features),
        **draft.common(group),
    )


def _member(feature: FeatureDefinition) -> Member:
    return Member(column=feature.name, feature=feature.address, fingerprint=feature.fingerprint)


def _values_table(group: GroupDeclaration, scope: _Scope, features: Sequence[FeatureDefinition], *, timed: bool) -> str:
    """Return the name of the table that stores the values of a group's features."""
    stored = [_member(feature) for feature in features if feature.window is None]
    return f"{group.name}_{fingerprints.table(stored, keys=scope.keys, timed=timed)[:8]}"


def _events_table(group: GroupDeclaration, scope: _Scope, features: Sequence[FeatureDefinition]) -> str:
    """Return the name of the table that stores the rows that a group's windows look at."""
    read = {column for feature in features if feature.window for column in [*feature.reads, *feature.order]}
    source = scope.source.fingerprint if scope.source else ""
    return f"{group.name}_events_{fingerprints.events(read, keys=_key_sources(group, scope), source=source)[:8]}"


def _key_sources(group: GroupDeclaration, scope: _Scope) -> list[tuple[str, str, str]]:
    """Return each key, its type, and the column of the source that it is."""
    return [(key.name, key.dtype, group.keys.get(key.name, key.name).lower()) for key in scope.keys]


@dataclass(frozen=True)
class _Scope:
    """What the SQL of a group's features is written over."""

    source: SourceDefinition | None
    inputs: tuple[Input, ...]
    keys: tuple[Column, ...]
    ttl: int | None


def _read(draft: Draft, features: Iterable[FeatureDefinition]) -> list[FeatureDefinition]:
    """Return the features that these are derived from: an input that nobody reads says nothing."""
    return [draft.features[item.feature] for feature in features for item in feature.inputs]


def _refuse_no_entities(draft: Draft, group: GroupDeclaration, features: Sequence[FeatureDefinition]) -> None:
    """Refuse a derived group whose rows nothing tells: each needs inputs, one of them with all of its keys."""
    for feature in features:
        if not feature.inputs:
            what = f"feature {feature.address} reads none of its group's inputs: {feature.sql}"
            mend = "Derive it from one of them, or give it a group over a source."
            draft.refuse(f"feature {feature.address}", "No input", what, feature.origin, mend)
            draft.broken.add(f"group {group.name}")
    keys = group.entity.keys if group.entity else {}
    read = _read(draft, features)
    if read and all(len(each.keys) < len(keys) for each in read):
        what = f"group {group.name} reads no input with the key {', '.join(keys)}, so nothing tells which there are."
        mend = "Derive it from at least one feature of its own entity."
        draft.refuse(f"group {group.name}", "No input of the entity", what, group.origin, mend)


def _source_of(draft: Draft, group: GroupDeclaration) -> SourceDefinition | None:
    if group.source is None:
        return None
    if group.source.name not in draft.sources:
        draft.refuse_foreign(f"group {group.name}", "source", group.source.name, group.origin)
        return None
    return draft.sources[group.source.name]


def _inputs_of(draft: Draft, group: GroupDeclaration) -> tuple[Input, ...]:
    address = f"group {group.name}"
    inputs: dict[str, Input] = {}
    for reference in group.inputs or ():
        member = draft.member(address, reference, group.origin)
        if member is None:
            draft.broken.add(address)
            continue
        feature = draft.features[member.feature]
        missing = sorted({key.name for key in feature.keys} - (group.entity.keys.keys() if group.entity else set()))
        if missing or member.keys:
            what = f"{address} is derived from {feature.address}, whose key {missing or list(member.keys)} it lacks."
            draft.refuse(address, "Input of another entity", what, group.origin)
        elif member.column in inputs:
            what = f"{address} has two inputs called {member.column}."
            mend = f'Give one another name: .alias("{feature.group}_{member.column}").'
            draft.refuse(address, "Column used twice", what, group.origin, mend)
        else:
            inputs[member.column] = Input(
                column=member.column, feature=feature.address, fingerprint=feature.fingerprint
            )
    return tuple(inputs[column] for column in sorted(inputs))


def _feature(draft: Draft, group: GroupDeclaration, name: str, scope: _Scope) -> FeatureDefinition | None:
    feature = group.features[name]
    address = f"feature {group.name}.{name}"
    if not feature.valid:
        draft.broken.add(address)
        return None
    function = feature_function(draft, group, feature) if isinstance(feature, PythonFeature) else None
    if isinstance(feature, PythonFeature):
        text = call(function, feature.dtype) if function else None
    else:
        text = draft.rendered(address, feature.sql if feature.sql is not None else f'"{name}"', feature.origin, {})
    expect = [draft.rendered(address, condition, feature.origin, {}) for condition in feature.expect]
    conditions = tuple(condition for condition in expect if condition is not None)
    if text is None or len(conditions) < len(expect):
        return None
    try:
        tree = sql.expression(text)
        parts, formula = aggregates.split(text) if feature.is_windowed else ((), "")
        for condition in conditions:
            sql.expression(condition)
    except sql.SqlProblem as problem:
        draft.refuse(address, "Invalid SQL", f"{address}: {problem}", feature.origin, problem.mend)
        return None
    if feature.is_windowed and (scope.source is None or not scope.source.timestamp):
        lacks = "its source has no timestamp=" if scope.source else "its group is derived from features"
        what = f"{address} has a window, but {lacks}, so nothing tells which rows lie in it."
        draft.refuse(address, "Window without times", what, feature.origin, "Give it a source with timestamp=.")
        return None
    reads = sql.columns(tree)
    inputs = {item.column.lower() for item in scope.inputs}
    missing = [column for column in reads if column not in inputs] if group.source is None else []
    if missing:
        what = f"{address} reads the column {missing[0]!r}, which is none of its inputs."
        mend = did_you_mean(missing[0], inputs) or f"Its inputs are: {', '.join(sorted(inputs))}."
        draft.refuse(address, "Unknown column", what, feature.origin, mend)
        return None
    used = tuple(item for item in scope.inputs if item.column.lower() in reads)
    return FeatureDefinition(
        name=name,
        group=group.name,
        description=feature.description,
        tags=feature.tags,
        dtype=feature.dtype,
        sql=text,
        expect=tuple(_of_itself(condition, feature) for condition in conditions),
        function=function,
        reads=reads,
        inputs=used if group.source is None else (),
        window=_window(feature),
        aggregates=parts,
        formula=formula,
        order=(scope.source.tie_break.lower(),) if parts and scope.source and scope.source.tie_break else (),
        entity=group.entity.name if group.entity else None,
        keys=scope.keys,
        timed=False,
        ttl=None if parts else scope.ttl,
        fingerprint=_fingerprint(group, feature, sql.canonical(tree), scope, used),
        table="",
        **draft.common(feature),
    )


def _fingerprint(
    group: GroupDeclaration, feature: Feature[Any], canonical: str, scope: _Scope, used: tuple[Input, ...]
) -> str:
    if scope.source is None:
        return fingerprints.derived_feature(
            dtype=feature.dtype, sql=canonical, keys=scope.keys, inputs=used, ttl=scope.ttl
        )
    window = _window(feature)
    return fingerprints.base_feature(
        dtype=feature.dtype,
        sql=canonical,
        keys=_key_sources(group, scope),
        source=scope.source.fingerprint,
        ttl=None if window else scope.ttl,
        window=window,
    )


def _window(feature: Feature[Any]) -> Window | None:
    if not feature.is_windowed:
        return None
    return Window(
        length=length(feature.window) if feature.window and feature.window.strip() != LIFETIME else None,
        closed=feature.closed,
        delay=length(feature.delay) if feature.delay else None,
        offset=length(feature.offset) if feature.offset else None,
        last_n=feature.last_n,
        every=length(feature.every) if feature.every else None,
    )


def _of_itself(condition: str, feature: Feature[Any]) -> str:
    """Return a condition of a family with the name of one of its features in place of the family's."""
    return sql.renamed(condition, feature.family_name, feature.name) if feature.family_name else condition
