"""Turn the files and tables that queries read into sources, each once, and find the columns of queries over them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from featdsl.definitions import urls
from featdsl.definitions.names import literal, quote
from featdsl.errors import FeatdslError, Problem
from featdsl.importers.declarations import ImportedSource
from featdsl.importers.names import valid_name
from featdsl.importers.sql.choices import SqlChoices
from featdsl.importers.sql.places import TablePlace, UnreadableTableError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_ATTACHED = "featdsl_database"
_FUNCTIONS = {"parquet": "read_parquet", "csv": "read_csv", "json": "read_json"}
_FORMATS = {
    ".parquet": "parquet", ".csv": "csv", ".tsv": "csv", ".csv.gz": "csv", ".json": "json", ".jsonl": "json", ".ndjson": "json",
    ".jsonl.gz": "json",
}  # fmt: skip


@dataclass
class SourceTables:
    """Gathers the sources of an import, in a session that has each as a view."""

    choices: SqlChoices
    folder: Path
    taken: set[str]
    """Names of sources that are in use."""
    sources: dict[str, ImportedSource] = field(default_factory=dict)
    _known: dict[object, str] = field(default_factory=dict)

    def source_of(self, place: TablePlace) -> str:
        """Return the name of the source for a table of a query. Raises UnreadableTableError."""
        identity = (place.paths, place.table, repr(place.options))
        if identity not in self._known:
            self._known[identity] = self._add_files(place) if place.paths else self._add_table(place)
        return self._known[identity]

    def add_query(self, name: str, sql: str) -> dict[str, str]:
        """Add a query over the sources, and return its columns with their types. Raises UnreadableTableError."""
        import duckdb

        try:
            rows = self._connection.execute(f"DESCRIBE {sql}").fetchall()
            self._connection.execute(f"CREATE VIEW source.{quote(name)} AS {sql}")
        except duckdb.Error:
            text = "DuckDB does not understand it: a column, a table or a function of it is unknown."
            raise UnreadableTableError(text) from None
        return {str(column): str(dtype) for column, dtype, *_ in rows}

    @cached_property
    def _connection(self) -> DuckDBPyConnection:
        import duckdb

        connection = duckdb.connect(config={"threads": 1})
        connection.execute("CREATE SCHEMA source")
        if self.choices.database is not None:
            file = self._database_file(self.choices.database)
            try:
                connection.execute(f"ATTACH {literal(str(file))} AS {_ATTACHED} (READ_ONLY)")
            except duckdb.Error:
                fix = "End the process that writes to it, or copy it."
                raise FeatdslError(
                    Problem("DuckDB file cannot be read", f"{file} cannot be opened.", fix=fix)
                ) from None
        return connection

    def _database_file(self, database: str) -> Path:
        file = self.choices.here / database
        if not file.is_file():
            what = f"{database} is no DuckDB file; an import finds the types of columns in files and DuckDB files only."
            raise FeatdslError(Problem("Database cannot be read", what, fix="Name a DuckDB file: --database FILE"))
        return file

    def _add_table(self, place: TablePlace) -> str:
        schema, table = place.table[-2:] if len(place.table) > 1 else ("main", place.table[-1])
        shown = ".".join(place.table)
        if self.choices.database is None:
            raise UnreadableTableError(f"It reads the table {shown}; say in which DuckDB file it is: --database FILE")
        name = self._free(table)
        self._view(
            name, f"SELECT * FROM {_ATTACHED}.{quote(schema)}.{quote(table)}", f"Its database has no table {shown}."
        )
        database = self._as_written(self._database_file(self.choices.database))
        self.sources[name] = ImportedSource(name=name, options={"table": f"{schema}.{table}", "database": database})
        return name

    def _add_files(self, place: TablePlace) -> str:
        kind = place.file_format or _format(place.paths[0])
        if kind not in _FUNCTIONS:
            raise UnreadableTableError(
                f"It reads files of the format {kind or 'unknown'}, whose columns an import cannot find."
            )
        name = self._free(_subject(place.paths[0]))
        paths = [self._absolute(each) for each in place.paths]
        options = "".join(f", {key} = {_literal(value)}" for key, value in place.options.items())
        listed = ", ".join(map(literal, paths))
        self._view(name, f"SELECT * FROM {_FUNCTIONS[kind]}([{listed}]{options})", f"{place.paths[0]} cannot be read.")
        written = [self._as_written(Path(each)) if not urls.scheme(each) else each for each in paths]
        declared: dict[str, object] = {"path": written[0] if len(written) == 1 else written}
        declared |= {"format": kind} if any(_format(each) != kind for each in written) else {}
        declared |= {"options": dict(place.options)} if place.options else {}
        self.sources[name] = ImportedSource(name=name, options=declared)
        return name

    def _view(self, name: str, query: str, fault: str) -> None:
        import duckdb

        try:
            self._connection.execute(f"CREATE VIEW source.{quote(name)} AS {query}")
        except duckdb.Error:
            raise UnreadableTableError(fault) from None

    def _free(self, near: str) -> str:
        name = valid_name(near, taken=(), prefix="t")
        if name in self.taken:
            name = valid_name(f"{name}_rows", taken=self.taken, prefix="t")
        self.taken.add(name)
        return name

    def _absolute(self, path: str) -> str:
        """Return a path or glob that leads to files: as it stands, from here, or from the folder of the queries."""
        if urls.scheme(path) or Path(path).is_absolute():
            return path
        for base in (self.choices.here, self.folder, *self.folder.resolve().parents):
            if next(iter(base.resolve().glob(path)), None) is not None:
                return (base.resolve() / path).as_posix()
        raise UnreadableTableError(f"It reads {path}, and there is no such file.")

    def _as_written(self, path: Path) -> str:
        """Return a path as a source of the project names it."""
        return PurePosixPath(os.path.relpath(path.absolute(), self.choices.root.absolute())).as_posix()


def _format(path: str) -> str:
    return next((kind for ending, kind in _FORMATS.items() if path.lower().endswith(ending)), "")


def _subject(path: str) -> str:
    """Return what files are called: `orders` for `data/orders.parquet` and for `data/orders/*.parquet`."""
    parts = [each for each in PurePosixPath(path).parts if not set("*?[") & set(each)]
    return (parts[-1] if parts else "files").partition(".")[0] or "files"


def _literal(value: object) -> str:
    """Return the value of an option as SQL."""
    match value:
        case bool() | int() | float():
            return str(value).upper()
        case list():
            return f"[{', '.join(map(_literal, value))}]"
        case Mapping():
            return "{" + ", ".join(f"{literal(str(key))}: {_literal(each)}" for key, each in value.items()) + "}"
        case _:
            return literal(str(value))
