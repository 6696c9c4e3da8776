"""Compare SQL by DuckDB's own syntax trees, without source positions.

The print of another parser may hide a difference that matters to DuckDB, such as `j->>'a.b'` and `j->>'$.a.b'`.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from featdsl.definitions import dtypes
from featdsl.definitions.names import quote

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

Node = Any
"""A node of a tree, as JSON."""

_OPTIONS = "skip_null := true, skip_empty := true, skip_default := true"
_TABLES = frozenset({"BASE_TABLE", "SUBQUERY", "TABLE_FUNCTION", "JOIN", "EXPRESSION_LIST", "PIVOT", "SHOW_REF"})
_NAMES = frozenset({"table_name", "schema_name", "catalog_name", "relation_name", "function_name", "schema", "catalog"})
"""Fields of a tree with one name, which DuckDB compares without letter case."""
_LISTS = frozenset({"column_name_alias", "using_columns", "aliases", "exclude_list"})
"""Fields of a tree with a list of names."""
_NEGATED = frozenset({"!~~", "!~~*"})
"""NOT LIKE and NOT ILIKE."""
_BY_PART = frozenset({
    "date_diff", "date_part", "date_sub", "date_trunc", "datediff", "datepart", "datesub", "datetrunc",
})  # fmt: skip
"""Functions whose first argument is the name of a date part, in any letter case."""
_LOCK = threading.Lock()


@cache
def _session() -> DuckDBPyConnection:
    """Return a separate, empty session: parsing needs no data."""
    import duckdb

    return duckdb.connect(config={"threads": 1})


@lru_cache(maxsize=2_000)
def tree(text: str) -> Node | None:
    """Return DuckDB's syntax tree of a query as JSON; None if DuckDB cannot parse the query or serialize its tree."""
    with _LOCK:
        row = _session().execute(f"SELECT json_serialize_sql(?::VARCHAR, {_OPTIONS})", [text]).fetchone()
    read = json.loads(row[0]) if row else {"error": True}
    return None if read.get("error") else read["statements"]


def is_query(text: str) -> bool:
    """Return whether DuckDB parses a text as exactly one query."""
    import duckdb

    try:
        types = [each.type for each in duckdb.extract_statements(text)]
    except duckdb.Error:
        return False
    return types == [duckdb.StatementType.SELECT]


_FUNCTIONS = """
    SELECT DISTINCT lower(function_name), CASE WHEN of_zone THEN 'CONSISTENT' ELSE coalesce(stability, '') END,
           coalesce(macro_definition, '')
    FROM (SELECT *, stability = 'CONSISTENT_WITHIN_QUERY' AND len(parameter_types) > 0 AND regexp_matches(
                      concat_ws(' ', array_to_string(parameter_types, ' '), return_type), 'TIMESTAMPTZ|WITH TIME ZONE') AS of_zone
          FROM duckdb_functions() WHERE function_type IN ('scalar', 'aggregate', 'macro', 'table_macro'))
    ORDER BY ALL
"""


@cache
def functions() -> list[tuple[str, str, str]]:
    """Return DuckDB's functions: the name in lower case, the stability of each overload, and the body of a macro.

    Newer releases of DuckDB list overloads over times with a zone as consistent within a query, because they read the zone of the
    session. A session of featdsl is always in UTC, so these are consistent.
    """
    with _LOCK:
        rows = _session().execute(_FUNCTIONS).fetchall()
    return [(name, stability, body) for name, stability, body in rows]


@cache
def aggregates() -> frozenset[str]:
    """Return the names of DuckDB's aggregates, in lower case."""
    query = "SELECT DISTINCT lower(function_name) FROM duckdb_functions() WHERE function_type = 'aggregate'"
    with _LOCK:
        return frozenset(name for (name,) in _session().execute(query).fetchall())


@cache
def returned() -> Mapping[str, frozenset[str]]:
    """Return the result types of all overloads of each of DuckDB's functions, by name in lower case."""
    query = "SELECT lower(function_name), list(DISTINCT coalesce(return_type, '')) FROM duckdb_functions() GROUP BY 1"
    with _LOCK:
        rows = _session().execute(query).fetchall()
    return {name: frozenset(types) for name, types in rows}


def read_all(texts: Iterable[str]) -> dict[str, Node | None]:
    """Return the syntax trees of many queries, as `tree` does: all in one statement take a quarter of the time."""
    listed = list(dict.fromkeys(texts))
    query = f"SELECT json_serialize_sql(text, {_OPTIONS}) FROM unnest(?::VARCHAR[]) AS texts(text)"
    with _LOCK:
        rows = _session().execute(query, [listed]).fetchall()
    trees = (json.loads(text) for (text,) in rows)
    return {text: None if read.get("error") else read["statements"] for text, read in zip(listed, trees, strict=True)}


def normal(read: Node) -> Node:
    """Return a syntax tree without positions and with one spelling of each name, of result columns too."""
    return _Form(frozenset(_tables(read)), {}, results=True).of(read)


def whole(text: str) -> str:
    """Return the query that computes an expression, for `tree`. A trailing semicolon is dropped."""
    return f"SELECT (\n{text.rstrip('; ')}\n)"


def form(text: str, names: Mapping[str, str] | None = None, *, tables: bool = False) -> str:
    """Return the normal form of a query: one text for all spellings that DuckDB reads alike.

    It has no formatting, comments or needless parentheses. Column names are in lower case; names after a dot keep their letter
    case, because `j.plan` and `j.Plan` are different keys of a JSON value. With `tables`, names after a table name and names of
    result columns are in lower case too. `names` renames columns.
    """
    read = tree(text)
    if read is None:
        import sqlglot  # imported late: a plan with all texts cached parses none

        tokens = sqlglot.tokenize(text, read="duckdb")
        return json.dumps([[token.token_type.value, token.text] for token in tokens])
    known = frozenset(_tables(read)) if tables else frozenset()
    return json.dumps(_Form(known, names or {}, tables).of(read), sort_keys=True, separators=(",", ":"))


@dataclass(frozen=True)
class _Form:
    """Normalizes names in a tree: the known table names, new names of columns, and whether to include result columns."""

    tables: frozenset[str]
    names: Mapping[str, str]
    results: bool

    def of(self, node: Node) -> Node:
        """Return a node in normal form."""
        if isinstance(node, list):
            return [self.of(each) for each in node]
        if not isinstance(node, dict):
            return node
        # The qualified name repeats the column names.
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
    """Return a node with equivalent forms unified: date parts in lower case, NOT as the outer operator."""
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
    """Return a result column with its alias in lower case."""
    return {**node, "alias": node["alias"].lower()} if isinstance(node, dict) and "alias" in node else node


def _tables(node: Node) -> Iterator[str]:
    """Yield the names and aliases of a query's tables, in lower case."""
    for each in walk(node):
        if str(each.get("type")) in _TABLES:  # in a cast, the field is a value type
            yield from (each[key].lower() for key in ("alias", "table_name") if isinstance(each.get(key), str))


def walk(node: Node) -> Iterator[dict[str, Any]]:
    """Yield every node of a tree."""
    if isinstance(node, list):
        for each in node:
            yield from walk(each)
    elif isinstance(node, dict):
        yield node
        for each in node.values():
            if isinstance(each, list | dict):
                yield from walk(each)


def columns(node: Node) -> set[str]:
    """Return the columns that an expression reads, in lower case, without lambda parameters."""
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
"""The tables that a query reads, as `schema.name`, with the types of their columns."""


def alike(one: str, other: str, relation: Relation) -> bool:
    """Return whether two queries are equal to DuckDB: the same syntax tree, or the same bound plan if only letter case differs."""
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
    """Return DuckDB's bound plan of a query over these tables; `""` if it cannot bind the query."""
    import duckdb

    with duckdb.connect(config={"threads": 1}) as connection:
        try:
            for table, types in relation.items():
                schema, _, name = table.partition(".")
                columns_sql = ", ".join(f"{quote(column)} {dtypes.creatable(dtype)}" for column, dtype in types.items())
                connection.execute(f"CREATE SCHEMA IF NOT EXISTS {quote(schema)}")
                connection.execute(f"CREATE TABLE {quote(schema)}.{quote(name)} ({columns_sql})")
            row = connection.execute(f"SELECT json_serialize_plan(?::VARCHAR, {_OPTIONS})", [text]).fetchone()
        except duckdb.Error:
            return ""
    plan = json.loads(row[0]) if row else {"error": True}
    return "" if plan.get("error") else json.dumps(_unplaced(plan), sort_keys=True)


def _unplaced(node: Node) -> Node:
    """Return a node of a bound plan without positions and aliases, and with struct fields in lower case."""
    if isinstance(node, list):
        return [_unplaced(each) for each in node]
    if not isinstance(node, dict):
        return node
    dropped = {"query_location", "query_location_length"} | ({"alias"} if "expression_class" in node else set())
    plain = {key: _unplaced(each) for key, each in node.items() if key not in dropped}
    if "ctename" in plain:
        plain["ctename"] = plain["ctename"].lower()
    if _is_field(plain):
        value = plain["children"][-1]["value"]
        value["value"] = str(value["value"]).lower()
    return plain


def _is_field(node: dict[str, Any]) -> bool:
    """Return whether a bound expression reads a struct field, whose name DuckDB compares without letter case."""
    name = node.get("name") or (node.get("qname") or {}).get("path", [""])[-1]
    if node.get("expression_class") != "BOUND_FUNCTION" or name != "struct_extract":
        return False
    return "value" in node["children"][-1]
