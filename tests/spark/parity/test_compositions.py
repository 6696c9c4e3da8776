"""Random compositions of proved functions have the values of DuckDB on Spark, too."""

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from featdsl.engines.spark.scopes import NULL
from featdsl.engines.spark.translate import Unproved, expression
from tests.spark.parity.engines import differences, on_duckdb, on_spark
from tests.spark.parity.odd_rows import COLUMNS

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_AT_ONCE = 25
"""How many expressions one query computes."""
_NUMBERS = st.sampled_from([
    "ti", "si", "i", "j", "n", "d", "e", "p", "q", "m", "w", "f", "h", "y", "1", "0", "-3", "2.5", "100", "st.a", "len(s)", "li[1]",
    "year(day)", "date_diff('day', day, day2)", "length(li)", "strpos(s, t)",
])  # fmt: skip
_TEXTS = st.sampled_from(["s", "t", "k", "''", "'a'", "ls[1]", "day::varchar", "i::varchar"])
_TIMES = st.sampled_from(
    ["ts", "ts2", "day", "day2", "date_trunc('month', ts)", "ts2 + interval 36 hour", "timestamp '2020-02-29'"]
)


def _binary(values: st.SearchStrategy[str], signs: list[str]) -> st.SearchStrategy[str]:
    return st.builds(lambda one, sign, other: f"({one} {sign} {other})", values, st.sampled_from(signs), values)


def _called(values: st.SearchStrategy[str], templates: list[str]) -> st.SearchStrategy[str]:
    return st.builds(lambda template, value: template.format(value), st.sampled_from(templates), values)


def _deeper(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        _binary(values, ["+", "-", "*", "/"]),
        _called(values, ["abs({})", "floor({})", "round({}, 2)", "round({})", "sign({})", "({} % 7)", "-({})", "({})::double", "sqrt({})", "coalesce({}, 0)", "nullif({}, 0)"]),
        st.builds(lambda one, other: f"greatest({one}, {other})", values, values),
        st.builds(lambda one, other, third: f"(case when {one} > {other} then {third} else {other} end)", values, values, values),
    )  # fmt: skip


_NUMBER = st.recursive(_NUMBERS, _deeper, max_leaves=4)
_TEXT = st.recursive(
    _TEXTS,
    lambda values: st.one_of(
        _binary(values, ["||"]),
        _called(values, ["upper({})", "lower({})", "trim({})", "substring({}, 2, 3)", "left({}, 4)", "replace({}, 'a', 'é')", "md5({})", "lpad({}, 6, '*')", "regexp_replace({}, '[a-z]+', '-', 'g')", "split_part({}, 'a', 1)", "concat({}, '!')"]),
        st.builds(lambda one, other: f"coalesce(nullif({one}, {other}), {one}, 'none')", values, values),
    ),
    max_leaves=4,
)  # fmt: skip
_CONDITION = st.recursive(
    st.one_of(
        _binary(_NUMBER, ["=", "<>", "<", "<=", ">", ">=", "is distinct from"]),
        _binary(_TEXT, ["=", "<", ">=", "is not distinct from"]),
        _binary(_TIMES, ["=", "<", ">=", "<>"]),
        _called(
            _TEXT, ["({} like '%a%')", "({} ilike 'A%')", "contains({}, 'o')", "starts_with({}, 'a')", "({} is null)"]
        ),
        _called(_NUMBER, ["({} in (1, 2, 3))", "({} between 0 and 100)", "({} is not null)"]),
    ),
    lambda values: st.one_of(_binary(values, ["and", "or"]), _called(values, ["(not {})", "({} is true)"])),
    max_leaves=3,
)
_EXPRESSION = st.one_of(_NUMBER, _TEXT, _CONDITION)


@pytest.mark.property
@settings(
    max_examples=6,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(drawn=st.lists(_EXPRESSION, min_size=_AT_ONCE, max_size=_AT_ONCE, unique=True))
def test_compositions_have_the_values_of_duckdb(
    drawn: list[str], odd_duckdb: duckdb.DuckDBPyConnection, odd_spark: SparkSession
) -> None:
    """What is translated has DuckDB's type and values; what DuckDB cannot compute, such as an overflow, is left out."""
    translated = {}
    for sql in drawn:
        try:
            value = expression(sql, COLUMNS)
        except Unproved:
            continue
        expected = on_duckdb(odd_duckdb, sql)
        if not expected.error and value.dtype != NULL:
            assert value.dtype == expected.dtype, sql
            translated[sql] = (value, expected)
    if not translated:
        return
    computed = on_spark(odd_spark, [value.sql for value, _ in translated.values()])
    for (sql, (value, expected)), found in zip(translated.items(), computed, strict=True):
        assert _is_refused(found.error) or list(differences(expected, found)) == [], (
            f"{sql}: {value.sql}: {found.error}"
        )


def _is_refused(error: str) -> bool:
    """Return whether Spark refuses numbers that are too large to be converted as DuckDB does."""
    return "for DOUBLE" in error or "too large" in error
