"""Find tables of a lake that are missing or altered: by the sizes of their files, by foreign changes, and by their rows."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from featdsl.definitions.names import literal
from featdsl.definitions.snapshot import Snapshot
from featdsl.definitions.stored_tables import StoredTable
from featdsl.stores import row_digests
from featdsl.stores.ducklake.session import LAKE, columns_of, data_table, postgres_rows

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_OURS = '{"featdsl": "%'
_PATHS = """
SELECT t.table_name AS name, CASE WHEN f.path_is_relative THEN
    CASE WHEN t.path_is_relative THEN
        CASE WHEN s.path_is_relative THEN (SELECT value FROM ducklake_metadata WHERE key = 'data_path') ELSE '' END
        || s.path ELSE '' END
    || t.path ELSE '' END
|| f.path AS file, f.file_size_bytes AS size
FROM (SELECT table_id, path, path_is_relative, file_size_bytes, end_snapshot FROM ducklake_data_file
      UNION ALL SELECT table_id, path, path_is_relative, file_size_bytes, end_snapshot FROM ducklake_delete_file) AS f
JOIN ducklake_table AS t USING (table_id) JOIN ducklake_schema AS s USING (schema_id)
WHERE s.schema_name = 'data' AND f.end_snapshot IS NULL AND t.end_snapshot IS NULL AND s.end_snapshot IS NULL
"""
_BY_HAND = f"""
SELECT changes_made FROM ducklake_snapshot_changes WHERE coalesce(commit_extra_info, '') NOT LIKE '{_OURS}'
"""
_TABLE_IDS = "SELECT DISTINCT table_id, table_name FROM ducklake_table"
_TOUCHED = re.compile(r"(\w+):(\d+)")


def missing_or_altered(connection: DuckDBPyConnection, alias: str, snapshot: Snapshot) -> set[str]:
    """Return the tables of a snapshot that are missing or altered in the lake that is attached as `alias`.

    Reads a table's rows only if the lake's changes show that it was changed by hand.
    """
    missing = set(damaged_files(connection).values())
    by_hand = _changed_by_hand(connection)
    existing = {(schema, name) for schema, name in connection.execute(_relations(alias)).fetchall()}
    lost = set()
    for name, table in snapshot.tables.items():
        file = lake_name(table)
        stored = f"{alias}.{data_table(file)}"
        is_missing = ("data", file) not in existing or file in missing
        if is_missing or (file in by_hand and not _matches(connection, stored, table)):
            lost.add(name)
    return lost


def damaged_files_of(connection: DuckDBPyConnection, alias: str, tables: Iterable[StoredTable]) -> list[str]:
    """Return all files that are missing or have another size, and those of tables with altered rows."""
    lost = {lake_name(table) for table in tables if not is_intact(connection, alias, table)}
    listed = postgres_rows(connection, _PATHS) if lost else []
    return sorted({*damaged_files(connection), *(file for name, file, _ in listed if name in lost)})


def lake_name(table: StoredTable) -> str:
    """Return a table's name in the lake, without the number of the snapshot it was read at."""
    return table.file.rpartition("@")[0] or table.file


def is_intact(connection: DuckDBPyConnection, alias: str, table: StoredTable) -> bool:
    """Return whether all rows of a table can be read and are unchanged."""
    import duckdb

    try:
        return _matches(connection, f"{alias}.{data_table(lake_name(table))}", table)
    except duckdb.Error:
        return False


def damaged_files(connection: DuckDBPyConnection) -> dict[str, str]:
    """Return the files that are missing or have another size than was written, each with its table."""
    listed = postgres_rows(connection, _PATHS)
    folders = {file.rpartition("/data/")[0] for _, file, _ in listed}
    sizes: dict[str, int] = {}
    for folder in sorted(folders):
        # Reads file sizes without reading the files.
        query = "SELECT filename, size FROM read_blob(?)"
        if connection.execute("SELECT count(*) FROM glob(?)", [f"{folder}/data/**"]).fetchall() != [(0,)]:
            sizes |= dict(connection.execute(query, [f"{folder}/data/**"]).fetchall())
    return {file: name for name, file, size in listed if sizes.get(file) != size}


def _changed_by_hand(connection: DuckDBPyConnection) -> set[str]:
    """Return the tables that were changed by a snapshot without our signature."""
    changes = postgres_rows(connection, _BY_HAND)
    touched = {
        int(number)
        for (text,) in changes
        for change, number in _TOUCHED.findall(text or "")
        if not change.endswith("schema")
    }
    names = postgres_rows(connection, _TABLE_IDS) if touched else []
    return {name for number, name in names if number in touched}


def _relations(alias: str) -> str:
    return (
        f"SELECT schema_name, table_name FROM duckdb_tables() WHERE database_name = {literal(alias)} UNION ALL "
        f"SELECT schema_name, view_name FROM duckdb_views() WHERE database_name = {literal(alias)}"
    )


def _matches(connection: DuckDBPyConnection, stored: str, table: StoredTable) -> bool:
    """Return whether stored rows match the registry's row count and digest, and have at least its columns."""
    columns = {name for name, _ in columns_of(connection, f"FROM {stored}")}
    if not {column.name for column in table.columns} <= columns:
        return False
    known = row_digests.sum_of(table.digest)
    total = row_digests.sum_sql(row_digests.stable_columns(table)) if known is not None else "NULL"
    return connection.execute(f"SELECT count(*), {total} FROM {stored}").fetchall() == [(table.rows, known)]


def orphaned(connection: DuckDBPyConnection) -> list[str]:
    """Return the files that no snapshot of the lake lists."""
    return _orphaned(connection, "dry_run => true")


def delete_orphaned(connection: DuckDBPyConnection) -> list[str]:
    """Delete the files that no snapshot of the lake lists, and return them."""
    return _orphaned(connection, "dry_run => false")


def _orphaned(connection: DuckDBPyConnection, option: str) -> list[str]:
    query = f"SELECT * FROM ducklake_delete_orphaned_files('{LAKE}', cleanup_all => true, {option})"
    return sorted(path for (path,) in connection.execute(query).fetchall())
