"""Take an expression over many rows apart: its aggregates, and the formula over their results."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import sqlglot
from sqlglot import Token, TokenType

from featdsl import sql
from featdsl.definitions import AS_OF, ORDER, Aggregate, FeatureDefinition, Merge
from featdsl.errors import SqlProblem
from featdsl.names import AS_OF_TIMESTAMP, did_you_mean
from featdsl.sql import DIALECT

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
"""DuckDB's aggregates, but for those whose values differ from run to run."""

_BY_ORDER = frozenset({
    "any_value", "arbitrary", "arg_max", "arg_max_null", "arg_max_nulls_last", "arg_min", "arg_min_null",
    "arg_min_nulls_last", "argmax", "argmin", "array_agg", "first", "group_concat", "last", "list", "listagg",
    "max_by", "min_by", "mode", "string_agg",
})  # fmt: skip
"""Those whose result depends on the order of the rows."""
_EMPTY = {
    "approx_count_distinct": "0", "count": "0", "count_if": "0", "count_star": "0", "countif": "0", "entropy": "0.0",
    "regr_count": "0",
}  # fmt: skip
"""What an aggregate gives over no rows, where that is not NULL."""
_MERGES: Mapping[str, Merge] = {
    "count": "count", "count_star": "count", "sum": "sum", "avg": "avg", "mean": "avg", "min": "min", "max": "max",
    "bool_and": "bool_and", "bool_or": "bool_or", "bit_and": "bit_and", "bit_or": "bit_or", "bit_xor": "bit_xor",
}  # fmt: skip


_PLACE = re.compile(r"#\d+|#as of")
"""The columns of a formula."""


@dataclass(frozen=True)
class _Call:
    """One aggregate in a text: which tokens it is, which characters, and what it says."""

    next_token: int
    start: int
    end: int
    aggregate: Aggregate


def split(text: str) -> tuple[tuple[Aggregate, ...], str]:
    """Return the aggregates of an expression, each once, and the expression with `"#0"`, `"#1"` in their places.

    The formula has AS_OF where the text has the time that is asked for.
    Raises SqlProblem where there is none, where one stands within another, and where a column stands outside.
    """
    found: list[Aggregate] = []
    formula, last = "", 0
    for call in _calls(text):
        if call.aggregate not in found:
            found.append(call.aggregate)
        formula += f'{text[last : call.start]}"#{found.index(call.aggregate)}"'
        last = call.end
    formula += text[last:]
    if AS_OF_TIMESTAMP in formula.lower():
        formula = sql.renamed(formula, AS_OF_TIMESTAMP, AS_OF)
    outside = [name for name in sql.columns(sql.expression(formula)) if not _PLACE.fullmatch(name)]
    if outside and (wrong := _nearly(formula)):
        raise wrong
    if not found:
        raise SqlProblem("It aggregates nothing, but has a window.", "Write an aggregate, such as sum(amount).")
    if outside:
        what = f"The column {outside[0]!r} stands outside of an aggregate, where a window has many rows of it."
        raise SqlProblem(what, f"Say which one, such as last({outside[0]}), or aggregate it.")
    return tuple(found), formula


def without_time(feature: FeatureDefinition) -> str:
    """Return the SQL of a feature with NULL for the time that is asked for."""
    calls = [call.aggregate for call in _calls(feature.sql)]
    texts = dict(zip(calls, (feature.sql[call.start : call.end] for call in _calls(feature.sql)), strict=True))
    found = feature.formula.replace(AS_OF, "CAST(NULL AS TIMESTAMP)")
    return re.sub(r'"#(\d+)"', lambda place: texts[feature.aggregates[int(place[1])]], found)


def _nearly(formula: str) -> SqlProblem | None:
    """Return what is wrong with a function over columns that is no aggregate, but is called nearly like one."""
    for name in sql.unknown_calls(sql.expression(formula)):
        if mend := did_you_mean(name, NAMES):
            return SqlProblem(f"It has a window, and {name}() is no aggregate.", mend)
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
    """Return the aggregate whose name is the token `at`."""
    name, end = tokens[at].text.lower(), _closing(tokens, at + 1)
    inside = tokens[at + 2 : end]
    nested = next((token.text for number, token in enumerate(inside) if _is_call(inside, number)), None)
    if nested:
        raise SqlProblem(f"{nested}() stands within {name}().", "Aggregate once; a Source(sql=...) can do the rest.")
    within = [token.text.lower() for token in tokens[end + 1 : end + 3]] == ["within", "group"]
    if within:
        end = _closing(tokens, end + 3)
    call, where = text[tokens[at].start : tokens[end].end + 1], ""
    if _is(inside, 0, TokenType.ALL) and len(inside) > 1:  # SQL's default
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
    """Return what is counted or summed, as the same text however it is written; nothing where that is every row."""
    counted = _short(argument) if argument else ""
    return f"{counted or '*'} WHERE {_short(where)}" if where else counted


def _short(text: str) -> str:
    """Return the one text of an expression, fit for the name of a column."""
    printed, seal, tree = sql.canonical(text).partition("\n")
    return f"{printed} #{hashlib.sha256(tree.encode()).hexdigest()[:16]}" if seal else printed


def _in_order(text: str, call: str, inside: Sequence[Token]) -> str:
    """Return a call whose result depends on the order of the rows with that order in it."""
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
