"""Parts of tables in DuckDB: a query runs while its source has only the rows in some bounds of time.

The bounded rows are a view of the source's name in a database of their own, which the session searches first. Cursors of the same
session, in which other tables are built meanwhile, still read the whole source.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from featdsl.definitions.names import EVENT_TIMESTAMP, SOURCE_SCHEMA, SOURCE_TIMESTAMP, UNTIL, quote
from featdsl.definitions.sources import Column, SourceDefinition
from featdsl.definitions.timestamps import Clock
from featdsl.engines.duckdb import source_times
from featdsl.engines.duckdb.connections import attach_once
from featdsl.engines.duckdb.errors import translated
from featdsl.engines.duckdb.timestamps import after, at
from featdsl.engines.increments import Bounds, SourceTable, TablePart

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from featdsl.engines.increments import Increments

_BOUNDED = "bounded"
"""The database of bounded rows."""
_SEARCHED = f"{_BOUNDED}.{SOURCE_SCHEMA},memory.main,memory.{SOURCE_SCHEMA},memory.tables"


class DuckDBIncrements:
    """Implements `featdsl.engines.increments.Increments` over a connection."""

    def __init__(self, connection: DuckDBPyConnection) -> None:
        self._connection = connection

    @contextmanager
    def query(self, table: SourceTable, bounds: Bounds) -> Iterator[str]:
        """Return, while the context lasts, the query of the rows of a table in some bounds."""
        import duckdb

        if bounds == Bounds():
            yield table.sql
            return
        whole = f"memory.{_relation(table.source)}"
        view = f"{_BOUNDED}.{SOURCE_SCHEMA}.{quote(table.source.name)}"
        with translated():
            attach_once(self._connection, ":memory:", _BOUNDED, "READ_WRITE")
            for schema in (f"{_BOUNDED}.{SOURCE_SCHEMA}", "memory.tables"):
                self._connection.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}")
            self._connection.execute(f"CREATE OR REPLACE VIEW {view} AS {bounded_rows(table, bounds, whole)}")
            self._connection.execute(f"SET search_path = '{_SEARCHED}'")
        try:
            yield continued(table, bounds.since) if bounds.since is not None else table.sql
        finally:
            # A session that an error has ended reports that error, not that it has ended.
            with suppress(duckdb.Error):
                self._connection.execute("SET search_path = 'memory.main'")
                self._connection.execute(f"DROP VIEW {view}")

    def part(self, table: SourceTable, since: str | None, rows: str) -> TablePart:
        """Return the part of a table from an event time on, or the whole table, over the source rows of a relation."""
        if since is None:
            return TablePart(f"SELECT * FROM {rows}", table.sql)
        return TablePart(bounded_rows(table, Bounds(since), rows), continued(table, since))

    def first_time(self, table: SourceTable) -> str | None:
        """Return the first event time of the source, as text; None if it has no rows."""
        return self._text(f"SELECT CAST(min({_known(table)}) AS VARCHAR) FROM {_relation(table.source)}")

    def count_rows(self, source: SourceDefinition) -> int:
        """Return the number of rows of an open source."""
        with translated():
            ((rows,),) = self._connection.execute(f"SELECT count(*) FROM {_relation(source)}").fetchall()
        return int(rows)

    def split_times(self, table: SourceTable, batches: int) -> list[str]:
        """Return the event times, in order, that split the source into batches of about as many rows each."""
        shares = ", ".join(f"{place / batches:.6f}" for place in range(1, batches))
        # To the microsecond. Infinite times are in the first or the last batch, whatever the bounds are.
        finite = f"CASE WHEN isfinite({_known(table)}) THEN epoch_us({_known(table)}) END"
        bounds = f"SELECT unnest(approx_quantile({finite}, [{shares}])) FROM {_relation(table.source)}"
        times = f"SELECT DISTINCT CAST(make_timestamp(bound) AS VARCHAR) FROM ({bounds}) AS t(bound) WHERE bound IS NOT NULL"
        with translated():
            return sorted(time for (time,) in self._connection.execute(times).fetchall())

    def last_time(self, table: str) -> str | None:
        """Return the last event time of an open stored table, as text; None if it has no rows."""
        return self._text(f"SELECT CAST(max({EVENT_TIMESTAMP}) AS VARCHAR) FROM tables.{quote(table)}")

    def time_after_last(self, table: str, clock: Clock) -> str | None:
        """Return the time just after the last event time of an open stored table; None if it has no rows."""
        time = EVENT_TIMESTAMP
        next_ = f"{time} + to_microseconds(1)" if clock == "TIMESTAMP" else f"make_timestamp_ns(epoch_ns({time}) + 1)"
        just_after = f"CASE WHEN isfinite({time}) THEN {next_} ELSE {time} END"
        return self._text(f"SELECT CAST(max({just_after}) AS VARCHAR) FROM tables.{quote(table)}")

    def time_to_read_from(self, table: str, clock: Clock, read_at: str, lookback: int) -> str | None:
        """Return the event time from which on rows may be new to an open stored table; None if it has no rows."""
        end = f"least(max({EVENT_TIMESTAMP}), {at(read_at, clock)})" if read_at else f"max({EVENT_TIMESTAMP})"
        time = after(f"({end})", -lookback, clock) if lookback else end
        # least() ignores NULL, so a table without rows would seem to have a time.
        return self._text(f"SELECT CASE WHEN count(*) > 0 THEN CAST({time} AS VARCHAR) END FROM tables.{quote(table)}")

    def _text(self, query: str) -> str | None:
        with translated():
            ((text,),) = self._connection.execute(query).fetchall()
        return None if text is None else str(text)


def _relation(source: SourceDefinition) -> str:
    return f"{SOURCE_SCHEMA}.{quote(source.name)}"


def _times(table: SourceTable) -> list[str]:
    """Return the SQL, over the source, of when a row became true, and of when it became known if the source says so."""
    return [source_times.of_source(table.source, name, table.clock) for name in table.source.times]


def _known(table: SourceTable) -> str:
    """Return the SQL, over the source, of a row's event timestamp."""
    times = _times(table)
    return f"greatest({', '.join(times)})" if len(times) > 1 else times[0]


def bounded_rows(table: SourceTable, bounds: Bounds, source: str) -> str:
    """Return the query of the source rows, in a relation, that the rows of a table in some bounds are computed from."""
    known = _known(table)
    conditions = [f"{known} >= {at(bounds.since, table.clock)}"] if bounds.since is not None else []
    conditions += [f"{known} < {at(bounds.upto, table.clock)}"] if bounds.upto is not None else []
    rows = f"{source} WHERE {' AND '.join(conditions)}"
    if bounds.since is None or not {SOURCE_TIMESTAMP, UNTIL} <= table.dtypes.keys():
        return f"SELECT * FROM {rows}"
    # A row that becomes known now is a row of the table unless a later one was known before. Of two rows of the same source
    # time, the one that became known last wins.
    pairs = zip(table.keys, table.source_keys, strict=True)
    own = [f"CAST({quote(column)} AS {table.dtypes[key]})" for key, column in pairs]
    names = [quote(f"#key {number}") for number in range(len(own))]
    listed = "".join(f"{quote(key)} AS {name}, " for key, name in zip(table.keys, names, strict=True))
    last = (
        f'SELECT {listed}arg_max({SOURCE_TIMESTAMP}, {EVENT_TIMESTAMP}) AS "#last" FROM memory.tables.{quote(table.name)} '
        f"WHERE {EVENT_TIMESTAMP} < {at(bounds.since, table.clock)} GROUP BY ALL HAVING count(*) > 0"
    )
    own_names = [quote(f"#own {number}") for number in range(len(own))]
    added = [f"{sql} AS {name}" for sql, name in zip(own, own_names, strict=True)]
    added.append(f'{_times(table)[0]} AS "#time"')
    hidden = ", ".join([*own_names, '"#time"', '"#last"', *names])
    same = " AND ".join(f"{mine} = {name}" for mine, name in zip(own_names, names, strict=True)) or "true"
    return (
        f"SELECT * EXCLUDE ({hidden}) "
        f"FROM (SELECT {', '.join(['*', *added])} FROM {rows}) "
        f'LEFT JOIN ({last}) ON {same} WHERE "#last" IS NULL OR "#time" >= "#last"'
    )


def continued(table: SourceTable, since: str) -> str:
    """Return the query of a table's rows from a time on; their running totals continue those of the stored rows before."""
    totals = [column for column in table.columns if column.name.startswith(("#count", "#sum"))]
    if not totals:
        return table.sql
    keys = [quote(key) for key in table.keys]
    before = [f"arg_max({quote(each.name)}, {EVENT_TIMESTAMP}) AS {quote(each.name)}" for each in totals]
    last = (
        f"SELECT {', '.join([*keys, *before])} FROM tables.{quote(table.name)} "
        f"WHERE {EVENT_TIMESTAMP} < {at(since, table.clock)} GROUP BY ALL HAVING count(*) > 0"
    )
    same = " AND ".join(f"last.{key} = own.{key}" for key in keys) or "true"
    own_time = SOURCE_TIMESTAMP if SOURCE_TIMESTAMP in table.dtypes else EVENT_TIMESTAMP
    order = ", ".join(f"own.{key}" for key in [*keys, own_time])
    listed = ", ".join(_continued(each) if each in totals else f"own.{quote(each.name)}" for each in table.columns)
    return f"SELECT {listed}\nFROM (\n{table.sql}\n) AS own\nLEFT JOIN ({last}) AS last ON {same}\nORDER BY {order}"


def _continued(total: Column) -> str:
    name = quote(total.name)
    return f"CAST(coalesce(last.{name} + own.{name}, last.{name}, own.{name}) AS {total.dtype}) AS {name}"


if TYPE_CHECKING:

    def _check(increments: DuckDBIncrements) -> Increments:
        return increments
