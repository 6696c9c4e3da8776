"""Refuse functions whose values depend on the run, because past values cannot be computed with them.

DuckDB lists the stability of each function. This module corrects the list where it is wrong: `age(x)`, for example, is listed
as stable but counts up to the current day.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from featdsl.errors import SqlProblem
from featdsl.sql import syntax_tree

_HARMLESS = frozenset({"error"})
"""Listed as volatile only to prevent constant folding; they return no value."""
_MISSED = frozenset({
    "current_localtime", "current_localtimestamp", "current_setting", "current_time", "current_timestamp",
    "getvariable", "localtime", "localtimestamp", "rand", "reservoir_quantile", "version",
})  # fmt: skip
"""Functions that depend on the run, but are missing from DuckDB's list or listed as stable."""
_BARE = frozenset({"current_date", "current_time", "current_timestamp", "localtime", "localtimestamp"})
"""Time functions that SQL calls without parentheses."""
WHO = frozenset({"current_catalog", "current_role", "current_schema", "current_user", "session_user", "user"})
"""Session functions that SQL calls without parentheses, unless a column has the name."""
_OF_TIME = ("now", "today", "date", "time")
"""Parts of the names of functions that return the current time."""
_ONE_ARGUMENT = frozenset({"age"})
"""Functions that use the current day if the second argument is missing."""
_ROWS_OF_NOTHING = frozenset({"generate_series", "json_each", "json_tree", "range", "repeat", "repeat_row", "unnest"})
"""Table functions whose rows depend only on their arguments."""
READERS = ("read_", "parquet_", "glob", "sniff_", "query", "scan_", "sqlite_", "postgres_")
"""Name prefixes of table functions that read files or other databases."""
_WORD = re.compile(r"\w+")


@cache
def unstable() -> frozenset[str]:
    """Return the names of functions whose values depend on the run: listed by DuckDB, or macros that call one."""
    rows = syntax_tree.functions()
    names = {name for name, stability, _ in rows if stability in {"VOLATILE", "CONSISTENT_WITHIN_QUERY"}}
    names = (names | _MISSED) - _HARMLESS
    macros = [(name, set(_WORD.findall(body.lower()))) for name, _, body in rows if body]
    while added := {name for name, words in macros if words & (names | _BARE | WHO)} - names:
        names |= added
    return frozenset(names)


@cache
def _watched() -> frozenset[str]:
    """Return every word that may be an unstable value."""
    return unstable() | _BARE | _ONE_ARGUMENT


def refuse(text: str) -> None:
    """Raise SqlProblem if a query calls a function that depends on the run."""
    if _watched().isdisjoint(_WORD.findall(text.lower())):
        return
    tree = syntax_tree.tree(text)
    # DuckDB has no syntax tree for a PIVOT without given columns, so search its text.
    for name in _called(tree) if tree else _words(text):
        what = f"{name} gives another value at each run, so past values cannot be computed."
        raise SqlProblem(what, _instead(name))


def refuse_tables(text: str) -> None:
    """Raise SqlProblem if a query reads a table function whose rows depend on the session or the machine."""
    for node in syntax_tree.walk(syntax_tree.tree(text)):
        if node.get("type") == "TABLE_FUNCTION":
            name = str(node["function"]["function_name"]).lower()
            if name not in _ROWS_OF_NOTHING and not name.startswith(READERS):
                what = f"{name}() returns rows that depend on the session, so they may differ at each run."
                raise SqlProblem(
                    what, "Declare the rows as a Source and refer to it with Jinja: FROM {{ that_source }}."
                )


def _called(tree: syntax_tree.Node) -> Iterator[str]:
    """Yield the calls in a tree whose values depend on the run, as written in SQL."""
    for node in syntax_tree.walk(tree):
        if node.get("class") == "COLUMN_REF":
            (name, *rest) = node["column_names"]
            if not rest and name.lower() in _BARE:
                yield name.lower()
        elif node.get("class") == "FUNCTION":
            name = str(node["function_name"]).lower()
            if name in unstable():
                yield f"{name}()"
            elif name in _ONE_ARGUMENT and len(node.get("arguments") or node.get("children") or ()) == 1:
                yield f"{name}() with one argument"


def _words(text: str) -> Iterator[str]:
    words = "|".join(sorted(unstable()))
    yield from (f"{each[1]}()" for each in re.finditer(rf"\b({words})\s*\(", text.lower()))
    yield from (each[0] for each in re.finditer(rf"\b(?:{'|'.join(sorted(_BARE))})\b", text.lower()))


def _instead(name: str) -> str:
    if name.startswith("age()"):
        return "Pass the end as the first argument, such as the row's timestamp: age(updated_at, birth_date)."
    if any(word in name for word in _OF_TIME):
        return "Use the row's own timestamp. In a group with inputs=[...], as_of_timestamp is the time of the read."
    return "Use the row's own timestamp, or a variable: {{ var('name') }}."
