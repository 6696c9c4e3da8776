"""Translate the types of Feast, and those of the columns behind it, to DuckDB types."""

from __future__ import annotations

import re

from featdsl.definitions import dtypes
from featdsl.importers.feast_names import bare

_OF_FEAST = {
    "Bytes": "BLOB", "PdfBytes": "BLOB", "ImageBytes": "BLOB", "String": "VARCHAR", "Int32": "INTEGER", "Int64": "BIGINT",
    "Float32": "FLOAT", "Float64": "DOUBLE", "Bool": "BOOLEAN", "UnixTimestamp": "TIMESTAMP",
    "ZonedTimestamp": "TIMESTAMP WITH TIME ZONE", "Map": "MAP(VARCHAR, VARCHAR)", "Json": "VARCHAR", "Uuid": "VARCHAR",
    "TimeUuid": "VARCHAR", "Decimal": "VARCHAR",
}  # fmt: skip
"""DuckDB types by Feast's. Those that Feast keeps as text in tables are texts."""
_OF_ARROW = {
    "bool": "BOOLEAN", "int8": "TINYINT", "int16": "SMALLINT", "int32": "INTEGER", "int64": "BIGINT", "uint8": "UTINYINT",
    "uint16": "USMALLINT", "uint32": "UINTEGER", "uint64": "UBIGINT", "float": "FLOAT", "halffloat": "FLOAT", "double": "DOUBLE",
    "string": "VARCHAR", "large_string": "VARCHAR", "string_view": "VARCHAR", "binary": "BLOB", "large_binary": "BLOB",
    "date32[day]": "DATE", "date64[ms]": "DATE", "null": "INTEGER",
}  # fmt: skip
_OF_POSTGRES = {
    "bool": "BOOLEAN", "boolean": "BOOLEAN", "smallint": "SMALLINT", "integer": "INTEGER", "bigint": "BIGINT", "real": "FLOAT",
    "double precision": "DOUBLE", "text": "VARCHAR", "character varying": "VARCHAR", "character": "VARCHAR", "bytea": "BLOB",
    "date": "DATE", "timestamp without time zone": "TIMESTAMP", "timestamp": "TIMESTAMP",
    "timestamp with time zone": "TIMESTAMP WITH TIME ZONE", "uuid": "UUID", "json": "VARCHAR", "jsonb": "VARCHAR",
}  # fmt: skip
"""DuckDB types by the names that Feast gives to the types of PostgreSQL."""
_TIME = re.compile(r"timestamp\[(\w+)(, tz=.+)?\]")
_INSTANTS = {"s": "TIMESTAMP_S", "ms": "TIMESTAMP_MS", "us": "TIMESTAMP", "ns": "TIMESTAMP_NS"}
_DECIMAL = re.compile(r"decimal\d*\((\d+), (\d+)\)")
_LIST = re.compile(r"(?:large_)?list(?:_view)?<(.+)>|fixed_size_list<(.+)>\[\d+\]")
_NESTED = ("Array(", "Set(", "Struct(", "Map")


def of_feast(dtype: str) -> str:
    """Return the DuckDB type for a type as Feast prints it: `Array(Float32)` is `FLOAT[]`. A type that is unknown is a text."""
    if dtype.startswith(("Array(", "Set(")):
        return f"{of_feast(dtype.partition('(')[2][:-1])}[]"
    if dtype.startswith("Struct({"):
        fields = [part.partition(":") for part in _parts(dtype[len("Struct({") : -len("})")])]
        return f"STRUCT({', '.join(f'{bare(name)} {of_feast(inner.strip())}' for name, _, inner in fields)})"
    return _OF_FEAST.get(dtype, "VARCHAR")


def of_column(dtype: str) -> str:
    """Return the DuckDB type of a stored column, by the name that Arrow or PostgreSQL gives to its type; `""` if it is unknown."""
    if known := _OF_ARROW.get(dtype) or _OF_POSTGRES.get(dtype):
        return known
    if match := _TIME.fullmatch(dtype):
        return "TIMESTAMP WITH TIME ZONE" if match[2] else _INSTANTS.get(match[1], "")
    if dtype.endswith("[]"):
        inner = of_column(dtype.removesuffix("[]"))
        return f"{inner}[]" if inner else ""
    if match := _DECIMAL.fullmatch(dtype):
        return f"DECIMAL({match[1]},{match[2]})"
    if match := _LIST.fullmatch(dtype):
        inner = of_column((match[1] or match[2]).partition(": ")[2])
        return f"{inner}[]" if inner else ""
    return _of_fields(dtype)


def _of_fields(dtype: str) -> str:
    """Return the type of a struct or a map, `""` for any other."""
    if dtype.startswith("dictionary<values="):
        return of_column(dtype.removeprefix("dictionary<values=").partition(",")[0])
    if dtype.startswith("struct<"):
        fields = [part.partition(": ") for part in _parts(dtype[len("struct<") : -1])]
        inner = [(name, of_column(each.removesuffix(" not null"))) for name, _, each in fields]
        return (
            f"STRUCT({', '.join(f'{bare(name)} {each}' for name, each in inner)})"
            if all(each for _, each in inner)
            else ""
        )
    if dtype.startswith("map<"):
        pair = [of_column(part) for part in _parts(re.sub(r" \('\w+'\)|, keys_sorted", "", dtype[len("map<") : -1]))]
        return f"MAP({', '.join(pair)})" if all(pair) else ""
    return ""


def chosen(declared: str, column: str) -> str:
    """Return the type of a feature: the declared one, or that of its column where values would not fit or change.

    Feast does not convert values in training sets, so a `Float32` over a column of doubles has doubles.
    """
    wanted, stored = of_feast(declared), of_column(column)
    if not stored or (not declared.startswith(_NESTED) and _keeps(stored, wanted)):
        return wanted
    return dtypes.duckdb_type(stored)


def _keeps(stored: str, wanted: str) -> bool:
    rounds = dtypes.family(stored) != "real" and wanted == "FLOAT"
    return not rounds and dtypes.gives(stored, wanted)


def _parts(text: str) -> list[str]:
    """Split at commas outside of brackets."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in "<({[") - (letter in ">)}]")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts]
