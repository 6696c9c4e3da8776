"""Check that a parser's tree is what DuckDB reads: DuckDB's own tree of the text equals that of the parser's print."""

from __future__ import annotations

import json
import re
from typing import Any

from sqlglot import exp

from featdsl.engines.spark.scopes import Unproved
from featdsl.errors import SqlProblem
from featdsl.sql import parser, syntax_tree

Node = Any
"""A node of DuckDB's tree, as JSON."""

_NAMES = {
    "len": "length", "char_length": "length", "character_length": "length", "array_length": "length", "lcase": "lower", "ucase": "upper",
    "substr": "substring", "instr": "strpos", "position": "strpos", "list_contains": "array_contains", "list_has": "array_contains",
    "array_has": "array_contains", "datediff": "date_diff", "datesub": "date_sub", "datetrunc": "date_trunc", "datepart": "date_part", "power": "pow",
    "**": "pow", "^": "pow", "ceiling": "ceil", "mod": "%", "@": "abs", "list_value": "list_pack", "day": "dayofmonth",
    "week": "weekofyear", "divide": "//", "subtract": "-", "multiply": "*", "add": "+", "prefix": "starts_with",
}  # fmt: skip
"""Functions of two names, of which the parser prints one."""
_PARTS = {"dow": "dayofweek", "doy": "dayofyear", "dayofmonth": "day"}
_TYPES = {"INT128": "HUGEINT"}
_LENGTH = re.compile(r"(-?\d+)\s+([a-z]+?)s?", re.IGNORECASE)


def parsed(sql: str) -> exp.Expr:
    """Return the tree of an expression of DuckDB. Raises Unproved if the parser drops anything that DuckDB reads."""
    try:
        tree = parser.expression(sql)
    except SqlProblem as problem:
        raise Unproved(str(problem)) from None
    if not is_faithful(sql, tree):
        raise Unproved(f"{sql} is read otherwise by the parser")
    return tree


def is_faithful(text: str, tree: exp.Expr) -> bool:
    """Return whether DuckDB reads an expression as a syntax tree has it."""
    printed = tree.sql(dialect="duckdb", comments=False)
    one, other = (
        _normal(json.loads(syntax_tree.form(syntax_tree.whole(each), tables=True))) for each in (text, printed)
    )
    return bool(one == other)


def _normal(node: Node) -> Node:
    """Return a node with one spelling of what has several."""
    if isinstance(node, list):
        return [_normal(each) for each in node]
    if not isinstance(node, dict):
        return node
    read = {key: _normal(value) for key, value in node.items() if key != "is_operator"}
    if "type_name" in read:
        read["type_name"] = _TYPES.get(str(read["type_name"]), read["type_name"])
    if read.get("type") == "COMPARE_DISTINCT_FROM":
        return {
            "children": [{**read, "type": "COMPARE_NOT_DISTINCT_FROM"}],
            "class": "OPERATOR",
            "type": "OPERATOR_NOT",
        }
    if read.get("class") == "CAST":
        return _length(read)
    return _function(read) if read.get("class") == "FUNCTION" else read


def _function(read: Node) -> Node:
    name, given = read["function_name"], read.get("arguments") or read.get("children") or []
    name = _NAMES.get(name, name)
    values = [each.get("expression", each) for each in given]
    if name in {"if", "iif"} and len(values) == 3:  # noqa: PLR2004 - a condition and two values
        check = {"then_expr": values[1], "when_expr": values[0]}
        return {"case_checks": [check], "class": "CASE", "else_expr": values[2], "type": "CASE_EXPR"}
    if name in {"log10", "log2"}:
        return ["log", [name.removeprefix("log")], values]
    if name == "log" and len(values) == 2 and _text(values[0]) in {"10", "2"}:  # noqa: PLR2004 - a base and a number
        return ["log", [_text(values[0])], values[1:]]
    if name == "regexp_extract" and len(values) == 3 and _text(values[2]) == "0":  # noqa: PLR2004 - a group
        values = values[:2]
    if name == "date_part":
        part = _text(values[0])
        return [name, _PARTS.get(part, part), values[1:]]
    if name.startswith("to_") and len(values) == 1:
        return [name.rstrip("s"), re.findall(r'"text": "(-?\w+)"', json.dumps(values))]
    return [
        name,
        values,
        {key: value for key, value in read.items() if key not in {"function_name", "arguments", "children"}},
    ]


def _length(read: Node) -> Node:
    """Return a cast; that of a text to an interval, as the function that makes one."""
    written = _LENGTH.fullmatch(_text(read.get("child")))
    if read.get("type_expr", {}).get("type_name") == "INTERVAL" and written:
        return [f"to_{written[2].lower()}", [written[1]]]
    return read


def _text(node: Node) -> str:
    literal = node.get("literal") if isinstance(node, dict) else None
    return str(literal.get("text", "")) if isinstance(literal, dict) else ""
