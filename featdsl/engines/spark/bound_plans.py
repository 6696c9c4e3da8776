"""Have DuckDB bind a query: names resolved, stars expanded, casts written out, and every value with its type. Nothing is run."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from featdsl.definitions.dtypes import creatable
from featdsl.definitions.names import SOURCE_SCHEMA, quote
from featdsl.definitions.sources import Column
from featdsl.engines.spark.scopes import NULL, Unproved, unproved

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

Node = Any
"""A node of a bound plan, as JSON: an operator over rows, or an expression whose columns are numbers of the operator below."""

ROWS = "#rows"
"""The relation that an expression without a query reads."""
_OPTIONS = "skip_null := true, skip_empty := false, skip_default := true, optimize := false"
_INVALID = 2**64 - 1
_PLACES = frozenset(
    {"query_location", "query_location_length", "alias", "has_serialize", "catalog_name", "schema_name"}
)
"""Fields of a node that do not change its values."""
_LOCK = threading.Lock()


@dataclass(frozen=True)
class BoundQuery:
    """A bound query: its plan, and the columns that it returns."""

    plan: Node
    columns: tuple[Column, ...]


@cache
def _session() -> DuckDBPyConnection:
    """Return a session without data, which can reach no files."""
    import duckdb

    return duckdb.connect(config={"threads": 1, "enable_external_access": "false"})


def bind(sql: str, relations: Mapping[str, Sequence[Column]]) -> BoundQuery:
    """Return a query over relations `source.<name>` as DuckDB binds it. Raises Unproved."""
    import duckdb

    with _LOCK:
        session = _session()
        session.execute("BEGIN")
        try:
            _create(session, relations)
            text = str(session.execute(f"SELECT json_serialize_plan(?::VARCHAR, {_OPTIONS})", [sql]).fetchall()[0][0])
            described = session.execute(f"DESCRIBE ({sql}\n)").fetchall()
        except duckdb.Error as error:
            raise Unproved(f"DuckDB cannot bind the query without its data: {_first_line(error)}") from None
        finally:
            session.execute("ROLLBACK")
    read = json.loads(text)
    if read.get("error") or len(read.get("plans", ())) != 1:
        raise Unproved(f"DuckDB cannot show how it binds the query: {read.get('error_message', 'several statements')}")
    columns = (Column(name=name, dtype=dtype) for name, dtype, *_ in described)
    return BoundQuery(read["plans"][0], tuple(columns))


def _create(session: DuckDBPyConnection, relations: Mapping[str, Sequence[Column]]) -> None:
    session.execute(f"CREATE SCHEMA {SOURCE_SCHEMA}")
    for name, columns in relations.items():
        listed = ", ".join(f"{quote(each.name)} {creatable(each.dtype)}" for each in columns)
        session.execute(f"CREATE TABLE {SOURCE_SCHEMA}.{quote(name)} ({listed})")


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0].rstrip(".")


def only(node: Node, what: str, *fields: str) -> None:
    """Refuse a node that has other fields than those named: they may change its values. Raises Unproved."""
    for name, value in node.items():
        if name not in fields and name not in _PLACES and value not in (None, False, [], {}, "", _INVALID):
            raise unproved(f"{what} with {name.replace('_', ' ')}")


def name_of(node: Node) -> str:
    """Return the name of a bound function."""
    return str(node["qname"]["path"][-1] if "qname" in node else node["name"])


def written_arguments(node: Node) -> int:
    """Return how many arguments a function was given, some of which a version may have taken out of its children."""
    return max(len(node.get(each) or ()) for each in ("arguments", "original_arguments"))


def type_of(node: Node) -> str:
    """Return the DuckDB type of a bound expression. Raises Unproved."""
    if "return_type" in node:
        return type_text(node["return_type"])
    match node.get("expression_class"):
        case "BOUND_CONSTANT":
            return type_text(node["value"]["type"])
        case "BOUND_COMPARISON" | "BOUND_CONJUNCTION" | "BOUND_BETWEEN":
            return "BOOLEAN"
        case _:
            raise unproved(str(node.get("expression_class", node.get("type"))))


def type_text(node: Node) -> str:
    """Return a type of a plan as DuckDB writes it. Raises Unproved."""
    info = node.get("type_info") or {}
    if info.get("alias"):
        raise unproved(f"the type {info['alias']}")
    write = _TYPES.get(node["id"])
    if write is not None:
        return write(info)
    return NULL if node["id"] == "NULL" else str(node["id"])


def _fields(info: Node) -> Iterator[tuple[str, str]]:
    """Yield the names and the types of the fields of a struct."""
    for each in info["child_types"]:
        yield quote(each["first"]), type_text(each["second"])


def _map(info: Node) -> str:
    return f"MAP({', '.join(dtype for _, dtype in _fields(info['child_type']['type_info']))})"


def _enum(info: Node) -> str:
    values = (str(each).replace("'", "''") for each in info["values"])
    return f"ENUM({', '.join(f'{chr(39)}{each}{chr(39)}' for each in values)})"


_TYPES: Mapping[str, Callable[[Node], str]] = {
    "DECIMAL": lambda info: f"DECIMAL({info['width']},{info.get('scale', 0)})",
    "LIST": lambda info: f"{type_text(info['child_type'])}[]",
    "ARRAY": lambda info: f"{type_text(info['child_type'])}[{info['size']}]",
    "MAP": _map,
    "STRUCT": lambda info: f"STRUCT({', '.join(f'{name} {dtype}' for name, dtype in _fields(info))})",
    "ENUM": _enum,
}
