"""Find what Spark cannot compute of a group with the values that DuckDB has."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Literal

from featdsl.definitions.kinds import FeatureDefinition
from featdsl.definitions.sources import SourceDefinition
from featdsl.engines import NO_TABLES, StoredColumns, Unsupported
from featdsl.engines.lookups import Versions
from featdsl.engines.spark import events, queries, source_times, tables
from featdsl.engines.spark.comparisons import comparable
from featdsl.engines.spark.expressions import plain
from featdsl.engines.spark.scopes import Unproved

_WRITE = 'Write it for Spark too: sql={"duckdb": "...", "spark": "..."}.'
_TYPE = "Give it another type, or compute the group in DuckDB."
_TIMES = "Convert them in a Source(sql=...), or compute the group in DuckDB."


def unsupported(
    features: Sequence[FeatureDefinition],
    sources: Sequence[SourceDefinition],
    versions: Versions,
    stored: StoredColumns = NO_TABLES,
) -> Iterator[Unsupported]:
    """Yield what cannot be computed of a group: its sources, of which its own comes last, and its features.

    `stored` has the columns of the tables that windowed inputs read.
    """
    known = {source.name: source.columns for source in sources}
    for source in sources:
        if source.sql and "spark" not in dict(source.variants):
            inputs = {name: known.get(name, ()) for name in source.inputs}
            yield from _tried("source", source.name, _WRITE, partial(queries.query, source.sql, inputs))
    own = sources[-1] if sources else None
    if own:
        yield from _tried("source", own.name, _TIMES, partial(_check_times, own))
    tables_seen: set[str] = set()
    for feature in features:
        if feature.table not in tables_seen:
            tables_seen.add(feature.table)
            yield from _tried("feature", feature.address, _TYPE, partial(_check_table, feature, own))
        if own:
            yield from _of_feature(feature, own)
        else:
            yield from _of_derived(feature, versions, stored)


def _tried(
    kind: Literal["feature", "source"], address: str, fix: str, check: Callable[[], object]
) -> Iterator[Unsupported]:
    """Yield why a check fails, if it does."""
    try:
        check()
    except Unproved as refusal:
        yield Unsupported(kind, address, str(refusal), fix)


def _check_times(source: SourceDefinition) -> None:
    for column in [*source.times, *([source.valid_to] if source.valid_to else [])]:
        source_times.of_source(source, column)
    for column in source.tie_breaks:
        tables.ordered_tie(source, column)


def _check_table(feature: FeatureDefinition, source: SourceDefinition | None) -> None:
    """Check the keys and times of the table of a feature. Raises Unproved."""
    table = tables.table_of([feature])
    named = {column.name.lower() for column in source.columns} if source else set()
    for key in table.keys:
        # A key in a column of another name is checked when its table is compiled.
        if source and key.name.lower() in named:
            comparable(tables.key_value(key.name, source, key.dtype), source.dtype(key.name))


def _of_derived(feature: FeatureDefinition, versions: Versions, stored: StoredColumns) -> Iterator[Unsupported]:
    """Yield why a derived feature cannot be computed: its type, or else its SQL."""
    refused = list(_tried("feature", feature.address, _TYPE, partial(_check_type, feature)))
    yield from refused or _tried("feature", feature.address, _WRITE, partial(_check_derived, feature, versions, stored))


def _of_feature(feature: FeatureDefinition, source: SourceDefinition) -> Iterator[Unsupported]:
    """Yield why a feature over a source cannot be computed: its type, or else its SQL.

    The table of a window has source rows and running totals. DuckDB aggregates them when they are read, so any aggregate will do.
    """
    if feature.window:
        yield from _tried("feature", feature.address, _TYPE, partial(_check_read, feature, source))
        fix = "Compute the group in DuckDB."
        yield from _tried("feature", feature.address, fix, partial(events.check, feature, source))
        return
    refused = list(_tried("feature", feature.address, _TYPE, partial(_check_type, feature)))
    if refused:
        yield from refused
    else:
        fix = _TYPE if feature.function else _WRITE
        yield from _tried("feature", feature.address, fix, partial(_check_value, feature, source))


def _check_type(feature: FeatureDefinition) -> None:
    plain(feature.dtype)
    comparable("value", feature.dtype)


def _check_read(feature: FeatureDefinition, source: SourceDefinition) -> None:
    for column in [*feature.reads, *feature.order]:
        plain(source.dtype(column))


def _check_value(feature: FeatureDefinition, source: SourceDefinition) -> None:
    if feature.function:
        for column in feature.function.parameters:
            plain(source.dtype(column))
    tables.value(feature, source)


def _check_derived(feature: FeatureDefinition, versions: Versions, stored: StoredColumns) -> None:
    """Check the table of a derived feature, which reads those of its inputs. Raises Unproved."""
    from featdsl.engines.spark import derived_tables

    derived_tables.derived_table([feature], versions, events=stored)
