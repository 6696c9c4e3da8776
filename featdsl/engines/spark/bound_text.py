"""Write bound expressions as DuckDB's SQL again, with the columns of the operator below as `"#0"`, `"#1"`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal

from featdsl.definitions.names import quote
from featdsl.engines.spark import casts
from featdsl.engines.spark.bound_plans import Node, name_of, only, type_of, written_arguments
from featdsl.engines.spark.scopes import NULL, Scope, Translated, unproved

_COMPARISONS = {
    "COMPARE_EQUAL": "=",
    "COMPARE_NOTEQUAL": "<>",
    "COMPARE_LESSTHAN": "<",
    "COMPARE_GREATERTHAN": ">",
    "COMPARE_LESSTHANOREQUALTO": "<=",
    "COMPARE_GREATERTHANOREQUALTO": ">=",
    "COMPARE_DISTINCT_FROM": "IS DISTINCT FROM",
    "COMPARE_NOT_DISTINCT_FROM": "IS NOT DISTINCT FROM",
}
_WORDS = {"~~": "LIKE", "!~~": "NOT LIKE", "~~*": "ILIKE", "!~~*": "NOT ILIKE", "~~~": "GLOB"}
"""The operators that DuckDB writes as words."""
_FLAGS = {"t": "TRUE", "f": "FALSE"}
"""Texts that DuckDB 1 casts to BOOLEAN in place of TRUE and FALSE."""
_WHOLE = frozenset({"TINYINT", "SMALLINT", "INTEGER", "BIGINT"})
_BINARY = 2


def scalar(node: Node, columns: Sequence[Translated]) -> Translated:
    """Translate a bound expression over columns of the operator below, in parentheses if it is no column. Raises Unproved."""
    if _class(node) == "BOUND_REF":
        return column(node, columns)
    value = _computed(node, columns)
    return replace(value, sql=f"({value.sql})")


def _computed(node: Node, columns: Sequence[Translated]) -> Translated:
    dtype = type_of(node)
    if is_cast(node) and not _is_tried(node) and dtype != "BOOLEAN":
        return Translated(casts.explicit(scalar(_children(node)[0], columns), dtype), dtype)
    if dtype != NULL and is_null(node):
        return Translated(casts.explicit(Translated("NULL", NULL), dtype), dtype)
    if _class(node) == "BOUND_CONSTANT" and dtype.startswith("DECIMAL("):
        return Translated(f"CAST({literal(node['value'])}BD AS {dtype})", dtype, literal(node["value"]))
    named: dict[tuple[str, ...], Translated] = {(f"#{number}",): each for number, each in enumerate(columns)}
    from featdsl.engines.spark import nodes, reading

    value = nodes.translate_node(reading.parsed(text(node)), Scope(named))
    if value.dtype != dtype:
        raise unproved(f"{text(node)} as {dtype}")
    return value


def column(node: Node, columns: Sequence[Translated]) -> Translated:
    """Return the column that a reference names. Raises Unproved if its type has no plain type."""
    return Scope({("#",): columns[node.get("index", 0)]}).column(["#"])


def references(node: Node) -> frozenset[int]:
    """Return the numbers of the columns that an expression reads."""
    return frozenset(each.get("index", 0) for each in _walk(node) if _class(each) == "BOUND_REF")


def is_reference(node: Node) -> bool:
    """Return whether an expression is a column."""
    return _class(node) == "BOUND_REF"


def constant(node: Node) -> Node | None:
    """Return the value of a constant, also of one that is cast; None if the expression is not one, or NULL."""
    while is_cast(node):
        node = _children(node)[0]
    return None if _class(node) != "BOUND_CONSTANT" or node["value"].get("is_null") else node["value"]


def is_null(node: Node) -> bool:
    """Return whether an expression is NULL, with or without a type."""
    while is_cast(node):
        node = _children(node)[0]
    return _class(node) == "BOUND_CONSTANT" and bool(node["value"].get("is_null"))


def is_cast(node: Node) -> bool:
    """Return whether an expression is a cast."""
    return _class(node) == "BOUND_CAST" or node.get("type") == "OPERATOR_CAST"


def _is_tried(node: Node) -> bool:
    return bool(node.get("try_cast") or (node.get("function_data") or {}).get("try_cast"))


def _class(node: Node) -> str:
    return str(node.get("expression_class") or node.get("type"))


def _walk(node: Node) -> Iterator[Node]:
    if isinstance(node, dict):
        yield node
        for each in node.values():
            yield from _walk(each)
    elif isinstance(node, list):
        for each in node:
            yield from _walk(each)


def _children(node: Node) -> list[Node]:
    return (
        list(node["children"])
        if "children" in node
        else [node[each] for each in ("child", "left", "right") if each in node]
    )


def text(node: Node) -> str:
    """Return a bound expression as SQL. Raises Unproved."""
    kind = _class(node)
    if kind not in _WRITERS:
        raise unproved(kind.removeprefix("BOUND_").replace("_", " "))
    return _WRITERS[kind](node)


def _reference(node: Node) -> str:
    return f'"#{node.get("index", 0)}"'


def _constant(node: Node) -> str:
    if node["value"].get("is_null"):
        dtype = type_of(node)
        return "NULL" if dtype == NULL else f"CAST(NULL AS {dtype})"
    return literal(node["value"])


def literal(value: Node) -> str:
    """Return a constant that is not NULL as SQL. Raises Unproved."""
    dtype, content = value["type"]["id"], value["value"]
    match dtype:
        case "VARCHAR":
            return "'" + str(content).replace("'", "''") + "'"
        case "BOOLEAN":
            return "TRUE" if content else "FALSE"
        case "DOUBLE" if isinstance(content, float):
            return f"{content!r}" if "e" in repr(content) else f"{content!r}e0"
        case "DECIMAL" if isinstance(content, int):
            return f"{Decimal(content).scaleb(-value['type']['type_info'].get('scale', 0)):f}"
        case "INTERVAL":
            return _interval(content)
        case _ if dtype in _WHOLE:
            return str(content)
        case _:
            raise unproved(f"a constant of type {dtype}")


def _interval(content: Mapping[str, int]) -> str:
    given = {name: number for name, number in content.items() if number}
    units = {"months": "MONTH", "days": "DAY", "micros": "SECOND"}
    if len(given) != 1 or given.get("micros", 0) % 1_000_000:
        raise unproved("an interval of several units")
    ((name, number),) = given.items()
    return f"INTERVAL '{number // 1_000_000 if name == 'micros' else number}' {units[name]}"


def _cast(node: Node) -> str:
    (child,) = _children(node)
    dtype = type_of(node)
    if _class(child) == "BOUND_CONSTANT" and dtype in {"INTEGER", "VARCHAR"} and type_of(child) == dtype:
        return text(child)
    if dtype == "BOOLEAN" and (constant(child) or {}).get("value") in _FLAGS:
        return _FLAGS[child["value"]["value"]]
    return f"{'TRY_CAST' if _is_tried(node) else 'CAST'}({text(child)} AS {dtype})"


def _function(node: Node) -> str:
    kind = node.get("type")
    if kind == "OPERATOR_CAST":
        return _cast(node)
    if kind in _COMPARISONS:
        return _comparison(node)
    if kind not in {"BOUND_FUNCTION", None}:
        raise unproved(str(kind))
    name, arguments = name_of(node), [text(each) for each in node.get("children", ())]
    if written_arguments(node) > len(arguments):
        raise unproved(f"{name}() with constant arguments")
    if name == "struct_extract" and arguments[0].endswith('"'):
        return f"{arguments[0]}.{quote(str((constant(node['children'][1]) or {}).get('value')))}"
    if name == "list_value":
        return f"[{', '.join(arguments)}]"
    if name in {"struct_pack", "row", "map"}:
        raise unproved(name)
    if node.get("is_operator") or not name.replace("_", "").isalnum():
        operator = _WORDS.get(name, name)
        return (
            f"({arguments[0]} {operator} {arguments[1]})"
            if len(arguments) == _BINARY
            else f"({operator} {arguments[0]})"
        )
    return f"{name}({', '.join(arguments)})"


def _comparison(node: Node) -> str:
    left, right = _children(node)
    return f"({text(left)} {_COMPARISONS[node['type']]} {text(right)})"


def _between(node: Node) -> str:
    lower, upper = (">=" if node.get("lower_inclusive") else ">"), ("<=" if node.get("upper_inclusive") else "<")
    value = text(node["input"])
    return f"(({value} {lower} {text(node['lower'])}) AND ({value} {upper} {text(node['upper'])}))"


def _conjunction(node: Node) -> str:
    word = {"CONJUNCTION_AND": " AND ", "CONJUNCTION_OR": " OR "}[node["type"]]
    return f"({word.join(text(each) for each in node['children'])})"


def _operator(node: Node) -> str:
    arguments = [text(each) for each in node.get("children", ())]
    match node["type"]:
        case "OPERATOR_NOT":
            return f"(NOT {arguments[0]})"
        case "OPERATOR_IS_NULL":
            return f"({arguments[0]} IS NULL)"
        case "OPERATOR_IS_NOT_NULL":
            return f"({arguments[0]} IS NOT NULL)"
        case "OPERATOR_COALESCE":
            return f"coalesce({', '.join(arguments)})"
        case "COMPARE_IN":
            return f"({arguments[0]} IN ({', '.join(arguments[1:])}))"
        case "COMPARE_NOT_IN":
            return f"({arguments[0]} NOT IN ({', '.join(arguments[1:])}))"
        case kind:
            raise unproved(str(kind).removeprefix("OPERATOR_"))


def _case(node: Node) -> str:
    only(node, "CASE", "expression_class", "type", "return_type", "case_checks", "else_expr")
    branches = (f"WHEN {text(each['when_expr'])} THEN {text(each['then_expr'])}" for each in node["case_checks"])
    return f"CASE {' '.join(branches)} ELSE {text(node['else_expr'])} END"


_WRITERS: Mapping[str, Callable[[Node], str]] = {
    "BOUND_REF": _reference,
    "BOUND_CONSTANT": _constant,
    "BOUND_CAST": _cast,
    "BOUND_FUNCTION": _function,
    "BOUND_COMPARISON": _comparison,
    "BOUND_BETWEEN": _between,
    "BOUND_CONJUNCTION": _conjunction,
    "BOUND_OPERATOR": _operator,
    "BOUND_CASE": _case,
}
