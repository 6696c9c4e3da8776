"""Split an expression over many rows into its aggregates and a formula over their results."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import sqlglot
from sqlglot import Token, TokenType

from featdsl.definitions.kinds import AS_OF, FeatureDefinition
from featdsl.definitions.names import AS_OF_TIMESTAMP, did_you_mean
from featdsl.definitions.windows import ORDER, Aggregate, Merge
from featdsl.errors import SqlProblem
from featdsl.sql import parser
from featdsl.sql.parser import DIALECT

NAMES = frozenset({
    "any_value", "approx_count_distinct", "approx_quantile", "approx_top_k", "arbitrary", "arg_max", "arg_max_null",
    "arg_max_nulls_last", "arg_min", "arg_min_null", "arg_min_nulls_last", "argmax", "argmin", "array_agg", "avg",
    "bit_and", "bit_or", "bit_xor", "bitstring_agg", "bool_and", "bool_or", "corr", "count", "count_if", "count_star",
    "countif", "covar_pop", "covar_samp", "entropy", "favg", "first", "fsum", "group_concat", "histogram",
    "histogram_exact", "kahan_sum", "kurtosis", "kurtosis_pop", "last", "list", "listagg", "mad", "max", "max_by",
    "mean", "median", "min", "min_by", "mode", "percentile_cont", "percentile_disc", "product", "quantile",
    "quantile_cont", "quantile_disc", "regr_avgx", "regr_avgy", "regr_count", "regr_intercept", "regr_r2",
    "regr_slope", "regr_sxx", "regr_sxy", "regr_syy", "sem", "skewness", "stddev", "stddev_pop", "stddev_samp",
    "string_agg", "sum", "sumkahan", "var_pop", "var_samp", "variance",
})  # fmt: skip
"""DuckDB's aggregates, except those whose result differs between runs."""

_BY_ORDER = frozenset({
    "any_value", "arbitrary", "arg_max", "arg_max_null", "arg_max_nulls_last", "arg_min", "arg_min_null",
    "arg_min_nulls_last", "argmax", "argmin", "array_agg", "first", "group_concat", "last", "list", "listagg",
    "max_by", "min_by", "mode", "string_agg",
})  # fmt: skip
"""The aggregates whose result depends on the order of the rows."""
_EMPTY = {
    "approx_count_distinct": "0", "count": "0", "count_if": "0", "count_star": "0", "countif": "0", "entropy": "0.0",
    "regr_count": "0",
}  # fmt: skip
"""The result of an aggregate over no rows, if it is not NULL."""
_MERGES: Mapping[str, Merge] = {
    "count": "count", "count_star": "count", "sum": "sum", "avg": "avg", "mean": "avg", "min": "min", "max": "max",
    "bool_and": "bool_and", "bool_or": "bool_or", "bit_and": "bit_and", "bit_or": "bit_or", "bit_xor": "bit_xor",
}  # fmt: skip


_PLACEHOLDER = re.compile(r"#\d+|#as of")
"""The columns of a formula that stand for aggregates and for the time of the read."""


@dataclass(frozen=True)
class _Call:
    """One aggregate in a text: the token after it, its first character, the character after it, and the aggregate."""

    next_token: int
    start: int
    end: int
    aggregate: Aggregate


def split(text: str) -> tuple[tuple[Aggregate, ...], str]:
    """Return the distinct aggregates of an expression, and the expression with `"#0"`, `"#1"` in their places: the formula.

    In the formula, AS_OF replaces `as_of_timestamp`. Raises SqlProblem if the expression has no aggregates, nested
    aggregates, or columns outside of aggregates.
    """
    aggregates: list[Aggregate] = []
    formula, last = "", 0
    for call in _calls(text):
        if call.aggregate not in aggregates:
            aggregates.append(call.aggregate)
        formula += f'{text[last : call.start]}"#{aggregates.index(call.aggregate)}"'
        last = call.end
    formula += text[last:]
    if AS_OF_TIMESTAMP in formula.lower():
        formula = parser.renamed(formula, AS_OF_TIMESTAMP, AS_OF)
    outside = [name for name in parser.columns(parser.expression(formula)) if not _PLACEHOLDER.fullmatch(name)]
    if outside and (misspelled := _misspelled(formula)):
        raise misspelled
    if not aggregates:
        raise SqlProblem(
            "The feature has a window, but its SQL has no aggregate.", "Write an aggregate, such as sum(amount)."
        )
    if outside:
        what = f"The column {outside[0]!r} is outside of an aggregate, but a window has many rows."
        raise SqlProblem(what, f"Choose one row, such as last({outside[0]}), or aggregate the column.")
    return tuple(aggregates), formula


def without_time(feature: FeatureDefinition) -> str:
    """Return the SQL of a feature with NULL in place of `as_of_timestamp`."""
    calls = [call.aggregate for call in _calls(feature.sql)]
    texts = dict(zip(calls, (feature.sql[call.start : call.end] for call in _calls(feature.sql)), strict=True))
    formula = feature.formula.replace(AS_OF, "CAST(NULL AS TIMESTAMP)")
    return re.sub(r'"#(\d+)"', lambda match: texts[feature.aggregates[int(match[1])]], formula)


def _misspelled(formula: str) -> SqlProblem | None:
    """Return a problem for an unknown function over columns whose name is similar to an aggregate's."""
    for name in parser.unknown_calls(parser.expression(formula)):
        if fix := did_you_mean(name, NAMES):
            return SqlProblem(f"The feature has a window, but {name}() is not an aggregate.", fix)
    return None


def _calls(text: str) -> Iterator[_Call]:
    tokens = sqlglot.tokenize(text, read=DIALECT)
    at = 0
    while at < len(tokens):
        if _is_call(tokens, at):
            call = _call(text, tokens, at)
            yield call
            at = call.next_token
        else:
            at += 1


def _is_call(tokens: Sequence[Token], at: int) -> bool:
    after_dot = at > 0 and tokens[at - 1].token_type == TokenType.DOT
    return tokens[at].text.lower() in NAMES and _is(tokens, at + 1, TokenType.L_PAREN) and not after_dot


def _is(tokens: Sequence[Token], at: int, kind: TokenType) -> bool:
    return at < len(tokens) and tokens[at].token_type == kind


def _call(text: str, tokens: Sequence[Token], at: int) -> _Call:
    """Return the aggregate call whose name is the token `at`."""
    name, end = tokens[at].text.lower(), _closing(tokens, at + 1)
    inside = tokens[at + 2 : end]
    nested = next((token.text for number, token in enumerate(inside) if _is_call(inside, number)), None)
    if nested:
        raise SqlProblem(f"{nested}() is nested in {name}().", "Aggregate once, and do the rest in a Source(sql=...).")
    within = [token.text.lower() for token in tokens[end + 1 : end + 3]] == ["within", "group"]
    if within:
        end = _closing(tokens, end + 3)
    call, where = text[tokens[at].start : tokens[end].end + 1], ""
    if _is(inside, 0, TokenType.ALL) and len(inside) > 1:  # ALL is SQL's default
        inside = inside[1:]
        call = f"{name}({text[inside[0].start : tokens[end].end + 1]}"
    if _is(tokens, end + 1, TokenType.FILTER) and _is(tokens, end + 2, TokenType.L_PAREN):
        first = end + 3 + _is(tokens, end + 3, TokenType.WHERE)
        end = _closing(tokens, end + 2)
        where = _text(text, tokens[first:end])
    plain = not (within or _is(inside, 0, TokenType.DISTINCT) or _ordered(inside)) and _first_argument(inside) == inside
    argument = _text(text, inside).removeprefix("*")
    merges = _MERGES.get(name) if plain else None
    by_order = name in _BY_ORDER and bool(inside)
    aggregate = Aggregate(
        call=_in_order(text, call, inside) if by_order else call,
        where=where,
        empty=_EMPTY.get(name, ""),
        slides=not (by_order or within),
        merges=merges,
        argument=argument,
        total=_total(argument, where) if merges in {"count", "sum", "avg"} else "",
    )
    return _Call(end + 1, tokens[at].start, tokens[end].end + 1, aggregate)


def _total(argument: str, where: str) -> str:
    """Return the canonical text of what an aggregate counts or sums; `""` for all rows."""
    counted = _short(argument) if argument else ""
    return f"{counted or '*'} WHERE {_short(where)}" if where else counted


def _short(text: str) -> str:
    """Return the canonical text of an expression, with a hash in place of a syntax tree: short enough for a column name."""
    printed, separator, tree = parser.canonical(text).partition("\n")
    return f"{printed} #{hashlib.sha256(tree.encode()).hexdigest()[:16]}" if separator else printed


def _in_order(text: str, call: str, inside: Sequence[Token]) -> str:
    """Return an order-dependent call with the ORDER placeholder added."""
    if _is(inside, 0, TokenType.DISTINCT):
        return call if _ordered(inside) else f"{call[:-1]} ORDER BY {_text(text, _first_argument(inside[1:]))})"
    return f"{call[:-1]}, {ORDER})" if _ordered(inside) else f"{call[:-1]} ORDER BY {ORDER})"


def _ordered(inside: Sequence[Token]) -> bool:
    return any(token.token_type == TokenType.ORDER_BY for token in inside)


def _first_argument(inside: Sequence[Token]) -> Sequence[Token]:
    depth = 0
    for number, token in enumerate(inside):
        depth += (token.text in "([{") - (token.text in ")]}")
        if depth == 0 and token.token_type == TokenType.COMMA:
            return inside[:number]
    return inside


def _text(text: str, tokens: Sequence[Token]) -> str:
    return text[tokens[0].start : tokens[-1].end + 1] if tokens else ""


def _closing(tokens: Sequence[Token], opening: int) -> int:
    depth = 0
    for at in range(opening, len(tokens)):
        depth += (tokens[at].token_type == TokenType.L_PAREN) - (tokens[at].token_type == TokenType.R_PAREN)
        if depth == 0:
            return at
    raise SqlProblem("A parenthesis is not closed.", "Close it.")
