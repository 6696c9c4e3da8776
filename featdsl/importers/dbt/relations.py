"""Find where the relations of dbt's models are, and the types of their columns."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from featdsl.definitions import urls
from featdsl.definitions.dtypes import duckdb_type
from featdsl.errors import FeatdslError, Problem
from featdsl.importers.dbt.manifest import DbtManifest, Node

_READ = ("duckdb", "postgres")
"""The adapters whose tables featdsl reads."""
_FILES = (".db", ".duckdb")
_PATH = re.compile(r"^\s*path:\s*[\"']?([^\"'\n#]+?)[\"']?\s*(?:#.*)?$", re.MULTILINE)
"""The file of a DuckDB profile, in profiles.yml."""
_MOST_STEPS_UP = 3
_POSTGRES_TYPES = {
    "character varying": "VARCHAR", "timestamp without time zone": "TIMESTAMP", "json": "VARCHAR", "jsonb": "VARCHAR",
    "double precision": "DOUBLE", "time without time zone": "TIME", "numeric": "DOUBLE",
}  # fmt: skip
"""Types of PostgreSQL that DuckDB calls otherwise, or reads as another."""


@dataclass(frozen=True)
class Relations:
    """Where relations are: the database of each, as a source names it, and the columns of those that can be looked up."""

    databases: Mapping[str, str]
    """By the name of the database in dbt; `""` for all others."""
    columns: Mapping[tuple[str, str, str], Mapping[str, str]]
    """By database, schema and table."""
    catalog: Mapping[str, Node]

    def database_of(self, node: Node) -> str | None:
        """Return the `database=` of a model's relation; None if it is unknown."""
        return self.databases.get(str(node.get("database") or ""), self.databases.get(""))

    def columns_of(self, node: Node) -> dict[str, str]:
        """Return the columns of a model's relation with their DuckDB types; empty if they are unknown."""
        place = (str(node.get("database") or ""), str(node.get("schema") or ""), str(node.get("alias") or ""))
        if place in self.columns:
            return dict(self.columns[place])
        known = self.catalog.get(str(node["unique_id"]), {}).get("columns", {}).values()
        if known:
            ordered = sorted(known, key=lambda each: int(each.get("index") or 0))
            return {str(each["name"]): _duckdb_type(str(each["type"])) for each in ordered}
        declared = {name: each.get("data_type") for name, each in (node.get("columns") or {}).items()}
        return {name: _duckdb_type(dtype) for name, dtype in declared.items()} if all(declared.values()) else {}


def find(manifest: DbtManifest, database: str | None, root: Path) -> Relations:
    """Return the relations of a project. Raises FeatdslError if featdsl cannot read its warehouse."""
    if manifest.adapter not in _READ and database is None:
        what = f"The models are in {manifest.adapter or 'an unknown warehouse'}; featdsl reads tables of DuckDB and PostgreSQL."
        fix = "Copy the models to one of them, and name it: --database FILE_OR_URL"
        raise FeatdslError(Problem("Warehouse cannot be read", what, fix=fix))
    if manifest.adapter == "postgres" and database is None:
        what = "The models are in PostgreSQL, and the manifest does not say at which address."
        fix = "Name a variable with its URL: --database env:WAREHOUSE_URL"
        raise FeatdslError(Problem("Database is unknown", what, fix=fix))
    if database is not None:
        file = Path(database)
        files = {"": file} if file.is_file() else {}
        return Relations(
            {"": _as_written(file, root) if files else database}, _looked_up(files, manifest), manifest.catalog
        )
    files = _duckdb_files(manifest)
    written = {name: _as_written(file, root) for name, file in files.items()}
    return Relations(written, _looked_up(files, manifest), manifest.catalog)


def external_path(node: Node, folder: Path, root: Path) -> str:
    """Return the path of a model that dbt writes to a file, as a source of the project in `root` names it; else `""`."""
    config = node.get("config") or {}
    location = str(config.get("location") or "") if config.get("materialized") == "external" else ""
    if not location or urls.scheme(location):
        return location
    return _as_written(folder / location, root)


def _duckdb_files(manifest: DbtManifest) -> dict[str, Path]:
    """Return the DuckDB file of each database. Raises FeatdslError if one is missing or there are several."""
    names = {str(each.get("database") or "") for each in manifest.of_kind("model", "snapshot", "seed")} - {""}
    found = {file.stem: file for file in _candidates(manifest.folder)}
    files = {name: found[name] for name in sorted(names) if name in found}
    if names and not files:
        what = f"{manifest.folder} contains no DuckDB file named {min(names)}.duckdb."
        fix = "Run dbt build, or name the file: --database FILE"
        raise FeatdslError(Problem("DuckDB file not found", what, fix=fix))
    return files


def _candidates(folder: Path) -> Iterator[Path]:
    """Yield the DuckDB files in a project, and last those that its profile names."""
    for ending in _FILES:
        yield from sorted(folder.glob(f"*/*{ending}"))
        yield from sorted(folder.glob(f"*{ending}"))
    for profiles in (Path.home() / ".dbt" / "profiles.yml", folder / "profiles.yml"):
        if profiles.is_file():
            named = _PATH.findall(profiles.read_text(encoding="utf-8", errors="replace"))
            yield from (folder / each for each in named if (folder / each).is_file())


def _looked_up(files: Mapping[str, Path], manifest: DbtManifest) -> dict[tuple[str, str, str], dict[str, str]]:
    """Return the columns of all tables and views of DuckDB files."""
    names = {str(each.get("database") or "") for each in manifest.nodes.values()}
    return {
        (name, schema, table): columns
        for database, file in files.items()
        for (schema, table), columns in _columns(file).items()
        for name in ([database] if database else sorted(names))
    }


def _columns(file: Path) -> dict[tuple[str, str], dict[str, str]]:
    import duckdb

    query = """
        SELECT schema_name, table_name, column_name, data_type FROM duckdb_columns()
        WHERE database_name = current_database() ORDER BY schema_name, table_name, column_index
    """
    try:
        with duckdb.connect(str(file), read_only=True) as connection:
            rows = connection.execute(query).fetchall()
    except duckdb.Error:
        fix = "End the process that writes to it, or name another file: --database FILE"
        raise FeatdslError(Problem("DuckDB file cannot be read", f"{file} cannot be opened.", fix=fix)) from None
    return _grouped(rows)


def _grouped(rows: Iterable[tuple[str, str, str, str]]) -> dict[tuple[str, str], dict[str, str]]:
    tables: dict[tuple[str, str], dict[str, str]] = {}
    for schema, table, column, dtype in rows:
        tables.setdefault((schema, table), {})[column] = dtype
    return tables


def _as_written(file: Path, root: Path) -> str:
    """Return a path as a source names it: relative to the project unless it is far away."""
    relative = PurePosixPath(Path(os.path.relpath(file.resolve(), root.resolve())).as_posix())
    return str(relative) if relative.parts.count("..") <= _MOST_STEPS_UP else file.resolve().as_posix()


def _duckdb_type(written: str) -> str:
    return _POSTGRES_TYPES.get(written.lower()) or duckdb_type(written.upper())
