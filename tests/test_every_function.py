"""Every function that DuckDB lists: texts that its own syntax trees keep apart never have one canonical text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import duckdb
from hypothesis import given
from hypothesis import strategies as st

from featdsl import sql
from featdsl.errors import SqlProblem

ARGUMENTS = ("j", "'a.b'", "'$.a.b'", "2", "s.a", "s.A", "x + 1", "lambda y: y + 1")
PARTS = re.compile(r"date_?(diff|part|sub|trunc)$")
"""Functions whose first argument is the name of a part of a date, which DuckDB takes in any letter case."""


@cache
def functions() -> list[tuple[str, int, str]]:
    """Return the name, the number of arguments and the kind of every form of every function."""
    return duckdb.sql(
        "SELECT DISTINCT function_name, len(parameter_types), function_type FROM duckdb_functions()"
        " WHERE function_type IN ('scalar', 'aggregate', 'macro') ORDER BY ALL"
    ).fetchall()


def texts() -> Iterator[str]:
    """Yield calls of every function: with its arguments and one more, an operator also between two of them."""
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
    """Return a session to read texts in."""
    return duckdb.connect()


def tree(text: str) -> str | None:
    """Return DuckDB's tree of an expression without places, or None where it does not read it."""
    query = "SELECT json_serialize_sql(?::VARCHAR, skip_null := true, skip_empty := true, skip_default := true)"
    found = json.loads(session().execute(query, [f"SELECT ({text})"]).fetchall()[0][0])
    return None if found["error"] else json.dumps(unplaced(found["statements"]), sort_keys=True)


def unplaced(node: Any) -> Any:
    """Return a part of a tree without places."""
    if isinstance(node, list):
        return [unplaced(each) for each in node]
    if isinstance(node, dict):
        return {key: unplaced(each) for key, each in node.items() if not key.startswith("query_location")}
    return node


def canonical(text: str) -> str | None:
    """Return the canonical text of an expression, or None where it is refused."""
    try:
        return sql.read(text)[0]
    except SqlProblem:
        return None


def test_no_function_shares_its_text_with_another() -> None:
    """Over all calls at once: one canonical text is of one tree."""
    seen: dict[str, tuple[str, str]] = {}
    looked_at = set()
    for text in dict.fromkeys(texts()):
        one = canonical(text)
        found = tree(text) if one is not None else None
        if one is None or found is None:
            continue
        looked_at.add(text.partition("(")[0])
        found = found.lower() if PARTS.match(text.partition("(")[0]) else found
        other = seen.setdefault(one, (text, found))
        assert other[1] == found, (text, other[0], one)
    assert len(looked_at) > 500


LITERALS = st.sampled_from(
    ["j", "x", "l", "'a'", "'A'", "'a.b'", "'$.a.b'", "1", "1.0", "1.00", "1e0", "NULL", "j.k", "j.K", "s.a"]
)


@cache
def names() -> list[str]:
    """Return the names of functions that can be written as a call."""
    return sorted({name for name, _, _ in functions() if re.fullmatch(r"\w+", name) and not PARTS.match(name)})


@st.composite
def calls(draw: st.DrawFn, depth: int = 2) -> str:
    """Calls of a few functions within each other, JSON reads and operators."""
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
    """A call beside the same one with another part in place of one of its own."""
    was, now = data.draw(LITERALS), data.draw(LITERALS)
    other = one.replace(was, now) if data.draw(st.booleans()) else data.draw(calls())
    first, second = canonical(one), canonical(other)
    if first is not None and first == second:
        assert tree(one) == tree(other), (one, other)
