"""The SQL of derived tables: values at every change of an input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from featdsl.definitions.kinds import FeatureDefinition, Moments
from featdsl.definitions.names import EVENT_TIMESTAMP, quote
from featdsl.definitions.sources import Column
from featdsl.definitions.table_spec import RowSpec, TableSpec
from featdsl.definitions.timestamps import Clock
from featdsl.engines import changing_rows as rows_of_changes
from featdsl.engines.duckdb import timestamps as sql_timestamps
from featdsl.engines.duckdb.lookups import compile_sql, sliding
from featdsl.engines.duckdb.tables import order_clause
from featdsl.engines.duckdb.views import spine_of_rows
from featdsl.engines.lookups import Versions, Want


def derived_table(features: Sequence[FeatureDefinition], versions: Versions, since: str | None = None) -> str:
    """Return the query of a derived group: its values at every change of one of its inputs.

    A group with rows at its own changes has none for changes of another entity's inputs. Rows start at `since`, a time as
    text.
    """
    table = TableSpec.of(features)
    changes = changing_rows(features, versions, table.moments)
    if since:
        changes = f"(SELECT * FROM {changes} WHERE {EVENT_TIMESTAMP} >= {sql_timestamps.at(since, table.clock)})"
    wants = [Want(feature.column, feature) for feature in features]
    computed = _WRITER.values(wants, changes, table, versions)
    return "\n".join([f"SELECT *\nFROM (\n{computed}\n)", *order_clause(table)])


def changing_rows(features: Sequence[FeatureDefinition], versions: Versions, moments: Moments = "every change") -> str:
    """Return the relation of keys and times at which a derived group's values may change."""
    return rows_of_changes.changing_rows(features, versions, moments, _WRITER)


def change_times(feature: FeatureDefinition, clock: Clock) -> str:
    """Return the relation of a stored table's keys and times, including the times when values expire."""
    return rows_of_changes.change_times(feature, clock, _WRITER)


class _DuckDBWriter:
    """Implements `featdsl.engines.changing_rows.ChangeWriter`."""

    def quote(self, name: str) -> str:
        """Return a quoted name."""
        return quote(name)

    def table(self, name: str) -> str:
        """Return the relation of a stored table."""
        return f"tables.{quote(name)}"

    def tried(self, relation: str, column: Column, dtype: str) -> str:
        """Return a column of a relation in another type, NULL where it does not fit."""
        return f"TRY_CAST({relation}.{quote(column.name)} AS {dtype})"

    def after(self, time: str, seconds: int, clock: Clock) -> str:
        """Return the time a number of seconds later."""
        return sql_timestamps.after(time, seconds, clock)

    def widened(self, time: str) -> str:
        """Return a time of microseconds in nanoseconds."""
        return sql_timestamps.widened(time)

    def values(self, wants: Sequence[Want], changes: str, rows: RowSpec, versions: Versions) -> str:
        """Return the query of values at stored keys and times, which are the rows of a relation."""
        return compile_sql(wants, spine_of_rows(changes, rows), versions, sliding(wants, versions))


_WRITER = _DuckDBWriter()

if TYPE_CHECKING:
    _: rows_of_changes.ChangeWriter = _WRITER
