"""Read Parquet files in Spark in the types that they have, which are then cast to those of the columns.

Given other types, Spark reads some values wrong and says nothing: a DECIMAL as a DOUBLE without its point, a large unsigned number
as a negative one. Sail reads 0 in place of a column that a file lacks, and skips files that do not exist.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote as percent_encoded
from urllib.parse import unquote

from featdsl.definitions import urls
from featdsl.definitions.sources import Column
from featdsl.engines.session import EngineError, ErrorDetail
from featdsl.engines.spark.connect import Connected
from featdsl.engines.spark.sources import fitted
from featdsl.engines.spark.sql_text import literal, quote, spark_type

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_GLOB = re.compile(r"([\[\]{}*?\\])")
_UNSIGNED = re.compile(r"\bU(?:TINY|SMALL|BIG)?INT(?:EGER)?\b")
_NULL = "__HIVE_DEFAULT_PARTITION__"
"""The folder of rows without a value."""


@dataclass(frozen=True)
class ParquetFiles:
    """Parquet files, the columns wanted of them, and what they are in messages.

    With `in_folders`, columns may stand in the names of folders: `day=2026-01-01`.
    """

    files: Sequence[str]
    columns: Sequence[Column]
    where: str
    in_folders: bool = False


@dataclass(frozen=True)
class _Part:
    """Files with the same values in the names of their folders."""

    files: tuple[str, ...]
    values: Mapping[str, str | None] = field(default_factory=dict)
    base: str | None = None
    """The folder below which the engine itself finds the columns in names of folders."""

    @property
    def in_folders(self) -> frozenset[str]:
        """The columns that the engine finds in names of folders, in lower case, as texts."""
        return frozenset() if self.base is None else frozenset(name.lower() for name in _folders(self.files[0])[1])


@dataclass(frozen=True)
class _Group:
    """Files of one schema. With `may_lack`, a column that they lack is NULL: other files have it."""

    files: Sequence[str]
    schema: Any
    may_lack: bool = False


def read(connected: Connected, wanted: ParquetFiles) -> DataFrame:
    """Return the rows of files with the wanted columns. Raises EngineError for a column that does not fit."""
    rows: Any = None
    for part in _parts(wanted, is_sail=connected.is_sail):
        for each in _read(connected, part, wanted):
            rows = each if rows is None else rows.unionAll(each)
    return _empty(connected, wanted.columns) if rows is None else rows


def _empty(connected: Connected, columns: Sequence[Column]) -> DataFrame:
    typed = [(quote(column.name), spark_type(column.dtype)) for column in columns]
    listed = ", ".join(f"CAST(NULL AS {dtype}) AS {name}" for name, dtype in typed if dtype is not None)
    return connected.spark.sql(f"SELECT {listed} WHERE false")


# Columns in the names of folders


def _parts(wanted: ParquetFiles, *, is_sail: bool) -> Iterator[_Part]:
    if not wanted.files:
        return
    found = [_folders(path) for path in wanted.files] if wanted.in_folders else []
    keys = {tuple(values) for _, values in found}
    names = {column.name.lower() for column in wanted.columns}
    # As DuckDB: folders hold columns if those of all files have the same names.
    if len(keys) != 1 or not any(name.lower() in names for name in next(iter(keys))):
        yield _Part(tuple(wanted.files))
        return
    bases = {base for base, _ in found}
    if not is_sail and len(bases) == 1:
        yield _Part(tuple(wanted.files), base=next(iter(bases)))
        return
    grouped: dict[tuple[tuple[str, str | None], ...], list[str]] = {}
    for path, (_, values) in zip(wanted.files, found, strict=True):
        grouped.setdefault(tuple(values.items()), []).append(path)
    for pairs, files in grouped.items():
        yield _Part(tuple(files), dict(pairs))


def _folders(path: str) -> tuple[str, dict[str, str | None]]:
    """Return the folder above those that name columns, and the values in the names of folders by column."""
    *folders, _ = path.split("/")
    first = next((at for at, each in enumerate(folders) if "=" in each), len(folders))
    pairs = [each.partition("=") for each in folders[first:] if "=" in each]
    return "/".join(folders[:first]), {
        unquote(name): None if value == _NULL else unquote(value) for name, _, value in pairs
    }


# Schemas of files


def _read(connected: Connected, part: _Part, wanted: ParquetFiles) -> Iterator[DataFrame]:
    """Yield the rows of a part: all at once if its files have one schema, else file by file."""
    from pyspark.errors import PySparkException

    if connected.is_sail:
        _check_files(connected, part)
    try:
        schema = _schema(connected, part, part.files)
    except PySparkException as error:
        if len(part.files) == 1 or not re.search(r"CANNOT_MERGE_SCHEMAS|Failed merging|merge|Ambiguous", str(error)):
            raise
        schema = None
    if schema is not None and not _repeats(schema):
        yield _selected(connected, part, _Group(part.files, schema), wanted)
        return
    by_schema: dict[str, list[str]] = {}
    schemas = {}
    for path in part.files:
        one = _schema(connected, part, [path])
        by_schema.setdefault(str(one), []).append(path)
        schemas[str(one)] = one
    for text, files in by_schema.items():
        yield _selected(connected, part, _Group(files, schemas[text], may_lack=True), wanted)


def _schema(connected: Connected, part: _Part, files: Sequence[str]) -> Any:
    return _reader(connected, part).option("mergeSchema", "true").parquet(*_located(connected, files)).schema


def _repeats(schema: Any) -> bool:
    """Return whether columns differ by letter case alone, which Sail finds in files that write one column differently."""
    names = [each.name.lower() for each in schema.fields]
    return len(set(names)) < len(names)


def _selected(connected: Connected, part: _Part, group: _Group, wanted: ParquetFiles) -> DataFrame:
    """Return the rows of files of one schema with the wanted columns."""
    from pyspark.sql.types import StructField, StructType

    values = {name.lower(): value for name, value in part.values.items()}
    own = [each for each in group.schema.fields if each.name.lower() not in values]
    names = {column.name.lower() for column in wanted.columns}
    # With no wanted column in the files, one of the others still gives the number of rows.
    fields = [each for each in own if each.name.lower() in names] or own[:1]
    nullable = StructType([StructField(each.name, _nullable(each.dataType)) for each in fields])
    if connected.is_sail:
        nullable = _with_unsigned(nullable, wanted.columns)
    rows: DataFrame = _reader(connected, part).schema(nullable).parquet(*_located(connected, group.files))
    listed = []
    for column in wanted.columns:
        name, dtype = column.name.lower(), spark_type(column.dtype)
        if dtype is None:
            continue
        if name in values:
            value = values[name]
            text = "NULL" if value is None else literal(value)
        elif group.may_lack and name not in {each.name.lower() for each in fields}:
            text = "NULL"
        elif name in part.in_folders:
            text = quote(column.name)
        else:
            listed += fitted(nullable, [column], wanted.where)
            continue
        listed.append(f"CAST({text} AS {dtype}) AS {quote(column.name)}")
    return rows.selectExpr(*listed)


def _with_unsigned(schema: Any, columns: Sequence[Column]) -> Any:
    """Return a schema with the types of columns whose numbers have no sign, which Sail takes for signed ones of the same size.

    Given another type than that of the file, Sail raises an error.
    """
    from pyspark.sql.types import StructField, StructType, _parse_datatype_string

    unsigned = {
        column.name.lower(): _parse_datatype_string(dtype)
        for column in columns
        if _UNSIGNED.search(column.dtype) and (dtype := spark_type(column.dtype))
    }
    return StructType(
        [StructField(each.name, unsigned.get(each.name.lower(), each.dataType)) for each in schema.fields]
    )


def _nullable(data_type: Any) -> Any:
    """Return a type whose inner values may be missing: files of the same source may lack them."""
    from pyspark.sql.types import ArrayType, MapType, StructField, StructType

    match data_type:
        case ArrayType():
            return ArrayType(_nullable(data_type.elementType))
        case MapType():
            return MapType(_nullable(data_type.keyType), _nullable(data_type.valueType))
        case StructType():
            return StructType([StructField(each.name, _nullable(each.dataType)) for each in data_type.fields])
        case _:
            return data_type


def _reader(connected: Connected, part: _Part) -> Any:
    reader = connected.spark.read
    return reader if part.base is None else reader.option("basePath", place(part.base))


# Places of files


def _located(connected: Connected, files: Sequence[str]) -> list[str]:
    return [exactly(path, is_sail=connected.is_sail) for path in files]


def exactly(path: str, *, is_sail: bool) -> str:
    """Return the path of one file as the server reads it, which takes paths for patterns, or for URLs."""
    if not is_sail:
        return place(_GLOB.sub(r"\\\1", path))
    scheme, separator, rest = path.partition("://") if urls.scheme(path) else ("file", "://", path)
    return f"{scheme}{separator}{percent_encoded(rest)}"


def place(path: str) -> str:
    """Return the URL of a path, which may have a scheme already."""
    return path if urls.scheme(path) else f"file://{path}"


def _check_files(connected: Connected, part: _Part) -> None:
    """Raise EngineError for a file that does not exist: on this machine, whose folders the server shares, or elsewhere."""
    lost = next((path for path in part.files if not _exists(connected, path)), None)
    if lost is not None:
        text = f"No files found that match the path {lost}"
        raise EngineError(text, "missing", detail=ErrorDetail(text, "files"))


def _exists(connected: Connected, path: str) -> bool:
    if not urls.scheme(path):
        return Path(path).exists()
    return bool(connected.spark.read.parquet(exactly(path, is_sail=True)).inputFiles())
