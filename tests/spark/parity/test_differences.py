"""Whole units between dates and times: every pair of days around the ends of months, at several times of the day."""

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb
import pytest

from featdsl.definitions.sources import Column
from featdsl.engines.spark.translate import expression

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

DAYS = """
SELECT DISTINCT (TIMESTAMP '2023-01-01' + to_months(month::INT) + to_days(day::INT)) + to_microseconds(micros) AS t
FROM range(0, 15) _(month), (VALUES (-3), (-2), (-1), (0), (14)) _(day), (VALUES (0), (1), (86399999999)) _(micros)
UNION ALL SELECT unnest([TIMESTAMP '1583-02-28 23:59:59', TIMESTAMP '2000-02-29', TIMESTAMP '2100-02-28 00:00:00.000001'])
"""


@pytest.mark.parametrize("dtype", ["DATE", "TIMESTAMP"])
def test_whole_units_are_those_of_duckdb(dtype: str, spark: SparkSession) -> None:
    """For each order of two times."""
    units = [
        "year",
        "quarter",
        "month",
        "week",
        "day",
        *(["hour", "second", "microsecond"] if dtype == "TIMESTAMP" else []),
    ]
    sqls = [f"date_sub('{unit}', a, b)" for unit in units]
    session = duckdb.connect()
    session.execute(f"CREATE TABLE days AS SELECT DISTINCT t::{dtype} AS t FROM ({DAYS})")
    pairs = session.sql("SELECT x.t AS a, y.t AS b FROM days x, days y").to_arrow_table()
    spark.createDataFrame(pairs).createOrReplaceTempView("pairs")
    columns = [Column(name=name, dtype=dtype) for name in ("a", "b")]
    translated = [expression(sql, columns).sql for sql in sqls]
    computed = spark.sql(f"SELECT a, b, {', '.join(translated)} FROM pairs").collect()
    reference = session.sql(f"SELECT a, b, {', '.join(sqls)} FROM pairs").fetchall()
    assert len(reference) > 3000
    assert sorted(tuple(row) for row in computed) == sorted(reference)
