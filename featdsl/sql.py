"""Read SQL with a parser: one canonical text, the columns and tables that it uses, what it must not contain."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache

import sqlglot
from sqlglot import Token, TokenType, exp
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.normalize_identifiers import normalize_identifiers

from featdsl import sqlmistakes, stability, syntax
from featdsl.errors import SqlProblem
from featdsl.names import SOURCE_SCHEMA

DIALECT = sqlglot.Dialect.get_or_raise("duckdb")
Tree = exp.Expr
"""A syntax tree."""
logging.getLogger("sqlglot").setLevel(logging.ERROR)  # what it cannot read is told in our words

_NAMES = (TokenType.VAR, TokenType.IDENTIFIER)
_LITERALS = (TokenType.STRING, TokenType.NUMBER)
_VALUES = (
    exp.Condition, exp.Interval, exp.Tuple, exp.AtTimeZone, exp.Filter, exp.WithinGroup, exp.IgnoreNulls, exp.RespectNulls,
)  # fmt: skip


def read(text: str) -> tuple[str, tuple[str, ...]]:
    """Return the one text of an expression over the columns of a row, and the columns it reads. Raises SqlProblem."""
    tree = _expression(text)
    names = columns(tree)
    printed = _printed(tree)  # of the tree itself: to copy it first would cost half of what parsing it does
    if _is_print(text, printed):
        return printed, names
    found = syntax.tree(syntax.whole(text))
    # The parser passes over arguments that it does not know a function to have.
    names = tuple(sorted({*names, *(syntax.columns(found) if found else ())}))
    return _sealed(syntax.whole(text), syntax.whole(printed), printed), names


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
    stability.refuse(syntax.whole(text))
    return tree


@lru_cache(maxsize=10_000)
def query(text: str) -> exp.Query:
    """Return the syntax tree of one query. Raises SqlProblem."""
    tree = _one_statement(text)
    if not isinstance(tree, exp.Query):
        raise SqlProblem("It is not a query.", "Write one SELECT.")
    if any(isinstance(node, exp.TableSample) and node.args.get("seed") is None for node in tree.walk()):
        raise SqlProblem("A sample has other rows at each run.", "Say which one: USING SAMPLE ... REPEATABLE (1).")
    stability.refuse(text)
    stability.refuse_tables(text)
    return tree


def canonical(text: str) -> str:
    """Return the one text of every expression that means what `text` means. Raises SqlProblem.

    Formatting, comments, letter case and quotes are gone. Where the parser's print does not mean the same to DuckDB,
    DuckDB's own tree stands after it.
    """
    return read(text)[0]


def canonical_query(text: str) -> str:
    """Return the one text of every query that means what `text` means. Raises SqlProblem."""
    printed = _printed(query(text).copy())
    return _sealed(text, printed, printed)


def over(text: str, names: Mapping[str, str]) -> str:
    """Return the one text of an expression in which the columns that it reads stand by other names."""
    tree, printed = expression(text), canonical(text)
    renamed = _printed(with_columns(tree, names))
    if "\n" not in printed or printed == _printed(tree.copy()):
        return renamed
    return f"{renamed}\n{syntax.form(syntax.whole(text), names)}"


def _sealed(text: str, reprinted: str, printed: str) -> str:
    """Return a print of a query, with DuckDB's tree of the text where that of the print is another."""
    form = syntax.form(text, tables=True)
    return printed if form == syntax.form(reprinted, tables=True) else f"{printed}\n{form}"


def _is_print(text: str, printed: str) -> bool:
    """Return whether a print has the very tokens of a text, so that DuckDB reads both alike."""
    if any(mark in text for mark in ("\\", "--", "/*", "$")):
        return False
    one, other = (sqlglot.tokenize(each, read=DIALECT) for each in (text, printed))
    return len(one) == len(other) and all(
        _is_token(was, now, one[at + 1] if at + 1 < len(one) else None, one[at - 1] if at else None)
        for at, (was, now) in enumerate(zip(one, other, strict=True))
    )


def _is_token(was: Token, now: Token, following: Token | None, before: Token | None) -> bool:
    """Return whether a token of a print says what that of the text says, to DuckDB too."""
    if was.token_type == now.token_type and was.token_type not in _NAMES:
        return was.text == now.text or (was.token_type not in _LITERALS and was.text.lower() == now.text.lower())
    if was.token_type not in _NAMES or now.token_type not in _NAMES:
        return False
    called = following is not None and following.token_type == TokenType.L_PAREN
    of_another = before is not None and before.token_type == TokenType.DOT
    return was.text == now.text or (called and not of_another and was.text.lower() == now.text.lower())


def _printed(tree: exp.Expr) -> str:
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
    tokens = sqlglot.tokenize(text, read=DIALECT)
    after = [None, *(token.token_type for token in tokens)]
    before = [*(token.token_type for token in tokens[1:]), None]
    named = [
        token
        for token, last, following in zip(tokens, after, before, strict=False)
        if token.token_type in _NAMES and last != TokenType.DOT and following != TokenType.L_PAREN
    ]
    for token in reversed([token for token in named if token.text.lower() == old]):
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


def _stands_alone(table: exp.Table, names: set[str]) -> bool:
    """Return whether a table is a CTE of the query or made by a function from nothing."""
    if isinstance(table.this, exp.Func):
        return not _reads_files(table.this)
    return not table.db and table.name.lower() in names


def _reads_files(call: exp.Expr) -> bool:
    name = call.name if isinstance(call, exp.Anonymous) else call.sql_name()  # type: ignore[attr-defined]
    return name.lower().startswith(stability.READERS)
