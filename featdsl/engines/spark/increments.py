"""Parts of tables on Spark: the rows of a source in some bounds of time, and a query that continues a stored table."""

from __future__ import annotations

from featdsl.definitions.names import EVENT_TIMESTAMP, SOURCE_TIMESTAMP, UNTIL
from featdsl.definitions.sources import Column, SourceDefinition
from featdsl.engines.increments import Bounds, SourceTable
from featdsl.engines.spark import source_times, tables
from featdsl.engines.spark.expressions import plain
from featdsl.engines.spark.sql_text import quote, table_relation
from featdsl.engines.spark.times import at

_DAY = "INTERVAL '1' DAY"
_MOST_DIGITS = 38


def bounded_rows(table: SourceTable, bounds: Bounds, source: str) -> str:
    """Return the query of the source rows, in a relation, that the rows of a table in some bounds are computed from.

    It may have more columns than the source, of names that no source column has.
    """
    within = " AND ".join(_within(table, bounds))
    if bounds.since is None or not {SOURCE_TIMESTAMP, UNTIL} <= table.dtypes.keys():
        return tables.select(["*"], source, within)
    # A row that becomes known now is a row of the table unless a later one was known before. Of two rows of the same source
    # time, the one that became known last wins.
    own = [
        f"{tables.key_value(column, table.source, table.dtypes[key])} AS {quote(f'#own {number}')}"
        for number, (key, column) in enumerate(zip(table.keys, table.source_keys, strict=True))
    ]
    # Sail fails to plan a join whose conditions raise faults.
    rows = tables.rows_of(tables.select(["*", *own, f"{_times(table)[0]} AS `#time`"], source, within))
    names = {quote(key): quote(f"#key {number}") for number, key in enumerate(table.keys)}
    last = _last_before(table, bounds.since, names, [f"max_by({SOURCE_TIMESTAMP}, {EVENT_TIMESTAMP}) AS `#last`"])
    same = " AND ".join(f"own.{quote(f'#own {number}')} = last.{name}" for number, name in enumerate(names.values()))
    joined = f"{rows} AS own\nLEFT JOIN {last} AS last ON {same or 'true'}"
    return tables.select(["own.*"], joined, "last.`#last` IS NULL OR own.`#time` >= last.`#last`")


def continued(table: SourceTable, since: str) -> str:
    """Return the query of a table's rows from a time on; their running totals continue those of the stored rows before."""
    totals = [column for column in table.columns if column.name.startswith(("#count", "#sum"))]
    if not totals:
        return table.sql
    keys = [quote(key) for key in table.keys]
    before = [f"max_by({quote(each.name)}, {EVENT_TIMESTAMP}) AS {quote(each.name)}" for each in totals]
    last = _last_before(table, since, {key: key for key in keys}, before)
    same = " AND ".join(f"last.{key} = own.{key}" for key in keys) or "true"
    own_time = SOURCE_TIMESTAMP if SOURCE_TIMESTAMP in table.dtypes else EVENT_TIMESTAMP
    order = ", ".join(f"own.{key}" for key in [*keys, quote(own_time)])
    listed = [_continued(each) if each in totals else f"own.{quote(each.name)}" for each in table.columns]
    rows = f"{tables.rows_of(table.sql)} AS own\nLEFT JOIN {last} AS last ON {same}"
    return f"{tables.select(listed, rows)}\nORDER BY {order}"


def _continued(total: Column) -> str:
    name, dtype = quote(total.name), plain(total.dtype)
    own, last = f"own.{name}", f"last.{name}"
    if dtype.startswith("DECIMAL"):
        # The sum of two decimals of 38 digits would lose digits after the point.
        addend = f"DECIMAL({_MOST_DIGITS - 1},{dtype.rpartition(',')[2]}"
        added = f"CAST({last} AS {addend}) + CAST({own} AS {addend})"
    else:
        added = f"{last} + {own}"
    return f"CAST(coalesce({added}, {last}, {own}) AS {dtype}) AS {name}"


def _last_before(table: SourceTable, since: str, keys: dict[str, str], values: list[str]) -> str:
    """Return the relation of what each entity had in the stored table before a time. `keys` has a new name for each key."""
    listed = ", ".join([*(f"{key} AS {name}" for key, name in keys.items()), *values])
    grouped = f"GROUP BY {', '.join(keys)}" if keys else "HAVING count(*) > 0"
    return f"(\nSELECT {listed}\nFROM {table_relation(table.name)}\nWHERE {EVENT_TIMESTAMP} < {at(since)}\n{grouped}\n)"


def _times(table: SourceTable) -> list[str]:
    """Return the SQL, over the source, of when a row became true, and of when it became known if the source says so."""
    return [source_times.of_source(table.source, name) for name in table.source.times]


def _within(table: SourceTable, bounds: Bounds) -> list[str]:
    """Return the conditions that a row's event timestamp is in some bounds.

    Conditions on plain columns, which follow from the others, let Spark skip files.
    """
    source, times = table.source, _times(table)
    known = f"greatest({', '.join(times)})" if len(times) > 1 else times[0]
    conditions = []
    if bounds.since is not None:
        conditions += [f"{known} >= {at(bounds.since)}"]
        some = [_bound(source, column, ">=", bounds.since) for column in source.times]
        conditions += [f"({' OR '.join(some)})"] if all(some) else []
    if bounds.upto is not None:
        conditions += [f"{known} < {at(bounds.upto)}"]
        conditions += filter(None, (_bound(source, column, "<=", bounds.upto) for column in source.times))
    return conditions


def _bound(source: SourceDefinition, column: str, comparison: str, time: str) -> str:
    """Return a condition on a column that all rows in a bound meet, in the type of the column; `""` for numbers."""
    dtype = source.dtype(column)
    limit = at(time)
    if source_times.is_local(dtype, source.reading):
        # Clocks of a zone differ from UTC by less than a day.
        limit = f"{limit} {'-' if comparison == '>=' else '+'} {_DAY}"
    match dtype:
        case "DATE":
            return f"{quote(column)} {comparison} CAST({limit} AS DATE)"
        case "TIMESTAMP":
            return f"{quote(column)} {comparison} {limit}"
        case source_times.ZONED:
            return f"{quote(column)} {comparison} CAST({limit} AS TIMESTAMP_LTZ)"
    return ""
