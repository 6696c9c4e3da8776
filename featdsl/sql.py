"""Read SQL with a parser: one canonical text, the columns and tables that it uses, what it must not contain."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache

import sqlglot
from sqlglot import TokenType, exp
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.normalize_identifiers import normalize_identifiers

from featdsl import sqlmistakes
from featdsl.errors import SqlProblem
from featdsl.names import SOURCE_SCHEMA

DIALECT = sqlglot.Dialect.get_or_raise("duckdb")
Tree = exp.Expr
"""A syntax tree."""
logging.getLogger("sqlglot").setLevel(logging.ERROR)  # what it cannot read is told in our words

_CHANGING = frozenset({
    "current_date", "current_localtime", "current_localtimestamp", "current_time", "current_timestamp",
    "gen_random_uuid", "get_current_time", "get_current_timestamp", "localtime", "localtimestamp", "nextval", "now",
    "random", "reservoir_quantile", "today", "transaction_timestamp", "uuid", "uuidv4", "uuidv7",
})  # fmt: skip


_OWN_NAMES = {"rand": "random"}
"""What DuckDB calls functions to which the parser gives another name."""
_NAMES = (TokenType.VAR, TokenType.IDENTIFIER)
_VALUES = (
    exp.Condition, exp.Interval, exp.Tuple, exp.AtTimeZone, exp.Filter, exp.WithinGroup, exp.IgnoreNulls, exp.RespectNulls,
)  # fmt: skip


def read(text: str) -> tuple[str, tuple[str, ...]]:
    """Return the one text of an expression over the columns of a row, and the columns it reads. Raises SqlProblem."""
    tree = _expression(text)
    names = columns(tree)
    return _canonical(tree), names  # of the tree itself: to copy it first would cost half of what parsing it does


@lru_cache(maxsize=10_000)
def expression(text: str) -> exp.Expr:
    """Return the syntax tree of one expression over the columns of a row. Raises SqlProblem."""
    return _expression(text)


def _expression(text: str) -> exp.Expr:
    tree = _one_statement(text)
    if isinstance(tree, exp.Alias):
        raise SqlProblem("AS gives it a second name.", "Leave AS out: the feature's name is the column's.")
    nodes = list(tree.walk())
    if _any(nodes, exp.Query):
        raise SqlProblem(
            "It holds a query; a feature is an expression over the columns of its source.",
            "Put the query into a Source(sql=...).",
        )
    if not isinstance(tree, _VALUES):
        raise SqlProblem("It is no expression.", "Write what could stand between SELECT and FROM.")
    if _any(nodes, exp.Window):
        raise SqlProblem(
            "OVER looks at other rows; a feature is an expression over one row.",
            "Compute it in a Source(sql=...).",
        )
    if _any(nodes, exp.Star) and not _any(nodes, exp.AggFunc):
        raise SqlProblem("A star is not one value.")
    _refuse_changing(nodes)
    return tree


@lru_cache(maxsize=10_000)
def query(text: str) -> exp.Query:
    """Return the syntax tree of one query. Raises SqlProblem."""
    tree = _one_statement(text)
    if not isinstance(tree, exp.Query):
        raise SqlProblem("It is not a query.", "Write one SELECT.")
    _refuse_changing(list(tree.walk()))
    return tree


def canonical(tree: exp.Expr) -> str:
    """Return the one text of everything that means `tree`: formatting, comments, letter case and quotes are gone."""
    return _canonical(tree.copy())


def _canonical(tree: exp.Expr) -> str:
    plain = normalize_identifiers(tree, dialect=DIALECT)
    return plain.sql(dialect=DIALECT, copy=False, comments=False, normalize_functions="upper", identify=True)


def columns(tree: exp.Expr) -> tuple[str, ...]:
    """Return the columns that an expression reads, in lower case, sorted; `a.b` of a struct reads `a`."""
    found = list(tree.find_all(exp.Column, exp.Comprehension))
    loops = [each for each in found if isinstance(each, exp.Comprehension)]
    bound = {each.name.lower() for loop in loops for each in _variables(loop)}
    read = {str(each.parts[0].name).lower() for each in found if isinstance(each, exp.Column)}
    return tuple(sorted(read - bound))


def with_columns(tree: exp.Expr, names: Mapping[str, str]) -> exp.Expr:
    """Return an expression in which the columns that it reads have other names; those are taken as they are written."""
    other = tree.copy()
    for column in other.find_all(exp.Column):
        first = column.parts[0]
        if first.name.lower() in names:
            first.replace(exp.to_identifier(names[first.name.lower()], quoted=True))
    return other


def _variables(comprehension: exp.Expression) -> Iterator[exp.Expression]:
    return comprehension.expression.find_all(exp.Identifier)  # type: ignore[no-any-return]


def renamed(text: str, old: str, new: str) -> str:
    """Return a text in which the column `old` is called `new`."""
    tokens = [token for token in sqlglot.tokenize(text, read=DIALECT) if token.token_type in _NAMES]
    for token in reversed([token for token in tokens if token.text.lower() == old]):
        text = f"{text[: token.start]}{new}{text[token.end + 1 :]}"
    return text


def unknown_calls(tree: exp.Expr) -> list[str]:
    """Return the functions that read columns and that the parser does not know, in the order of the text."""
    calls = [call for call in tree.find_all(exp.Anonymous) if call.find(exp.Column)]
    return [call.name.lower() for call in calls]


def is_aggregate(tree: exp.Expr) -> bool:
    """Return whether an expression is known to look at many rows."""
    return tree.find(exp.AggFunc) is not None


def source_inputs(tree: exp.Query) -> tuple[str, ...]:
    """Return the names of the sources that a query reads, sorted. Raises SqlProblem for any other table."""
    names = {cte.alias.lower() for cte in tree.find_all(exp.CTE)}
    inputs = set()
    for table in tree.find_all(exp.Table):
        if table.db.lower() == SOURCE_SCHEMA:
            inputs.add(table.name)
        elif not _stands_alone(table, names):
            said = table.sql(dialect=DIALECT)
            raise SqlProblem(
                f"It reads {said}, which is no source.",
                "Declare it as a Source and name it in Jinja: FROM {{ that_source }}.",
            )
    return tuple(sorted(inputs))


def _one_statement(text: str) -> exp.Expr:
    try:
        statements = [tree for tree in sqlglot.parse(text, read=DIALECT) if tree is not None]
    except (SqlglotError, TypeError, ValueError, AttributeError, IndexError, RecursionError) as error:
        details: list[dict[str, object]] = getattr(error, "errors", [])
        said = sqlmistakes.mistake(text, details[0] if details else None)
        raise SqlProblem(f"It does not parse: {said}.", "Correct it; the dialect is DuckDB's.") from None
    if len(statements) > 1:
        raise SqlProblem("It holds several statements.", "Write one expression, without a semicolon.")
    if not statements:
        raise SqlProblem("It is empty.", "Write what could stand between SELECT and FROM.")
    return statements[0]


def _any(nodes: Iterable[exp.Expr], kind: type) -> bool:
    return any(isinstance(node, kind) for node in nodes)


def _calls(nodes: Iterable[exp.Expr]) -> Iterator[str]:
    for call in nodes:
        if isinstance(call, exp.Func):
            name = call.name if isinstance(call, exp.Anonymous) else call.sql_name()
            yield _OWN_NAMES.get(name.lower(), name.lower())


def _refuse_changing(nodes: Sequence[exp.Expr]) -> None:
    if any(isinstance(node, exp.TableSample) and node.args.get("seed") is None for node in nodes):
        raise SqlProblem("A sample has other rows at each run.", "Say which one: USING SAMPLE ... REPEATABLE (1).")
    changing = sorted(_CHANGING.intersection(_calls(nodes)))
    if changing:
        raise SqlProblem(
            f"{changing[0]}() gives another value at each run, so past values could not be told.",
            "Use the row's own timestamp, or a variable: {{ var('name') }}.",
        )


def _stands_alone(table: exp.Table, names: set[str]) -> bool:
    """Return whether a table is a CTE of the query or made by a function from nothing."""
    if isinstance(table.this, exp.Func):
        return not _reads_files(table.this)
    return not table.db and table.name.lower() in names


def _reads_files(call: exp.Expr) -> bool:
    name = call.name if isinstance(call, exp.Anonymous) else call.sql_name()  # type: ignore[attr-defined]
    return name.lower().startswith(("read_", "parquet_", "glob", "sniff_", "query", "scan_", "sqlite_", "postgres_"))
