"""Find the columns and types of each source file, over all its rows."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from featdsl.definitions import urls
from featdsl.definitions.casts import OFFSET
from featdsl.definitions.names import escaped, literal, quote
from featdsl.definitions.sources import Column
from featdsl.engines import file_states
from featdsl.engines.duckdb.file_problems import not_utf8, skipped
from featdsl.engines.duckdb.file_schemas import OPTIONS_OF_ALL_FILES, ZONED, Files, FileSchema, in_folders, relation_of

_KEPT_FOR = 10_000
"""The maximum number of files whose schemas are cached."""

_known: dict[tuple[object, ...], FileSchema] = {}


def schemas_of(files: Files, formats: Mapping[str, str]) -> dict[str, FileSchema]:
    """Return the schema of each file that is not empty, by path."""
    filled = [path for path in files.paths if not _is_empty(path)] if files.source.format != "parquet" else files.paths
    if files.source.format == "parquet":
        return _footers(files, filled)
    find = _sniffed if files.source.format == "csv" else _described
    schemas = {path: _remembered(files, path, formats, partial(find, files, path, formats)) for path in filled}
    return {path: replace(schema, around=_names_around(files, path)) for path, schema in schemas.items()}


def _names_around(files: Files, path: str) -> tuple[str, ...]:
    folders = in_folders(path) if files.options.get("hive_partitioning", True) else ()
    named = files.options.get("filename")
    own = (named if isinstance(named, str) else "filename",) if named else ()
    return (*folders, *own)


def columns_of_paths(files: Files, schemas: Mapping[str, FileSchema]) -> list[Column]:
    """Return the columns of text files that come from the names of files and folders, with the types that DuckDB infers."""
    (path, schema), *_ = schemas.items()
    if not schema.around:
        return []
    alike = [each for each, other in schemas.items() if other == schema]
    rows = files.connection.execute(f"DESCRIBE SELECT * FROM {relation_of(files, schema, alike or [path])}").fetchall()
    return [Column(name=name, dtype=dtype) for name, dtype, *_ in rows if name in schema.around]


def _is_empty(path: str) -> bool:
    return not urls.scheme(path) and Path(path).is_file() and Path(path).stat().st_size == 0


def _remembered(files: Files, path: str, formats: Mapping[str, str], find: Any) -> FileSchema:
    """Return the schema of a file, from the cache of this process if the file cannot have changed."""
    if urls.scheme(path):
        return _read_schema(files, path, find)
    stat = Path(path).stat()
    state = (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)
    key = (path, state, files.source.format, files.source.options, tuple(sorted(formats.items())))
    if key not in _known:
        schema = _read_schema(files, path, find)
        if time.time() - max(stat.st_mtime, stat.st_ctime) < file_states.A_MOMENT:
            return schema  # a second write within the same tick of the file system's clock would go unnoticed
        if len(_known) >= _KEPT_FOR:
            _known.clear()
        _known[key] = schema
    return _known[key]


def _read_schema(files: Files, path: str, find: Any) -> FileSchema:
    import duckdb

    try:
        schema: FileSchema = find()
    except duckdb.InvalidInputException as error:
        if "not utf-8" in str(error).lower() or "unicode" in str(error).lower():
            raise not_utf8(files, path) from None
        raise
    return schema


def _sniffed(files: Files, path: str, formats: Mapping[str, str]) -> FileSchema:
    """Return the schema that DuckDB's sniffer infers from all rows of a CSV file."""
    arguments = [f"{name} = {literal(value)}" for name, value in formats.items() if name not in files.options]
    listed = ", ".join([literal(path), "sample_size = -1", *arguments, *files.options_except(OPTIONS_OF_ALL_FILES)])
    query = f"""SELECT Delimiter, Quote, Escape, Comment, SkipRows, HasHeader, Columns, DateFormat, TimestampFormat
        FROM sniff_csv({listed})"""
    ((delim, quotes, escape, comment, skip, header, columns, date, stamp),) = files.connection.execute(query).fetchall()
    if skip and "skip" not in files.options:
        raise skipped(files, path, skip)
    signs = {"delim": delim, "quote": quotes, "escape": escape, "comment": comment}
    detected = {name: "" if sign in {None, "(empty)"} else sign for name, sign in signs.items()}
    options = [f"{name} = {literal(sign)}" for name, sign in detected.items()]
    options += ["auto_detect = false", f"header = {'true' if header else 'false'}", f"skip = {skip}"]
    date_formats = {
        name: files.options.get(name) or value for name, value in (("dateformat", date), ("timestampformat", stamp))
    }
    options += [f"{name} = {literal(value)}" for name, value in date_formats.items() if value]
    # The header and skipped lines count as lines.
    schema = FileSchema(
        tuple(Column(name=each["name"], dtype=_long(each["type"])) for each in columns),
        tuple(options),
        tuple(sorted((name, value) for name, value in date_formats.items() if value and name not in files.options)),
        first_line=1 + skip + bool(header),
    )
    return _with_offsets(files, schema, path)


def _described(files: Files, path: str, formats: Mapping[str, str]) -> FileSchema:
    """Return the schema that DuckDB infers from all rows of a JSON file."""
    del formats
    options = ("format = 'newline_delimited'",) if "format" not in files.options else ()
    arguments = [literal(escaped(path)), "sample_size = -1", *options, *files.options_except(OPTIONS_OF_ALL_FILES)]
    rows = files.connection.execute(f"DESCRIBE SELECT * FROM read_json({', '.join(arguments)})").fetchall()
    columns = tuple(Column(name=name, dtype=_long(dtype)) for name, dtype, *_ in rows)
    return _with_offsets(files, FileSchema(columns, options), path)


def _long(dtype: str) -> str:
    return ZONED if dtype == "TIMESTAMPTZ" else dtype


def _with_offsets(files: Files, schema: FileSchema, path: str) -> FileSchema:
    """Return the schema with zoned types for columns of times with offsets, which DuckDB would drop."""
    naive = [column.name for column in schema.columns if column.dtype == "TIMESTAMP"]
    if not naive:
        return schema
    tests = ", ".join(f"coalesce(bool_or(regexp_matches({quote(name)}, '{OFFSET}')), false)" for name in naive)
    relation = relation_of(files, schema, [path], types=dict.fromkeys(naive, "VARCHAR"))
    (row,) = files.connection.execute(f"SELECT {tests} FROM {relation}").fetchall()
    zoned = {name for name, has in zip(naive, row, strict=True) if has}
    columns = tuple(
        Column(name=each.name, dtype=ZONED if each.name in zoned else each.dtype) for each in schema.columns
    )
    return FileSchema(columns, schema.options, schema.formats, schema.first_line)


def _footers(files: Files, paths: Sequence[str]) -> dict[str, FileSchema]:
    """Return the schemas of Parquet files. DuckDB describes one file of each schema."""
    listed = ", ".join(literal(escaped(path)) for path in paths)
    query = f"""SELECT file_name, hash(list((name, type, type_length, num_children, converted_type, scale, precision,
            logical_type::VARCHAR)))
        FROM parquet_schema([{listed}]) GROUP BY file_name"""
    kinds = dict(files.connection.execute(query).fetchall())
    alike: dict[object, list[str]] = {}
    for path in paths:
        alike.setdefault(kinds.get(path, path), []).append(path)
    schemas: dict[str, FileSchema] = {}
    for group in alike.values():
        called = relation_of(files, FileSchema(()), group)
        rows = files.connection.execute(f"DESCRIBE SELECT * FROM {called}").fetchall()
        schema = FileSchema(tuple(Column(name=name, dtype=dtype) for name, dtype, *_ in rows))
        schemas |= dict.fromkeys(group, schema)
    return {path: schemas[path] for path in paths}
