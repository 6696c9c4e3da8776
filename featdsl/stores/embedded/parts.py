"""Replace and extend tables: a published table gets a new part, and parts are merged so that they stay few."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from featdsl.definitions.names import EVENT_TIMESTAMP, quote
from featdsl.definitions.stored_tables import Part, StoredTable, Written
from featdsl.definitions.timestamps import in_order
from featdsl.engines.duckdb import session
from featdsl.stores import extending, row_differences
from featdsl.stores.embedded.build_files import BuildFiles
from featdsl.stores.embedded.table_files import NEXT, all_rows, in_file
from featdsl.stores.extending import time_of

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_MOST_WRITES = 50
"""The number of writes that a table remembers."""
_FACTOR, _MOST = 2, 8
"""A part is merged with the later ones once those have half as many rows. Above this many parts, all but the first are merged."""


class Parts:
    """Replaces and extends tables in the files of one apply, which makes the state `serial`.

    Every method expects the tables to be open in the session, and returns the table with its new rows.
    """

    def __init__(self, connection: DuckDBPyConnection, files: BuildFiles, folder: Path, serial: int) -> None:
        self._connection, self._files, self._folder, self._serial = connection, files, folder, serial

    def replace(self, table: StoredTable, sql: str) -> StoredTable | None:
        """Replace all rows of a published table by the rows of a query; None if they have not changed."""
        file, stored = self._files.new_table(table.name)
        rows = self._create(stored, sql)
        new = replace(table, file=file, rows=rows, engine=f"duckdb {session.version()}")
        replaced = self.replaced(table, new, stored)
        if replaced is None:
            self._connection.execute(f"DROP TABLE {stored}")
        return replaced

    def replaced(self, table: StoredTable, new: StoredTable, stored: str) -> StoredTable | None:
        """Return a table with the file of `new`, whose rows are in the relation `stored`; None if the published rows are the same."""
        published = f"tables.{quote(table.name)}"
        query = row_differences.query(table, published, stored)
        ((differs, since),) = self._connection.execute(query).fetchall()
        if not differs:
            return None
        changed = row_differences.has_lost_rows(self._connection, table, published, stored, since)
        return replace(
            new,
            entity_rows=None,
            parts=(),
            written=self._written(table, since, changed=changed),
        )

    def extend_unpublished(self, table: StoredTable, sql: str, since: str) -> tuple[StoredTable, int]:
        """Replace the rows of a table of this apply from an event time on, in place.

        Returns the table and the number of rows from then on.
        """
        stored = in_file(table.file, table.name)
        new = f"(SELECT * FROM {stored} WHERE {EVENT_TIMESTAMP} >= {time_of(table, since)})"
        self._connection.execute("BEGIN")
        try:
            self._connection.execute(extending.removal(table, stored, since))
            ((rows,),) = self._connection.execute(f"INSERT INTO {stored}\n{sql}").fetchall()
            for update in extending.end_updates(table, stored, new, since):
                self._connection.execute(update)
            self._connection.execute("COMMIT")
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        return replace(table, rows=self._count(stored)), int(rows)

    def extend(self, table: StoredTable, sql: str, since: str) -> tuple[StoredTable, int] | None:
        """Replace the rows of a published table from an event time on, by a part in a new file.

        Returns the table and the number of rows from then on, or None if they have not changed. The part is merged with
        earlier parts that are not much larger.
        """
        file, stored = self._files.new_table(table.name)
        rows, published = self._create(stored, sql), f"tables.{quote(table.name)}"
        older = f"SELECT count(*), count(*) FILTER (WHERE {EVENT_TIMESTAMP} < {time_of(table, since)})"
        ((before, kept),) = self._connection.execute(f"{older} FROM {published}").fetchall()
        changed = kept < before and row_differences.has_lost_rows(self._connection, table, published, stored, since)
        if kept + rows == before and not changed:
            self._connection.execute(f"DROP TABLE {stored}")
            return None
        pieces = [each for each in table.pieces if each.since is None or in_order(each.since) < in_order(since)]
        pieces = pieces if kept else []
        pieces.append(Part(file=file, rows=rows, since=since if pieces else None))
        extended = self._merged(replace(table, file=pieces[0].file, parts=tuple(pieces), rows=kept + rows))
        writes = self._written(table, since, changed=changed)
        return replace(extended, entity_rows=_scaled(table, extended.rows), written=writes), rows

    def rows_since(self, table: StoredTable, since: str) -> int:
        """Return the number of rows of a table from an event time on."""
        return self._count(f"tables.{quote(table.name)} WHERE {EVENT_TIMESTAMP} >= {time_of(table, since)}")

    def copy(self, table: StoredTable) -> StoredTable:
        """Copy all rows of a published table to one new file."""
        file, stored = self._files.new_table(table.name)
        self._connection.execute(f"CREATE TABLE {stored} AS FROM tables.{quote(table.name)}")
        return replace(table, file=file, parts=())

    def _written(self, table: StoredTable, since: str | None, *, changed: bool) -> tuple[Written, ...]:
        if table.written and table.written[-1] == Written(serial=self._serial):
            return table.written  # this apply has built the table
        return (*table.written, Written(serial=self._serial, since=since, changed=changed))[-_MOST_WRITES:]

    def _create(self, stored: str, sql: str) -> int:
        ((rows,),) = self._connection.execute(f"CREATE TABLE {stored} AS\n{sql}").fetchall()
        return int(rows)

    def _count(self, stored: str) -> int:
        ((rows,),) = self._connection.execute(f"SELECT count(*) FROM {stored}").fetchall()
        return int(rows)

    def _merged(self, table: StoredTable) -> StoredTable:
        """Return a table with its newest part, in this apply's file, merged with earlier ones that are not much larger."""
        newest, first = table.parts[-1], merge_from(table.parts)
        stored = in_file(newest.file, table.name)
        self._store_first_rows(table, stored)
        if first < len(table.parts) - 1:
            rows_query = all_rows(replace(table, parts=table.parts[first:]), in_file, self._folder)
            order = ", ".join(quote(name) for name in [*table.keys, EVENT_TIMESTAMP])
            merged_name = in_file(newest.file, f"{table.name}#merged")
            self._connection.execute(
                f"CREATE TABLE {merged_name} AS\nSELECT * FROM (\n{rows_query}\n) ORDER BY {order}"
            )
            self._connection.execute(f"DROP TABLE {stored}")
            self._connection.execute(f"ALTER TABLE {merged_name} RENAME TO {quote(table.name)}")
            merged = replace(newest, rows=self._count(stored), since=table.parts[first].since)
            table = replace(table, parts=(*table.parts[:first], merged))
            self._store_first_rows(table, stored)
        return table if len(table.parts) > 1 else replace(table, file=newest.file, parts=())

    def _store_first_rows(self, table: StoredTable, stored: str) -> None:
        """Store each entity's first event time beside the newest part, where the entity's earlier rows end."""
        if extending.is_as_of(table):
            first = extending.first_rows(stored, table.keys)
            kept = in_file(table.parts[-1].file, table.name + NEXT)
            self._connection.execute(f"CREATE OR REPLACE TABLE {kept} AS\n{first}")


def merge_from(pieces: Sequence[Part]) -> int:
    """Return the index from which on to merge parts, so that parts stay few and rows are rarely rewritten."""
    first, rows = len(pieces) - 1, pieces[-1].rows
    for index in range(len(pieces) - 2, -1, -1):
        crowded = len(pieces) > _MOST and index > 0
        if pieces[index].rows <= _FACTOR * rows or crowded:
            first = index
        rows += pieces[index].rows
    return first


def _scaled(table: StoredTable, rows: int) -> tuple[float, float] | None:
    """Return the rows per entity, scaled to a table of `rows` rows as if it had gained no entities."""
    if table.entity_rows is None or not table.rows:
        return None
    mean, weighted = table.entity_rows
    return mean * rows / table.rows, weighted * rows / table.rows
