"""The two registry tables that only a lake has: types of stored columns, and tables that no apply has published yet."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from featdsl.definitions.stored_tables import StoredTable
from featdsl.stores.ducklake.session import LAKE

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection
    from pydantic import TypeAdapter

TABLES = """
CREATE TABLE registry.kept (file VARCHAR, columns VARCHAR);
CREATE TABLE registry.unfinished (name VARCHAR, made_of VARCHAR, upto VARCHAR, body VARCHAR);
"""
"""`kept` has the SQL of each table's columns in their original types; `unfinished` has the unpublished tables."""
_REGISTRY = f"{LAKE}.registry"


def note(connection: DuckDBPyConnection, table: StoredTable, made_of: str = "", upto: str | None = None) -> None:
    """Replace the entry of an unpublished table. A later apply can reuse it only if `made_of` is not empty."""
    connection.execute(f"DELETE FROM {_REGISTRY}.unfinished WHERE name = ?", [table.name])
    row = [table.name, made_of, upto, adapter().dump_json(table).decode()]
    connection.execute(f"INSERT INTO {_REGISTRY}.unfinished VALUES (?, ?, ?, ?)", row)


def resumable(connection: DuckDBPyConnection, table: str, made_of: str) -> tuple[StoredTable, str | None] | None:
    """Return an unpublished table that was built from this data, and the event time it reaches; None if there is none."""
    query = f"SELECT body, upto FROM {_REGISTRY}.unfinished WHERE name = ? AND made_of = ?"
    rows = connection.execute(query, [table, made_of]).fetchall()
    return (adapter().validate_json(rows[0][0]), rows[0][1]) if rows else None


def files(connection: DuckDBPyConnection) -> list[str]:
    """Return the names in the lake of the unpublished tables."""
    bodies = connection.execute(f"SELECT body FROM {_REGISTRY}.unfinished").fetchall()
    return [adapter().validate_json(body).file for (body,) in bodies]


def clear(connection: DuckDBPyConnection) -> None:
    """Delete the entries of all unpublished tables."""
    connection.execute(f"DELETE FROM {_REGISTRY}.unfinished")


def discard(connection: DuckDBPyConnection) -> None:
    """Mark all unpublished tables as not reusable."""
    connection.execute(f"UPDATE {_REGISTRY}.unfinished SET made_of = ''")


def is_empty(connection: DuckDBPyConnection) -> bool:
    """Return whether there are no unpublished tables."""
    return connection.execute(f"SELECT count(*) FROM {_REGISTRY}.unfinished").fetchall() == [(0,)]


def keep_columns(connection: DuckDBPyConnection, file: str, columns: str) -> None:
    """Store the SQL of a table's columns in their original types."""
    connection.execute(f"DELETE FROM {_REGISTRY}.kept WHERE file = ?", [file])
    connection.execute(f"INSERT INTO {_REGISTRY}.kept VALUES (?, ?)", [file, columns])


def columns_of(connection: DuckDBPyConnection, files: Sequence[str]) -> dict[str, str]:
    """Return the SQL of the original columns of each table, by its name in the lake."""
    query = f"SELECT file, columns FROM {_REGISTRY}.kept WHERE file IN (SELECT unnest($1::VARCHAR[]))"
    return dict(connection.execute(query, [list(files)]).fetchall())


def forget_columns(connection: DuckDBPyConnection, files: Sequence[str]) -> None:
    """Delete the columns of dropped tables."""
    connection.execute(f"DELETE FROM {_REGISTRY}.kept WHERE file IN (SELECT unnest($1::VARCHAR[]))", [list(files)])


@cache
def adapter() -> TypeAdapter[Any]:
    """Return the pydantic adapter that converts a stored table to JSON and back."""
    from pydantic import TypeAdapter

    return TypeAdapter(StoredTable)
