"""The columns of source files, from all their rows, and the SQL that reads files of one schema.

DuckDB infers the types of CSV and JSON files from their first 20,480 rows, and of Parquet files from the first file, and
casts the rest silently. Here the types hold the values of all rows of all files. A later file is read in these types, or
refused.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from featdsl.definitions.casts import NULLS
from featdsl.definitions.dtypes import family
from featdsl.definitions.names import escaped, literal
from featdsl.definitions.sources import FILE_FORMATS, Column, SourceDefinition
from featdsl.engines.duckdb import source_files

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

ZONED = "TIMESTAMP WITH TIME ZONE"
TYPE_OPTIONS = ("types", "dtypes", "column_types")
"""The reader options that declare the types of columns."""
OPTIONS_OF_READING = frozenset({
    *TYPE_OPTIONS, "all_varchar", "names", "sample_size", "auto_type_candidates", "files_to_sniff", "delim", "sep", "delimiter",
    "quote", "escape", "comment", "header", "skip", "dateformat", "date_format", "timestampformat", "timestamp_format",
    "union_by_name", "maximum_depth", "field_appearance_threshold", "map_inference_threshold", "convert_strings_to_integers",
})  # fmt: skip
"""Options that affect only how columns are detected, not how detected columns are read."""
OPTIONS_OF_ALL_FILES = frozenset({
    *TYPE_OPTIONS, "union_by_name", "sample_size", "files_to_sniff", "filename", "hive_partitioning", "hive_types",
    "hive_types_autocast",
})  # fmt: skip
"""Options that do not concern a single file."""
_LEFT_ALONE = frozenset({"columns", "auto_detect", "encryption_config", "store_rejects", "ignore_errors"})
"""With one of these options, DuckDB reads the files on its own."""


@dataclass(frozen=True)
class FileSchema:
    """The columns of a file in their order, and the detected options of the reader and formats of dates."""

    columns: tuple[Column, ...]
    options: tuple[str, ...] = ()
    formats: tuple[tuple[str, str], ...] = ()
    first_line: int = 1
    """The line of the first row."""
    around: tuple[str, ...] = ()
    """Columns from the names of the file and its folders."""

    def dtype(self, name: str) -> str | None:
        """Return the type of a column, None if there is no such column."""
        return next((each.dtype for each in self.columns if each.name.lower() == name.lower()), None)


@dataclass(frozen=True)
class Files:
    """The files of one source, and the options of its reader."""

    connection: DuckDBPyConnection
    source: SourceDefinition
    root: Path
    paths: Sequence[str]

    @property
    def options(self) -> dict[str, Any]:
        """The declared options of the reader."""
        return {name.lower(): json.loads(value) for name, value in self.source.options}

    @property
    def by_name(self) -> bool:
        """Whether a file may lack columns, which are then NULL."""
        return self.source.format == "json" or bool(self.options.get("union_by_name"))

    def declared(self, columns: Sequence[Column]) -> dict[str, str]:
        """Return the types that `schema=` and the reader's options declare, by column name in lower case."""
        types: Any = next((self.options[name] for name in TYPE_OPTIONS if name in self.options), {})
        if isinstance(types, list):
            types = {column.name: dtype for column, dtype in zip(columns, types, strict=False)}
        dtypes = {name: self.dtype_of(str(dtype)) for name, dtype in types.items()}
        dtypes |= {each.name: self.dtype_of(each.dtype) for each in self.source.schema}
        return {name.lower(): dtype for name, dtype in dtypes.items()}

    def dtype_of(self, written: str) -> str:
        """Return a type as DuckDB writes it."""
        return str(self.connection.sql(f"SELECT NULL::{written}").types[0])

    def shown(self, path: str) -> str:
        """Return a path for messages: relative to the project's folder if it is below it."""
        return os.path.relpath(path, self.root) if Path(path).is_relative_to(self.root) else path

    def options_except(self, names: Iterable[str]) -> list[str]:
        """Return the declared options as arguments of a reader, except those with these names."""
        return [f"{name} = {source_files.option(value)}" for name, value in self.options.items() if name not in names]


def is_looked_at(source: SourceDefinition, paths: Sequence[str]) -> bool:
    """Return whether the files of a source are read in types that were detected from all of them."""
    options = {name.lower() for name, _ in source.options}
    return source.format in FILE_FORMATS and not _LEFT_ALONE & options and bool(paths)


def in_folders(path: str) -> tuple[str, ...]:
    """Return the columns whose values are in the folder names of a file, as in `year=2024`."""
    return tuple(part.partition("=")[0] for part in Path(path).parts[:-1] if "=" in part)


def plain(dtype: str) -> str:
    """Return a type that a column can have: INTEGER for a column of NULLs."""
    return "INTEGER" if dtype in NULLS else dtype


def read_as(files: Files, actual: str, wanted: str) -> str:
    """Return the type in which to read a column: text from a CSV or JSON file is read verbatim."""
    return wanted if files.source.format != "parquet" and wanted == "VARCHAR" else actual


def is_read_directly(files: Files, actual: str, wanted: str) -> bool:
    """Return whether a text file is read in the type of a column instead of the detected one: a DOUBLE would change decimals."""
    return files.source.format != "parquet" and actual == "DOUBLE" and family(wanted) == "decimal"


def relation_of(
    files: Files, schema: FileSchema, paths: Sequence[str], *more: str, types: Mapping[str, str] = {}
) -> str:
    """Return the SQL of the reader for files of one schema; `types` are those in which to read columns instead of the detected ones."""
    listed = ", ".join(literal(escaped(path)) for path in paths)
    kind = files.source.format
    if kind == "parquet":
        return f"read_parquet({', '.join([f'[{listed}]', *files.options_except({'union_by_name'}), *more])})"
    texts = {column.name.lower(): "VARCHAR" for column in files.source.columns if column.dtype == "VARCHAR"}
    chosen = texts | {name.lower(): dtype for name, dtype in types.items()}
    columns = ", ".join(f"{literal(each.name)}: {literal(_in_file(each, chosen))}" for each in schema.columns)
    arguments = [
        f"[{listed}]",
        f"columns = {{{columns}}}",
        *schema.options,
        *files.options_except(OPTIONS_OF_READING),
        *more,
    ]
    return f"read_{kind}({', '.join(arguments)})"


def _in_file(column: Column, chosen: Mapping[str, str]) -> str:
    return chosen.get(column.name.lower()) or ("VARCHAR" if column.dtype in NULLS else column.dtype)


def paths_of(connection: DuckDBPyConnection, source: SourceDefinition, root: Path) -> list[str]:
    """Return the files that a source reads, in order of path; empty if the server cannot list them."""
    return [state.path for state in source_files.listing(connection, source, root, root) or ()]
