"""Copy an embedded store into a team store, comparing every row of the tables and the registry before it is published.

The team store continues at the same state, so existing plans and lock files stay valid.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from featdsl.definitions.names import escaped, literal, quote
from featdsl.definitions.snapshot import Snapshot
from featdsl.definitions.stored_tables import StoredTable
from featdsl.engines.duckdb import dataframes
from featdsl.engines.duckdb.connections import attach_once
from featdsl.errors import Problem, StoreError
from featdsl.stores.ducklake.session import APPLY, LAKE, readable_errors, sign
from featdsl.stores.ducklake.store import DuckLakeStore
from featdsl.stores.ducklake.writer import DuckLakeWriter
from featdsl.stores.embedded.parquet_folders import is_folder
from featdsl.stores.embedded.store import EmbeddedStore
from featdsl.stores.embedded.table_files import all_rows, in_file
from featdsl.stores.provenance import user
from featdsl.stores.registry import STATISTICS

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from featdsl.project.settings import Project

_TABLES = ("checks", "documents", "environments", "history", "listings", "readings", "recipes")
"""The registry tables that are copied unchanged. `meta` has one row that only an embedded store needs, and a team store
keeps its tables and views elsewhere."""
_META = "SELECT key, value FROM {} WHERE key != 'folder'"
_VIEWS = "SELECT environment, name, sql FROM {}"


@dataclass(frozen=True)
class Migrated:
    """The result of a migration: number of tables and rows, the store's state, and the duration in seconds."""

    tables: int
    rows: int
    serial: int
    seconds: float


def migrate(project: Project, listen: Callable[[str], None]) -> Migrated:
    """Copy the project's embedded store into its team store, which must be empty, and compare each row.

    Both stores are locked meanwhile; the embedded one does not change. `listen` receives progress messages. Raises
    StoreError if there is nothing to copy, the team store is not empty, or a copy differs; then the team store stays empty.
    """
    begun = time.monotonic()
    if project.place is None:
        fix = 'Name one in featproject.toml: [store] url = "ducklake:postgres:...", and data = "/a/shared/folder".'
        raise StoreError(Problem("No team store", "featproject.toml names no team store to migrate to.", fix=fix))
    source, target = EmbeddedStore(project), DuckLakeStore(project, project.place)

    def waiting(holder: str) -> None:
        listen(f"Waiting: {holder} is writing.")

    with source.writing(waiting), target.writing(waiting) as writer:
        snapshot, history = source.read(), source.history()
        if not history:
            raise StoreError(Problem("Nothing to migrate", f"{source} is empty: nothing was ever applied to it."))
        if target.history():
            what = f"{target} holds {len(target.history())} applies; a store can only be migrated to an empty one."
            raise StoreError(Problem("Store is not empty", what, fix="Name another database in [store] url."))
        for table in snapshot.tables.values():
            listen(f"{table.name}: {table.rows} rows")
            _move_table(table, project.store.resolve(), writer)
        for file in sorted(source.frames.glob("*.parquet")):
            dataframes.write(
                writer.connection, f"FROM read_parquet({literal(escaped(str(file)))})", target.frames, file.stem
            )
        with readable_errors(project.place), _registry_of(project.store.resolve(), writer) as registry:
            _move_registry(registry, snapshot, writer)
    rows = sum(table.rows for table in snapshot.tables.values())
    return Migrated(len(snapshot.tables), rows, history[0].serial, round(time.monotonic() - begun, 3))


def _move_table(table: StoredTable, folder: Path, writer: DuckLakeWriter) -> None:
    """Copy a table and compare the copy. Raises StoreError if they differ."""
    # Attached, because DuckDB 1.5 reads NULL in the fields of structs with read_duckdb.
    for file in {piece.file for piece in table.pieces if not is_folder(piece.file)}:
        attach_once(writer.connection, str(folder / file), Path(file).stem, "READ_ONLY")
    rows = all_rows(table, in_file, folder)
    writer.build(table.name, rows, table.columns, (), table.keys)
    copy = writer.table(table.name)
    digests = [
        dataframes.digest(writer.connection, each) for each in (rows, f"SELECT * FROM tables.{quote(table.name)}")
    ]
    if digests[0] != digests[1]:
        raise _differs(f"the table {table.name}")
    writer.take(replace(table, file=copy.file, parts=(), digest=copy.digest))


@contextmanager
def _registry_of(folder: Path, writer: DuckLakeWriter) -> Iterator[str]:
    """Attach the embedded store's registry to the writer's session and yield its SQL name."""
    writer.connection.execute(f"ATTACH {literal(str(folder / 'store.duckdb'))} AS embedded (READ_ONLY)")
    try:
        yield "embedded.registry"
    finally:
        writer.connection.execute("DETACH embedded")


def _move_registry(registry: str, snapshot: Snapshot, writer: DuckLakeWriter) -> None:
    """Copy the registry, compare the copy and publish, all in one transaction. Raises StoreError if they differ."""
    connection = writer.connection
    own = f"{LAKE}.registry"
    with writer.moving():
        names = [*_TABLES, *_statistics(connection, registry)]
        for name in names:
            connection.execute(f"INSERT INTO {own}.{name} SELECT * FROM {registry}.{name}")
        connection.execute(f"INSERT INTO {own}.meta {_META.format(f'{registry}.meta')}")
        connection.execute(f"INSERT INTO {own}.views SELECT *, NULL FROM ({_VIEWS.format(f'{registry}.views')})")
        queries = {name: f"SELECT * FROM {{}}.{name}" for name in names}
        for name, query in {**queries, "meta": _META.format("{}.meta"), "views": _VIEWS.format("{}.views")}.items():
            ours, theirs = query.format(own), query.format(registry)
            other = f"SELECT count(*) FROM (({ours} EXCEPT ALL {theirs}) UNION ALL ({theirs} EXCEPT ALL {ours}))"
            if connection.execute(other).fetchall() != [(0,)]:
                raise _differs(f"registry.{name}")
        environments = connection.execute(f"SELECT name FROM {registry}.environments").fetchall()
        writer.publish_moved([name for (name,) in environments])
        head = snapshot.head
        message = "moved from a folder"
        ((serial,),) = connection.execute(f"SELECT value FROM {own}.meta WHERE key = 'serial'").fetchall()
        sign(connection, user(), message, APPLY, serial=int(serial), lineage=head.lineage)


def _statistics(connection: DuckDBPyConnection, registry: str) -> list[str]:
    """Return the table of statistics if the embedded store has it, and make it in the lake; earlier releases made none."""
    database = registry.partition(".")[0]
    query = "SELECT table_name FROM duckdb_tables() WHERE database_name = ? AND table_name = 'statistics'"
    found = [name for (name,) in connection.execute(query, [database]).fetchall()]
    if found:
        connection.execute(f"CREATE TABLE IF NOT EXISTS {LAKE}.{STATISTICS}")
    return found


def _differs(what: str) -> StoreError:
    fix = "Nothing was migrated. Check the embedded store, without [store] url: featdsl plan"
    return StoreError(Problem("Copy differs", f"The copy of {what} differs from the original.", fix=fix))
