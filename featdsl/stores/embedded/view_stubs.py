"""Create views over tables in files without opening the files, by binding them to empty stub tables.

DuckDB binds a view when it is created. Binding `read_duckdb` loads the file's whole catalogue, which for a thousand tables
took longer than building them. A view stores only its text and column types, so a stub with the same columns is enough.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from featdsl.definitions.names import literal, quote
from featdsl.definitions.sources import Column

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

Shapes = Mapping[str, Sequence[Column]]
"""The columns of tables, by name."""
_SCHEMA = "memory.stubs"
_NAMED = f"TABLE FROM query_table('{_SCHEMA}.\"' || {{}} || '\"')"
_MACROS = (
    f"CREATE TEMP MACRO read_duckdb(path, table_name := '') AS {_NAMED.format('table_name')}",
    "CREATE TEMP MACRO read_parquet(files, hive_partitioning := true) AS "
    + _NAMED.format("regexp_extract(files[1], '([^/]+)/[^/]+$', 1)"),
)
"""DuckDB resolves a temporary macro before the built-in function."""


def shapes(connection: DuckDBPyConnection, databases: Sequence[str]) -> dict[str, list[Column]]:
    """Return the columns of each table in attached databases, by table."""
    listed = ", ".join(map(literal, databases)) or "''"
    query = "SELECT table_name, column_name, data_type FROM duckdb_columns()"
    columns: dict[str, list[Column]] = {}
    rows = connection.execute(f"{query} WHERE database_name IN ({listed}) ORDER BY table_name, column_index").fetchall()
    for table, name, dtype in rows:
        columns.setdefault(table, []).append(Column(name=name, dtype=dtype))
    return columns


@contextmanager
def stub_tables(connection: DuckDBPyConnection, tables: Shapes) -> Iterator[None]:
    """Let `read_duckdb` return empty stubs of these tables, found by table name in any file; other tables fail.

    `read_parquet` returns the stub that has the name of the folder of the files.

    The stubs stay after an error, because the session's transaction can then only be closed.
    """
    statements = [f"CREATE SCHEMA {_SCHEMA}", *(_table(name, columns) for name, columns in tables.items()), *_MACROS]
    connection.execute(";\n".join(statements))
    yield
    dropped = "DROP MACRO TABLE temp.read_duckdb; DROP MACRO TABLE temp.read_parquet"
    connection.execute(f"{dropped}; DROP SCHEMA {_SCHEMA} CASCADE")


def _table(name: str, columns: Sequence[Column]) -> str:
    listed = ", ".join(f"{quote(column.name)} {column.dtype}" for column in columns)
    return f"CREATE TABLE {_SCHEMA}.{quote(name)} ({listed})"
