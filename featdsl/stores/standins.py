"""Make views over tables in files without opening the files: DuckDB binds them to empty tables of the same columns.

A view is bound when it is made, and one over `read_duckdb` opens its file for that, with all that the file holds. With a
thousand tables that took longer than building them. What a view keeps is its text and the columns that it was bound to.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from featdsl.definitions import Column
from featdsl.names import literal, quote

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

Shapes = Mapping[str, Sequence[Column]]
"""The columns of tables, by name."""
_SCHEMA = "memory.standins"
_READER = f"CREATE TEMP MACRO read_duckdb(path, table_name := '') AS TABLE FROM query_table('{_SCHEMA}.\"' || table_name || '\"')"
"""What is temporary is found before what is built in."""


def shapes(connection: DuckDBPyConnection, databases: Sequence[str]) -> dict[str, list[Column]]:
    """Return the columns of each table in attached databases."""
    listed = ", ".join(map(literal, databases)) or "''"
    query = "SELECT table_name, column_name, data_type FROM duckdb_columns()"
    found: dict[str, list[Column]] = {}
    rows = connection.execute(f"{query} WHERE database_name IN ({listed}) ORDER BY table_name, column_index").fetchall()
    for table, name, dtype in rows:
        found.setdefault(table, []).append(Column(name=name, dtype=dtype))
    return found


@contextmanager
def standing_in(connection: DuckDBPyConnection, tables: Shapes) -> Iterator[None]:
    """Let `read_duckdb` give empty tables meanwhile, by the name of the table, whatever the file; it knows no others.

    After an error they stay: the session is in a transaction that wrote elsewhere, and can only be closed.
    """
    made = [f"CREATE SCHEMA {_SCHEMA}", *(_table(name, columns) for name, columns in tables.items()), _READER]
    connection.execute(";\n".join(made))
    yield
    connection.execute(f"DROP MACRO TABLE temp.read_duckdb; DROP SCHEMA {_SCHEMA} CASCADE")


def _table(name: str, columns: Sequence[Column]) -> str:
    listed = ", ".join(f"{quote(column.name)} {column.dtype}" for column in columns)
    return f"CREATE TABLE {_SCHEMA}.{quote(name)} ({listed})"
