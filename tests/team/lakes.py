"""Team stores for tests, each with its own database and with files in a folder or bucket, and ways to damage them."""

from __future__ import annotations

import os
from pathlib import Path

from duckdb import DuckDBPyConnection

from featdsl.definitions.stored_tables import StoredTable
from featdsl.project.settings import Project, ProjectTable, Settings, StoreTable
from featdsl.stores.ducklake import session
from featdsl.stores.ducklake.store import DuckLakeStore
from tests.servers import Postgres


def project_in(root: Path, postgres: Postgres, *, data: str = "lake", lock_timeout: str = "1 second") -> Project:
    """Return a project with its own team store; the password is in the environment."""
    os.environ["PGPASSWORD"] = postgres.password
    url = f"ducklake:postgres:host=127.0.0.1 port={postgres.port} user={postgres.user} dbname={postgres.database()}"
    store = StoreTable(url=url, data=data, lock_timeout=lock_timeout)
    return Project(root, Settings(project=ProjectTable(name="bank"), store=store))


def opened(project: Project) -> DuckLakeStore:
    """Return the project's store."""
    assert project.place is not None
    return DuckLakeStore(project, project.place)


def by_hand(project: Project, sql: str, schema: str = "main") -> list[tuple[object, ...]]:
    """Run SQL in the lake without featdsl, as a user by hand would; return its rows."""
    assert project.place is not None
    connection = _lake(project)
    connection.execute(f"USE lake.{schema}")
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


def files_of(project: Project, file: str) -> list[Path]:
    """Return the files of a table."""
    listed = f"SELECT data_file FROM ducklake_list_files('lake', '{file.rpartition('@')[0]}', schema => 'data')"
    return [Path(str(path)) for (path,) in by_hand(project, listed)]


def touch(project: Project, file: str) -> None:
    """Set the times of a table's files to now."""
    for path in files_of(project, file):
        os.utime(path)


def lose(project: Project, file: str) -> None:
    """Delete the files of a table."""
    for path in files_of(project, file):
        path.unlink()


def edit(project: Project, sql: str) -> None:
    """Change the views."""
    by_hand(project, sql)


def alter(project: Project, table: StoredTable, sql: str) -> None:
    """Change a table."""
    assert table.name in table.file
    by_hand(project, sql, "data")


def _lake(project: Project) -> DuckDBPyConnection:
    assert project.place is not None
    connection = session.connect(project, project.place)
    connection.execute(
        f"ATTACH 'ducklake:postgres:{project.settings.store.url.removeprefix('ducklake:postgres:')}' AS lake"
    )  # type: ignore[union-attr]
    return connection
