"""Aggregates on Spark: equal to DuckDB's in value and type, over groups of odd values, of NULLs only, and of no rows."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from featdsl.definitions.plain_types import plain_type
from featdsl.engines.spark import aggregates, queries, translate, window_functions
from featdsl.engines.spark.ordered_aggregates import ORDERED
from featdsl.engines.spark.sql_text import source_relation, spark_type
from featdsl.engines.spark.translate import Unproved
from tests.spark.both import Table, columns, computed, differences, expected, lend, reference, same

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.filterwarnings("ignore:PySpark does not yet fully support pandas:FutureWarning")

COLUMNS = columns(
    k="INTEGER", n="INTEGER", keep="BOOLEAN", i="INTEGER", s="TINYINT", b="BIGINT", u="UBIGINT", d="DOUBLE", f="FLOAT",
    m="DECIMAL(10,2)", w="DECIMAL(28,6)", v="VARCHAR", flag="BOOLEAN", day="DATE", t="TIMESTAMP",
)  # fmt: skip
ROWS = [
    (
        1,
        1,
        True,
        5,
        1,
        2**63 - 1,
        2**64 - 1,
        1.5,
        1.5,
        Decimal("1.10"),
        Decimal("1.000001"),
        "b",
        True,
        "2020-01-01",
        "2020-01-01",
    ),
    (
        1,
        2,
        True,
        7,
        2,
        2**63 - 1,
        2**64 - 1,
        0.1,
        0.1,
        Decimal("2.25"),
        Decimal("-5.5"),
        "a",
        False,
        "1969-12-31",
        "1969-12-31",
    ),
    (
        1,
        3,
        False,
        -3,
        -128,
        -(2**63),
        0,
        0.2,
        0.3,
        Decimal("-99999999.99"),
        Decimal("9" * 22 + ".999999"),
        "é",
        None,
        None,
        None,
    ),
    (
        1,
        4,
        None,
        None,
        None,
        None,
        None,
        None,
        None,
        None,
        None,
        None,
        None,
        "2020-01-02",
        "2020-01-01 00:00:00.000001",
    ),
    (1, 5, True, 5, 1, 3, 7, 1.5, 1.5, Decimal("1.10"), Decimal("1.000001"), "b", True, "2020-01-01", "2020-01-01"),
    (2, 6, True, None, None, None, None, None, None, None, None, None, None, None, None),
    (2, 7, False, None, None, None, None, None, None, None, None, None, None, None, None),
    (
        3,
        8,
        True,
        1,
        1,
        1,
        1,
        float("nan"),
        float("nan"),
        Decimal(0),
        Decimal(0),
        "",
        False,
        "2024-02-29",
        "2024-02-29 12:00:00",
    ),
    (
        3,
        9,
        True,
        2,
        1,
        1,
        1,
        float("inf"),
        float("-inf"),
        Decimal(0),
        Decimal(0),
        "Z",
        False,
        "2024-02-29",
        "2024-02-29 12:00:00",
    ),
    (3, 10, True, 3, 1, 1, 1, -0.0, 0.0, Decimal(0), Decimal(0), "𝄞", False, "2024-02-29", "2024-02-29 12:00:00"),
    (4, 11, True, 3, 1, 1, 1, -0.0, -0.0, Decimal(0), Decimal(0), "z", True, "9999-12-31", "9999-12-31"),
    (4, 12, True, 3, 1, 1, 1, 0.0, 0.0, Decimal(0), Decimal(0), "\uffff", True, "0001-01-01", "0001-01-01"),
    (5, 13, True, 1, 1, 1, 1, float("nan"), float("inf"), Decimal(1), Decimal(1), "a", None, None, None),
]
TABLES: dict[str, Table] = {"rows": (COLUMNS, ROWS)}
EXACT = [
    "count(*)", "count(i)", "count(v)", "count(DISTINCT i)", "count(DISTINCT d)", "count(DISTINCT f)", "count(DISTINCT v)",
    "count(DISTINCT m)", "count(DISTINCT t)", "count(DISTINCT flag)", "count_if(flag)", "sum(i)", "sum(s)", "sum(b)",
    "sum(m)", "sum(w)", "sum(flag)", "sum(DISTINCT i)", "sum(DISTINCT m)", "min(i)", "max(i)", "min(b)", "max(b)", "min(u)",
    "max(u)", "min(d)", "max(d)", "min(f)", "max(f)", "min(m)", "max(w)", "min(v)", "max(v)", "min(flag)", "max(flag)",
    "min(day)", "max(day)", "min(t)", "max(t)", "min(DISTINCT v)", "bool_and(flag)", "bool_or(flag)", "bit_and(i)", "bit_or(b)",
    "bit_xor(s)", "list(v ORDER BY n)", "list(d ORDER BY n)", "list(v ORDER BY v DESC, n)", "array_agg(i ORDER BY n DESC)",
    "list(v ORDER BY t DESC NULLS FIRST, n)", "list(i ORDER BY d, n DESC)", "list(t ORDER BY flag NULLS FIRST, b DESC, n)",
    "list(n ORDER BY m DESC, day DESC, d DESC, n)", "list(DISTINCT v ORDER BY v DESC)", "list(DISTINCT i ORDER BY i NULLS FIRST)",
    "string_agg(v, ',' ORDER BY n)", "string_agg(v ORDER BY n DESC)", "string_agg(DISTINCT v, '''; ' ORDER BY v)",
    "first(v ORDER BY n)", "first(v ORDER BY n DESC)", "last(v ORDER BY n)", "last(d ORDER BY t, n)", "last(i ORDER BY v DESC, n)",
    "any_value(v ORDER BY n)", "arg_max(v, n)", "arg_min(v, n)", "arg_max(i, d ORDER BY n)", "arg_min(n, t ORDER BY n)",
    "arg_max(n, v ORDER BY n)", "max_by(d, n)", "min_by(m, n)", "median(v)", "quantile_disc(i, 0.5)", "quantile_disc(d, 0.25)",
    "quantile_disc(v, 0.9)", "quantile_disc(m, 0.333)", "quantile_disc(t, 1)", "quantile_disc(b, 0)", "median(i)", "median(d)",
]  # fmt: skip
ROUNDED = [
    "avg(i)", "avg(b)", "avg(m)", "avg(d)", "avg(f)", "avg(DISTINCT i)", "mean(s)", "sum(d)", "sum(f)", "stddev(i)", "stddev_pop(d)", "var_pop(f)", "covar_pop(d, d)", "corr(d, f)", "var_samp(d)",
    "variance(m)", "var_pop(i)", "covar_pop(i, n)", "covar_samp(n, m)", "corr(i, n)", "quantile_cont(i, 0.25)", "median(b)",
    "quantile_cont(d, 0.9)",
]  # fmt: skip
REFUSED = [
    "first(v)", "last(v)", "any_value(v)", "list(v)", "string_agg(v, ',')", "mode(i)", "approx_count_distinct(v)",
    "approx_quantile(d, 0.5)", "skewness(d)", "kurtosis(d)", "entropy(i)", "histogram(i)", "product(d)", "favg(d)", "fsum(d)",
    "sum(CAST(i AS HUGEINT))", "sum(u)", "median(m)", "quantile_cont(t, 0.5)", "quantile_cont(i, [0.1, 0.5])", "quantile_disc(i, -0.5)",
    "list(v ORDER BY v, CAST(v AS BLOB) DESC)", "bit_and(u)", "avg(t)", "arg_max(i, d, 2)", "list(DISTINCT v ORDER BY n)",
]  # fmt: skip

TYPED = {
    "TINYINT": ("-128", "127"), "SMALLINT": ("-32768", "32767"), "INTEGER": ("-2147483648", "2147483647"),
    "BIGINT": ("-9223372036854775808", "9223372036854775807"), "UTINYINT": ("0", "255"), "USMALLINT": ("0", "65535"),
    "UINTEGER": ("0", "4294967295"), "UBIGINT": ("0", "18446744073709551615"), "HUGEINT": ("-" + "9" * 38, "9" * 38),
    "DECIMAL(20,6)": ("-" + "9" * 14 + ".5", "0.000001"), "FLOAT": ("-0.0", "NaN"), "DOUBLE": ("NaN", "-0.0"),
    "BOOLEAN": ("true", "false"), "VARCHAR": ("é", "Z"), "DATE": ("0001-01-01", "9999-12-31"),
    "TIMESTAMP": ("1969-12-31 23:59:59.999999", "2262-05-01"),
    "TIMESTAMP WITH TIME ZONE": ("2020-01-01 00:00:00+02", "2020-01-01 00:00:00+00"),
    "UUID": ("ffffffff-0000-0000-0000-000000000000", "00000000-0000-0000-0000-00000000000F"),
}  # fmt: skip
"""Two values of each type."""
TYPED_COLUMNS = columns(k="INTEGER", n="INTEGER", keep="BOOLEAN", **{f"x{i}": dtype for i, dtype in enumerate(TYPED)})
TYPED_ROWS = [
    (k, n, n % 2 == 0, *(None if at is None else values[at] for values in TYPED.values()))
    for n, (k, at) in enumerate([(1, 0), (1, None), (1, 1), (1, 0), (2, None), (3, 1)])
]
TYPED_TABLES: dict[str, Table] = {"rows": (TYPED_COLUMNS, TYPED_ROWS)}
_NAMES = {dtype.partition("(")[0]: f"x{i}" for i, dtype in enumerate(TYPED)}
_WITHIN = {"quantile_cont", "quantile_disc", "percentile_cont", "percentile_disc", "quantile"}


def _listed(proved: list[tuple[str, list[str]]]) -> list[str]:
    """Return a call for each name and type."""
    calls = []
    for name, types in proved:
        for dtype in types:
            arguments = ", ".join(_NAMES.get(each, "n") for each in dtype.split(", ")) if dtype else ""
            if name in _WITHIN:
                calls += [] if name.startswith("percentile") else [f"{name}({arguments}, 0.5)"]
            elif name in ORDERED and name != "median":
                by = ", n" if name.startswith(("arg", "max_by", "min_by")) else ""
                calls.append(f"{name}({arguments}{by} ORDER BY n)")
            else:
                calls.append(f"{name}({arguments})")
    return calls


def _variants(call: str) -> list[str]:
    return [call, f"{call} FILTER (WHERE keep)"]


def _compare(spark: SparkSession, calls: list[str], rows: str, *, rounded: bool) -> list[str]:
    """Return how the results of calls differ, over the groups of rows and over all of them."""
    session = reference(TABLES)
    lend(session, spark, TABLES)
    written = calls if rows == "FALSE" else [each for call in calls for each in _variants(call)]
    translated = [translate.aggregate(each, COLUMNS) for each in written]
    problems = []
    listed = ", ".join(each.sql for each in translated)
    for keys, group in (("k", " GROUP BY k"), ("0", "")):
        types, wanted = expected(session, f"SELECT {keys}, {', '.join(written)} FROM source.rows WHERE {rows}{group}")
        query = f"SELECT {keys} AS k, {listed} FROM {source_relation('rows')} WHERE {rows}{group}"
        plain, given = computed(session, spark, query)
        problems += [
            f"{call}: {dtype} on DuckDB, {each.dtype} as {found} on Spark"
            for call, each, dtype, found in zip(written, translated, types[1:], plain[1:], strict=True)
            if (each.dtype, found) != (dtype, plain_type(dtype))
        ]
        by_key = {row[0]: row for row in given}
        assert by_key.keys() == {row[0] for row in wanted}
        problems += [
            f"{call} of group {row[0]}: {one!r} on DuckDB, {other!r} on Spark"
            for row in wanted
            for call, one, other in zip(written, row[1:], by_key[row[0]][1:], strict=True)
            if not same(one, other, rounded=rounded)
        ]
    return problems


@pytest.mark.parametrize("part", range(4))
def test_exact_aggregates_are_those_of_duckdb(spark: SparkSession, part: int) -> None:
    """Groups of odd values, of NULLs only, and with a condition."""
    assert _compare(spark, EXACT[part::4], "TRUE", rounded=False) == []


def test_rounded_aggregates_are_those_of_duckdb_but_for_the_last_digits(spark: SparkSession) -> None:
    """Sums of DOUBLE depend on the order of the rows."""
    assert _compare(spark, ROUNDED, "TRUE", rounded=True) == []


def test_aggregates_of_no_rows_are_those_of_duckdb(spark: SparkSession) -> None:
    """Most are NULL, counts are 0."""
    assert _compare(spark, [*EXACT, *ROUNDED], "FALSE", rounded=False) == []


@pytest.mark.parametrize("part", range(2))
def test_every_listed_aggregate_is_that_of_duckdb(spark: SparkSession, part: int) -> None:
    """With each type of its argument: the list of what is proved holds nothing else."""
    assert _typed(spark, _listed(aggregates.proved())[part::2], "SELECT k, {0} FROM source.rows GROUP BY k") == []


def test_every_listed_function_over_a_window_is_that_of_duckdb(spark: SparkSession) -> None:
    """Over frames that end at the row."""
    calls = _listed([(name, types) for name, types in window_functions.proved() if types != ["ANY"]])
    for dtype, name in _NAMES.items():
        if not dtype.startswith("U") or dtype == "UUID":
            calls += [f"{each}({name})" for each in ("lag", "lead", "first_value", "last_value")]
    over = [f"{call} OVER (PARTITION BY k ORDER BY n)" for call in calls]
    assert _typed(spark, over, "SELECT n, {0} FROM source.rows") == []


def _typed(spark: SparkSession, calls: list[str], query: str) -> list[str]:
    """Return how a query of calls differs over the columns of each type."""
    session = reference(TYPED_TABLES)
    lend(session, spark, TYPED_TABLES)
    text = query.format(", ".join(calls))
    types, wanted = expected(session, text)
    translated, returned = queries.query(text, {"rows": TYPED_COLUMNS})
    plain, given = computed(session, spark, translated)
    assert [each.dtype for each in returned] == types
    assert plain == [plain_type(each) for each in types]
    return differences(types, wanted, given, rounded=True)


@pytest.mark.parametrize("call", REFUSED)
def test_other_aggregates_are_refused(call: str) -> None:
    """Their results differ between runs or engines."""
    with pytest.raises(Unproved):
        translate.aggregate(call, COLUMNS)


def test_rows_of_equal_order_with_several_values_are_an_error(spark: SparkSession) -> None:
    """DuckDB would return any of them."""
    session = reference(TABLES)
    lend(session, spark, TABLES)
    for call in ("last(v ORDER BY k)", "list(n ORDER BY day)", "arg_max(n, m)", "string_agg(v, ',' ORDER BY flag)"):
        query = f"SELECT {translate.aggregate(call, COLUMNS).sql} AS x FROM {source_relation('rows')}"
        with pytest.raises(Exception, match="over rows of equal order"):
            spark.sql(query).toArrow()


def test_the_type_of_a_result_is_that_of_duckdb() -> None:
    """HUGEINT has no type of its own in Spark."""
    value = translate.aggregate("sum(i)", COLUMNS)
    assert (value.dtype, spark_type(value.dtype)) == ("HUGEINT", "DECIMAL(38,0)")
