"""Look at every file of a source over all its rows: which columns it has, and the SQL that reads all files alike.

DuckDB takes the types of CSV and JSON files from their first 20,480 rows and those of Parquet files from the first file,
and casts the rest without a word. Here each file is looked at whole, the source's types hold the values of all files, and a
later file is read in these types or refused.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from featdsl import engine, urls
from featdsl.definitions import Column, SourceDefinition, SourceFormat
from featdsl.errors import Origin, Problem, SourceFileError
from featdsl.lossless import NULLS, OFFSET, fits, joined, widens
from featdsl.names import escaped, literal, quote

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

FORMATS = frozenset({"parquet", "csv", "json"})
"""Formats whose files are looked at."""
_ZONED = "TIMESTAMP WITH TIME ZONE"
_TYPES = ("types", "dtypes", "column_types")
"""The names under which readers take the types of columns."""
_OF_READING = frozenset({
    *_TYPES, "all_varchar", "names", "sample_size", "auto_type_candidates", "files_to_sniff", "delim", "sep", "delimiter",
    "quote", "escape", "comment", "header", "skip", "dateformat", "date_format", "timestampformat", "timestamp_format",
    "union_by_name", "maximum_depth", "field_appearance_threshold", "map_inference_threshold", "convert_strings_to_integers",
})  # fmt: skip
"""Options that decide what is found, and not how what was found is read."""
_OF_ALL_FILES = frozenset({
    *_TYPES, "union_by_name", "sample_size", "files_to_sniff", "filename", "hive_partitioning", "hive_types",
    "hive_types_autocast",
})  # fmt: skip
"""Options that say nothing of a single file."""
_LEFT_ALONE = frozenset({"columns", "auto_detect", "encryption_config", "store_rejects", "ignore_errors"})
"""Options with which files are read as DuckDB reads them."""
_LARGE = r"\s*[+-]?\d{16,}\s*"
"""A pattern of integers that a DOUBLE may change."""
_EXACT = "DECIMAL(38,15)"
"""The type of a column of such integers and fractions."""
_OF_DECIMAL = r"\s*[+-]?\d{1,23}(\.\d{0,15})?\s*"
"""A pattern of numbers that it holds."""
_KEPT_FOR = 10_000
"""So many files are remembered with what was found in them."""


@dataclass(frozen=True)
class FileSchema:
    """The columns of a file in its order, and the reader's options and the formats of dates that were found for it."""

    columns: tuple[Column, ...]
    options: tuple[str, ...] = ()
    formats: tuple[tuple[str, str], ...] = ()
    first_line: int = 1
    """The line of the first row."""
    around: tuple[str, ...] = ()
    """Columns that do not stand in the file: those in the names of its folders, and of its own name."""

    def dtype(self, name: str) -> str | None:
        """Return the type of a column, None where there is none of this name."""
        return next((each.dtype for each in self.columns if each.name.lower() == name.lower()), None)


@dataclass(frozen=True)
class Found:
    """The columns of all files, in the order of the first one, the formats of dates and times, and where files differ."""

    columns: tuple[Column, ...]
    formats: tuple[tuple[str, str], ...] = ()
    differing: Mapping[str, str] = field(default_factory=dict)
    """For each column, in lower case, whose type differs between files: which type is in which file."""


@dataclass(frozen=True)
class Files:
    """The files of one source, and what its reader is told."""

    connection: DuckDBPyConnection
    source: SourceDefinition
    root: Path
    paths: Sequence[str]

    @property
    def options(self) -> dict[str, Any]:
        """The options of the reader, as they are declared."""
        return {name.lower(): json.loads(value) for name, value in self.source.options}

    @property
    def by_name(self) -> bool:
        """Whether a file may lack columns, which are NULL then."""
        return self.source.format == "json" or bool(self.options.get("union_by_name"))

    def declared(self, columns: Sequence[Column]) -> dict[str, str]:
        """Return the declared type of columns by name in lower case: those of `schema=` and of the reader's options."""
        types: Any = next((self.options[name] for name in _TYPES if name in self.options), {})
        if isinstance(types, list):
            types = {column.name: dtype for column, dtype in zip(columns, types, strict=False)}
        said = {name: self.dtype_of(str(dtype)) for name, dtype in types.items()}
        said |= {each.name: self.dtype_of(each.dtype) for each in self.source.schema}
        return {name.lower(): dtype for name, dtype in said.items()}

    def dtype_of(self, written: str) -> str:
        """Return a type as DuckDB writes it."""
        return str(self.connection.sql(f"SELECT NULL::{written}").types[0])

    def shown(self, path: str) -> str:
        """Return a path as people know it: from the project's folder, where it is below that."""
        return os.path.relpath(path, self.root) if Path(path).is_relative_to(self.root) else path

    def said(self, names: Iterable[str]) -> list[str]:
        """Return the declared options but for those of these names, as a reader takes them."""
        return [f"{name} = {engine.option(value)}" for name, value in self.options.items() if name not in names]


def is_looked_at(source: SourceDefinition, paths: Sequence[str]) -> bool:
    """Return whether the files of a source are read in types that were found in all of them."""
    options = {name.lower() for name, _ in source.options}
    return source.format in FORMATS and not _LEFT_ALONE & options and bool(paths)


def in_folders(path: str) -> tuple[str, ...]:
    """Return the columns whose values stand in the names of the folders of a file, as in `year=2024`."""
    return tuple(part.partition("=")[0] for part in Path(path).parts[:-1] if "=" in part)


def select(
    connection: DuckDBPyConnection, source: SourceDefinition, root: Path, frames: Path | str, paths: Sequence[str]
) -> str:
    """Return the SQL that reads a source; of one over files the `paths`, in the types that it was planned with.

    Raises SourceFileError for a file that lacks a column, and for a value that its type does not hold.
    """
    if paths and source.columns and is_looked_at(source, paths):
        return reading(Files(connection, source, root, paths))
    if paths:
        source = replace(source, location=tuple(map(escaped, paths)))
    return engine.reading(source, root, frames)


def rows_of(connection: DuckDBPyConnection, kind: SourceFormat, path: str) -> str:
    """Return the SQL that reads the files of a path, or of a glob, in types that hold all their values.

    Raises SourceFileError, and duckdb.Error where there are no such files.
    """
    root = Path.cwd()
    source = SourceDefinition(
        name="", project="", owner="", description="", format=kind, location=(path,), timestamp=None, tie_break=None,
        fingerprint="", origin=Origin("", 0),
    )  # fmt: skip
    paths = paths_of(connection, source, root)
    if paths and is_looked_at(source, paths):
        source = _exact(Files(connection, source, root, paths)) if kind != "parquet" else source
        found = look(Files(connection, source, root, paths), None)
        source = replace(source, columns=found.columns, formats=found.formats)
    return select(connection, source, root, root, paths)


def _exact(files: Files) -> SourceDefinition:
    """Return a source over text files with types for the columns in which large integers stand beside fractions.

    A DOUBLE would change those integers: such a column has decimals, or texts where these do not hold all values.
    """
    floats = tuple(replace(each, dtype="VARCHAR") for each in look(files, None).columns if each.dtype == "DOUBLE")
    if not floats:
        return files.source
    source = replace(files.source, schema=floats)
    as_texts = replace(source, columns=look(replace(files, source=source), None).columns)
    rows = select(files.connection, as_texts, files.root, files.root, files.paths)
    exact = []
    for each in floats:
        asked = (
            f"bool_or(regexp_full_match({quote(each.name)}, $1)), bool_and(regexp_full_match({quote(each.name)}, $2))"
        )
        query = f"SELECT {asked} FROM ({rows})"
        ((large, decimal),) = files.connection.execute(query, [_LARGE, _OF_DECIMAL]).fetchall()
        if large:
            exact.append(replace(each, dtype=_EXACT) if decimal and files.source.format == "csv" else each)
    return replace(files.source, schema=tuple(exact))


def look(files: Files, applied: SourceDefinition | None) -> Found:
    """Return what is found in all files; formats of dates stay those that the source was `applied` with.

    Raises SourceFileError for files that do not go together.
    """
    formats = dict(applied.formats) if applied is not None else {}
    schemas = _schemas(files, formats)
    if files.source.format == "csv" and not formats:
        formats = _one_format(files, schemas)
        schemas = _schemas(files, formats) if formats else schemas
    if not schemas:
        raise _no_rows(files)
    names = _names(files, schemas)
    declared = files.declared(next(iter(schemas.values())).columns)
    columns, differing = _around(files, schemas), {}
    for name in names:
        dtypes = _dtypes(files, schemas, name)
        found = declared.get(name.lower()) or _joined(files, name, dtypes)
        columns.append(Column(name=name, dtype=found))
        if len(set(dtypes.values())) > 1:
            differing[name.lower()] = _listed(files, dtypes)
    _refuse_undeclared(files, columns)
    _refuse_typeless(files, schemas, columns, declared)
    return Found(tuple(columns), tuple(sorted(formats.items())), differing)


def reading(files: Files) -> str:
    """Return the SQL that reads the files in the types of the source's columns.

    Raises SourceFileError for a file that lacks a column, and for a value that its type does not hold.
    """
    schemas = _schemas(files, dict(files.source.formats))
    if not schemas:
        raise _no_rows(files)
    groups: dict[FileSchema, list[str]] = {}
    for path, schema in schemas.items():
        groups.setdefault(schema, []).append(path)
    return "\nUNION ALL BY NAME\n".join(_part(files, schema, paths) for schema, paths in groups.items())


def _part(files: Files, schema: FileSchema, paths: Sequence[str]) -> str:
    """Return the SQL that reads files of one schema."""
    wanted = {column.name.lower(): column for column in files.source.columns}
    replaced, added = [], []
    for column in files.source.columns:
        found = schema.dtype(column.name)
        if column.name in schema.around:
            replaced.append(f"CAST({quote(column.name)} AS {_plain(column.dtype)}) AS {quote(column.name)}")
        elif found is None:
            if not files.by_name:
                raise _missing(files, column.name, paths[0])
            added.append(f"CAST(NULL AS {_plain(column.dtype)}) AS {quote(column.name)}")
        elif (is_read_as := _read_as(files, found, column.dtype)) != column.dtype:
            _refuse_misfit(files, schema, paths, (column, is_read_as))
            replaced.append(f"CAST({quote(column.name)} AS {_plain(column.dtype)}) AS {quote(column.name)}")
    others = [quote(column.name) for column in schema.columns if column.name.lower() not in wanted]
    star = "*" + (f" EXCLUDE ({', '.join(others)})" if others else "")
    star += f" REPLACE ({', '.join(replaced)})" if replaced else ""
    return f"SELECT {', '.join([star, *added])} FROM {_relation(files, schema, paths)}"


def _plain(dtype: str) -> str:
    return "INTEGER" if dtype in NULLS else dtype


def _read_as(files: Files, found: str, wanted: str) -> str:
    """Return the type in which a reader gives a column: text stays as it stands in a CSV or JSON file."""
    return wanted if files.source.format != "parquet" and wanted == "VARCHAR" else found


def _relation(files: Files, schema: FileSchema, paths: Sequence[str], *more: str, as_text: Iterable[str] = ()) -> str:
    """Return the call of the reader for files of one schema, of which some columns may be read `as_text`."""
    listed = ", ".join(literal(escaped(path)) for path in paths)
    kind = files.source.format
    if kind == "parquet":
        return f"read_parquet({', '.join([f'[{listed}]', *files.said({'union_by_name'}), *more])})"
    texts = {name.lower() for name in as_text}
    wanted = {column.name.lower(): column.dtype for column in files.source.columns}
    columns = ", ".join(f"{literal(each.name)}: {literal(_in_file(each, wanted, texts))}" for each in schema.columns)
    given = [f"[{listed}]", f"columns = {{{columns}}}", *schema.options, *files.said(_OF_READING), *more]
    return f"read_{kind}({', '.join(given)})"


def _in_file(column: Column, wanted: Mapping[str, str], texts: set[str]) -> str:
    as_text = column.name.lower() in texts or wanted.get(column.name.lower()) == "VARCHAR"
    return "VARCHAR" if as_text or column.dtype in NULLS else column.dtype


# What is in one file


_known: dict[tuple[object, ...], FileSchema] = {}


def _schemas(files: Files, formats: Mapping[str, str]) -> dict[str, FileSchema]:
    """Return what each file that has something in it holds, by path."""
    filled = [path for path in files.paths if not _is_empty(path)] if files.source.format != "parquet" else files.paths
    if files.source.format == "parquet":
        return _footers(files, filled)
    find = _sniffed if files.source.format == "csv" else _described
    found = {path: _remembered(files, path, formats, partial(find, files, path, formats)) for path in filled}
    return {path: replace(schema, around=_names_around(files, path)) for path, schema in found.items()}


def _names_around(files: Files, path: str) -> tuple[str, ...]:
    folders = in_folders(path) if files.options.get("hive_partitioning", True) else ()
    named = files.options.get("filename")
    own = (named if isinstance(named, str) else "filename",) if named else ()
    return (*folders, *own)


def _around(files: Files, schemas: Mapping[str, FileSchema]) -> list[Column]:
    """Return the columns of text files that stand in the names of folders and files, in the types that DuckDB gives them."""
    (path, schema), *_ = schemas.items()
    if not schema.around:
        return []
    alike = [each for each, other in schemas.items() if other == schema]
    rows = files.connection.execute(f"DESCRIBE SELECT * FROM {_relation(files, schema, alike or [path])}").fetchall()
    return [Column(name=name, dtype=dtype) for name, dtype, *_ in rows if name in schema.around]


def _is_empty(path: str) -> bool:
    return not urls.scheme(path) and Path(path).is_file() and Path(path).stat().st_size == 0


def _remembered(files: Files, path: str, formats: Mapping[str, str], find: Any) -> FileSchema:
    """Return what was found in a file earlier in this process, where nothing can have changed it since."""
    if urls.scheme(path):
        return _found(files, path, find)
    stat = Path(path).stat()
    state = (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)
    key = (path, state, files.source.format, files.source.options, tuple(sorted(formats.items())))
    if key not in _known:
        found = _found(files, path, find)
        if time.time() - max(stat.st_mtime, stat.st_ctime) < engine.A_MOMENT:
            return found  # it can be written again within the same tick of its clock
        if len(_known) >= _KEPT_FOR:
            _known.clear()
        _known[key] = found
    return _known[key]


def _found(files: Files, path: str, find: Any) -> FileSchema:
    import duckdb

    try:
        found: FileSchema = find()
    except duckdb.InvalidInputException as error:
        if "not utf-8" in str(error).lower() or "unicode" in str(error).lower():
            raise _not_utf8(files, path) from None
        raise
    return found


def _sniffed(files: Files, path: str, formats: Mapping[str, str]) -> FileSchema:
    """Return what DuckDB's sniffer finds in all rows of a CSV file."""
    given = [f"{name} = {literal(value)}" for name, value in formats.items() if name not in files.options]
    listed = ", ".join([literal(path), "sample_size = -1", *given, *files.said(_OF_ALL_FILES)])
    query = f"""SELECT Delimiter, Quote, Escape, Comment, SkipRows, HasHeader, Columns, DateFormat, TimestampFormat
        FROM sniff_csv({listed})"""
    ((delim, quotes, escape, comment, skip, header, columns, date, stamp),) = files.connection.execute(query).fetchall()
    if skip and "skip" not in files.options:
        raise _skipped(files, path, skip)
    signs = {"delim": delim, "quote": quotes, "escape": escape, "comment": comment}
    found = {name: "" if sign in {None, "(empty)"} else sign for name, sign in signs.items()}
    options = [f"{name} = {literal(sign)}" for name, sign in found.items()]
    options += ["auto_detect = false", f"header = {'true' if header else 'false'}", f"skip = {skip}"]
    said = {
        name: files.options.get(name) or value for name, value in (("dateformat", date), ("timestampformat", stamp))
    }
    options += [f"{name} = {literal(value)}" for name, value in said.items() if value]
    # Numbers over lines: a header is a line, and so is each one that is skipped.
    schema = FileSchema(
        tuple(Column(name=each["name"], dtype=_long(each["type"])) for each in columns),
        tuple(options),
        tuple(sorted((name, value) for name, value in said.items() if value and name not in files.options)),
        first_line=1 + skip + bool(header),
    )
    return _with_offsets(files, schema, path)


def _described(files: Files, path: str, formats: Mapping[str, str]) -> FileSchema:
    """Return what DuckDB finds in all rows of a JSON file."""
    del formats
    options = ("format = 'newline_delimited'",) if "format" not in files.options else ()
    given = [literal(escaped(path)), "sample_size = -1", *options, *files.said(_OF_ALL_FILES)]
    rows = files.connection.execute(f"DESCRIBE SELECT * FROM read_json({', '.join(given)})").fetchall()
    columns = tuple(Column(name=name, dtype=_long(dtype)) for name, dtype, *_ in rows)
    return _with_offsets(files, FileSchema(columns, options), path)


def _long(dtype: str) -> str:
    return _ZONED if dtype == "TIMESTAMPTZ" else dtype


def _with_offsets(files: Files, schema: FileSchema, path: str) -> FileSchema:
    """Return the schema with instants where a text of a time has an offset, which DuckDB would drop."""
    naive = [column.name for column in schema.columns if column.dtype == "TIMESTAMP"]
    if not naive:
        return schema
    tests = ", ".join(f"coalesce(bool_or(regexp_matches({quote(name)}, '{OFFSET}')), false)" for name in naive)
    relation = _relation(files, schema, [path], as_text=naive)
    (row,) = files.connection.execute(f"SELECT {tests} FROM {relation}").fetchall()
    zoned = {name for name, has in zip(naive, row, strict=True) if has}
    columns = tuple(
        Column(name=each.name, dtype=_ZONED if each.name in zoned else each.dtype) for each in schema.columns
    )
    return FileSchema(columns, schema.options, schema.formats, schema.first_line)


def _footers(files: Files, paths: Sequence[str]) -> dict[str, FileSchema]:
    """Return the columns of Parquet files: one file of each schema is described."""
    listed = ", ".join(literal(escaped(path)) for path in paths)
    query = f"""SELECT file_name, hash(list((name, type, type_length, num_children, converted_type, scale, precision,
            logical_type::VARCHAR)))
        FROM parquet_schema([{listed}]) GROUP BY file_name"""
    kinds = dict(files.connection.execute(query).fetchall())
    alike: dict[object, list[str]] = {}
    for path in paths:
        alike.setdefault(kinds.get(path, path), []).append(path)
    found: dict[str, FileSchema] = {}
    for group in alike.values():
        called = _relation(files, FileSchema(()), group)
        rows = files.connection.execute(f"DESCRIBE SELECT * FROM {called}").fetchall()
        schema = FileSchema(tuple(Column(name=name, dtype=dtype) for name, dtype, *_ in rows))
        found |= dict.fromkeys(group, schema)
    return {path: found[path] for path in paths}


# What is in all of them


def _names(files: Files, schemas: Mapping[str, FileSchema]) -> list[str]:
    """Return the names of the columns: those of the first file, or of all where they go by name."""
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
                raise _missing(files, name, path, first[0])
    return names


def _dtypes(files: Files, schemas: Mapping[str, FileSchema], name: str) -> dict[str, str]:
    """Return the type of a column in each file in which it has values."""
    found = {path: dtype for path, schema in schemas.items() if (dtype := schema.dtype(name)) is not None}
    if len(set(found.values())) < 2 or files.source.format == "parquet":  # noqa: PLR2004 - all of one type
        return {path: dtype for path, dtype in found.items() if dtype not in NULLS} or found
    filled = {}
    for path, dtype in found.items():
        if dtype in NULLS or (dtype in {"VARCHAR", "JSON"} and not _has_values(files, schemas[path], path, name)):
            continue
        filled[path] = dtype
    return filled or found


def _has_values(files: Files, schema: FileSchema, path: str, name: str) -> bool:
    relation = _relation(files, schema, [path], as_text=[name])
    return bool(
        files.connection.execute(f"SELECT 1 FROM {relation} WHERE {quote(name)} IS NOT NULL LIMIT 1").fetchall()
    )


def _joined(files: Files, name: str, dtypes: Mapping[str, str]) -> str:
    """Return the narrowest type that holds the values of all files; of text files that is text at last."""
    (first, found), *others = dtypes.items()
    for path, dtype in others:
        both = joined(found, dtype)
        if both is None and files.source.format == "parquet":
            what = f'The column "{name}" is {found} in {files.shown(first)} and {dtype} in {files.shown(path)}.'
            mend = "Write the files alike, or say which type it is: Source(schema={" + f'"{name}": ...' + "})."
            raise SourceFileError(Problem("Files differ", what, mend=mend))
        found = both or "VARCHAR"
    return found


def _listed(files: Files, dtypes: Mapping[str, str]) -> str:
    """Return which type a column has in which file, a file for each type."""
    first: dict[str, str] = {}
    for path, dtype in dtypes.items():
        first.setdefault(dtype, path)
    return ", ".join(f"{dtype} in {files.shown(path)}" for dtype, path in first.items())


def _one_format(files: Files, schemas: Mapping[str, FileSchema]) -> dict[str, str]:
    """Return the formats of dates and times that all files can be read in, as far as there are such."""
    formats: dict[str, str] = {}
    for name in ("dateformat", "timestampformat"):
        said = sorted({value for schema in schemas.values() for key, value in schema.formats if key == name})
        good = (value for value in said if _reads_all(files, schemas, {**formats, name: value}))
        if said and (value := next(good, said[0])):
            formats[name] = value
    return formats


def _reads_all(files: Files, schemas: Mapping[str, FileSchema], formats: Mapping[str, str]) -> bool:
    """Return whether every column of times is still one where files are read in these formats."""
    again = _schemas(files, formats)
    times = {"DATE", "TIMESTAMP", _ZONED}
    return all(
        again[path].dtype(column.name) in times
        for path, schema in schemas.items()
        for column in schema.columns
        if column.dtype in times
    )


# What is wrong


def _refuse_misfit(files: Files, schema: FileSchema, paths: Sequence[str], read: tuple[Column, str]) -> None:
    """Refuse the first value that the type of a column does not hold. Raises SourceFileError."""
    column, found = read
    if widens(found, column.dtype):
        return
    name, wanted = quote(column.name), _plain(column.dtype)
    for path in paths:
        relation = _relation(files, schema, [path])
        numbered = f"SELECT row_number() OVER () AS row, {name} AS value FROM {relation}"
        condition = fits("value", _plain(found), wanted)
        query = (
            f"SELECT row, CAST(value AS VARCHAR) FROM ({numbered}) WHERE value IS NOT NULL AND NOT {condition} LIMIT 1"
        )
        for row, value in files.connection.execute(query).fetchall():
            at = f"row {row}" if files.source.format == "parquet" else f"line {row + schema.first_line - 1}"
            what = f'{files.shown(path)}, {at}: the column "{column.name}" has {value!r}, which {wanted} does not hold.'
            raise SourceFileError(Problem("Value does not fit", what, mend=_to_widen(files, column.name)))


def _to_widen(files: Files, name: str) -> str:
    if name.lower() in files.declared(files.source.columns):
        return f'Correct the file, or declare a wider type of "{name}".'
    return "Correct the file, or read it in a wider type: featdsl plan shows the change."


def _missing(files: Files, name: str, path: str, first: str = "") -> SourceFileError:
    has = f"which {files.shown(first)} has" if first else "which the source had when it was planned"
    what = f'{files.shown(path)} has no column "{name}", {has}.'
    mend = 'Correct the file, or have NULL there: Source(..., options={"union_by_name": True}).'
    return SourceFileError(Problem("Missing column", what, mend=mend))


def _no_rows(files: Files) -> SourceFileError:
    listed = ", ".join(files.shown(path) for path in files.paths[:3])
    return SourceFileError(
        Problem("No rows", f"{listed}: no rows, so there are no columns.", mend="Bring a file with rows.")
    )


def _skipped(files: Files, path: str, skip: int) -> SourceFileError:
    what = f"{files.shown(path)}: the columns begin after line {skip}, so the lines before that would be skipped."
    mend = f'Correct the lines that have other columns, or say that they are none: options={{"skip": {skip}}}.'
    return SourceFileError(Problem("Lines without columns", what, mend=mend))


def _not_utf8(files: Files, path: str) -> SourceFileError:
    what = f"{files.shown(path)} is not UTF-8."
    mend = 'Save it as UTF-8, or say how it is written: options={"encoding": "latin-1"}.'
    return SourceFileError(Problem("Wrong encoding", what, mend=mend))


def _refuse_undeclared(files: Files, columns: Sequence[Column]) -> None:
    """Refuse a declared type of a column that no file has. Raises SourceFileError."""
    known = {column.name.lower() for column in columns}
    gone = [each.name for each in files.source.schema if each.name.lower() not in known]
    if gone:
        what = f'schema= declares the column "{gone[0]}", which {files.shown(files.paths[0])} does not have.'
        listed = ", ".join(column.name for column in columns)
        raise SourceFileError(Problem("Missing column", what, mend=f"Its columns are: {listed}."))


def _refuse_typeless(
    files: Files, schemas: Mapping[str, FileSchema], columns: Sequence[Column], declared: Mapping[str, str]
) -> None:
    """Refuse text files without any row, whose columns have no types but declared ones. Raises SourceFileError."""
    if files.source.format == "parquet" or all(column.name.lower() in declared for column in columns):
        return
    if any(column.dtype not in {"VARCHAR", "JSON", *NULLS} for column in columns):
        return
    for path, schema in schemas.items():
        relation = _relation(files, schema, [path])
        if files.connection.execute(f"SELECT 1 FROM {relation} LIMIT 1").fetchall():
            return
    what = f"{files.shown(files.paths[0])} has no rows, so the types of its columns are unknown."
    example = ", ".join(f'"{column.name}": ...' for column in columns[:3])
    raise SourceFileError(
        Problem("No rows", what, mend=f"Bring rows, or declare the types: Source(schema={{{example}}}).")
    )


def paths_of(connection: DuckDBPyConnection, source: SourceDefinition, root: Path) -> list[str]:
    """Return the files that a source reads, in order of path; none where no server lists them."""
    return [state.path for state in engine.listing(connection, source, root, root) or ()]
