"""Aggregates and functions over windows of random rows: Spark returns what DuckDB does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from featdsl.engines.spark import queries
from featdsl.engines.spark.connect import connect
from tests.spark.both import Table, columns, computed, differences, expected, lend, reference

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.filterwarnings("ignore:PySpark does not yet fully support pandas:FutureWarning")

COLUMNS = columns(
    n="INTEGER", k="INTEGER", i="BIGINT", d="DOUBLE", m="DECIMAL(12,3)", v="VARCHAR", t="TIMESTAMP", keep="BOOLEAN"
)
_ROW = st.tuples(
    st.sampled_from([None, 1, 2]),
    st.sampled_from([None, -(2**63), 2**63 - 1, 0, 1, 2, 3]),
    st.sampled_from([None, float("nan"), float("inf"), float("-inf"), -0.0, 0.0, 0.5, -1.25, 1e300]),
    st.sampled_from([None, "0.000", "-1.500", "999999999.999", "0.001"]),
    st.sampled_from([None, "", "a", "A", "é", "e\u0301", "zz", "𝄞", "\uffff", " a"]),
    st.sampled_from([None, "2020-01-01", "2020-01-01 00:00:00.000001", "1969-12-31 23:59:59", "2262-05-01"]),
    st.sampled_from([None, True, False]),
)
_AGGREGATES = (
    "count(*), count(d), count(DISTINCT d), count(DISTINCT v), sum(i), sum(m), min(d), max(d), min(v), max(v), min(t), max(m),"
    " count(*) FILTER (WHERE keep), sum(i) FILTER (WHERE keep), bool_and(keep), bool_or(keep), bit_xor(i), median(v),"
    " quantile_disc(d, 0.3), quantile_disc(i, 0.75), list(v ORDER BY t DESC, n), list(d ORDER BY v NULLS FIRST, d DESC, n),"
    " list(n ORDER BY d DESC NULLS FIRST, m DESC, keep DESC, n), list(DISTINCT v ORDER BY v DESC), string_agg(v, '/' ORDER BY i, n),"
    " first(v ORDER BY t, n), last(d ORDER BY m, n), any_value(v ORDER BY n DESC), arg_max(n, d ORDER BY n), arg_min(v, t ORDER BY n),"
    " arg_max(v, i ORDER BY t, n)"
)
_WINDOWS = (
    "row_number() OVER (PARTITION BY k ORDER BY d DESC, v, n), rank() OVER (ORDER BY d), dense_rank() OVER (PARTITION BY keep ORDER BY v),"
    " rank() OVER (ORDER BY t DESC NULLS FIRST, m), cume_dist() OVER (PARTITION BY d ORDER BY i DESC), lag(v) OVER (PARTITION BY k ORDER BY n),"
    " lead(d, 2) OVER (ORDER BY v DESC, n), first_value(v) OVER (PARTITION BY d ORDER BY n DESC),"
    " last_value(v IGNORE NULLS) OVER (PARTITION BY k ORDER BY n), sum(m) OVER (PARTITION BY k ORDER BY t),"
    " count(v) OVER (ORDER BY d), sum(n) OVER (ORDER BY n ROWS BETWEEN 2 PRECEDING AND 1 PRECEDING),"
    " min(v) OVER (PARTITION BY k ORDER BY n ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING), max(d) OVER (PARTITION BY v)"
)


@pytest.fixture(scope="module")
def session(spark_url: str) -> Iterator[SparkSession]:
    """One session for all examples."""
    connected = connect(spark_url)
    yield connected.spark
    connected.close()


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(_ROW, max_size=9))
def test_random_rows_have_the_results_of_duckdb(session: SparkSession, rows: list[tuple[object, ...]]) -> None:
    """NULLs, NaN, ties, empty groups, and texts that sort by their bytes."""
    tables: dict[str, Table] = {"rows": (COLUMNS, [(number, *row) for number, row in enumerate(rows)])}
    duckdb = reference(tables)
    lend(duckdb, session, tables)
    for text in (
        f"SELECT k, {_AGGREGATES} FROM source.rows GROUP BY k",
        f"SELECT {_AGGREGATES} FROM source.rows",
        f"SELECT n, {_WINDOWS} FROM source.rows",
        "SELECT DISTINCT d, v FROM source.rows",
        "SELECT a.n, b.n FROM source.rows a FULL JOIN source.rows b ON a.v = b.v AND a.k < b.k",
    ):
        types, wanted = expected(duckdb, text)
        _, found = computed(duckdb, session, queries.query(text, {"rows": COLUMNS})[0])
        assert differences(types, wanted, found) == [], text
