"""Spark's SQL of tables over a source: the values of a group."""

from __future__ import annotations

from collections.abc import Sequence

from featdsl.definitions.kinds import FeatureDefinition, GroupDefinition
from featdsl.definitions.names import EVENT_TIMESTAMP, UNTIL, VALID_TO
from featdsl.definitions.sources import Column, SourceDefinition
from featdsl.definitions.table_spec import TableSpec
from featdsl.engines.spark import comparisons, data_errors, source_times, translate
from featdsl.engines.spark.comparisons import comparable
from featdsl.engines.spark.expressions import computed, plain
from featdsl.engines.spark.scopes import Translated, unproved
from featdsl.engines.spark.sql_text import literal, quote, source_relation
from featdsl.engines.table_layout import source_keys, stored_columns

_KNOWN, _PLACE, _LAST = quote("#known"), quote("#place"), quote("#last")
"""Names of computed columns, which no source column has."""


def base_table(group: GroupDefinition, features: Sequence[FeatureDefinition], source: SourceDefinition) -> str:
    """Return the query of a group over a source, without the rows that lack a key or a time. Raises Unproved.

    Of a source with `available_at=`, it has the rows that were ever the latest, from the time when they became known.
    """
    table = table_of(features)
    times = [quote(f"#at {number}") for number in range(len(source.times))]
    stored_times = [*([_KNOWN] if source.available_at else []), *times]
    listed = [*key_values(group, table, source)]
    listed += [f"{time} AS {quote(column.name)}" for time, column in zip(stored_times, table.times, strict=False)]
    listed += [f"{_end(source, source_keys(group, table.keys))} AS {quote(VALID_TO)}"] if source.valid_to else []
    listed += [f"{value(feature, source)} AS {quote(feature.column)}" for feature in features]
    rows = select(listed, _latest_rows(group, table, source, times))
    by = [quote(key) for key in table.key_names]
    compared = [comparable(quote(each.name), each.dtype) for each in _compared(table, features)]
    rows = _without_repeats(rows, by, compared) if source.timestamp else _distinct(rows, by, compared)
    stored = [f"CAST({quote(each.name)} AS {plain(each.dtype)}) AS {quote(each.name)}" for each in stored_columns(features)]  # fmt: skip
    return f"{select(stored, rows)}{ordered(table.identity)}"


def table_of(features: Sequence[FeatureDefinition]) -> TableSpec:
    """Return the table of features. Raises Unproved for times and keys that Spark does not have, or compares otherwise."""
    table = TableSpec.of(features)
    if table.clock != "TIMESTAMP":
        raise unproved("a table with times in nanoseconds")
    for key in table.keys:
        if key.dtype not in comparisons.ALIKE and not key.dtype.startswith("DECIMAL("):
            raise unproved(f"the key {key.name} of type {key.dtype}")
    return table


def key_values(group: GroupDefinition, table: TableSpec, source: SourceDefinition) -> list[str]:
    """Return the keys of a table, read from columns of the source. Raises Unproved."""
    pairs = zip(source_keys(group, table.keys), table.keys, strict=True)
    return [f"{key_value(column, source, key.dtype)} AS {quote(key.name)}" for column, key in pairs]


def key_value(column: str, source: SourceDefinition, dtype: str) -> str:
    """Return a column of the source in the type of a key. Raises Unproved."""
    return translate.cast(Translated(quote(column), source.dtype(column)), dtype)


def value(feature: FeatureDefinition, source: SourceDefinition) -> str:
    """Return the value of a feature over a row of the source, in its plain type. Raises Unproved."""
    if feature.function:
        name = feature.sql.partition("(")[0]
        arguments = ", ".join(quote(parameter) for parameter in feature.function.parameters)
        return f"CAST({name}({arguments}) AS {plain(feature.dtype)})"
    return computed(feature, source.columns)


def select(listed: Sequence[str], relation: str, where: str = "") -> str:
    """Return a query of one item a line."""
    lines = ",\n".join(f"  {item}" for item in listed)
    return "\n".join([f"SELECT\n{lines}", f"FROM {relation}", *([f"WHERE {where}"] if where else [])])


def ordered(by: Sequence[str]) -> str:
    """Return the ORDER BY of a stored table, or `""`."""
    return f"\nORDER BY {', '.join(quote(column) for column in by)}" if by else ""


def over(by: Sequence[str], order: Sequence[str]) -> str:
    """Return the OVER clause of a window: the partition and the order."""
    partition = f"PARTITION BY {', '.join(by)} " if by else ""
    return f"OVER ({partition}ORDER BY {', '.join(order)})"


def present(columns: Sequence[str]) -> str:
    """Return the condition that columns of a source are not NULL, or `""`."""
    return " AND ".join(f"{quote(column)} IS NOT NULL" for column in columns)


def _end(source: SourceDefinition, keys: Sequence[str]) -> str:
    """Return the SQL of a row's end, NULL if it does not end. A row that ends before its timestamp raises a fault."""
    column, begin = source.valid_to or "", source.timestamp or ""
    end = source_times.of_source(source, column)
    shown = [data_errors.text(column, source.dtype(column)), literal(f", before its {begin} ")]
    shown.append(data_errors.text(begin, source.dtype(begin)))
    for key in keys:
        shown += [literal(f", {key} = "), data_errors.text(key, source.dtype(key))]
    early = data_errors.raising(
        "Row ends before it begins",
        f"{column} is",
        f"concat({', '.join(shown)})",
        "",
        "Correct the data, or leave such rows out in a Source(sql=...).",
    )
    return f"CASE WHEN {end} < {quote('#at 0')} THEN {early} ELSE {end} END"


def _compared(table: TableSpec, features: Sequence[FeatureDefinition]) -> list[Column]:
    """Return the columns that tell rows of one entity and time apart: rows that are equal in all of them are one row."""
    bounds = [column for column in table.bounds if column.name != EVENT_TIMESTAMP]
    return [*bounds, *(Column(name=each.column, dtype=each.dtype) for each in features)]


def _without_repeats(rows: str, by: Sequence[str], compared: Sequence[str]) -> str:
    """Return the relation of timed rows, each with the time of the entity's next one. Of equal rows, the last is kept."""
    window = over(by, [EVENT_TIMESTAMP])
    following = {EVENT_TIMESTAMP: quote(UNTIL)} | {each: quote(f"#next {i}") for i, each in enumerate(compared)}
    listed = ["*", *(f"lead({each}) {window} AS {name}" for each, name in following.items())]
    # The next time is NULL after the last row, which is therefore kept.
    repeats = " AND ".join(f"{name} <=> {each}" for each, name in following.items())
    return rows_of(select(["*"], rows_of(select(listed, rows_of(rows))), f"NOT ({repeats})"))


def _distinct(rows: str, by: Sequence[str], compared: Sequence[str]) -> str:
    """Return the relation of rows without times, equal ones once."""
    columns = [*by, *compared]
    listed = ["*", f"row_number() {over(columns, columns[:1])} AS {_PLACE}"]
    return rows_of(select(["*"], rows_of(select(listed, rows_of(rows))), f"{_PLACE} = 1"))


def rows_of(query: str) -> str:
    """Return a query as a relation."""
    return f"(\n{query}\n)"


def _latest_rows(group: GroupDefinition, table: TableSpec, source: SourceDefinition, times: Sequence[str]) -> str:
    """Return the relation of the rows of a source that are the latest at some time, with their instants. Raises Unproved.

    rank() keeps rows that tie: if they differ, the data has an error, and the check of duplicates reports it.
    """
    columns = source_keys(group, table.keys)
    keys = [comparable(quote(column), source.dtype(column)) for column in columns]
    instants = [source_times.of_source(source, column) for column in source.times]
    listed = ["*", *(f"{instant} AS {time}" for instant, time in zip(instants, times, strict=True))]
    conditions = [present([*columns, *source.times])] if columns or source.times else []
    if source.valid_to and not source.available_at:
        # A row that ends when it begins never holds: exports of histories have such rows for immediate replacements.
        conditions.append(f"NOT ({source_times.of_source(source, source.valid_to)} <=> {instants[0]})")
    rows = select(listed, source_relation(source.name), " AND ".join(conditions))
    ties = [ordered_tie(source, column) for column in source.tie_breaks]
    if source.available_at:
        # A row is the latest from when it is known, unless a row of a greater place is known by then.
        place = f"rank() {over(keys, [*times, *(f'{tie} ASC NULLS FIRST' for tie in ties)])}"
        rows = select(["*", f"greatest({', '.join(times)}) AS {_KNOWN}", f"{place} AS {_PLACE}"], rows_of(rows))
        rows = select(["*", f"max({_PLACE}) {over(keys, [_KNOWN])} AS {_LAST}"], rows_of(rows))
        rows = select(["*"], rows_of(rows), f"{_PLACE} = {_LAST}")
    elif source.tie_break:
        last = over([*keys, *times], [f"{tie} DESC NULLS LAST" for tie in ties])
        rows = select(["*"], rows_of(select(["*", f"rank() {last} AS {_PLACE}"], rows_of(rows))), f"{_PLACE} = 1")
    return rows_of(rows)


def ordered_tie(source: SourceDefinition, column: str) -> str:
    """Return a column that breaks ties. Raises Unproved if Spark does not order its type as DuckDB does."""
    dtype = source.dtype(column)
    if not comparisons.is_ordered_alike(dtype):
        raise unproved(f"the order of {column} of type {dtype}")
    return comparable(quote(column), dtype)
