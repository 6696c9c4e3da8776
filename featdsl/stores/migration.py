"""Move an embedded store into a team store: every row of its tables and of its registry, compared before any of it counts.

What was moved is the same store at the same state: plans and locks that were made before hold.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from featdsl import frames
from featdsl.errors import Problem, StoreError
from featdsl.names import escaped, literal, quote
from featdsl.snapshot import Snapshot, StoredTable
from featdsl.stores.ducklake import DuckLakeStore
from featdsl.stores.ducklake_session import APPLY, LAKE, in_words, sign
from featdsl.stores.ducklake_writer import DuckLakeWriter
from featdsl.stores.embedded import EmbeddedStore
from featdsl.stores.lock import user
from featdsl.stores.parts import all_rows

if TYPE_CHECKING:
    from featdsl.project import Project

_TABLES = ("checks", "documents", "environments", "history", "listings", "readings", "recipes")
"""Those of the registry that are moved as they are; of `meta` the embedded store has a line of its own, and a team store
puts its tables and views elsewhere."""
_META = "SELECT key, value FROM {} WHERE key != 'folder'"
_VIEWS = "SELECT environment, name, sql FROM {}"


@dataclass(frozen=True)
class Migrated:
    """What was moved: the number of tables and of their rows, the state of the store, and in how many seconds."""

    tables: int
    rows: int
    serial: int
    seconds: float


def migrate(project: Project, listen: Callable[[str], None]) -> Migrated:
    """Copy the store in the project's folder into its team store, which must be empty, and compare each row.

    Both are locked meanwhile, and the one in the folder stays as it is. `listen` is told what is done. Raises StoreError
    where there is nothing to move, the team store is not empty, or a copy is not what was copied; then nothing was moved.
    """
    begun = time.monotonic()
    if project.place is None:
        mend = 'Name one in featproject.toml: [store] url = "ducklake:postgres:...", and data = "/a/shared/folder".'
        raise StoreError(Problem("No team store", "featproject.toml names no team store to move into.", mend=mend))
    source, target = EmbeddedStore(project), DuckLakeStore(project, project.place)

    def waiting(holder: str) -> None:
        listen(f"Waiting: {holder} is writing.")

    with source.writing(waiting), target.writing(waiting) as writer:
        snapshot, history = source.read(), source.history()
        if not history:
            raise StoreError(Problem("Nothing to move", f"{source} holds nothing that was applied."))
        if target.history():
            what = f"{target} holds {len(target.history())} applies; a store is moved into an empty one only."
            raise StoreError(Problem("Store is not empty", what, mend="Name another database in [store] url."))
        for table in snapshot.tables.values():
            listen(f"{table.name}: {table.rows} rows")
            _move_table(table, project.store.resolve(), writer)
        for file in sorted(source.frames.glob("*.parquet")):
            frames.write(
                writer.connection, f"FROM read_parquet({literal(escaped(str(file)))})", target.frames, file.stem
            )
        with in_words(project.place), _registry_of(project.store.resolve(), writer) as registry:
            _move_registry(registry, snapshot, writer)
    rows = sum(table.rows for table in snapshot.tables.values())
    return Migrated(len(snapshot.tables), rows, history[0].serial, round(time.monotonic() - begun, 3))


def _move_table(table: StoredTable, folder: Path, writer: DuckLakeWriter) -> None:
    """Copy a table and compare the copy. Raises StoreError."""

    def reading(file: str, name: str) -> str:
        return f"read_duckdb({literal(escaped(str(folder / file)))}, table_name => {literal(name)})"

    rows = all_rows(table, reading)
    writer.build(table.name, rows, table.columns, (), table.keys)
    copy = writer.table(table.name)
    digests = [frames.digest(writer.connection, each) for each in (rows, f"SELECT * FROM tables.{quote(table.name)}")]
    if digests[0] != digests[1]:
        raise _differs(f"the table {table.name}")
    writer.take(replace(table, file=copy.file, parts=(), digest=copy.digest))


@contextmanager
def _registry_of(folder: Path, writer: DuckLakeWriter) -> Iterator[str]:
    """Give the name of the embedded store's registry in the writer's session."""
    writer.connection.execute(f"ATTACH {literal(str(folder / 'store.duckdb'))} AS embedded (READ_ONLY)")
    try:
        yield "embedded.registry"
    finally:
        writer.connection.execute("DETACH embedded")


def _move_registry(registry: str, snapshot: Snapshot, writer: DuckLakeWriter) -> None:
    """Copy the registry and compare the copy, in the one transaction that makes everything seen. Raises StoreError."""
    connection = writer.connection
    own = f"{LAKE}.registry"
    with writer.moving():
        for name in _TABLES:
            connection.execute(f"INSERT INTO {own}.{name} SELECT * FROM {registry}.{name}")
        connection.execute(f"INSERT INTO {own}.meta {_META.format(f'{registry}.meta')}")
        connection.execute(f"INSERT INTO {own}.views SELECT *, NULL FROM ({_VIEWS.format(f'{registry}.views')})")
        queries = {name: f"SELECT * FROM {{}}.{name}" for name in _TABLES}
        for name, query in {**queries, "meta": _META.format("{}.meta"), "views": _VIEWS.format("{}.views")}.items():
            ours, theirs = query.format(own), query.format(registry)
            other = f"SELECT count(*) FROM (({ours} EXCEPT ALL {theirs}) UNION ALL ({theirs} EXCEPT ALL {ours}))"
            if connection.execute(other).fetchall() != [(0,)]:
                raise _differs(f"registry.{name}")
        environments = connection.execute(f"SELECT name FROM {registry}.environments").fetchall()
        writer.publish_moved([name for (name,) in environments])
        head = snapshot.head
        said = "moved from a folder"
        ((serial,),) = connection.execute(f"SELECT value FROM {own}.meta WHERE key = 'serial'").fetchall()
        sign(connection, user(), said, APPLY, serial=int(serial), lineage=head.lineage)


def _differs(what: str) -> StoreError:
    mend = "Nothing was moved. Look into the store that is to be moved: featdsl plan"
    return StoreError(Problem("Copy differs", f"The copy of {what} is not what was copied.", mend=mend))
