"""Problems of source files, with file, line, column and value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from featdsl.definitions.casts import NULLS, fits, widens
from featdsl.definitions.names import quote
from featdsl.definitions.sources import Column
from featdsl.engines.duckdb.file_schemas import Files, FileSchema, plain, relation_of
from featdsl.errors import Problem, SourceFileError


def types_by_file(files: Files, dtypes: Mapping[str, str]) -> str:
    """Return the types of a column, each with the first file that has it: "BIGINT in data/a.csv, VARCHAR in data/b.csv"."""
    first: dict[str, str] = {}
    for path, dtype in dtypes.items():
        first.setdefault(dtype, path)
    return ", ".join(f"{dtype} in {files.shown(path)}" for dtype, path in first.items())


def refuse_misfit(files: Files, schema: FileSchema, paths: Sequence[str], read: tuple[Column, str]) -> None:
    """Raise SourceFileError for the first value that does not fit the type of its column; `read` is the column and its type in the files."""
    column, actual = read
    if widens(actual, column.dtype):
        return
    name, wanted = quote(column.name), plain(column.dtype)
    for path in paths:
        relation = relation_of(files, schema, [path])
        numbered = f"SELECT row_number() OVER () AS row, {name} AS value FROM {relation}"
        condition = fits("value", plain(actual), wanted)
        query = (
            f"SELECT row, CAST(value AS VARCHAR) FROM ({numbered}) WHERE value IS NOT NULL AND NOT {condition} LIMIT 1"
        )
        for row, value in files.connection.execute(query).fetchall():
            at = f"row {row}" if files.source.format == "parquet" else f"line {row + schema.first_line - 1}"
            what = f'{files.shown(path)}, {at}: the column "{column.name}" has {value!r}, which {wanted} does not hold.'
            raise SourceFileError(Problem("Value does not fit", what, fix=to_widen(files, column.name)))


def to_widen(files: Files, name: str) -> str:
    """Return the advice for a value that does not fit the type of its column."""
    if name.lower() in files.declared(files.source.columns):
        return f'Correct the file, or declare a wider type for "{name}".'
    return "Correct the file, or accept a wider type: featdsl plan shows the change."


def missing_column(files: Files, name: str, path: str, first: str = "") -> SourceFileError:
    """Return the error for a file that lacks a column; `first` is a file that has it, if one has."""
    has = f"which {files.shown(first)} has" if first else "which the source had when it was planned"
    what = f'{files.shown(path)} has no column "{name}", {has}.'
    fix = 'Correct the file, or read missing columns as NULL: Source(..., options={"union_by_name": True}).'
    return SourceFileError(Problem("Missing column", what, fix=fix))


def no_rows(files: Files) -> SourceFileError:
    """Return the error for files without rows."""
    listed = ", ".join(files.shown(path) for path in files.paths[:3])
    return SourceFileError(
        Problem("No rows", f"{listed}: no rows, so the columns are unknown.", fix="Add a file with rows.")
    )


def skipped(files: Files, path: str, skip: int) -> SourceFileError:
    """Return the error for a CSV file whose columns begin after other lines."""
    what = f"{files.shown(path)}: the columns begin after line {skip}, and DuckDB would skip the lines up to it."
    fix = f'Correct the lines with other columns, or skip them: options={{"skip": {skip}}}.'
    return SourceFileError(Problem("Lines without columns", what, fix=fix))


def not_utf8(files: Files, path: str) -> SourceFileError:
    """Return the error for a file in another encoding."""
    what = f"{files.shown(path)} is not UTF-8."
    fix = 'Save it as UTF-8, or declare its encoding: options={"encoding": "latin-1"}.'
    return SourceFileError(Problem("Wrong encoding", what, fix=fix))


def refuse_undeclared(files: Files, columns: Sequence[Column]) -> None:
    """Raise SourceFileError for a declared type of a column that no file has."""
    known = {column.name.lower() for column in columns}
    gone = [each.name for each in files.source.schema if each.name.lower() not in known]
    if gone:
        what = f'schema= declares the column "{gone[0]}", which {files.shown(files.paths[0])} does not have.'
        listed = ", ".join(column.name for column in columns)
        raise SourceFileError(Problem("Missing column", what, fix=f"The columns are: {listed}."))


def refuse_typeless(
    files: Files, schemas: Mapping[str, FileSchema], columns: Sequence[Column], declared: Mapping[str, str]
) -> None:
    """Raise SourceFileError for text files without rows if the type of a column is not declared."""
    if files.source.format == "parquet" or all(column.name.lower() in declared for column in columns):
        return
    if any(column.dtype not in {"VARCHAR", "JSON", *NULLS} for column in columns):
        return
    for path, schema in schemas.items():
        relation = relation_of(files, schema, [path])
        if files.connection.execute(f"SELECT 1 FROM {relation} LIMIT 1").fetchall():
            return
    what = f"{files.shown(files.paths[0])} has no rows, so the types of its columns are unknown."
    example = ", ".join(f'"{column.name}": ...' for column in columns[:3])
    raise SourceFileError(
        Problem("No rows", what, fix=f"Add rows, or declare the types: Source(schema={{{example}}}).")
    )
