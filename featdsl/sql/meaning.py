"""Reduce an expression to one tree for all spellings of one meaning: columns resolved, commutative operands in one order.

Two equal trees mean the same values. Two expressions of the same meaning may have different trees.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, NamedTuple

from featdsl.sql import syntax_tree

Node = Any
"""A node of a tree, as JSON."""

_MIRRORED = {"COMPARE_GREATERTHAN": "COMPARE_LESSTHAN", "COMPARE_GREATERTHANOREQUALTO": "COMPARE_LESSTHANOREQUALTO"}
_SYMMETRIC = frozenset({
    "COMPARE_EQUAL", "COMPARE_NOTEQUAL", "COMPARE_DISTINCT_FROM", "COMPARE_NOT_DISTINCT_FROM",
})  # fmt: skip
_LISTED = frozenset({"COMPARE_IN", "COMPARE_NOT_IN"})
_TRANSPARENT = frozenset({
    "+", "-", "*", "/", "//", "%", "abs", "any_value", "avg", "first", "greatest", "last", "least", "max", "min", "mode",
    "nullif", "round", "sum",
})  # fmt: skip
"""Functions whose result is no list if none of their arguments is one."""
_CHOICES = frozenset({"OPERATOR_COALESCE", "OPERATOR_NULLIF", "CASE_EXPR"})
_NESTED = ("LIST", "ARRAY", "STRUCT", "MAP", "UNION", "ANY", "VARIANT", "JSON", "T", "K", "V")


class UnresolvedSqlError(ValueError):
    """An expression or a query cannot be resolved to columns of its tables."""


class Term(NamedTuple):
    """The tree of an expression, and whether its value is certainly no list: `+` joins lists, so their order counts."""

    tree: Node
    is_scalar: bool


@dataclass(frozen=True)
class Relation:
    """Rows that SQL reads: an identity without names, the conditions that the rows meet, and what each column is.

    If `is_open`, the columns are not known, and each name is a column.
    """

    rows: str
    columns: Mapping[str, Term] = field(default_factory=dict)
    conditions: frozenset[str] = frozenset()
    is_open: bool = False

    @property
    def identity(self) -> str:
        """A hash of which rows these are."""
        return digest([self.rows, *sorted(self.conditions)])

    def column(self, name: str) -> Term | None:
        """Return what a column is; None if there is none of this name, in lower case."""
        return Term({"#column": name}, is_scalar=False) if self.is_open else self.columns.get(name)


@dataclass(frozen=True)
class NameScope:
    """The names that an expression may use: tables with their columns, further names, and parameters of lambdas."""

    tables: Mapping[str, Relation]
    names: Mapping[str, Term] = field(default_factory=dict)
    bound: frozenset[str] = frozenset()

    def column(self, parts: Sequence[str]) -> Term:
        """Return what a possibly qualified name is. Raises UnresolvedSqlError."""
        first, *rest = parts
        if first in self.bound:
            return Term({"#bound": list(parts)}, is_scalar=False)
        if rest and first == "source" and rest[0] in self.tables and len(rest) > 1:
            first, *rest = rest
        if rest and first in self.tables and (qualified := self.tables[first].column(rest[0].lower())):
            return _field(qualified, rest[1:])
        found = [term for each in self.tables.values() if (term := each.column(first))]
        if first in self.names and len(found) != 1:
            found = [self.names[first]]
        if len(found) != 1:
            raise UnresolvedSqlError(first)
        return _field(found[0], rest)


def digest(parts: Node) -> str:
    """Return the hash of a tree."""
    return hashlib.sha256(_text(parts).encode()).hexdigest()[:32]


def is_nested(dtype: str) -> bool:
    """Return whether values of a type may be lists or hold some; true for an unknown type."""
    return not dtype or dtype.endswith("]") or dtype.upper().partition("(")[0].strip() in _NESTED


def of_tree(read: Node | None, scope: NameScope) -> Node:
    """Return the tree of a feature's SQL, of which `read` is the syntax tree. Raises UnresolvedSqlError."""
    if read is None:
        raise UnresolvedSqlError("DuckDB does not parse it")
    return reduced(syntax_tree.normal(read)[0]["node"]["select_list"][0], scope).tree


def reduced(node: Node, scope: NameScope) -> Term:
    """Return the tree of a node of a normal syntax tree. Raises UnresolvedSqlError."""
    kind = node.get("class")
    if kind == "COLUMN_REF":
        return scope.column(node["column_names"])
    if kind in {"SUBQUERY", "STAR"}:
        raise UnresolvedSqlError(kind)
    if kind == "LAMBDA":
        return _lambda(node, scope)
    if kind == "CONJUNCTION":
        return Term({"type": node["type"], "all": _in_order(conjuncts(node, scope))}, is_scalar=True)
    return _in_one_order(node, scope)


def conjuncts(node: Node, scope: NameScope) -> Iterator[Node]:
    """Yield the operands of nested conjunctions of one kind, or the node itself."""
    for child in node["children"]:
        if child.get("type") == node["type"]:
            yield from conjuncts(child, scope)
        else:
            yield reduced(child, scope).tree


def _in_one_order(node: Node, scope: NameScope) -> Term:
    terms: list[Term] = []

    def part(value: Node) -> Node:
        if isinstance(value, list):
            return [part(each) for each in value]
        if not isinstance(value, dict):
            return value
        if "class" in value:
            terms.append(reduced(value, scope))
            return terms[-1].tree
        return {key: part(each) for key, each in value.items()}

    if node.get("class") == "CONSTANT":
        return Term(node, "literal" in node or not is_nested(node["value"]["type"]["id"]))
    tree = {key: part(value) for key, value in node.items() if key != "alias"}
    is_scalar = _is_scalar(tree, terms)
    kind = tree.get("type")
    if kind in _MIRRORED:
        tree = {**tree, "type": _MIRRORED[kind], "left": tree["right"], "right": tree["left"]}
    elif kind in _SYMMETRIC and tree.get("class") == "COMPARISON":
        tree["left"], tree["right"] = _in_order([tree["left"], tree["right"]])
    elif kind in _LISTED:
        tree["children"] = [tree["children"][0], *_in_order(tree["children"][1:])]
    elif _is_commutative(tree, terms):
        tree[_arguments(tree)] = _in_order(tree[_arguments(tree)])
    return Term(tree, is_scalar)


def _arguments(call: Node) -> str:
    """Return the name of a call's arguments, which DuckDB 1.5 lists as its children."""
    return "arguments" if "arguments" in call else "children"


def _is_commutative(tree: Node, terms: Sequence[Term]) -> bool:
    """Return whether the operands of a call may change places: those of `*`, and those of `+` that are no lists."""
    if tree.get("class") != "FUNCTION" or len(terms) != 2 or len(tree.get(_arguments(tree), ())) != 2:  # noqa: PLR2004
        return False
    return tree["function_name"] == "*" or (tree["function_name"] == "+" and all(each.is_scalar for each in terms))


def _is_scalar(tree: Node, terms: Sequence[Term]) -> bool:
    match tree.get("class"):
        case "COMPARISON" | "BETWEEN":
            return True
        case "CAST":
            return not _gives_nested(tree)
        case "FUNCTION":
            returned = _returned().get(tree["function_name"], frozenset({""}))
            if tree["function_name"] in _TRANSPARENT:
                return all(each.is_scalar for each in terms)
            return not any(map(is_nested, returned))
        case _ if tree.get("type") in _CHOICES:
            return all(each.is_scalar for each in terms)
    return str(tree.get("type")).startswith(("OPERATOR_NOT", "OPERATOR_IS_", "COMPARE_"))


def _gives_nested(cast: Node) -> bool:
    """Return whether a cast gives a list or the like. Its type stands elsewhere in trees of DuckDB 1.5."""
    dtype = cast.get("cast_type", {}).get("id") or cast.get("type_expr", {}).get("type_name", "")
    return is_nested(str(dtype))


def _lambda(node: Node, scope: NameScope) -> Term:
    names = {each["column_names"][0] for each in syntax_tree.walk(node["lhs"]) if each.get("class") == "COLUMN_REF"}
    inner = replace(scope, bound=scope.bound | names)
    return Term({**node, "expr": reduced(node["expr"], inner).tree}, is_scalar=False)


def _field(term: Term, path: Sequence[str]) -> Term:
    return Term({"#field": [term.tree, *path]}, is_scalar=False) if path else term


def _in_order(trees: Sequence[Node] | Iterator[Node]) -> list[Node]:
    return sorted(trees, key=_text)


def _text(tree: Node) -> str:
    return json.dumps(tree, sort_keys=True, separators=(",", ":"))


@cache
def _returned() -> Mapping[str, frozenset[str]]:
    """Return the result types of DuckDB's functions, by name."""
    return syntax_tree.returned()
