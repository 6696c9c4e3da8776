"""For every DuckDB function, expressions with different syntax trees have different canonical texts."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featdsl.errors import SqlProblem
from featdsl.sql import parser
from tests.budgets import examples

ARGUMENTS = ("j", "'a.b'", "'$.a.b'", "2", "s.a", "s.A", "x + 1", "lambda y: y + 1")
PARTS = re.compile(r"date_?(diff|part|sub|trunc)$")
"""Functions whose first argument is the name of a date part, in any letter case."""


@cache
def functions() -> list[tuple[str, int, str]]:
    """Return the name, the number of arguments and the kind of every overload of every function."""
    return duckdb.sql(
        "SELECT DISTINCT function_name, len(parameter_types), function_type FROM duckdb_functions()"
        " WHERE function_type IN ('scalar', 'aggregate', 'macro') ORDER BY ALL"
    ).fetchall()


def texts() -> Iterator[str]:
    """Yield calls of every function, with its arguments and with one more; operators between two arguments."""
    for name, number, kind in functions():
        if not re.fullmatch(r"\w+", name):
            if number == 2:
                yield from (f"j {name} {each}" for each in ARGUMENTS[1:6])
            continue
        for listed in ([*ARGUMENTS[:number]], [*ARGUMENTS[:number], "z"], [*ARGUMENTS[4 : 4 + number]]):
            yield f"{name}({', '.join(listed)})"
        if kind == "aggregate":
            yield f"{name}(DISTINCT {', '.join(ARGUMENTS[:number])})"
            yield f"{name}({', '.join(ARGUMENTS[:number])}) FILTER (WHERE s.a > 1)"
            yield f"{name}({', '.join(ARGUMENTS[:number])}) FILTER (WHERE s.A > 1)"


@cache
def session() -> duckdb.DuckDBPyConnection:
    """Return a session for parsing."""
    return duckdb.connect()


def tree(text: str) -> str | None:
    """Return DuckDB's syntax tree of an expression without positions, or None if it does not parse."""
    query = "SELECT json_serialize_sql(?::VARCHAR, skip_null := true, skip_empty := true, skip_default := true)"
    parsed = json.loads(session().execute(query, [f"SELECT ({text})"]).fetchall()[0][0])
    return None if parsed["error"] else json.dumps(unplaced(parsed["statements"]), sort_keys=True)


def unplaced(node: Any) -> Any:
    """Return a node without positions."""
    if isinstance(node, list):
        return [unplaced(each) for each in node]
    if isinstance(node, dict):
        return {key: unplaced(each) for key, each in node.items() if not key.startswith("query_location")}
    return node


def canonical(text: str) -> str | None:
    """Return the canonical text of an expression, or None if it is refused."""
    try:
        return parser.read(text)[0]
    except SqlProblem:
        return None


@pytest.mark.property
def test_no_function_shares_its_text_with_another() -> None:
    """Over all calls, or every eighth of them in `make test`, each canonical text has one tree."""
    seen: dict[str, tuple[str, str]] = {}
    compared = set()
    for text in list(dict.fromkeys(texts()))[:: examples(8, 1)]:
        one = canonical(text)
        shape = tree(text) if one is not None else None
        if one is None or shape is None:
            continue
        compared.add(text.partition("(")[0])
        shape = shape.lower() if PARTS.match(text.partition("(")[0]) else shape
        other = seen.setdefault(one, (text, shape))
        assert other[1] == shape, (text, other[0], one)
    assert len(compared) > examples(250, 500)


LITERALS = st.sampled_from(
    ["j", "x", "l", "'a'", "'A'", "'a.b'", "'$.a.b'", "1", "1.0", "1.00", "1e0", "NULL", "j.k", "j.K", "s.a"]
)


@cache
def names() -> list[str]:
    """Return the names of functions that are written as a call."""
    return sorted({name for name, _, _ in functions() if re.fullmatch(r"\w+", name) and not PARTS.match(name)})


@st.composite
def calls(draw: st.DrawFn, depth: int = 2) -> str:
    """Draw nested function calls, JSON access and operators."""
    if depth == 0:
        return draw(LITERALS)
    inner = calls(depth - 1)
    match draw(st.integers(0, 3)):
        case 0:
            return f"({draw(inner)} {draw(st.sampled_from(['->', '->>', '||', '+', '//', '/', '=', '^', '**']))} {draw(inner)})"
        case 1:
            return (
                f"CAST({draw(inner)} AS {draw(st.sampled_from(['INT', 'BIGINT', 'VARCHAR', 'JSON', 'DECIMAL(4, 1)']))})"
            )
        case _:
            return f"{draw(st.sampled_from(names()))}({', '.join(draw(st.lists(inner, max_size=3)))})"


@given(calls(), st.data())
def test_pairs_of_calls_that_differ_have_two_texts(one: str, data: st.DataObject) -> None:
    """A call and the same call with one part replaced."""
    was, now = data.draw(LITERALS), data.draw(LITERALS)
    other = one.replace(was, now) if data.draw(st.booleans()) else data.draw(calls())
    first, second = canonical(one), canonical(other)
    if first is not None and first == second:
        assert tree(one) == tree(other), (one, other)
