"""Read all files of a source in types that hold every value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from featdsl.definitions.casts import NULLS, joined
from featdsl.definitions.names import escaped, quote
from featdsl.definitions.sources import Column, SourceDefinition, SourceFormat
from featdsl.engines.duckdb import source_files
from featdsl.engines.duckdb.file_problems import (
    missing_column,
    no_rows,
    refuse_misfit,
    refuse_typeless,
    refuse_undeclared,
    types_by_file,
)
from featdsl.engines.duckdb.file_schemas import (
    ZONED,
    Files,
    FileSchema,
    is_looked_at,
    is_read_directly,
    paths_of,
    plain,
    read_as,
    relation_of,
)
from featdsl.engines.duckdb.file_sniffing import columns_of_paths, schemas_of
from featdsl.engines.sources import SourceColumns
from featdsl.errors import Origin, Problem, SourceFileError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection
_LARGE = r"\s*[+-]?\d{16,}\s*"
"""A pattern of integers that a DOUBLE may change."""
_EXACT = "DECIMAL(38,15)"
"""The type of a column of such integers and fractions."""
_OF_DECIMAL = r"\s*[+-]?\d{1,23}(\.\d{0,15})?\s*"
"""A pattern of numbers that `_EXACT` holds."""


def select(
    connection: DuckDBPyConnection, source: SourceDefinition, root: Path, frames: Path | str, paths: Sequence[str]
) -> str:
    """Return the SQL that reads a source. Of a source over files, it reads `paths` in the planned types.

    Raises SourceFileError for a file that lacks a column, and for a value that does not fit its type.
    """
    if paths and source.columns and is_looked_at(source, paths):
        return reading(Files(connection, source, root, paths))
    if paths:
        source = replace(source, location=tuple(map(escaped, paths)))
    return source_files.reading(source, root, frames)


def rows_of(connection: DuckDBPyConnection, kind: SourceFormat, path: str) -> str:
    """Return the SQL that reads the files of a path or a glob in types that hold all their values.

    Raises SourceFileError, and duckdb.Error if there are no such files.
    """
    root = Path.cwd()
    source = SourceDefinition(
        name="", project="", owner="", description="", format=kind, location=(path,), timestamp=None, tie_break=None,
        fingerprint="", origin=Origin("", 0),
    )  # fmt: skip
    paths = paths_of(connection, source, root)
    if paths and is_looked_at(source, paths):
        source = _exact(Files(connection, source, root, paths)) if kind != "parquet" else source
        detected = look(Files(connection, source, root, paths), None)
        source = replace(source, columns=detected.columns, formats=detected.formats)
    return select(connection, source, root, root, paths)


def _exact(files: Files) -> SourceDefinition:
    """Return a source over text files that declares a type for columns with large integers beside fractions.

    A DOUBLE would change those integers: such a column is a decimal, or text if a decimal does not hold all values.
    """
    floats = tuple(replace(each, dtype="VARCHAR") for each in look(files, None).columns if each.dtype == "DOUBLE")
    if not floats:
        return files.source
    source = replace(files.source, schema=floats)
    as_texts = replace(source, columns=look(replace(files, source=source), None).columns)
    rows = select(files.connection, as_texts, files.root, files.root, files.paths)
    exact = []
    for each in floats:
        tests = (
            f"bool_or(regexp_full_match({quote(each.name)}, $1)), bool_and(regexp_full_match({quote(each.name)}, $2))"
        )
        query = f"SELECT {tests} FROM ({rows})"
        ((large, decimal),) = files.connection.execute(query, [_LARGE, _OF_DECIMAL]).fetchall()
        if large:
            exact.append(replace(each, dtype=_EXACT) if decimal and files.source.format == "csv" else each)
    return replace(files.source, schema=tuple(exact))


def look(files: Files, applied: SourceDefinition | None) -> SourceColumns:
    """Return the columns of all files. Formats of dates stay those of the `applied` source.

    Raises SourceFileError for files that do not fit together.
    """
    formats = dict(applied.formats) if applied is not None else {}
    schemas = schemas_of(files, formats)
    if files.source.format == "csv" and not formats:
        formats = _one_format(files, schemas)
        schemas = schemas_of(files, formats) if formats else schemas
    if not schemas:
        raise no_rows(files)
    names = _names(files, schemas)
    declared = files.declared(next(iter(schemas.values())).columns)
    columns, differing = columns_of_paths(files, schemas), {}
    for name in names:
        dtypes = _dtypes(files, schemas, name)
        dtype = declared.get(name.lower()) or _joined(files, name, dtypes)
        columns.append(Column(name=name, dtype=dtype))
        if len(set(dtypes.values())) > 1:
            differing[name.lower()] = types_by_file(files, dtypes)
    refuse_undeclared(files, columns)
    refuse_typeless(files, schemas, columns, declared)
    return SourceColumns(tuple(columns), tuple(sorted(formats.items())), differing)


def reading(files: Files) -> str:
    """Return the SQL that reads the files in the types of the source's columns.

    Raises SourceFileError for a file that lacks a column, and for a value that does not fit its type.
    """
    schemas = schemas_of(files, dict(files.source.formats))
    if not schemas:
        raise no_rows(files)
    groups: dict[FileSchema, list[str]] = {}
    for path, schema in schemas.items():
        groups.setdefault(schema, []).append(path)
    return "\nUNION ALL BY NAME\n".join(_part(files, schema, paths) for schema, paths in groups.items())


def _part(files: Files, schema: FileSchema, paths: Sequence[str]) -> str:
    """Return the SQL that reads files of one schema."""
    wanted = {column.name.lower(): column for column in files.source.columns}
    replaced, added, types = [], [], {}
    for column in files.source.columns:
        actual = schema.dtype(column.name)
        if column.name in schema.around:
            replaced.append(f"CAST({quote(column.name)} AS {plain(column.dtype)}) AS {quote(column.name)}")
        elif actual is None:
            if not files.by_name:
                raise missing_column(files, column.name, paths[0])
            added.append(f"CAST(NULL AS {plain(column.dtype)}) AS {quote(column.name)}")
        elif (is_read_as := read_as(files, actual, column.dtype)) != column.dtype:
            refuse_misfit(files, schema, paths, (column, is_read_as))
            if is_read_directly(files, actual, column.dtype):
                types[column.name] = column.dtype
            else:
                replaced.append(f"CAST({quote(column.name)} AS {plain(column.dtype)}) AS {quote(column.name)}")
    others = [quote(column.name) for column in schema.columns if column.name.lower() not in wanted]
    star = "*" + (f" EXCLUDE ({', '.join(others)})" if others else "")
    star += f" REPLACE ({', '.join(replaced)})" if replaced else ""
    return f"SELECT {', '.join([star, *added])} FROM {relation_of(files, schema, paths, types=types)}"


def _names(files: Files, schemas: Mapping[str, FileSchema]) -> list[str]:
    """Return the column names: of all files if they are combined by name, else of the first file, which all must have."""
    first, *others = schemas.items()
    names = [column.name for column in first[1].columns]
    if files.by_name:
        known = {name.lower() for name in names}
        for _, schema in others:
            new = [column.name for column in schema.columns if column.name.lower() not in known]
            names += new
            known |= {name.lower() for name in new}
        return names
    for path, schema in others:
        for name in names:
            if schema.dtype(name) is None:
                raise missing_column(files, name, path, first[0])
    return names


def _dtypes(files: Files, schemas: Mapping[str, FileSchema], name: str) -> dict[str, str]:
    """Return the type of a column in each file in which it has values."""
    dtypes = {path: dtype for path, schema in schemas.items() if (dtype := schema.dtype(name)) is not None}
    if len(set(dtypes.values())) < 2 or files.source.format == "parquet":  # noqa: PLR2004 - all of one type
        return {path: dtype for path, dtype in dtypes.items() if dtype not in NULLS} or dtypes
    filled = {}
    for path, dtype in dtypes.items():
        if dtype in NULLS or (dtype in {"VARCHAR", "JSON"} and not _has_values(files, schemas[path], path, name)):
            continue
        filled[path] = dtype
    return filled or dtypes


def _has_values(files: Files, schema: FileSchema, path: str, name: str) -> bool:
    relation = relation_of(files, schema, [path], types={name: "VARCHAR"})
    return bool(
        files.connection.execute(f"SELECT 1 FROM {relation} WHERE {quote(name)} IS NOT NULL LIMIT 1").fetchall()
    )


def _joined(files: Files, name: str, dtypes: Mapping[str, str]) -> str:
    """Return the narrowest type that holds the values of all files; for text files, at worst text. Raises SourceFileError."""
    (first, widest), *others = dtypes.items()
    for path, dtype in others:
        both = joined(widest, dtype)
        if both is None and files.source.format == "parquet":
            what = f'The column "{name}" is {widest} in {files.shown(first)} and {dtype} in {files.shown(path)}.'
            fix = "Write one type in all files, or declare it: Source(schema={" + f'"{name}": ...' + "})."
            raise SourceFileError(Problem("Files differ", what, fix=fix))
        widest = both or "VARCHAR"
    return widest


def _one_format(files: Files, schemas: Mapping[str, FileSchema]) -> dict[str, str]:
    """Return formats of dates and times that can read all files, or else the first format in order."""
    formats: dict[str, str] = {}
    for name in ("dateformat", "timestampformat"):
        detected = sorted({value for schema in schemas.values() for key, value in schema.formats if key == name})
        good = (value for value in detected if _reads_all(files, schemas, {**formats, name: value}))
        if detected and (value := next(good, detected[0])):
            formats[name] = value
    return formats


def _reads_all(files: Files, schemas: Mapping[str, FileSchema], formats: Mapping[str, str]) -> bool:
    """Return whether every column of times is still read as times in these formats."""
    again = schemas_of(files, formats)
    times = {"DATE", "TIMESTAMP", ZONED}
    return all(
        again[path].dtype(column.name) in times
        for path, schema in schemas.items()
        for column in schema.columns
        if column.dtype in times
    )
