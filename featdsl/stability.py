"""Which functions give another value at another time or place, as DuckDB lists them: no past value could be computed with one.

DuckDB lists each function's stability. It calls some stable that are not, such as `age(x)`, which counts to the day of the run; these stand here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from featdsl import syntax
from featdsl.errors import SqlProblem

_HARMLESS = frozenset({"error"})
"""Volatile in DuckDB's list only so that it is not computed ahead: it gives no value at all."""
_MISSED = frozenset({
    "current_localtime", "current_localtimestamp", "current_setting", "current_time", "current_timestamp",
    "getvariable", "localtime", "localtimestamp", "rand", "reservoir_quantile", "version",
})  # fmt: skip
"""What is no function in DuckDB's list, or stable there, and depends on the run all the same."""
_BARE = frozenset({"current_date", "current_time", "current_timestamp", "localtime", "localtimestamp"})
"""What SQL calls without parentheses, to know the time."""
WHO = frozenset({"current_catalog", "current_role", "current_schema", "current_user", "session_user", "user"})
"""What SQL calls without parentheses, to know who asks, unless there is a column of that name."""
_OF_TIME = ("now", "today", "date", "time")
"""Parts of the names of functions that tell the time of the run."""
_ONE_ARGUMENT = frozenset({"age"})
"""What takes the day of the run where a second argument is left out."""
_ROWS_OF_NOTHING = frozenset({"generate_series", "json_each", "json_tree", "range", "repeat", "repeat_row", "unnest"})
"""The table functions whose rows depend on their arguments alone."""
READERS = ("read_", "parquet_", "glob", "sniff_", "query", "scan_", "sqlite_", "postgres_")
"""What the names of table functions begin with that read files and other databases."""
_WORD = re.compile(r"\w+")


@cache
def unstable() -> frozenset[str]:
    """Return the names of functions whose values depend on the run, by DuckDB's list and by the bodies of its macros."""
    rows = syntax.functions()
    found = {name for name, stability, _ in rows if stability in {"VOLATILE", "CONSISTENT_WITHIN_QUERY"}}
    found = (found | _MISSED) - _HARMLESS
    macros = [(name, set(_WORD.findall(body.lower()))) for name, _, body in rows if body]
    while added := {name for name, words in macros if words & (found | _BARE | WHO)} - found:
        found |= added
    return frozenset(found)


@cache
def _watched() -> frozenset[str]:
    """Return every word that may stand for an unstable value."""
    return unstable() | _BARE | _ONE_ARGUMENT


def refuse(text: str) -> None:
    """Raise SqlProblem where a query calls what depends on the run."""
    if _watched().isdisjoint(_WORD.findall(text.lower())):
        return
    tree = syntax.tree(text)
    # DuckDB writes no tree of a PIVOT by what the data hold: there any word that is called counts.
    for name in _called(tree) if tree else _words(text):
        what = f"{name} gives another value at each run, so past values could not be told."
        raise SqlProblem(what, _instead(name))


def refuse_tables(text: str) -> None:
    """Raise SqlProblem where a query reads rows that a function makes of the session or of the machine."""
    for node in syntax.walk(syntax.tree(text)):
        if node.get("type") == "TABLE_FUNCTION":
            name = str(node["function"]["function_name"]).lower()
            if name not in _ROWS_OF_NOTHING and not name.startswith(READERS):
                what = f"{name}() has the rows of the session that asks, so they may be others at each run."
                raise SqlProblem(what, "Declare the rows as a Source and name it in Jinja: FROM {{ that_source }}.")


def _called(tree: syntax.Node) -> Iterator[str]:
    """Yield the calls in a tree whose values depend on the run, as a person writes them."""
    for node in syntax.walk(tree):
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
        return "Say up to when, by the row's own timestamp: age(updated_at, birth_date)."
    if any(word in name for word in _OF_TIME):
        return "Use the row's own timestamp. The time that values are asked for is as_of_timestamp, in a group with inputs=[...]."
    return "Use the row's own timestamp, or a variable: {{ var('name') }}."
