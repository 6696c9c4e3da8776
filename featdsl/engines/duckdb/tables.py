"""The SQL of tables over a source: the values of a group, and the source rows that its windows aggregate."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from featdsl.definitions import timestamps
from featdsl.definitions.kinds import FeatureDefinition, GroupDefinition
from featdsl.definitions.names import EVENT_TIMESTAMP, SOURCE_SCHEMA, UNTIL, VALID_TO, literal, quote
from featdsl.definitions.sources import Column, SourceDefinition
from featdsl.definitions.table_spec import TableSpec
from featdsl.engines.duckdb import data_errors, source_times
from featdsl.engines.duckdb.expressions import cast
from featdsl.engines.duckdb.windows.families import Call, stored
from featdsl.engines.duckdb.windows.running_totals import count_column
from featdsl.engines.events import event_columns, read_columns, totals_of
from featdsl.engines.table_layout import source_keys

_KNOWN, _PLACE = '"#known"', '"#place"'
"""Names of computed columns, which no source column has."""


def events_table(group: GroupDefinition, features: Sequence[FeatureDefinition], source: SourceDefinition) -> str:
    """Return the query of the rows that windows aggregate: all rows with keys and times, ordered by both.

    Unless rows become known late, each row has its entity's running totals up to its time.
    """
    table = TableSpec.of(features)
    times = [source_times.of_source(source, name, table.clock) for name in source.times]
    stored_times = [f"greatest({', '.join(times)})", times[0]] if source.available_at else times
    sources = dict(zip(key_columns(group, table.keys), table.keys, strict=True))
    listed = [f"CAST({column} AS {key.dtype}) AS {quote(key.name)}" for column, key in sources.items()]
    listed += [f"{time} AS {column.name}" for time, column in zip(stored_times, table.times, strict=True)]
    listed += [f"{quote(column)} AS {quote(stored(column))}" for column in read_columns(features)]
    totals = totals_of(table, features)
    listed += [f"{_counted(call)} AS {quote(f'#{name}')}" for name, call in totals.items() if call]
    present = " AND ".join(f"{column} IS NOT NULL" for column in [*sources, *map(quote, source.times)])
    rows = f"SELECT\n{_lines(listed)}\nFROM {SOURCE_SCHEMA}.{quote(source.name)}\nWHERE {present}"
    order = [*map(quote, table.key_names), table.times[-1].name]
    if totals:
        columns = [quote(column.name) for column in event_columns(features, source)][: -len(totals)]
        running = [f"{_running(name, call)} OVER so_far AS {quote(name)}" for name, call in totals.items()]
        window = f"WINDOW so_far AS ({over_clause(order[:-1], order[-1:])})"
        rows = f"SELECT\n{_lines([*columns, *running])}\nFROM (\n{rows}\n)\n{window}"
    return f"{rows}\nORDER BY {', '.join(order)}"


def _counted(call: Call) -> str:
    """Return the value of a row to count or sum: NULL if the row does not meet the condition."""
    argument = f"(\n{call.argument}\n)" if call.argument else "1"
    return f"CASE WHEN (\n{call.where}\n) THEN {argument} END" if call.where else argument


def _running(name: str, call: Call | None) -> str:
    if call is None:
        return "count(*)"
    counted = quote(f"#{name}")
    return f"count({counted})" if name == count_column(call.total) else f"sum({counted})"


def key_columns(group: GroupDefinition, keys: Sequence[Column]) -> list[str]:
    """Return the quoted source column of each key."""
    return [quote(column) for column in source_keys(group, keys)]


def _lines(listed: Iterable[str]) -> str:
    return ",\n".join(f"  {item}" for item in listed)


def base_table(group: GroupDefinition, features: Sequence[FeatureDefinition], source: SourceDefinition) -> str:
    """Return the query of a group over a source, without the rows that lack a key or a time.

    Of a source with `available_at=`, it has the rows that were ever the latest, from the time when they became known.
    """
    table = TableSpec.of(features)
    keys, by = key_columns(group, table.keys), [quote(key) for key in table.key_names]
    listed = [
        f"CAST({column} AS {key.dtype}) AS {quote(key.name)}" for column, key in zip(keys, table.keys, strict=True)
    ]
    times = [source_times.of_source(source, name, table.clock) for name in source.times]
    stored_times = [*([_KNOWN] if source.available_at else []), *times]
    listed += [f"{time} AS {column.name}" for time, column in zip(stored_times, table.times, strict=False)]
    listed += [f"{_end(source, keys, table.clock)} AS {VALID_TO}"] if source.valid_to else []
    listed += [f"{cast(feature.sql, feature.dtype)} AS {quote(feature.column)}" for feature in features]
    rows = "\n".join(["SELECT", _lines(listed), *_latest_rows(source, keys, times)])
    compared = _compared(table, features)
    if source.timestamp:
        order = over_clause(by, [EVENT_TIMESTAMP])
        until = f"coalesce(lead({EVENT_TIMESTAMP}) OVER ({order}), {table.clock} 'infinity')"
        rows = f"SELECT *, {until} AS {quote(UNTIL)}\nFROM (\n{rows}\n)\nQUALIFY {_unless_next(compared, order)}"
    else:
        rows = f"SELECT DISTINCT ON ({', '.join([*by, *compared])}) *\nFROM (\n{rows}\n)"
    return "\n".join([rows, *order_clause(table)])


def _end(source: SourceDefinition, keys: Sequence[str], clock: timestamps.Clock) -> str:
    """Return the SQL of a row's end, NULL if it does not end. A row that ends before its timestamp raises a fault."""
    column, begin = source.valid_to or "", source.timestamp or ""
    end, since = source_times.of_source(source, column, clock), source_times.of_source(source, begin, clock)
    labels = [(literal(f", {key[1:-1]} = "), key) for key in keys]
    of = "".join(f" || {label} || CAST({key} AS VARCHAR)" for label, key in labels)
    named = f"({quote(column)} || {literal(f', before its {begin} ')} || {quote(begin)}{of})"
    early = data_errors.raising(
        "Row ends before it begins",
        f"{column} is",
        named,
        "",
        "Correct the data, or leave such rows out in a Source(sql=...).",
    )
    return f"CASE WHEN {end} < {since} THEN {early} ELSE nullif({end}, {clock} 'infinity') END"


def _compared(table: TableSpec, features: Sequence[FeatureDefinition]) -> list[str]:
    """Return the columns that tell rows of one entity and time apart: rows that are equal in all of them are one row."""
    values = [
        # DuckDB also treats a month and 30 days as equal, and one instant in two zones.
        f"CAST({quote(each.column)} AS VARCHAR)"
        if any(name in each.dtype for name in ("INTERVAL", "TIME WITH TIME ZONE"))
        else quote(each.column)
        for each in features
    ]
    return [*(column.name for column in table.bounds if column.name != EVENT_TIMESTAMP), *values]


def _unless_next(columns: Iterable[str], order: str) -> str:
    """Return the condition that a row differs from the next one: of equal rows, the last is kept."""
    values = f"row({', '.join(columns)})"
    return (
        f"lead({EVENT_TIMESTAMP}) OVER ({order}) IS DISTINCT FROM {EVENT_TIMESTAMP}\n"
        f"  OR lead({values}) OVER ({order}) IS DISTINCT FROM {values}"
    )


def _latest_rows(source: SourceDefinition, keys: Sequence[str], times: Sequence[str]) -> list[str]:
    """Return the clauses after SELECT that give the rows of a source that are the latest at some time.

    rank() keeps rows that tie: if they differ, the data has an error, and the check of duplicates reports it.
    """
    present = [*keys, *(quote(name) for name in source.times)]
    relation = f"{SOURCE_SCHEMA}.{quote(source.name)}"
    conditions = [f"{column} IS NOT NULL" for column in present]
    if source.valid_to and not source.available_at:
        # A row that ends when it begins never holds: exports of histories have such rows for immediate replacements.
        clock = source.clock
        conditions.append(f"{source_times.of_source(source, source.valid_to, clock)} IS DISTINCT FROM {times[0]}")
    where = [f"WHERE {' AND '.join(conditions)}"] if conditions else []
    rows, by = [f"FROM {relation}", *where], present
    if source.timezone and (source.available_at or source.tie_break):
        # Local times are not in the order of their instants: a skipped time is read with the offset before the gap.
        by = [*keys, *(quote(f"#at {number}") for number in range(len(times)))]
        instants = ", ".join(f"{time} AS {at}" for time, at in zip(times, by[len(keys) :], strict=True))
        inside = "\n".join(f"  {line}" for line in [f"SELECT *, {instants}", *rows])
        rows, times = [f"FROM (\n{inside}\n) AS {quote(source.name)}"], by[len(keys) :]
    if source.available_at:
        # A row is the latest from when it is known, unless a row of a greater place is known by then.
        known = f"greatest({', '.join(times)}) AS {_KNOWN}"
        last = [f"{quote(column)} NULLS FIRST" for column in source.tie_breaks]
        place = f"rank() OVER ({over_clause(keys, [*by[len(keys) :], *last])}) AS {_PLACE}"
        inside = "\n".join(f"  {line}" for line in [f"SELECT *, {known}, {place}", *rows])
        kept = f"QUALIFY {_PLACE} = max({_PLACE}) OVER ({over_clause(keys, [_KNOWN])})"
        return [f"FROM (\n{inside}\n) AS {quote(source.name)}", kept]
    if source.tie_break:
        last = [f"{quote(column)} DESC NULLS LAST" for column in source.tie_breaks]
        return [*rows, f"QUALIFY rank() OVER ({over_clause(by, last)}) = 1"]
    return rows


def over_clause(by: Sequence[str], order: Sequence[str]) -> str:
    """Return the text inside OVER (...): the partition and the order."""
    partition = f"PARTITION BY {', '.join(by)} " if by else ""
    return f"{partition}ORDER BY {', '.join(order)}"


def order_clause(table: TableSpec) -> list[str]:
    """Return the ORDER BY of a stored table as a list of one line, or an empty list."""
    by = ", ".join(quote(column) for column in table.identity)
    return [f"ORDER BY {by}"] if by else []
