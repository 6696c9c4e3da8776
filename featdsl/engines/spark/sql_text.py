"""Names, literals and types in Spark's SQL. Every session runs with ANSI rules, UTC, and times without a zone as TIMESTAMP_NTZ."""

from __future__ import annotations

import re

from featdsl.definitions.dtypes import Shape, parse
from featdsl.definitions.plain_types import plain_type

_TYPES = {
    "BOOLEAN": "BOOLEAN",
    "TINYINT": "TINYINT",
    "SMALLINT": "SMALLINT",
    "INTEGER": "INT",
    "BIGINT": "BIGINT",
    "FLOAT": "FLOAT",
    "DOUBLE": "DOUBLE",
    "VARCHAR": "STRING",
    "BLOB": "BINARY",
    "DATE": "DATE",
    "TIMESTAMP": "TIMESTAMP_NTZ",
    "TIMESTAMP WITH TIME ZONE": "TIMESTAMP_LTZ",
}
_ESCAPED = re.compile(r"['\\]")


def quote(name: str) -> str:
    """Return a name in the quotes of Spark's SQL."""
    return f"`{name.replace('`', '``')}`"


def literal(text: str) -> str:
    """Return a text as a literal of Spark's SQL."""
    return f"'{_ESCAPED.sub(lambda found: chr(92) + found[0], text)}'"


def spark_type(dtype: str) -> str | None:
    """Return the type of Spark in which values of a DuckDB type are computed, that of its plain type; None if there is none."""
    plain = plain_type(dtype)
    return None if plain is None else _spark_type(parse(plain))


def _spark_type(shape: Shape) -> str:
    match shape.name:
        case "DECIMAL":
            return f"DECIMAL({shape.arguments or '18,3'})"
        case "LIST":
            return f"ARRAY<{_spark_type(shape.of[0][1])}>"
        case "MAP":
            return f"MAP<{_spark_type(shape.of[0][1])}, {_spark_type(shape.of[1][1])}>"
        case "STRUCT":
            fields = (f"{quote(_unquoted(name))}: {_spark_type(each)}" for name, each in shape.of)
            return f"STRUCT<{', '.join(fields)}>"
        case name:
            return _TYPES[name]


def _unquoted(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name


def source_relation(name: str) -> str:
    """Return the relation of an open source: a temporary view of the session."""
    return quote(f"source_{name}")


def table_relation(name: str) -> str:
    """Return the relation of an open stored table: a temporary view of the session."""
    return quote(f"table_{name}")
