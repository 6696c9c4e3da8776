"""Translate the nodes of sqlglot's trees of DuckDB's SQL, each by its class. A class without an entry is refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlglot import exp

from featdsl.definitions import dtypes
from featdsl.engines.spark import casts, conditions, literals, number_types, operators, scopes, signatures
from featdsl.engines.spark.calls import ALIASES, CALLS, SETTINGS
from featdsl.engines.spark.functions import FUNCTIONS
from featdsl.engines.spark.number_types import BITS, DIGITS, is_decimal
from featdsl.engines.spark.scopes import NULL, Handler, Scope, Translated, unproved


def translate_node(node: exp.Expr, scope: Scope) -> Translated:
    """Translate a node. Raises Unproved."""
    handler = scope.handlers.get(type(node)) or _NODES.get(type(node)) or _call
    return handler(node, scope)


def _only(node: exp.Expr, *names: str) -> None:
    """Refuse a node with arguments other than those named."""
    for name, value in node.args.items():
        if value not in (None, [], False) and name not in names:
            raise unproved(f"{node.key} with {name}")


def call(name: str, arguments: Sequence[Translated]) -> Translated:
    """Return the value of a function or an operator of DuckDB. Raises Unproved."""
    return FUNCTIONS.call(name, operators.operands(name, arguments))


def _call(node: exp.Expr, scope: Scope) -> Translated:
    """Translate a function or an operator by its signature."""
    if isinstance(node, exp.Anonymous):
        name, given = node.name.lower(), list(node.expressions)
        name = ALIASES.get(name, name)
    elif type(node) in CALLS:
        name, order = CALLS[type(node)]
        _only(node, *order, *SETTINGS.get(type(node), ()))
        given = [node.args[each] for each in order if node.args.get(each) is not None]
    else:
        raise unproved(_call_text(node, scope))
    return call(name, [_argument(each, scope) for each in given])


def _call_text(node: exp.Expr, scope: Scope) -> str:
    """Return a node without an entry as a refusal names it."""
    written = node.sql(dialect="duckdb")
    if not isinstance(node, exp.Func):
        return written
    given = [each for value in node.args.values() for each in (value if isinstance(value, list) else [value])]
    values = [
        translate_node(each, scope) for each in given if isinstance(each, exp.Expr) and not isinstance(each, exp.Var)
    ]
    return signatures.call_text(written.partition("(")[0].lower(), values)


def _argument(node: object, scope: Scope) -> Translated:
    """Translate an argument; the name of a date part is a literal."""
    if isinstance(node, exp.Var):
        return literals.text(node.name.lower())
    if not isinstance(node, exp.Expr):
        raise unproved(str(node))
    return translate_node(node, scope)


def _literal(node: exp.Literal, _scope: Scope) -> Translated:
    return literals.text(str(node.this)) if node.is_string else literals.number(str(node.this))


def _negative(node: exp.Neg, scope: Scope) -> Translated:
    value = translate_node(node.this, scope)
    if value.constant is not None and not value.constant.startswith("-"):
        if value.dtype in DIGITS:
            return literals.whole(-int(value.constant))
        if is_decimal(value.dtype):
            return literals.fraction(f"-{value.constant}")
    return call("-", [value])


def _boolean(node: exp.Boolean, _scope: Scope) -> Translated:
    return Translated("TRUE" if node.this else "FALSE", "BOOLEAN")


def _null(_node: exp.Null, _scope: Scope) -> Translated:
    return Translated("NULL", NULL)


def _interval(node: exp.Interval, _scope: Scope) -> Translated:
    _only(node, "this", "unit")
    count = node.this.this if isinstance(node.this, exp.Paren) else node.this
    if not isinstance(count, exp.Literal) or not isinstance(node.args.get("unit"), exp.Var):
        raise unproved(node.sql(dialect="duckdb"))
    return literals.interval(str(count.this), node.args["unit"].name)


def _column(node: exp.Column, scope: Scope) -> Translated:
    return scope.column([part.name for part in node.parts])


def _dot(node: exp.Dot, scope: Scope) -> Translated:
    if not isinstance(node.expression, exp.Identifier):
        raise unproved(node.sql(dialect="duckdb"))
    return scopes.struct_field(translate_node(node.this, scope), node.expression.name)


def _field(node: exp.StructExtract, scope: Scope) -> Translated:
    return scopes.struct_field(translate_node(node.this, scope), node.expression.name)


def _paren(node: exp.Paren, scope: Scope) -> Translated:
    return translate_node(node.this, scope)


def _cast(node: exp.Cast, scope: Scope) -> Translated:
    _only(node, "this", "to", *(("safe",) if isinstance(node, exp.TryCast) else ()))
    value, dtype = translate_node(node.this, scope), type_of(node.to)
    change = casts.tried if isinstance(node, exp.TryCast) else casts.explicit
    is_same_number = value.constant is not None and value.dtype in BITS and dtype in {*BITS, "DOUBLE"}
    return Translated(change(value, dtype), dtype, value.constant if is_same_number else None)


def type_of(node: Any) -> str:
    """Return the DuckDB type that a cast names. Raises Unproved."""
    written = node.sql(dialect="duckdb").replace("INT128", "HUGEINT")
    try:
        dtype = dtypes.duckdb_type(written)
    except ValueError:
        raise unproved(f"the type {written}") from None
    return "DECIMAL(18,3)" if dtype == "DECIMAL" else dtype


def _condition(node: exp.Expr, scope: Scope) -> str:
    return conditions.condition(translate_node(node, scope))


def _case(node: exp.Case, scope: Scope) -> Translated:
    _only(node, "this", "ifs", "default")
    branches = node.args["ifs"]
    if node.args.get("this") is None:
        tests = [_condition(branch.this, scope) for branch in branches]
    else:
        subject = translate_node(node.this, scope)
        tests = [
            call("=", each).sql for each in _subjects(subject, [translate_node(one.this, scope) for one in branches])
        ]
    values = [translate_node(branch.args["true"], scope) for branch in branches]
    return conditions.chosen(tests, values, translate_node(node.args.get("default") or exp.Null(), scope))


def _subjects(subject: Translated, values: Sequence[Translated]) -> list[list[Translated]]:
    """Return what CASE with a subject compares: the subject and each value, all in one type."""
    texts, dtype = conditions.in_common_type("CASE", [subject, *values])
    alike = [Translated(each, dtype) for each in texts]
    return [[alike[0], each] for each in alike[1:]]


def _if(node: exp.If, scope: Scope) -> Translated:
    _only(node, "this", "true", "false")
    default = translate_node(node.args.get("false") or exp.Null(), scope)
    return conditions.chosen([_condition(node.this, scope)], [translate_node(node.args["true"], scope)], default)


def _each(node: exp.Expr, scope: Scope) -> list[Translated]:
    _only(node, "this", "expressions", "safe", "coalesce", "ignore_nulls", "value_constructor")
    first = [] if node.args.get("this") is None else [node.this]
    return [translate_node(each, scope) for each in (*first, *node.expressions)]


def _nullif(node: exp.Nullif, scope: Scope) -> Translated:
    value, other = translate_node(node.this, scope), translate_node(node.expression, scope)
    if value.dtype == NULL:
        raise unproved("nullif(NULL)")
    return Translated(f"CASE WHEN {call('=', [value, other]).sql} THEN NULL ELSE {value.sql} END", value.dtype)


def _both(node: exp.Expr, scope: Scope) -> Translated:
    word = "AND" if isinstance(node, exp.And) else "OR"
    return Translated(f"({_condition(node.this, scope)} {word} {_condition(node.expression, scope)})", "BOOLEAN")


def _not(node: exp.Not, scope: Scope) -> Translated:
    return Translated(f"(NOT {_condition(node.this, scope)})", "BOOLEAN")


def _is(node: exp.Is, scope: Scope) -> Translated:
    value, other = translate_node(node.this, scope), node.expression
    if isinstance(other, exp.Null):
        return Translated(f"({value.sql} IS NULL)", "BOOLEAN")
    if isinstance(other, exp.Boolean) and value.dtype == "BOOLEAN":
        return Translated(f"({value.sql} <=> {'TRUE' if other.this else 'FALSE'})", "BOOLEAN")
    raise unproved(f"{value.dtype} IS {other.sql(dialect='duckdb')}")


def _in(node: exp.In, scope: Scope) -> Translated:
    _only(node, "this", "expressions")
    values = [translate_node(each, scope) for each in (node.this, *node.expressions)]
    texts, dtype = conditions.in_common_type("IN", values)
    equal = call("=", [Translated(texts[0], dtype), Translated(texts[1], dtype)])
    if len(values) == 2:  # noqa: PLR2004 - one value beside the subject
        return equal
    value, *others = (number_types.ordered(each, dtype) for each in texts)
    return Translated(f"({value} IN ({', '.join(others)}))", "BOOLEAN")


def _between(node: exp.Between, scope: Scope) -> Translated:
    _only(node, "this", "low", "high")
    values = [translate_node(each, scope) for each in (node.this, node.args["low"], node.args["high"])]
    texts, dtype = conditions.in_common_type("BETWEEN", values)
    value, low, high = (Translated(each, dtype) for each in texts)
    return Translated(f"({call('>=', [value, low]).sql} AND {call('<=', [value, high]).sql})", "BOOLEAN")


def _like(node: exp.Like | exp.ILike, scope: Scope) -> Translated:
    _only(node, "this", "expression", "negate")
    name = "ilike" if isinstance(node, exp.ILike) else "like"
    found = call(name, [translate_node(node.this, scope), translate_node(node.expression, scope)])
    return Translated(f"(NOT {found.sql})", "BOOLEAN") if node.args.get("negate") else found


def _bracket(node: exp.Bracket, scope: Scope) -> Translated:
    """Translate an index, from which the parser has subtracted one."""
    index = node.expressions[0] if len(node.expressions) == 1 else None
    sign = -1 if isinstance(index, exp.Neg) else 1
    number = index.this if isinstance(index, exp.Neg) else index
    if not isinstance(number, exp.Literal) or (number.is_string and sign < 0):
        raise unproved(node.sql(dialect="duckdb"))
    value = translate_node(node.this, scope)
    if number.is_string:
        return scopes.struct_field(value, number.name)
    return call("list_extract", [value, literals.whole(sign * int(number.name) + 1)])


def _array(node: exp.Array, scope: Scope) -> Translated:
    texts, dtype = conditions.in_common_type("list_value", _each(node, scope))
    return Translated(f"array({', '.join(texts)})", f"{dtype}[]")


def _trim(node: exp.Trim, scope: Scope) -> Translated:
    _only(node, "this", "expression", "position")
    name = {"LEADING": "ltrim", "TRAILING": "rtrim"}.get(str(node.args.get("position") or "").upper(), "trim")
    given = [each for each in (node.this, node.args.get("expression")) if each is not None]
    return call(name, [translate_node(each, scope) for each in given])


def _pad(node: exp.Pad, scope: Scope) -> Translated:
    _only(node, "this", "expression", "fill_pattern", "is_left")
    given = [node.this, node.expression, node.args.get("fill_pattern") or exp.Null()]
    return call("lpad" if node.args.get("is_left") else "rpad", [translate_node(each, scope) for each in given])


def _sha(node: exp.SHA2, scope: Scope) -> Translated:
    return call(f"sha{node.args['length'].name}", [translate_node(node.this, scope)])


def _logarithm(node: exp.Log, scope: Scope) -> Translated:
    base = node.this
    if node.args.get("expression") is None:
        return call("log", [translate_node(base, scope)])
    if isinstance(base, exp.Literal) and base.name in {"2", "10"}:
        return call(f"log{base.name}", [translate_node(node.expression, scope)])
    raise unproved(node.sql(dialect="duckdb"))


_NODES: dict[type, Handler] = {
    exp.Literal: _literal,
    exp.Boolean: _boolean,
    exp.Null: _null,
    exp.Interval: _interval,
    exp.Column: _column,
    exp.Dot: _dot,
    exp.StructExtract: _field,
    exp.Paren: _paren,
    exp.Neg: _negative,
    exp.Cast: _cast,
    exp.TryCast: _cast,
    exp.Case: _case,
    exp.If: _if,
    exp.Coalesce: lambda node, scope: conditions.first_known(_each(node, scope)),
    exp.Greatest: lambda node, scope: conditions.extreme("greatest", _each(node, scope)),
    exp.Least: lambda node, scope: conditions.extreme("least", _each(node, scope)),
    exp.Concat: lambda node, scope: conditions.joined(_each(node, scope)),
    exp.ConcatWs: lambda node, scope: conditions.joined_with(_each(node, scope)),
    exp.Nullif: _nullif,
    exp.And: _both,
    exp.Or: _both,
    exp.Not: _not,
    exp.Is: _is,
    exp.In: _in,
    exp.Between: _between,
    exp.Like: _like,
    exp.ILike: _like,
    exp.Bracket: _bracket,
    exp.Array: _array,
    exp.Trim: _trim,
    exp.Pad: _pad,
    exp.SHA2: _sha,
    exp.Log: _logarithm,
}
