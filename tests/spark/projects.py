"""Projects in two copies, one on DuckDB and one on Spark, whose values must be equal."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from featdsl import FeatureStore
from featdsl.definitions.snapshot import PROD
from featdsl.project import settings
from featdsl.stores import open_store
from tests.conftest import Workspace


@dataclass(frozen=True)
class Twins:
    """One project on DuckDB, and a copy of it on Spark."""

    duckdb: Workspace
    spark: Workspace

    def run(self, *arguments: str) -> None:
        """Run a command in both; fail the test if one fails."""
        for workspace in (self.duckdb, self.spark):
            done = workspace.run(*arguments)
            assert done.returncode == 0, done.stdout + done.stderr

    def compare(self, *, digits: int | None = None) -> None:
        """Fail unless both have the same views with equal rows, by type and exact value; of reals by so many digits if given."""
        views = [sorted(open_store(settings.load(each.root)).read(PROD).views) for each in (self.duckdb, self.spark)]
        assert views[0] == views[1]
        for view in views[0]:
            query = f'SELECT * FROM prod."{view}"'
            ours, theirs = (rows(each, query, digits=digits) for each in (self.spark, self.duckdb))
            assert ours == theirs, view

    @property
    def stores(self) -> tuple[FeatureStore, FeatureStore]:
        """The stores of both."""
        return self.duckdb.store, self.spark.store


def rows(workspace: Workspace, query: str, *, digits: int | None = None) -> tuple[list[str], list[str]]:
    """Return the types and the sorted rows of a query on a store, each value as Python writes it."""
    with duckdb.connect(str(workspace.root / ".featdsl" / "store.duckdb"), read_only=True) as connection:
        types = [f"{name} {dtype}" for name, dtype, *_ in connection.execute(f"DESCRIBE {query}").fetchall()]
        return types, sorted(str(shortened(row, digits)) for row in connection.execute(query).fetchall())


def shortened(row: Iterable[object], digits: int | None) -> tuple[object, ...]:
    """Return values with reals to so many digits, or as they are."""
    if digits is None:
        return tuple(row)
    return tuple(f"{value:.{digits}g}" if isinstance(value, float) else value for value in row)


def twins(workspace: Workspace, folder: Path, url: str) -> Twins:
    """Return a project as it is, and a copy of it in a folder that computes everything on the server at a URL."""
    shutil.copytree(workspace.root, folder)
    other = Workspace(folder)
    with (folder / "featproject.toml").open("a", encoding="utf-8") as file:
        file.write(f'\n[engine]\nkind = "spark"\nurl = "{url}"\n')
    return Twins(workspace, other)


def engines_of(workspace: Workspace) -> dict[str, str]:
    """Return the engine that built each stored table, by group."""
    snapshot = open_store(settings.load(workspace.root)).read(PROD)
    tables = {table: group for group in snapshot.catalog.groups for table in snapshot.catalog.tables_of(group)}
    return {tables[name]: table.engine.partition(" ")[0] for name, table in snapshot.tables.items() if name in tables}


def files_of(workspace: Workspace) -> Sequence[Path]:
    """Return everything in the data folder of a store."""
    return sorted((workspace.root / ".featdsl" / "data").iterdir())
