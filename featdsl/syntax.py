"""What DuckDB itself reads in a text of SQL: its syntax tree without places, as the measure of whether two texts are one.

Another parser's print may hide a difference that DuckDB sees, such as `j->>'a.b'` beside `j->>'$.a.b'`. This tree hides none.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from featdsl import dtypes
from featdsl.names import quote

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

Node = Any
"""A part of a tree, as JSON."""

_OPTIONS = "skip_null := true, skip_empty := true, skip_default := true"
_TABLES = frozenset({"BASE_TABLE", "SUBQUERY", "TABLE_FUNCTION", "JOIN", "EXPRESSION_LIST", "PIVOT", "SHOW_REF"})
_NAMES = frozenset({"table_name", "schema_name", "catalog_name", "relation_name", "function_name", "schema", "catalog"})
"""Parts of a tree that hold one name, which DuckDB compares without letter case."""
_LISTS = frozenset({"column_name_alias", "using_columns", "aliases", "exclude_list"})
"""Parts of a tree that hold names."""
_NEGATED = frozenset({"!~~", "!~~*"})
"""NOT LIKE and NOT ILIKE."""
_BY_PART = frozenset({
    "date_diff", "date_part", "date_sub", "date_trunc", "datediff", "datepart", "datesub", "datetrunc",
})  # fmt: skip
"""Functions whose first argument names a part of a date, in any letter case."""
_LOCK = threading.Lock()


@cache
def _session() -> DuckDBPyConnection:
    """Return a session of its own, that holds nothing: to read a text needs no data."""
    import duckdb

    return duckdb.connect(config={"threads": 1})


@lru_cache(maxsize=2_000)
def tree(text: str) -> Node | None:
    """Return DuckDB's syntax tree of a query as JSON, None where it does not read it or cannot write its tree."""
    with _LOCK:
        found = _session().execute(f"SELECT json_serialize_sql(?::VARCHAR, {_OPTIONS})", [text]).fetchone()
    read = json.loads(found[0]) if found else {"error": True}
    return None if read.get("error") else read["statements"]


@cache
def functions() -> list[tuple[str, str, str]]:
    """Return DuckDB's functions by name in lower case: how stable each form is, and the body of a macro."""
    with _LOCK:
        rows = (
            _session()
            .execute(
                "SELECT DISTINCT lower(function_name), coalesce(stability, ''), coalesce(macro_definition, '')"
                " FROM duckdb_functions() WHERE function_type IN ('scalar', 'aggregate', 'macro', 'table_macro') ORDER BY ALL"
            )
            .fetchall()
        )
    return [(name, stability, body) for name, stability, body in rows]


def whole(text: str) -> str:
    """Return the query that computes an expression, for `tree` to read; a semicolon at its end says nothing."""
    return f"SELECT (\n{text.rstrip('; ')}\n)"


def form(text: str, names: Mapping[str, str] | None = None, *, tables: bool = False) -> str:
    """Return one text for all queries that DuckDB reads alike: formatting, comments and needless parentheses are gone.

    The letter case of a column's name is gone, that of what stands after a dot stays, as `j.plan` and `j.Plan` are two
    keys of a JSON. With `tables` it goes after the name of a table as well, and from the names of results. `names` are other
    names of columns.
    """
    read = tree(text)
    if read is None:
        import sqlglot  # here, as a plan whose texts are all known parses none

        tokens = sqlglot.tokenize(text, read="duckdb")
        return json.dumps([[token.token_type.value, token.text] for token in tokens])
    known = frozenset(_tables(read)) if tables else frozenset()
    return json.dumps(_Form(known, names or {}, tables).of(read), sort_keys=True, separators=(",", ":"))


@dataclass(frozen=True)
class _Form:
    """How names in a tree are written alike: tables by which columns are called, other names of columns, results too."""

    tables: frozenset[str]
    names: Mapping[str, str]
    results: bool

    def of(self, node: Node) -> Node:
        """Return a part of a tree in its one form."""
        if isinstance(node, list):
            return [self.of(each) for each in node]
        if not isinstance(node, dict):
            return node
        # The qualified name says once more what the names say.
        kept = {k: v for k, v in node.items() if not k.startswith("query_location") and k != "qualified_name"}
        if node.get("class") == "CONSTANT":
            return {key: dict(value) if isinstance(value, dict) else value for key, value in kept.items()}
        return _plain({key: self._part(node, key, value) for key, value in kept.items()})

    def _part(self, node: Node, key: str, value: Node) -> Node:
        if key == "column_names":
            return self._column(value)
        if isinstance(value, str):
            if key in _NAMES or (key == "alias" and node.get("type") in _TABLES):
                return value.lower()
            return dtypes.parse(value).name if key == "type_name" else value
        if key in _LISTS:
            return [each.lower() if isinstance(each, str) else self.of(each) for each in value]
        if key == "select_list" and self.results:
            return [_unnamed_case(self.of(each)) for each in value]
        return self.of(value)

    def _column(self, parts: Sequence[str]) -> list[str]:
        first, rest = parts[0].lower(), list(parts[1:])
        if rest and first in self.tables:
            return [first, rest[0].lower(), *rest[1:]]
        return [self.names.get(first, first), *rest]


def _plain(node: Node) -> Node:
    """Return a part of a tree in the one form of what is always equal: parts of dates in lower case, NOT outside."""
    arguments: Sequence[Node] = node.get("arguments") or node.get("children") or []
    if node.get("type") == "OPERATOR_NOT" and arguments[0].get("type") == "OPERATOR_IS_NULL":
        return {**arguments[0], "type": "OPERATOR_IS_NOT_NULL"}
    if node.get("class") != "FUNCTION":
        return node
    name = node["function_name"]
    if name in _NEGATED:
        return {"class": "OPERATOR", "type": "OPERATOR_NOT", "children": [{**node, "function_name": name[1:]}]}
    if name in _BY_PART and arguments:
        first = arguments[0].get("expression", arguments[0])
        _lower(first.get("literal") or first.get("value") or {})
    return node


def _lower(literal: Node) -> None:
    for key in ("text", "value"):
        if isinstance(literal, dict) and isinstance(literal.get(key), str):
            literal[key] = literal[key].lower()


def _unnamed_case(node: Node) -> Node:
    """Return a column of a query's result, whose own name is compared without letter case."""
    return {**node, "alias": node["alias"].lower()} if isinstance(node, dict) and "alias" in node else node


def _tables(node: Node) -> Iterator[str]:
    """Yield the names, in lower case, by which the tables of a query are called in it."""
    for each in walk(node):
        if str(each.get("type")) in _TABLES:  # a cast has a type of values there
            yield from (each[key].lower() for key in ("alias", "table_name") if isinstance(each.get(key), str))


def walk(node: Node) -> Iterator[dict[str, Any]]:
    """Yield every part of a tree that has a kind."""
    if isinstance(node, list):
        for each in node:
            yield from walk(each)
    elif isinstance(node, dict):
        yield node
        for each in node.values():
            if isinstance(each, list | dict):
                yield from walk(each)


def columns(node: Node) -> set[str]:
    """Return the columns that an expression reads, in lower case, without what its lambdas name."""
    read = {each["column_names"][0].lower() for each in walk(node) if each.get("class") == "COLUMN_REF"}
    named = {
        each["column_names"][0].lower()
        for lambda_ in walk(node)
        if lambda_.get("class") == "LAMBDA"
        for each in walk(lambda_.get("lhs"))
        if each.get("class") == "COLUMN_REF"
    }
    return read - named


Relation = Mapping[str, Mapping[str, str]]
"""Tables that a query reads, as `schema.name`, with the types of their columns."""


def alike(one: str, other: str, relation: Relation) -> bool:
    """Return whether DuckDB reads two queries alike, or, where they differ in letter case, binds them alike."""
    if one == other:
        return True
    first, second = form(one), form(other)
    if first == second:
        return True
    if first.lower() != second.lower():
        return False
    bound = _bound(one, relation)
    return bool(bound) and bound == _bound(other, relation)


def _bound(text: str, relation: Relation) -> str:
    """Return what DuckDB makes of a query over these tables, nothing where it cannot bind it."""
    import duckdb

    with duckdb.connect(config={"threads": 1}) as connection:
        try:
            for table, types in relation.items():
                schema, _, name = table.partition(".")
                listed = ", ".join(f"{quote(column)} {dtypes.creatable(dtype)}" for column, dtype in types.items())
                connection.execute(f"CREATE SCHEMA IF NOT EXISTS {quote(schema)}")
                connection.execute(f"CREATE TABLE {quote(schema)}.{quote(name)} ({listed})")
            found = connection.execute(f"SELECT json_serialize_plan(?::VARCHAR, {_OPTIONS})", [text]).fetchone()
        except duckdb.Error:
            return ""
    plan = json.loads(found[0]) if found else {"error": True}
    return "" if plan.get("error") else json.dumps(_unplaced(plan), sort_keys=True)


def _unplaced(node: Node) -> Node:
    """Return a part of a bound plan without places and given names, and the fields of structs in one letter case."""
    if isinstance(node, list):
        return [_unplaced(each) for each in node]
    if not isinstance(node, dict):
        return node
    dropped = {"query_location", "query_location_length"} | ({"alias"} if "expression_class" in node else set())
    found = {key: _unplaced(each) for key, each in node.items() if key not in dropped}
    if "ctename" in found:
        found["ctename"] = found["ctename"].lower()
    if _is_field(found):
        value = found["children"][-1]["value"]
        value["value"] = str(value["value"]).lower()
    return found


def _is_field(node: dict[str, Any]) -> bool:
    """Return whether a bound expression reads a field of a struct, which DuckDB finds in any letter case."""
    name = node.get("name") or (node.get("qname") or {}).get("path", [""])[-1]
    if node.get("expression_class") != "BOUND_FUNCTION" or name != "struct_extract":
        return False
    return "value" in node["children"][-1]
