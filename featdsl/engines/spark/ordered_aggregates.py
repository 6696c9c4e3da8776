"""Aggregates whose result depends on the order of rows, or needs all of them sorted.

Rows of equal order that could give several results raise an error where the data are: DuckDB's own result would vary, too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal

from featdsl.engines.spark.bound_plans import Node
from featdsl.engines.spark.number_types import BITS, is_decimal
from featdsl.engines.spark.ordered_rows import Key, comparable, decides, fields, held, is_ordered, refused
from featdsl.engines.spark.scopes import Translated, unproved
from featdsl.engines.spark.sql_text import literal

_COLLECTED = frozenset({
    *BITS, "FLOAT", "DOUBLE", "BOOLEAN", "VARCHAR", "DATE", "TIMESTAMP", "TIMESTAMP WITH TIME ZONE", "HUGEINT",
    "UUID",
    "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT",
})  # fmt: skip


@dataclass(frozen=True)
class OrderedCall:
    """An aggregate: its name, its arguments with their nodes, the condition of its rows, DISTINCT, and the order of the rows.

    `bound` has what DuckDB has read from constant arguments, which some versions take out of the arguments.
    """

    name: str
    arguments: tuple[Translated, ...]
    nodes: tuple[Node, ...]
    where: str
    distinct: bool
    order: tuple[Key, ...]
    bound: Mapping[str, Node] = field(default_factory=dict)

    @property
    def value(self) -> Translated:
        """The first argument."""
        return self.arguments[0]

    def when(self, *conditions: str) -> str:
        """Return the condition that a row counts."""
        return " AND ".join(each for each in (self.where, *conditions) if each) or "TRUE"

    def refuse_unordered(self) -> None:
        """Refuse a call whose result differs between runs."""
        if not self.order:
            raise unproved(f"{self.name}() without ORDER BY")


def _held(call: OrderedCall, keys: Sequence[str], *conditions: str) -> tuple[str, list[str]]:
    """Return a struct of the keys and the value, in rows that count, and the names of its fields: the last is the value."""
    return held([*keys, call.value.sql], call.when(*conditions))


def let(value: str, body: str) -> str:
    """Return an expression over `s`, which stands for a value that is computed once."""
    return f"get(transform(array({value}), s -> {body}), 0)"


def _once(call: OrderedCall, rows: str, names: Sequence[str], body: str) -> str:
    """Return an expression over the collected rows `s`. Raises an error if rows of equal order have several values."""
    if decides(call.order, call.nodes[:1]):
        return let(rows, body)
    keys = ", ".join(f"e.{name} AS {name}" for name in names[:-1])
    ties = f"size(array_distinct(s)) > size(array_distinct(transform(s, e -> struct({keys}))))"
    tied = refused(f"{call.name}() over rows of equal order: order by more columns")
    return let(rows, f"CASE WHEN {ties} THEN {tied} ELSE {body} END")


def _sorted(call: OrderedCall, body: str, *conditions: str) -> str:
    """Return an expression over the values of the rows in their order, which are `{0}` in it; NULL if there are none."""
    if not call.distinct:
        call.refuse_unordered()
    elif len(call.order) != 1 or call.order[0].value.sql != call.value.sql:
        raise unproved(f"{call.name}(DISTINCT) without an order of its own values")
    keys = fields(call.order)
    own = replace(call, arguments=(replace(call.value, sql=comparable(call.value)),)) if call.distinct else call
    rows, names = _held(own, keys.sql, *conditions)
    collected = f"sort_array({'collect_set' if call.distinct else 'collect_list'}({rows}){', FALSE' if keys.descending else ''})"
    filled = f"CASE WHEN size(s) > 0 THEN {body.format(f'transform(s, e -> e.{names[-1]})')} END"
    return let(collected, filled) if call.distinct else _once(call, collected, names, filled)


def _list(call: OrderedCall) -> str:
    return _sorted(call, "{0}")


def _joined(call: OrderedCall) -> str:
    if call.value.dtype != "VARCHAR":
        raise unproved(f"{call.name}({call.value.dtype})")
    separator = call.bound.get("separator")
    if not isinstance(separator, str):
        raise unproved(f"{call.name}() with a computed separator")
    known = f"{call.value.sql} IS NOT NULL"
    written = literal(separator).replace("{", "{{").replace("}", "}}")
    return _sorted(call, f"array_join({{0}}, {written})", known)


def _outermost(call: OrderedCall, *conditions: str, last: bool = False) -> str:
    """Return the value of the first or the last row."""
    call.refuse_unordered()
    keys = fields(call.order)
    rows, names = _held(call, keys.sql, *conditions)
    largest = keys.descending != last
    if decides(call.order, call.nodes[:1]):
        return f"{'max' if largest else 'min'}({rows}).{names[-1]}"
    collected = f"sort_array(collect_list({rows}){', FALSE' if largest else ''})"
    return _once(call, collected, names, f"get(s, 0).{names[-1]}")


def _known(call: OrderedCall) -> str:
    return _outermost(call, f"{call.value.sql} IS NOT NULL")


def _at_extreme(*, largest: bool) -> Callable[[OrderedCall], str]:
    """Return the value of the row in which another value is largest or smallest; the first one in the order, if several are."""

    def written(call: OrderedCall) -> str:
        if len(call.arguments) != len(("value", "by")):
            raise unproved(f"{call.name}() of several values")
        by = Key(call.arguments[1], largest, nulls_first=False, column=_column(call.nodes[1]))
        order = [by, *(key for key in call.order if key.value.sql != by.value.sql)]
        known = f"{call.value.sql} IS NOT NULL AND {by.value.sql} IS NOT NULL"
        return _outermost(replace(call, order=tuple(order)), known)

    return written


def _column(node: Node) -> int | None:
    return int(node.get("index", 0)) if (node.get("expression_class") or node.get("type")) == "BOUND_REF" else None


def _fraction(call: OrderedCall) -> Decimal:
    if call.name == "median":
        return Decimal("0.5")
    given: Sequence[Node] = call.bound.get("quantiles") or ()
    if len(given) != 1 or given[0]["type"]["id"] not in {"DECIMAL", "INTEGER", "DOUBLE"} or call.bound.get("desc"):
        raise unproved(f"{call.name}() of several fractions")
    (value,) = given
    scale = (value["type"].get("type_info") or {}).get("scale", 0)
    fraction = Decimal(str(value["value"])).scaleb(-scale)
    if not 0 <= fraction <= 1:
        raise unproved(f"{call.name}() from the other end")
    return fraction


def _values(call: OrderedCall, body: Callable[[Callable[[str], str]], str]) -> str:
    """Return an expression over the sorted values, which `body` writes with a function for the value at an index; NULL if none."""
    rows, (name,) = held([comparable(call.value)], call.when(f"{call.value.sql} IS NOT NULL"))
    written = body(lambda index: f"get(s, CAST({index} AS INT)).{name}")
    return let(f"sort_array(collect_list({rows}))", f"CASE WHEN size(s) > 0 THEN {written} END")


def _continuous(call: OrderedCall) -> str:
    """Return the value between the two at the position, as DuckDB interpolates it."""
    if call.value.dtype not in {*BITS, "DOUBLE"}:
        raise unproved(f"{call.name}({call.value.dtype})")
    position = f"(CAST(size(s) - 1 AS DOUBLE) * CAST('{_fraction(call)}' AS DOUBLE))"
    share = f"({position} - CAST(floor({position}) AS DOUBLE))"

    def interpolated(at: Callable[[str], str]) -> str:
        low, high = (f"CAST({at(f'{each}({position})')} AS DOUBLE)" for each in ("floor", "ceil"))
        between = f"{low} * (CAST(1 AS DOUBLE) - {share}) + {high} * {share}"
        return f"CASE WHEN {share} = CAST(0 AS DOUBLE) THEN {low} ELSE {between} END"

    return _values(call, interpolated)


def _discrete(call: OrderedCall) -> str:
    """Return the smallest value that so many values do not exceed."""
    if not is_ordered(call.value.dtype):
        raise unproved(f"{call.name}({call.value.dtype})")
    rest = 1 - _fraction(call)
    scale = max(0, -int(rest.normalize().as_tuple().exponent))
    skipped = f"((CAST(size(s) AS BIGINT) * CAST({int(rest.scaleb(scale))} AS BIGINT)) DIV CAST({10**scale} AS BIGINT))"
    index = f"greatest(CAST(1 AS BIGINT), CAST(size(s) AS BIGINT) - {skipped}) - CAST(1 AS BIGINT)"
    return _values(call, lambda at: at(index))


def _median(call: OrderedCall) -> str:
    return _continuous(call) if call.value.dtype not in {"VARCHAR", "BOOLEAN"} else _discrete(call)


def _first(call: OrderedCall) -> str:
    return _outermost(call)


def _last(call: OrderedCall) -> str:
    return _outermost(call, last=True)


ORDERED: Mapping[str, Callable[[OrderedCall], str]] = {
    **dict.fromkeys(("list", "array_agg"), _list),
    **dict.fromkeys(("string_agg", "group_concat", "listagg"), _joined),
    "first": _first,
    "last": _last,
    **dict.fromkeys(("any_value", "arbitrary"), _known),
    **dict.fromkeys(("arg_max", "argmax", "max_by"), _at_extreme(largest=True)),
    **dict.fromkeys(("arg_min", "argmin", "min_by"), _at_extreme(largest=False)),
    **dict.fromkeys(("quantile_cont", "percentile_cont"), _continuous),
    **dict.fromkeys(("quantile_disc", "quantile", "percentile_disc"), _discrete),
    "median": _median,
}
"""The SQL of aggregates over rows in an order."""
_SORTS = frozenset({"quantile_cont", "percentile_cont", "quantile_disc", "quantile", "percentile_disc", "median"})


def ordered(call: OrderedCall) -> str:
    """Return the SQL of an aggregate over rows in an order. Raises Unproved."""
    for each in call.arguments:
        if each.dtype not in _COLLECTED and not is_decimal(each.dtype):
            raise unproved(f"{call.name}({', '.join(argument.dtype for argument in call.arguments)})")
    if call.distinct and ORDERED[call.name] not in {_list, _joined}:
        raise unproved(f"{call.name}(DISTINCT)")
    if call.order and call.name in _SORTS:
        raise unproved(f"{call.name}() WITHIN GROUP")
    return ORDERED[call.name](call)


def proved() -> list[tuple[str, list[str]]]:
    """Return the names of these aggregates with the types of their first arguments."""
    between = {*BITS, "DOUBLE"}
    types: dict[Callable[[OrderedCall], str], set[str]] = {
        _joined: {"VARCHAR"},
        _continuous: between,
        _median: between | {"VARCHAR", "BOOLEAN"},
    }
    return [(name, sorted(types.get(spark, _COLLECTED | {"DECIMAL"}))) for name, spark in sorted(ORDERED.items())]
