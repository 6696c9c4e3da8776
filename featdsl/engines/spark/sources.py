"""Read sources in Spark: Parquet files in the types of their columns, tables of Delta, Iceberg and the cluster's catalogue."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from featdsl.definitions import urls
from featdsl.definitions.dtypes import parse
from featdsl.definitions.names import quote as duckdb_quote
from featdsl.definitions.plain_types import plain_type
from featdsl.definitions.sources import Column, SourceDefinition
from featdsl.engines.session import EngineError, ErrorDetail
from featdsl.engines.spark.sql_text import quote, source_relation, spark_type
from featdsl.errors import Problem, SourceFileError

ITSELF = frozenset({"parquet", "delta", "iceberg", "cluster", "sql"})
"""The formats of sources that Spark reads itself; it reads the others from a copy."""
_OPTIONS = frozenset({"hive_partitioning", "hive_types", "hive_types_autocast", "union_by_name"})
"""The options of sources in files that Spark reads with the same values."""
_OTHER_IN_FILES = frozenset({"UUID", "HUGEINT", "UHUGEINT", "ENUM"})
"""Types that DuckDB finds in files, but Spark reads as another one."""


def reads(source: SourceDefinition) -> bool:
    """Return whether Spark reads a source itself, with the values that DuckDB reads."""
    if source.format not in ITSELF:
        return False
    if source.format in {"sql", "cluster"}:
        return True
    options = frozenset(name.lower() for name, _ in source.options)
    allowed = _OPTIONS if source.format == "parquet" else frozenset()
    return options <= allowed and not source.schema and all(_is_read(column.dtype) for column in source.columns)


def _is_read(dtype: str) -> bool:
    names = _names(dtype)
    return plain_type(dtype) is not None and not names & _OTHER_IN_FILES


def _names(dtype: str) -> frozenset[str]:
    shape = parse(dtype)
    return frozenset({shape.name}).union(*(_names(str(inner)) for _, inner in shape.of))


def option(source: SourceDefinition, name: str) -> Any:
    """Return an option of a source in files, None if it is not set."""
    return next((json.loads(value) for each, value in source.options if each.lower() == name), None)


def paths_of(source: SourceDefinition, root: Path) -> list[str]:
    """Return the files of a source in Parquet files that nobody has listed. Raises EngineError if there are none."""
    import duckdb

    found: list[str] = []
    with duckdb.connect() as connection:
        for place in source.location:
            if urls.scheme(place):
                found.append(place)
                continue
            pattern = str(root / place)
            rows = connection.execute("SELECT file FROM glob($1)", [pattern]).fetchall()
            found += [file for (file,) in rows]
    if not found:
        text = f'No files found that match the pattern "{source.location[0]}"'
        raise EngineError(text, "missing", detail=ErrorDetail(text, "files"))
    return found


# Columns


def fitted(spark_schema: Any, columns: Sequence[Column], where: str) -> list[str]:
    """Return the SQL of columns, in their order, from rows with a schema of Spark. Columns of types that Spark lacks are left out.

    Raises EngineError for a column that the rows lack, or have in a type that no cast converts exactly.
    """
    found = {field.name.lower(): field for field in spark_schema.fields}
    listed = []
    for column in columns:
        wanted = spark_type(column.dtype)
        if wanted is None:
            continue
        field = found.get(column.name.lower())
        if field is None:
            text = f"{where} has no column {duckdb_quote(column.name)}"
            raise EngineError(text, "binding", detail=ErrorDetail(text, "column", column.name))
        listed.append(f"{_converted(field, wanted, column, where)} AS {quote(column.name)}")
    return listed


def _converted(field: Any, wanted: str, column: Column, where: str) -> str:
    actual, target = simple(field.dataType), spark_simple(wanted)
    if actual == target:
        return quote(field.name)
    if not widens(actual, target):
        text = f"{where} has {duckdb_quote(column.name)} as {field.dataType.simpleString().upper()}, but {column.dtype} is expected"
        raise EngineError(text, "binding", detail=ErrorDetail(text))
    return f"CAST({quote(field.name)} AS {wanted})"


def simple(data_type: Any) -> str:
    """Return a type of Spark as text in lower case, to compare it."""
    return str(data_type.simpleString()).lower()


def spark_simple(wanted: str) -> str:
    """Return a type as SQL names it in the same form: without spaces and quotes."""
    plain = wanted.lower().replace("timestamp_ltz", "timestamp")
    return plain.replace(": ", ":").replace(", ", ",").replace("`", "")


_WIDTHS = {"tinyint": 3, "smallint": 5, "int": 10, "bigint": 19}
_WIDENED = frozenset({("float", "double"), ("date", "timestamp_ntz"), ("timestamp", "timestamp_ntz"), ("void", "int")})
"""Other pairs of types whose first has only values of the second; an instant is a time in UTC."""


def widens(actual: str, wanted: str) -> bool:
    """Return whether every value of a type of Spark is one of another type, and a cast gives that in Spark as in DuckDB."""
    if (actual, wanted) in _WIDENED or actual == "void":
        return True
    if actual in _WIDTHS:
        if wanted in _WIDTHS:
            return _WIDTHS[actual] <= _WIDTHS[wanted]
        return (
            wanted == "double"
            or (wanted == "float" and _WIDTHS[actual] <= _WIDTHS["smallint"])
            or _holds(wanted, _WIDTHS[actual], 0)
        )
    if actual.startswith("decimal("):
        width, scale = _decimal(actual)
        return _holds(wanted, width - scale, scale)
    return False


def _holds(wanted: str, before: int, after: int) -> bool:
    """Return whether a decimal has so many digits before and after the point."""
    if not wanted.startswith("decimal("):
        return False
    width, scale = _decimal(wanted)
    return scale >= after and width - scale >= before


def _decimal(text: str) -> tuple[int, int]:
    width, _, scale = text.removeprefix("decimal(").removesuffix(")").partition(",")
    return int(width), int(scale)


# The catalogue of the cluster

_DUCKDB = {
    "boolean": "BOOLEAN", "tinyint": "TINYINT", "smallint": "SMALLINT", "int": "INTEGER", "bigint": "BIGINT", "float": "FLOAT",
    "double": "DOUBLE", "string": "VARCHAR", "binary": "BLOB", "date": "DATE", "timestamp_ntz": "TIMESTAMP",
    "timestamp": "TIMESTAMP WITH TIME ZONE",
}  # fmt: skip


def columns_of(schema: Any, source: SourceDefinition) -> tuple[Column, ...]:
    """Return the columns of a table as DuckDB types. Raises SourceFileError for a type that DuckDB does not have."""
    columns = []
    for field in schema.fields:
        dtype = duckdb_type(field.dataType)
        if dtype is None:
            what = f"source {source.name}: {source.location[0]} has {field.name!r} as {field.dataType.simpleString().upper()}."
            fix = "DuckDB has no such type. Declare a view of the table without the column, or with another type."
            raise SourceFileError(Problem("Unsupported column type", what, source.origin, fix))
        columns.append(Column(name=field.name, dtype=_as_duckdb_writes(dtype)))
    return tuple(columns)


def _as_duckdb_writes(dtype: str) -> str:
    import duckdb

    with duckdb.connect() as connection:
        return str(connection.sql(f"SELECT NULL::{dtype}").types[0])


def duckdb_type(data_type: Any) -> str | None:
    """Return DuckDB's type for a type of Spark, None if there is none."""
    text = data_type.simpleString()
    match data_type.typeName():
        case "char" | "varchar":
            return "VARCHAR"
        case "decimal":
            return str(text.upper())
        case "array":
            inside, form = {"": data_type.elementType}, "{}[]"
        case "map":
            inside, form = {"": data_type.keyType, " ": data_type.valueType}, "MAP({})"
        case "struct":
            inside, form = {f"{duckdb_quote(field.name)} ": field.dataType for field in data_type.fields}, "STRUCT({})"
        case _:
            return _DUCKDB.get(text)
    dtypes = {name: duckdb_type(each) for name, each in inside.items()}
    if not dtypes or None in dtypes.values():
        return None
    return form.format(", ".join(f"{name}{dtype}".strip() for name, dtype in dtypes.items()))


_RELATION = re.compile(
    r''''(?:[^'\\]|\\.)*'|`(?:[^`]|``)*`|--[^\n]*|/\*.*?\*/|\bsource\."(?P<name>(?:[^"]|"")*)"|"(?:[^"\\]|\\.)*"''',
    re.DOTALL | re.IGNORECASE,
)
"""Matches texts, names and comments of Spark's SQL, and sources, which templates write in DuckDB's quotes."""


def with_relations(sql: str) -> str:
    """Return a query in Spark's SQL with the relations of its inputs, which templates write as `source."<name>"`."""
    return _RELATION.sub(
        lambda found: source_relation(found["name"].replace('""', '"')) if found["name"] else found[0], sql
    )
