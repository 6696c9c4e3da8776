"""Rows that extend published tables of a lake: they stay in the writer's session until `publish` writes them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from featdsl.definitions.names import EVENT_TIMESTAMP, quote
from featdsl.definitions.parquet_types import stored_query
from featdsl.definitions.stored_tables import StoredTable
from featdsl.definitions.timestamps import in_order
from featdsl.stores import entity_counts, extending, row_differences, row_digests
from featdsl.stores.ducklake.session import LAKE, columns_of, data_table
from featdsl.stores.extending import Segment, time_of

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_SCHEMA = "memory.extending"


class NewRows:
    """The new rows of published tables, each from an event time on, in tables of the session."""

    def __init__(self, connection: DuckDBPyConnection) -> None:
        self._connection = connection
        self._since: dict[str, str] = {}
        """The time from which on each table has new rows."""

    def __contains__(self, table: object) -> bool:
        return table in self._since

    def load(self, table: str, sql: str) -> str:
        """Copy the rows of a query into the session, in stored types, and return the SQL name of the copy."""
        latest = f"{_SCHEMA}.{quote(f'{table} latest')}"
        types = columns_of(self._connection, f"SELECT * FROM (\n{sql}\n)")
        self._connection.execute(f"CREATE SCHEMA IF NOT EXISTS {_SCHEMA}")
        self._connection.execute(f"CREATE OR REPLACE TABLE {latest} AS\n{stored_query(types, sql)}")
        return latest

    def add(self, table: StoredTable, latest: str, since: str) -> tuple[StoredTable, bool] | None:
        """Replace the rows of a table from an event time on by loaded ones.

        Returns the table, and whether it has lost rows; None if the rows have not changed.
        """
        target, new, connection = f"{LAKE}.{data_table(table.file)}", _name(table.name), self._connection
        before = f"({self.query(table)})" if table.name in self._since else target
        old = f"(SELECT * FROM {before} WHERE {EVENT_TIMESTAMP} >= {time_of(table, since)})"
        same_count = f"SELECT (SELECT count(*) FROM {old}) = (SELECT count(*) FROM {latest})"
        has_lost = row_differences.has_lost_rows(connection, table, old, latest, since)
        if not has_lost and connection.execute(same_count).fetchall() == [(True,)]:
            return None
        digest = row_digests.updated(connection, table, old, latest)
        if table.name in self._since and in_order(since) >= in_order(self._since[table.name]):
            for statement in extending.replacement(table, new, latest, since):
                connection.execute(statement)
        else:
            connection.execute(f"DROP TABLE IF EXISTS {new}")
            connection.execute(f"ALTER TABLE {latest} RENAME TO {quote(table.name)}")
            self._since[table.name] = since
        extended = f"({self.query(table)})"
        ((rows,),) = connection.execute(f"SELECT count(*) FROM {extended}").fetchall()
        (entity_rows,) = entity_counts.measure(connection, [(extended, table.keys)])
        return replace(table, rows=rows, entity_rows=entity_rows, digest=digest), has_lost

    def query(self, table: StoredTable) -> str:
        """Return the query of all rows of an extended table, in stored types."""
        target, new = f"{LAKE}.{data_table(table.file)}", _name(table.name)
        first = f"(\n{extending.first_rows(new, table.keys)}\n)"
        return extending.all_rows(table, [Segment(target, ""), Segment(new, first, self._since[table.name])])

    def statements(self, tables: Mapping[str, StoredTable]) -> Iterator[str]:
        """Yield the statements that write the new rows into the lake, which is the session's default database."""
        for name, since in self._since.items():
            if table := tables.get(name):
                yield from extending.replacement(table, data_table(table.file), _name(name), since)


def _name(table: str) -> str:
    return f"{_SCHEMA}.{quote(table)}"
