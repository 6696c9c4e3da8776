"""Groups and their features in the catalogue."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

from featdsl import distributions, expressions, fingerprints, selects
from featdsl.applied import Keys
from featdsl.definitions import (
    Column,
    FeatureDefinition,
    GroupDefinition,
    Input,
    Member,
    Moments,
    SourceDefinition,
    Window,
    revised,
)
from featdsl.draft import Draft, key_columns
from featdsl.draft_functions import call, feature_function
from featdsl.draft_inputs import groups_needed, inputs_of, needed, requested
from featdsl.draft_rules import rules_of
from featdsl.durations import length, seconds
from featdsl.errors import SqlProblem
from featdsl.feature import Feature
from featdsl.group import GroupDeclaration
from featdsl.memory import Memory
from featdsl.names import AS_OF_TIMESTAMP, did_you_mean
from featdsl.pointintime import reads
from featdsl.pythonfeature import PythonFeature
from featdsl.rules import Expectation, WholeRule
from featdsl.siblings import problem as siblings_read
from featdsl.siblings import read_by
from featdsl.window import LIFETIME


def add_groups(draft: Draft, groups: Sequence[GroupDeclaration]) -> None:
    """Add the groups and their features, each after those that it is derived from."""
    by_name = {group.name: group for group in groups}
    draft.declared = frozenset(by_name)
    needs = {group.name: groups_needed(group) for group in groups}
    for name in draft.ordered("group", by_name, needs):
        _add_group(draft, by_name[name])


def _add_group(draft: Draft, group: GroupDeclaration) -> None:
    address = f"group {group.name}"
    source = _source_of(draft, group)
    inputs = inputs_of(draft, group)
    request = requested(draft, group, inputs)
    if group.entity and group.entity.name not in draft.entities:
        draft.refuse_foreign(address, "entity", group.entity.name, group.origin)
    if address in draft.broken or (source is None and group.source is not None):
        draft.broken.update({address, *(f"feature {group.name}.{name}" for name in group.features)})
        return
    scope = _Scope(
        source=source,
        inputs=inputs,
        request=request,
        keys=key_columns(group.entity.keys) if group.entity else (),
        key_sources=_key_sources(group),
        ttl=seconds(group.ttl) if group.ttl else None,
    )
    found = [_feature(draft, group, name, scope) for name in sorted(group.features)]
    features = draft.applied.totals_of([feature for feature in found if feature is not None])
    if source is None:
        _refuse_no_entities(draft, group, features)
    stored = [feature for feature in features if not feature.is_rowless]
    moments = _moments(draft, group, stored)
    for feature in (*_placed(draft, group, scope, stored, moments), *_rowless(draft, features)):
        draft.features[feature.address] = feature
    draft.groups[group.name] = GroupDefinition(
        name=group.name,
        description=group.description,
        tags=group.tags,
        entity=group.entity.name if group.entity else None,
        source=source.name if source else None,
        keys=draft.applied.keys(group.name, tuple(sorted(group.keys.items()))),
        ttl=scope.ttl,
        access=group.access,
        rules=rules_of(draft, group, stored),
        moments=moments,
        members=tuple(map(_member, features)),
        renamed_from=_former(draft, address, group, draft.declared),
        **draft.guards(address, group.protect, group.deprecated),
        **draft.common(group),
    )


def _placed(
    draft: Draft, group: GroupDeclaration, scope: _Scope, stored: Sequence[FeatureDefinition], moments: Moments
) -> Iterator[FeatureDefinition]:
    """Yield features that have stored values, with their tables and what times these have."""
    source = scope.source
    timed = bool(source.timestamp) if source else any(each.timed for each in _read(draft, stored))
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


def _rowless(draft: Draft, features: Iterable[FeatureDefinition]) -> Iterator[FeatureDefinition]:
    """Yield the features without stored values, with whether these depend on time."""
    for feature in features:
        if feature.is_rowless:
            yield revised(feature, timed=feature.as_of or any(each.timed for each in _read(draft, [feature])))


def _member(feature: FeatureDefinition) -> Member:
    return Member(column=feature.name, feature=feature.address, fingerprint=feature.fingerprint)


def _moments(draft: Draft, group: GroupDeclaration, stored: Sequence[FeatureDefinition]) -> Moments:
    """Return at which changes of its inputs a group has rows: where some are of another entity, there may be very many."""
    if group.inputs is None or group.materialize or not stored:
        return "every change"
    versions = {(each.address, each.fingerprint): each for each in _read(draft, stored)}
    return selects.moments_of(stored, versions)


def _values_table(
    group: GroupDeclaration, scope: _Scope, stored: Sequence[Member], *, timed: bool, moments: Moments
) -> str:
    """Return the name of the table that stores the values of a group's features."""
    return f"{group.name}_{fingerprints.table(stored, keys=scope.keys, timed=timed, moments=moments)[:8]}"


def _events_table(group: GroupDeclaration, scope: _Scope, features: Sequence[FeatureDefinition]) -> str:
    """Return the name of the table that stores the rows that a group's windows look at."""
    read = {column for feature in features if feature.window for column in [*feature.reads, *feature.order]}
    source = scope.source.fingerprint if scope.source else ""
    found = fingerprints.events(read, keys=scope.key_sources, source=source)
    return f"{group.name}_events_{found[:8]}"


def _key_sources(group: GroupDeclaration) -> tuple[tuple[str, str, str], ...]:
    """Return each key, its type, and the column of the source that it is."""
    keys = key_columns(group.entity.keys) if group.entity else ()
    return tuple((key.name, key.dtype, group.keys.get(key.name, key.name).lower()) for key in keys)


@dataclass(frozen=True)
class _Scope:
    """What the SQL of a group's features is written over."""

    source: SourceDefinition | None
    inputs: tuple[Input, ...]
    request: tuple[Column, ...]
    keys: tuple[Column, ...]
    key_sources: tuple[tuple[str, str, str], ...]
    ttl: int | None

    @cached_property
    def names(self) -> AbstractSet[str]:
        """The columns of its inputs and of the request, and the time that is asked for."""
        return {*(item.column for item in self.inputs), *(column.name for column in self.request), AS_OF_TIMESTAMP}


def _read(draft: Draft, features: Iterable[FeatureDefinition]) -> list[FeatureDefinition]:
    """Return the features that these are derived from: an input that nobody reads says nothing."""
    return [draft.features[name] for feature in features for name, _ in feature.upstream]


def _refuse_no_entities(draft: Draft, group: GroupDeclaration, features: Sequence[FeatureDefinition]) -> None:
    """Refuse a derived group whose rows nothing tells: each needs inputs, one of them with all of its keys.

    What is computed at a request has no rows.
    """
    for feature in features:
        if not feature.computed:
            what = f"feature {feature.address} reads none of its group's inputs: {feature.sql}"
            mend = "Derive it from one of them, or give it a group over a source."
            draft.refuse(f"feature {feature.address}", "No input", what, feature.origin, mend)
            draft.broken.add(f"group {group.name}")
    keys = group.entity.keys if group.entity else {}
    stored = [feature for feature in features if not feature.is_rowless]
    versions = {(each.address, each.fingerprint): each for each in _read(draft, stored)}
    if versions and not any(read.tells(keys) for feature in stored for read in reads(feature, versions)):
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
    rules = [rule for rule in feature.expect if isinstance(rule, Expectation)]
    whole = _whole_rules(draft, address, feature)
    expect = [draft.rendered(address, rule.condition, feature.origin, {}) for rule in rules]
    conditions = tuple(condition for condition in expect if condition is not None)
    if text is None or len(conditions) < len(expect):
        return None
    said = _read_sql(draft, group, feature, text, conditions, scope)
    if said is None:
        return None
    reads = said.columns
    used = tuple(item for item in scope.inputs if item.column in reads)
    asked = tuple(column for column in scope.request if column.name in reads)
    found = FeatureDefinition(
        name=name,
        group=group.name,
        description=feature.description,
        tags=feature.tags,
        dtype=feature.dtype,
        sql=text,
        expect=tuple(
            replace(rule, condition=_of_itself(condition, feature))
            for rule, condition in zip(rules, conditions, strict=True)
        ),
        whole=whole,
        function=function,
        reads=reads,
        inputs=used if group.source is None else (),
        window=_window(feature),
        aggregates=said.aggregates,
        formula=said.formula,
        order=tuple(name.lower() for name in scope.source.tie_breaks) if said.aggregates and scope.source else (),
        request=asked,
        as_of=group.source is None and _is_as_of(draft, reads, used),
        entity=group.entity.name if group.entity else None,
        keys=scope.keys,
        timed=False,
        ttl=None if said.aggregates else scope.ttl,
        fingerprint="",
        table="",
        renamed_from=_former(draft, address, feature, group.features),
        **draft.guards(address, feature.protect, feature.deprecated),
        **draft.common(feature),
    )
    found = _fingerprinted(draft, found, scope, _former_addresses(group, feature))
    if found.sql != text:
        said = (expressions.windowed if feature.is_windowed else expressions.expression)(found.sql, draft.memory)
        found = revised(found, reads=said.columns, aggregates=said.aggregates, formula=said.formula)
    return revised(found, request=needed(draft, found, feature.origin)) if found.computed else found


def _whole_rules(draft: Draft, address: str, feature: Feature[Any]) -> tuple[WholeRule, ...]:
    """Return the rules of a feature that hold for all its values together; refuse a figure that its type has not."""
    whole = tuple(rule for rule in feature.expect if not isinstance(rule, Expectation))
    for figure in [name for rule in whole for name in distributions.unfit(rule, feature.dtype)]:
        what = f"{address} is {feature.dtype}, whose values have no {figure}."
        mend = "Hold it to null_share= and distinct=, which every feature has."
        draft.refuse(address, "Figure of no number", what, feature.origin, mend)
    return whole


def _read_sql(  # noqa: PLR0913, PLR0917 - a feature, and what it is written over
    draft: Draft,
    group: GroupDeclaration,
    feature: Feature[Any],
    text: str,
    conditions: Iterable[str],
    scope: _Scope,
) -> expressions.Expression | None:
    """Return what the SQL of a feature says; None where it, or a condition, is refused."""
    address = f"feature {group.name}.{feature.name}"
    try:
        said = (expressions.windowed if feature.is_windowed else expressions.expression)(text, draft.memory)
        for condition in conditions:
            expressions.expression(condition, draft.memory)
    except SqlProblem as problem:
        if not _refused_sibling(draft, group, feature, text, scope):
            draft.refuse(address, "Invalid SQL", f"{address}: {problem}", feature.origin, problem.mend)
        return None
    if feature.is_windowed and (scope.source is None or not scope.source.timestamp):
        lacks = "its source has no timestamp=" if scope.source else "its group is derived from features"
        what = f"{address} has a window, but {lacks}, so nothing tells which rows lie in it."
        draft.refuse(address, "Window without times", what, feature.origin, "Give it a source with timestamp=.")
        return None
    missing = [column for column in said.columns if column not in scope.names] if group.source is None else []
    if not missing:
        return said
    if not _refused_sibling(draft, group, feature, text, scope):
        what = f"{address} reads the column {missing[0]!r}, which is none of its inputs."
        inputs = sorted(scope.names - {AS_OF_TIMESTAMP})
        mend = did_you_mean(missing[0], scope.names) or f"Its inputs are: {', '.join(inputs)}."
        draft.refuse(address, "Unknown column", what, feature.origin, mend)
    return None


def _refused_sibling(draft: Draft, group: GroupDeclaration, feature: Feature[Any], text: str, scope: _Scope) -> bool:
    """Refuse a feature that reads others of its group, and return whether this one does, and nothing else beside them."""
    try:
        reads = expressions.expression(text, draft.memory).columns
    except SqlProblem:
        return False
    name = feature.name or ""
    columns = {each for each, other in group.features.items() if other.sql in {None, each, f'"{each}"'}}
    siblings = read_by(reads, name, group.features, scope.names if scope.source is None else columns)
    inputs = [item.feature for item in scope.inputs if item.column in reads]
    if not siblings or len(siblings) + len(inputs) < len(reads):
        return False
    draft.broken.add(f"feature {group.name}.{name}")
    draft.problems.append(
        siblings_read(
            f"feature {group.name}.{name}",
            feature.dtype,
            text,
            feature.origin,
            group=group.origin,
            entity=group.entity.name if group.entity else None,
            siblings=siblings,
            inputs=inputs,
        )
    )
    return True


def _is_as_of(draft: Draft, reads: Iterable[str], inputs: Iterable[Input]) -> bool:
    """Return whether a derived feature counts up to the time that is asked for, itself or by way of an input."""
    return AS_OF_TIMESTAMP in reads or any(draft.features[item.feature].as_of for item in inputs)


def _former(draft: Draft, address: str, renamed: GroupDeclaration | Feature[Any], declared: Container[str]) -> str:
    """Return the former name of a thing; refuse one that is among those declared still."""
    former = renamed.renamed_from or ""
    if former and former in declared:
        what = f"{address} is renamed from {former}, which is declared still."
        draft.refuse(
            address, "Name in use", what, renamed.origin, "Take the other one out, or leave out renamed_from=."
        )
    return former


def _former_addresses(group: GroupDeclaration, feature: Feature[Any]) -> list[str]:
    """Return the addresses that a feature may have been applied under before it or its group was renamed."""
    groups = filter(None, (group.name, group.renamed_from))
    names = [name for name in (feature.name, feature.renamed_from) if name]
    return [f"{each}.{name}" for each in groups for name in names][1:]


def _fingerprinted(draft: Draft, feature: FeatureDefinition, scope: _Scope, former: Sequence[str]) -> FeatureDefinition:
    """Return a feature with its fingerprint: the applied one, and the applied SQL, as long as that means the same."""
    if scope.source is None:
        derived = partial(_derived_fingerprint, draft.memory)
        return draft.applied.feature(feature, former, derived, derived)
    source = scope.source.fingerprint
    return draft.applied.feature(
        feature,
        former,
        lambda each: _base_fingerprint(each, scope.key_sources, source, draft.memory),
        lambda each: _base_fingerprint(each, *draft.applied.base_of(each), draft.memory),
    )


def _derived_fingerprint(memory: Memory, feature: FeatureDefinition) -> str:
    # What an input is called means nothing, so that it may be renamed.
    names = {item.column: fingerprints.input_name(item) for item in feature.inputs}
    over = expressions.over(feature.sql, names, memory)
    return fingerprints.derived_feature(dtype=feature.dtype, sql=over, keys=feature.keys, asks=feature.asks)


def _base_fingerprint(feature: FeatureDefinition, keys: Keys, source: str, memory: Memory) -> str:
    return fingerprints.base_feature(
        dtype=feature.dtype,
        sql=expressions.expression(feature.sql, memory).canonical,
        keys=keys,
        source=source,
        ttl=None if feature.window else feature.ttl,
        window=feature.window,
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
    return expressions.renamed(condition, feature.family_name, feature.name) if feature.family_name else condition
