"""Spark's SQL of the source rows that windows aggregate, with running totals."""

from __future__ import annotations

from collections.abc import Sequence

from featdsl.definitions.dtypes import parse
from featdsl.definitions.kinds import FeatureDefinition, GroupDefinition
from featdsl.definitions.sources import Column, SourceDefinition
from featdsl.definitions.table_spec import TableSpec
from featdsl.engines.duckdb.windows.families import Call, stored
from featdsl.engines.duckdb.windows.running_totals import count_column
from featdsl.engines.events import event_columns, read_columns, totals_of
from featdsl.engines.spark import source_times, tables, translate
from featdsl.engines.spark.expressions import plain
from featdsl.engines.spark.sql_text import quote, source_relation
from featdsl.engines.spark.tables import ordered, over, rows_of, select
from featdsl.engines.table_layout import source_keys

_SAFE_DIGITS = 28
"""Sums of decimals with more digits may overflow, which servers do not always notice."""


def events_table(group: GroupDefinition, features: Sequence[FeatureDefinition], source: SourceDefinition) -> str:
    """Return the query of the rows that windows aggregate: all rows with keys and times, ordered by both. Raises Unproved.

    Unless rows become known late, each row has its entity's running totals up to its time.
    """
    table = tables.table_of(features)
    times = [source_times.of_source(source, name) for name in source.times]
    stored_times = [f"greatest({', '.join(times)})", times[0]] if source.available_at else times
    listed = tables.key_values(group, table, source)
    listed += [f"{time} AS {quote(column.name)}" for time, column in zip(stored_times, table.times, strict=True)]
    listed += [f"{quote(column)} AS {quote(stored(column))}" for column in read_columns(features)]
    totals = totals_of(table, features)
    listed += [f"{_counted(name, call, source)} AS {quote(f'#{name}')}" for name, call in totals.items() if call]
    present = tables.present([*source_keys(group, table.keys), *source.times])
    rows = rows_of(select(listed, source_relation(source.name), present))
    columns = event_columns(features, source)
    so_far = over([quote(key) for key in table.key_names], [quote(table.times[-1].name)])
    values = [_stored(each, _running(each.name, totals[each.name], so_far) if each.name in totals else quote(each.name)) for each in columns]  # fmt: skip
    return f"{select(values, rows)}{ordered([*table.key_names, table.times[-1].name])}"


def check(feature: FeatureDefinition, source: SourceDefinition) -> None:
    """Raise Unproved if the running totals of a windowed feature cannot be computed."""
    for name, call in totals_of(TableSpec.of([feature]), [feature]).items():
        if call:
            _counted(name, call, source)


def _stored(column: Column, value: str) -> str:
    return f"CAST({value} AS {plain(column.dtype)}) AS {quote(column.name)}"


def _counted(name: str, call: Call, source: SourceDefinition) -> str:
    """Return the value of a row to count or sum: NULL if the row does not meet the condition. Raises Unproved."""
    argument = translate.expression(call.argument, source.columns).sql if call.argument else "1"
    if name != count_column(call.total):
        argument = _summed(argument, call.dtype)
    if not call.where:
        return argument
    return f"CASE WHEN {translate.expression(call.where, source.columns).sql} THEN {argument} END"


def _summed(argument: str, dtype: str) -> str:
    """Return a value in the type of its sums, which holds them."""
    if not dtype.startswith("DECIMAL"):
        return f"CAST({argument} AS DECIMAL(38,0))"
    digits, scale = map(int, parse(dtype).arguments.split(","))
    if digits > _SAFE_DIGITS:
        argument = f"CAST({argument} AS DECIMAL({max(_SAFE_DIGITS, scale)},{scale}))"
    return f"CAST({argument} AS DECIMAL(38,{scale}))"


def _running(name: str, call: Call | None, so_far: str) -> str:
    if call is None:
        return f"count(*) {so_far}"
    counted = quote(f"#{name}")
    return f"count({counted}) {so_far}" if name == count_column(call.total) else f"sum({counted}) {so_far}"
