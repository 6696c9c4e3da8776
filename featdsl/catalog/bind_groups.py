"""Bind groups: check that the keys, times and features of a group fit its source or its inputs."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from featdsl.catalog import feature_sql, siblings, unread_sources
from featdsl.catalog.bind_context import (
    Binding,
    canonical_type,
    columns_hint,
    former_readers,
    has_type,
    sql_problem,
    with_former_readers,
)
from featdsl.catalog.bind_engines import check_engine
from featdsl.catalog.bind_sources import differing_files, open_source
from featdsl.definitions import fingerprints, timestamps
from featdsl.definitions import udfs as function_references
from featdsl.definitions.dtypes import family, gives
from featdsl.definitions.kinds import FeatureDefinition, GroupDefinition, revised
from featdsl.definitions.names import AS_OF_TIMESTAMP, SOURCE_SCHEMA, quote
from featdsl.definitions.sources import Column, SourceDefinition
from featdsl.definitions.timestamps import Clock
from featdsl.definitions.windows import Aggregate, Merge
from featdsl.engines import Compiler
from featdsl.engines.session import EngineError
from featdsl.errors import Problem

_CONDITION = "Write what is true of every good value, such as: age BETWEEN 0 AND 120."

TotalTypes = Sequence[tuple[str, Merge | None]]
"""For each aggregate of a feature, the type of its running total and how partial results merge."""


@dataclass(frozen=True)
class _Scope:
    """The columns that a group's SQL can read, and the relation after FROM that has them."""

    columns: Sequence[Column]
    relation: str


def bind_group(binding: Binding, group: GroupDefinition) -> None:
    """Add the features of a group with their clocks, tables and root columns, and collect the group's problems."""
    clock = _clock(binding, group)
    members = [revised(each, clock=clock) for each in binding.catalog.members_of(group.name)]
    if group.source in binding.unchecked:
        if binding.context.offline and unread_sources.has_types(binding, members):
            unread_sources.check_features(binding, group, members)
            _check_expectations(binding, [each for each in members if not each.is_rowless])
        binding.features.update({each.address: revised(each, roots=_roots(binding, group, each)) for each in members})
        return
    scope = _scope(binding, group, members)
    if scope is None or group.entity in binding.broken_entities:
        return
    problems = len(binding.problems)
    _check_keys(binding, group, scope)
    key = _cache_key(group, members, scope)
    types = binding.cache.recall("group", key)
    bound = members if types is not None else _bound_members(binding, group, members, scope)
    if types is None:
        types = [[(each.dtype, each.merges) for each in _typed_aggregates(binding, one, scope)] for one in bound]
        if len(binding.problems) == problems:
            binding.cache.keep("group", key, types)
    rooted = [revised(each, roots=_roots(binding, group, each)) for each in bound]
    features = _with_totals(rooted, types, binding.context.compilers.store)
    binding.features.update({each.address: each for each in features})
    if len(binding.problems) == problems:
        check_engine(binding, group, features)


def _cache_key(group: GroupDefinition, members: Sequence[FeatureDefinition], scope: _Scope) -> str:
    """Return the fingerprint of everything that decides how the features of a group bind."""
    return fingerprints.of({
        "columns": [(column.name, column.dtype) for column in scope.columns],
        "entity": [(key.name, key.dtype) for key in members[0].keys] if members else [],
        "times": [(column.name, column.dtype) for column in members[0].times] if members else [],
        "derived": group.source is None,
        "members": [(each.name, each.fingerprint, each.sql, each.dtype, [rule.condition for rule in each.expect]) for each in members],
        "request": [(column.name, column.dtype) for each in members for column in each.request],
    })  # fmt: skip


def _bound_members(
    binding: Binding, group: GroupDefinition, members: Sequence[FeatureDefinition], scope: _Scope
) -> Sequence[FeatureDefinition]:
    """Bind the features of a group, and return those of known types."""
    if group.source is not None:
        open_source(binding, group.source)
    known = [each for each in members if has_type(binding, f"feature {each.address}", each.dtype, each.origin)]
    uses = function_references.of(known, binding.sources[group.source]) if group.source is not None else ()
    with binding.session.declaring(uses):
        for together in ([each for each in known if not each.window], [each for each in known if each.window]):
            if together and not _all_bind(binding, together, scope):
                for feature in together:
                    _check_feature(binding, feature, scope)
    if known == members:
        _check_expectations(binding, [each for each in members if not each.is_rowless])
    return known


def _clock(binding: Binding, group: GroupDefinition) -> Clock:
    """Return the clock of a group: that of its source, or the finest among its inputs."""
    if group.source is None:
        inputs = [binding.features.get(name) for f in binding.catalog.members_of(group.name) for name, _ in f.upstream]
        return timestamps.clock_of(each.clock for each in inputs if each is not None)
    source = binding.sources.get(group.source)
    return source.clock if source else "TIMESTAMP"


def _scope(binding: Binding, group: GroupDefinition, members: Sequence[FeatureDefinition]) -> _Scope | None:
    """Return the scope of a group's SQL; None if its source or an input has a problem."""
    if group.source is not None:
        if group.source not in binding.sources:
            return None
        relation = f"{SOURCE_SCHEMA}.{quote(group.source)}"
        return _Scope(binding.sources[group.source].columns, relation)
    inputs = {item.column: item.feature for feature in members for item in feature.inputs}
    request = dict.fromkeys(column for feature in members for column in feature.asks)
    typed = [
        has_type(binding, f"group {group.name}: request {each.name}", each.dtype, group.origin) for each in request
    ]
    if any(name not in binding.features for feature in members for name, _ in feature.upstream) or not all(typed):
        return None
    columns = [Column(name=name, dtype=binding.features[address].dtype) for name, address in sorted(inputs.items())]
    time = [Column(name=AS_OF_TIMESTAMP, dtype="TIMESTAMP")] if any(each.asks_time for each in members) else []
    return _Scope([*columns, *request, *time], feature_sql.nulls([*columns, *request, *time]))


def _check_keys(binding: Binding, group: GroupDefinition, scope: _Scope) -> None:
    """Refuse keys that the source of a group lacks or has in another type."""
    if group.source is None or group.entity is None:
        return
    columns = {column.name.lower(): column for column in scope.columns}
    renamed = dict(group.keys)
    for key in binding.catalog.entities[group.entity].keys:
        wanted = renamed.get(key.name, key.name)
        column = columns.get(wanted.lower())
        if column is None:
            what = f"group {group.name}: source {group.source} has no column {wanted!r} for its key {key.name}."
            what += former_readers(binding, [group.source], wanted)
            fix = columns_hint(wanted, scope.columns) + f'\nOr say which column it is: keys={{"{key.name}": "..."}}.'
            binding.refuse("Missing column", what, group.origin, fix)
        elif not gives(column.dtype, key.dtype):
            what = f"group {group.name}: key {key.name} is {key.dtype}, but {wanted} is {column.dtype}."
            what += differing_files(binding, group.source, [wanted])
            binding.refuse(
                "Wrong type", what, group.origin, "Cast it in a Source(sql=...), or change the entity's key."
            )


# Features


def _all_bind(binding: Binding, members: Sequence[FeatureDefinition], scope: _Scope) -> bool:
    """Return whether all features bind in one statement and have their types. It is quick, and finds no reasons."""
    if not scope.columns:
        return False
    # Aliases that no SQL of a user can hold keep one feature from seeing another.
    listed = [f"(\n{feature_sql.bindable(feature)}\n) AS {quote(f'#{i}')}" for i, feature in enumerate(members)]
    listed += [] if members[0].window else [quote(scope.columns[0].name)]
    try:
        columns = binding.session.columns(f"SELECT {', '.join(listed)} FROM {scope.relation}")
        return all(
            gives(column.dtype, canonical_type(binding, feature.dtype))
            for column, feature in zip(columns, members, strict=False)
        )
    except EngineError:
        return False


def _check_feature(binding: Binding, feature: FeatureDefinition, scope: _Scope) -> None:
    """Bind one feature, and add its problem if it does not bind or has another type."""
    address = f"feature {feature.address}"
    if feature_sql.is_misused(feature):
        binding.problems.append(feature_sql.aggregate_problem(address, feature))
        return
    # A plain column beside the feature makes an aggregate without a window fail.
    anchor = "" if feature.window else f", {quote(scope.columns[0].name)}" if scope.columns else ", 1"
    try:
        text = feature_sql.bindable(feature)
        columns = binding.session.columns(f'SELECT (\n{text}\n) AS "#0"{anchor} FROM {scope.relation}')
    except EngineError as error:
        binding.problems.append(_feature_problem(binding, feature, scope, error))
        return
    dtype, declared = columns[0].dtype, canonical_type(binding, feature.dtype)
    if not gives(dtype, declared):
        what = f"{address} is declared {declared}, but its SQL gives {dtype}."
        what += differing_files(binding, binding.catalog.groups[feature.group].source, feature.reads)
        binding.refuse("Wrong type", what, feature.origin, f"Declare that type, or cast: CAST(... AS {declared}).")


def _feature_problem(binding: Binding, feature: FeatureDefinition, scope: _Scope, error: EngineError) -> Problem:
    """Return the problem of a feature that does not bind."""
    address = f"feature {feature.address}"
    if error.detail.lacks == "grouping":
        return feature_sql.aggregate_problem(address, feature)
    if problem := _sibling_problem(binding, feature, scope):
        return problem
    problem = sql_problem(address, error, [column.name for column in scope.columns], feature.origin)
    source = binding.catalog.groups[feature.group].source
    return with_former_readers(binding, [source] if source else [], problem)


def _sibling_problem(binding: Binding, feature: FeatureDefinition, scope: _Scope) -> Problem | None:
    """Return the problem of a feature over a source that reads other features of its group, else None."""
    group = binding.catalog.groups[feature.group]
    known = {column.name.lower(): column for column in scope.columns}
    others = [each.name for each in binding.catalog.members_of(group.name)]
    read = siblings.read_by(feature.reads, feature.name, others, known)
    columns = {known[each].name: known[each].dtype for each in feature.reads if each in known}
    if feature.window or not read or len(read) + len(columns) < len(feature.reads):
        return None
    inputs = [f"{group.name}.{name.lower()}" for name in columns if name.lower() in others]
    columns = {name: dtype for name, dtype in columns.items() if name.lower() not in others}
    return siblings.problem(
        siblings.ReadingFeature(f"feature {feature.address}", feature.dtype, feature.sql, feature.origin),
        siblings.OwnGroup(replace(group.origin, file=str(binding.context.root / group.origin.file)), group.entity),
        siblings.ReadColumns(read, columns, inputs),
    )


# Running totals


def _with_totals(
    features: Sequence[FeatureDefinition], types: Sequence[TotalTypes], compiler: Compiler
) -> list[FeatureDefinition]:
    """Return features with typed aggregates; the table of windowed ones is named after its running totals."""
    if not any(each.window for each in features):
        return list(features)
    typed = [
        revised(
            feature,
            aggregates=tuple(
                replace(each, dtype=dtype, merges=merges)
                for each, (dtype, merges) in zip(feature.aggregates, pairs, strict=True)
            ),
        )
        for feature, pairs in zip(features, types, strict=True)
    ]
    totals, clock = compiler.running_totals(typed), typed[0].clock
    return [
        revised(each, table=fingerprints.renamed(each.table, totals, clock)) if each.window else each for each in typed
    ]


def _typed_aggregates(binding: Binding, feature: FeatureDefinition, scope: _Scope) -> tuple[Aggregate, ...]:
    """Return the aggregates of a feature with the types of their running totals, and how partial results merge."""
    typed = []
    for each in feature.aggregates:
        dtype = ""
        if each.total and each.argument:
            with contextlib.suppress(EngineError):  # the feature's own check reports it
                dtype = binding.session.columns(f"SELECT (\n{each.argument}\n) FROM {scope.relation}")[0].dtype
        # A mean of times or intervals is not the quotient of a sum and a count.
        quotient = each.merges != "avg" or family(dtype) in {"integer", "decimal", "real"}
        typed.append(replace(each, dtype=dtype, merges=each.merges if quotient else None))
    return tuple(typed)


# Expectations


def _check_expectations(binding: Binding, members: Sequence[FeatureDefinition]) -> None:
    """Refuse expectations that do not bind over a group's stored columns, or are no conditions."""
    columns = [*members[0].keys] if members else []
    columns += [*members[0].times] if members else []
    columns += [Column(name=feature.name, dtype=feature.dtype) for feature in members]
    for feature in members:
        for condition in (rule.condition for rule in feature.expect):
            address = f"expect of {feature.address}"
            try:
                dtype = binding.session.columns(f"SELECT (\n{condition}\n) FROM {feature_sql.nulls(columns)}")[0].dtype
            except EngineError as error:
                names = [column.name for column in columns]
                binding.problems.append(sql_problem(address, error, names, feature.origin))
                continue
            if dtype != "BOOLEAN":
                what = f"{address} is {dtype}, not a condition: {condition}"
                binding.refuse("Wrong type", what, feature.origin, _CONDITION)


# Lineage


def _roots(binding: Binding, group: GroupDefinition, feature: FeatureDefinition) -> tuple[str, ...]:
    """Return the stored source columns that a feature is computed from, through inputs and queries."""
    if group.source is None:
        upstream = [binding.features[name] for name, _ in feature.upstream]
        return tuple(sorted({root for f in upstream for root in f.roots}))
    return tuple(sorted(_stored_columns(binding.sources, group.source, feature.reads)))


def _stored_columns(sources: Mapping[str, SourceDefinition], name: str, columns: Sequence[str]) -> set[str]:
    """Return the stored columns that columns of a source are computed from."""
    lineage = dict(sources[name].lineage)
    if not lineage:
        return {f"{name}.{column}" for column in columns}
    stored: set[str] = set()
    for leaf in (leaf for column in columns for leaf in lineage.get(column, ())):
        upstream, _, column = leaf.partition(".")
        stored |= _stored_columns(sources, upstream, [column]) if upstream in sources else {leaf}
    return stored
