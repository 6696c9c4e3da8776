"""Define the features of a group: SQL, window, rules and fingerprint."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

from featdsl.catalog import siblings
from featdsl.catalog.builder import CatalogBuilder
from featdsl.catalog.equivalence import Keys
from featdsl.catalog.inputs import needed
from featdsl.catalog.python_functions import call, feature_function
from featdsl.declarations.feature import Feature
from featdsl.declarations.feature_group import GroupDeclaration
from featdsl.declarations.python_feature import PythonFeature
from featdsl.declarations.window import LIFETIME
from featdsl.definitions import fingerprints, quality_rules
from featdsl.definitions.dialects import Dialect
from featdsl.definitions.durations import length
from featdsl.definitions.kinds import FeatureDefinition, Input, revised
from featdsl.definitions.names import AS_OF_TIMESTAMP, did_you_mean
from featdsl.definitions.quality_rules import Expectation, WholeRule
from featdsl.definitions.sources import Column, FunctionDefinition, SourceDefinition
from featdsl.definitions.windows import Window
from featdsl.errors import SqlProblem
from featdsl.sql import expressions, variants
from featdsl.sql.cache import AnalysisCache


@dataclass(frozen=True)
class Scope:
    """A group, and the source, inputs and keys that the SQL of its features can use."""

    group: GroupDeclaration
    source: SourceDefinition | None
    inputs: tuple[Input, ...]
    request: tuple[Column, ...]
    keys: tuple[Column, ...]
    key_sources: tuple[tuple[str, str, str], ...]
    ttl: int | None
    engine: Dialect

    @cached_property
    def names(self) -> AbstractSet[str]:
        """The names of the inputs, the request-time columns and the as-of timestamp."""
        return {*(item.column for item in self.inputs), *(column.name for column in self.request), AS_OF_TIMESTAMP}


def define_feature(builder: CatalogBuilder, name: str, scope: Scope) -> FeatureDefinition | None:
    """Return the definition of a declared feature; None, after a problem, if it is not valid."""
    group, feature = scope.group, scope.group.features[name]
    address = f"feature {group.name}.{name}"
    if not feature.valid:
        builder.broken.add(address)
        return None
    function, text = _text_of(builder, group, name)
    whole, expect = _whole_rules(builder, address, feature), _rendered_expectations(builder, address, feature)
    if text is None or expect is None:
        return None
    parsed = _read_sql(builder, feature, text, [rule.condition for rule in expect], scope)
    if parsed is None:
        return None
    reads = parsed.columns
    used = tuple(item for item in scope.inputs if item.column in reads)
    request = tuple(column for column in scope.request if column.name in reads)
    # This makes the function long: every field of a definition is set here, once.
    definition = FeatureDefinition(
        name=name,
        group=group.name,
        description=feature.description,
        unit=feature.unit,
        tags=feature.tags,
        dtype=feature.dtype,
        sql=text,
        variants=_variants(builder, feature, scope),
        expect=tuple(replace(rule, condition=_of_itself(rule.condition, feature)) for rule in expect),
        whole=whole,
        function=function,
        reads=reads,
        inputs=used if group.source is None else (),
        window=_window(feature),
        aggregates=parsed.aggregates,
        formula=parsed.formula,
        order=tuple(name.lower() for name in scope.source.tie_breaks) if parsed.aggregates and scope.source else (),
        request=request,
        as_of=group.source is None and _is_as_of(builder, reads, used),
        entity=group.entity.name if group.entity else None,
        keys=scope.keys,
        timed=False,
        ttl=None if parsed.aggregates else scope.ttl,
        fingerprint="",
        table="",
        renamed_from=former_address(builder, address, feature, group.features),
        **builder.guards(address, feature.protect, feature.deprecated),
        **builder.common(feature),
    )
    definition = _fingerprinted(builder, definition, scope, former_addresses(group, feature))
    if definition.sql != text:
        parsed = (expressions.windowed if feature.is_windowed else expressions.expression)(
            definition.sql, builder.cache
        )
        definition = revised(definition, reads=parsed.columns, aggregates=parsed.aggregates, formula=parsed.formula)
    if not definition.computed:
        return definition
    return revised(definition, request=needed(builder, definition, feature.origin))


def _text_of(
    builder: CatalogBuilder, group: GroupDeclaration, name: str
) -> tuple[FunctionDefinition | None, str | None]:
    """Return the Python function of a feature, if it has one, and its SQL; None for SQL with a mistake."""
    feature = group.features[name]
    if isinstance(feature, PythonFeature):
        function = feature_function(builder, group, feature)
        return function, call(function, feature.dtype) if function else None
    sql = feature.sql if feature.sql is not None else f'"{name}"'
    return None, builder.rendered(f"feature {group.name}.{name}", sql, feature.origin, {})


def _variants(builder: CatalogBuilder, feature: Feature[Any], scope: Scope) -> tuple[tuple[Dialect, str], ...]:
    """Return the SQL of a feature for the engine that computes its group, if it is written for that engine."""
    texts = {dialect: text for dialect, text in feature.variants.items() if dialect == scope.engine}
    address = f"feature {scope.group.name}.{feature.name}"
    return builder.variants(address, texts, feature.origin, {}, variants.check_expression)


def _rendered_expectations(builder: CatalogBuilder, address: str, feature: Feature[Any]) -> list[Expectation] | None:
    """Return the expectations of a feature with their templates rendered; None if one has a mistake."""
    rules = [rule for rule in feature.expect if isinstance(rule, Expectation)]
    conditions = [builder.rendered(address, rule.condition, feature.origin, {}) for rule in rules]
    rendered = [
        replace(rule, condition=condition)
        for rule, condition in zip(rules, conditions, strict=True)
        if condition is not None
    ]
    return rendered if len(rendered) == len(rules) else None


def _whole_rules(builder: CatalogBuilder, address: str, feature: Feature[Any]) -> tuple[WholeRule, ...]:
    """Return a feature's rules about all its values together; adds a problem for each statistic its type does not have."""
    rules = tuple(rule for rule in feature.expect if not isinstance(rule, Expectation))
    for statistic in [name for rule in rules for name in quality_rules.unfit(rule, feature.dtype)]:
        what = f"{address} is {feature.dtype}, which has no {statistic}."
        fix = "Use null_share= and distinct=, which work for every type."
        builder.refuse(address, "Unsupported statistic", what, feature.origin, fix)
    return rules


def _read_sql(
    builder: CatalogBuilder, feature: Feature[Any], text: str, conditions: Iterable[str], scope: Scope
) -> expressions.Expression | None:
    """Return the parsed SQL of a feature; None, after a problem, if it or one of the conditions is not valid."""
    address = f"feature {scope.group.name}.{feature.name}"
    try:
        parsed = (expressions.windowed if feature.is_windowed else expressions.expression)(text, builder.cache)
        for condition in conditions:
            expressions.expression(condition, builder.cache)
    except SqlProblem as problem:
        if not _refused_sibling(builder, feature, text, scope):
            builder.refuse(address, "Invalid SQL", f"{address}: {problem}", feature.origin, problem.fix)
        return None
    if feature.is_windowed and (scope.source is None or not scope.source.timestamp):
        lacks = "its source has no timestamp=" if scope.source else "its group is derived from features"
        what = f"{address} has a window, but {lacks}, so its rows have no times."
        builder.refuse(address, "Window without times", what, feature.origin, "Use a source with timestamp=.")
        return None
    missing = [column for column in parsed.columns if column not in scope.names] if scope.group.source is None else []
    if not missing:
        return parsed
    if not _refused_sibling(builder, feature, text, scope):
        what = f"{address} reads the column {missing[0]!r}, which is not one of its inputs."
        inputs = sorted(scope.names - {AS_OF_TIMESTAMP})
        fix = did_you_mean(missing[0], scope.names) or f"Its inputs are: {', '.join(inputs)}."
        builder.refuse(address, "Unknown column", what, feature.origin, fix)
    return None


def _refused_sibling(builder: CatalogBuilder, feature: Feature[Any], text: str, scope: Scope) -> bool:
    """Return whether a feature reads only other features of its group and inputs; if so, add a problem."""
    try:
        reads = expressions.expression(text, builder.cache).columns
    except SqlProblem:
        return False
    group, name = scope.group, feature.name or ""
    columns = {each for each, other in group.features.items() if other.sql in {None, each, f'"{each}"'}}
    read = siblings.read_by(reads, name, group.features, scope.names if scope.source is None else columns)
    inputs = [item.feature for item in scope.inputs if item.column in reads]
    if not read or len(read) + len(inputs) < len(reads):
        return False
    builder.broken.add(f"feature {group.name}.{name}")
    builder.problems.append(
        siblings.problem(
            siblings.ReadingFeature(f"feature {group.name}.{name}", feature.dtype, text, feature.origin),
            siblings.OwnGroup(group.origin, group.entity.name if group.entity else None),
            siblings.ReadColumns(read, inputs=inputs),
        )
    )
    return True


def _is_as_of(builder: CatalogBuilder, reads: Iterable[str], inputs: Iterable[Input]) -> bool:
    """Return whether a derived feature depends on the as-of timestamp, directly or through an input."""
    return AS_OF_TIMESTAMP in reads or any(builder.features[item.feature].as_of for item in inputs)


def former_address(
    builder: CatalogBuilder, address: str, renamed: GroupDeclaration | Feature[Any], declared: Container[str]
) -> str:
    """Return the former name of a group or feature; refuses a name that is still declared."""
    former = renamed.renamed_from or ""
    if former and former in declared:
        what = f"{address} is renamed from {former}, which is still declared."
        builder.refuse(address, "Name in use", what, renamed.origin, f"Remove {former}, or remove renamed_from=.")
    return former


def former_addresses(group: GroupDeclaration, feature: Feature[Any]) -> list[str]:
    """Return the addresses that a feature may have had before it or its group was renamed."""
    groups = filter(None, (group.name, group.renamed_from))
    names = [name for name in (feature.name, feature.renamed_from) if name]
    return [f"{each}.{name}" for each in groups for name in names][1:]


def _fingerprinted(
    builder: CatalogBuilder, feature: FeatureDefinition, scope: Scope, former: Sequence[str]
) -> FeatureDefinition:
    """Return a feature with its fingerprint. If the applied SQL means the same, both are the applied ones."""
    if scope.source is None:
        derived = partial(_derived_fingerprint, builder.cache)
        return builder.applied.feature(feature, former, derived, derived)
    source = scope.source.fingerprint
    return builder.applied.feature(
        feature,
        former,
        lambda each: _base_fingerprint(each, scope.key_sources, source, builder.cache),
        lambda each: _base_fingerprint(each, *builder.applied.base_of(each), builder.cache),
    )


def _derived_fingerprint(cache: AnalysisCache, feature: FeatureDefinition) -> str:
    # The names of inputs do not count, so that inputs can be renamed.
    names = {item.column: fingerprints.input_name(item) for item in feature.inputs}
    over = expressions.over(feature.sql, names, cache)
    sql = fingerprints.in_dialects(over, feature.variants)
    return fingerprints.derived_feature(dtype=feature.dtype, sql=sql, keys=feature.keys, asks=feature.asks)


def _base_fingerprint(feature: FeatureDefinition, keys: Keys, source: str, cache: AnalysisCache) -> str:
    return fingerprints.base_feature(
        dtype=feature.dtype,
        sql=fingerprints.in_dialects(expressions.expression(feature.sql, cache).canonical, feature.variants),
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
    """Return a condition with the feature's own name in place of the name of its family."""
    return expressions.renamed(condition, feature.family_name, feature.name) if feature.family_name else condition
