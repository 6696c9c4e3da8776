"""Parse SQL: its canonical text, the columns and tables that it reads, and checks for what it must not contain."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache

import sqlglot
from sqlglot import Token, TokenType, exp
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.normalize_identifiers import normalize_identifiers

from featdsl.definitions.dialects import STORE, TITLES
from featdsl.definitions.names import SOURCE_SCHEMA
from featdsl.errors import SqlProblem
from featdsl.sql import mistakes, syntax_tree, volatility

DIALECT = sqlglot.Dialect.get_or_raise("duckdb")
Tree = exp.Expr
"""A syntax tree."""
logging.getLogger("sqlglot").setLevel(logging.ERROR)  # featdsl rewords its errors

_NAMES = (TokenType.VAR, TokenType.IDENTIFIER)
_LITERALS = (TokenType.STRING, TokenType.NUMBER)
_VALUES = (
    exp.Condition, exp.Interval, exp.Tuple, exp.AtTimeZone, exp.Filter, exp.WithinGroup, exp.IgnoreNulls, exp.RespectNulls,
)  # fmt: skip


def read(text: str) -> tuple[str, tuple[str, ...]]:
    """Return the canonical text of an expression over one row, and the columns that it reads. Raises SqlProblem."""
    tree = _expression(text)
    names = columns(tree)
    printed = _printed(tree)  # without a copy, which would cost half as much as parsing
    if _is_print(text, printed):
        return printed, names
    duckdb_tree = syntax_tree.tree(syntax_tree.whole(text))
    # sqlglot drops arguments that it does not know of a function; DuckDB's tree has them.
    names = tuple(sorted({*names, *(syntax_tree.columns(duckdb_tree) if duckdb_tree else ())}))
    return _disambiguated(syntax_tree.whole(text), syntax_tree.whole(printed), printed), names


@lru_cache(maxsize=10_000)
def expression(text: str) -> exp.Expr:
    """Return the syntax tree of one expression over one row. Raises SqlProblem."""
    return _expression(text)


def _expression(text: str) -> exp.Expr:
    tree = one_statement(text)
    if isinstance(tree, exp.Alias):
        raise SqlProblem("AS gives the feature a second name.", "Remove AS: the column has the feature's name.")
    nodes = list(tree.walk())
    if _any(nodes, exp.Query):
        raise SqlProblem(
            "The SQL contains a query, but a feature is an expression over the columns of its source.",
            "Move the query to a Source(sql=...).",
        )
    if not isinstance(tree, _VALUES):
        raise SqlProblem("The SQL is not an expression.", "Write an expression as in a SELECT list.")
    if _any(nodes, exp.Window):
        raise SqlProblem(
            "OVER reads other rows, but a feature is an expression over one row.",
            "Compute it in a Source(sql=...).",
        )
    if _any(nodes, exp.Star) and not _any(nodes, exp.AggFunc):
        raise SqlProblem("A star is more than one value.")
    volatility.refuse(syntax_tree.whole(text))
    return tree


@lru_cache(maxsize=10_000)
def query(text: str) -> exp.Query:
    """Return the syntax tree of one query. Raises SqlProblem."""
    tree = one_statement(text)
    if not isinstance(tree, exp.Query):
        raise SqlProblem("The SQL is not a query.", "Write one SELECT.")
    if any(isinstance(node, exp.TableSample) and node.args.get("seed") is None for node in tree.walk()):
        raise SqlProblem("A sample has different rows at each run.", "Set a seed: USING SAMPLE ... REPEATABLE (1).")
    volatility.refuse(text)
    volatility.refuse_tables(text)
    return tree


def canonical(text: str) -> str:
    """Return the canonical text of an expression: the same text for all equivalent spellings. Raises SqlProblem.

    It has no formatting, comments, letter case or needless quotes. If DuckDB reads the parser's print differently, DuckDB's own
    syntax tree is appended.
    """
    return read(text)[0]


def canonical_query(text: str) -> str:
    """Return the canonical text of a query: the same text for all equivalent spellings. Raises SqlProblem."""
    printed = _printed(query(text).copy())
    return _disambiguated(text, printed, printed)


def over(text: str, names: Mapping[str, str]) -> str:
    """Return the canonical text of an expression with its columns renamed. Raises SqlProblem."""
    tree, printed = expression(text), canonical(text)
    renamed = _printed(with_columns(tree, names))
    if "\n" not in printed or printed == _printed(tree.copy()):
        return renamed
    return f"{renamed}\n{syntax_tree.form(syntax_tree.whole(text), names)}"


def _disambiguated(text: str, reprinted: str, printed: str) -> str:
    """Return the print of a query, followed by DuckDB's tree of the text if that differs from its tree of the print."""
    form = syntax_tree.form(text, tables=True)
    return printed if form == syntax_tree.form(reprinted, tables=True) else f"{printed}\n{form}"


def _is_print(text: str, printed: str) -> bool:
    """Return whether a print has the same tokens as a text, so that DuckDB reads both alike."""
    if any(mark in text for mark in ("\\", "--", "/*", "$")):
        return False
    one, other = (sqlglot.tokenize(each, read=DIALECT) for each in (text, printed))
    return len(one) == len(other) and all(
        _is_token(was, now, one[at + 1] if at + 1 < len(one) else None, one[at - 1] if at else None)
        for at, (was, now) in enumerate(zip(one, other, strict=True))
    )


def _is_token(was: Token, now: Token, following: Token | None, before: Token | None) -> bool:
    """Return whether two tokens mean the same to DuckDB."""
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
    """Return the columns that an expression reads, in lower case, sorted; the struct field `a.b` reads `a`."""
    nodes = list(tree.find_all(exp.Column, exp.Comprehension))
    loops = [each for each in nodes if isinstance(each, exp.Comprehension)]
    bound = {each.name.lower() for loop in loops for each in _variables(loop)}
    read = {str(each.parts[0].name).lower() for each in nodes if isinstance(each, exp.Column)}
    return tuple(sorted(read - bound))


def with_columns(tree: exp.Expr, names: Mapping[str, str]) -> exp.Expr:
    """Return an expression with its columns renamed; the new names are used unchanged, as quoted identifiers."""
    other = tree.copy()
    for column in other.find_all(exp.Column):
        first = column.parts[0]
        if first.name.lower() in names:
            first.replace(exp.to_identifier(names[first.name.lower()], quoted=True))
    return other


def _variables(comprehension: exp.Expression) -> Iterator[exp.Expression]:
    return comprehension.expression.find_all(exp.Identifier)  # type: ignore[no-any-return]


def renamed(text: str, old: str, new: str) -> str:
    """Return an expression with the column `old` renamed to `new`."""
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
    """Return the unknown functions that read columns, in the order of the text."""
    calls = [call for call in tree.find_all(exp.Anonymous) if call.find(exp.Column)]
    return [call.name.lower() for call in calls]


def is_aggregate(tree: exp.Expr) -> bool:
    """Return whether an expression contains an aggregate."""
    return tree.find(exp.AggFunc) is not None


def source_inputs(tree: exp.Query) -> tuple[str, ...]:
    """Return the names of the sources that a query reads, sorted. Raises SqlProblem for any other table."""
    names = {cte.alias.lower() for cte in tree.find_all(exp.CTE)}
    inputs = set()
    for table in tree.find_all(exp.Table):
        if table.db.lower() == SOURCE_SCHEMA:
            inputs.add(table.name)
        elif not _stands_alone(table, names):
            name = table.sql(dialect=DIALECT)
            raise SqlProblem(
                f"The SQL reads {name}, which is not a source.",
                "Declare it as a Source and refer to it with Jinja: FROM {{ that_source }}.",
            )
    return tuple(sorted(inputs))


def one_statement(text: str, dialect: str = STORE) -> exp.Expr:
    """Return the syntax tree of the one statement in a text. Raises SqlProblem."""
    try:
        statements = [tree for tree in sqlglot.parse(text, read=dialect) if tree is not None]
    except (SqlglotError, TypeError, ValueError, AttributeError, IndexError, RecursionError) as error:
        details: list[dict[str, object]] = getattr(error, "errors", [])
        reason = mistakes.mistake(text, details[0] if details else None)
        raise SqlProblem(
            f"Syntax error: {reason}.", f"Fix the SQL; the dialect is {TITLES.get(dialect, dialect)}'s."
        ) from None
    if len(statements) > 1:
        raise SqlProblem("The SQL has several statements.", "Write one, without semicolons.")
    if not statements:
        raise SqlProblem("The SQL is empty.", "Write an expression as in a SELECT list.")
    return statements[0]


def _any(nodes: Iterable[exp.Expr], kind: type) -> bool:
    return any(isinstance(node, kind) for node in nodes)


def _stands_alone(table: exp.Table, names: set[str]) -> bool:
    """Return whether a table is a CTE of the query, or a function that reads no files."""
    if isinstance(table.this, exp.Func):
        return not _reads_files(table.this)
    return not table.db and table.name.lower() in names


def _reads_files(call: exp.Expr) -> bool:
    name = call.name if isinstance(call, exp.Anonymous) else call.sql_name()  # type: ignore[attr-defined]
    return name.lower().startswith(volatility.READERS)
