"""Tables over a source on Spark: the rows of DuckDB, for every option of a source."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from featdsl.definitions.names import literal
from featdsl.definitions.sources import Column, SourceDefinition
from featdsl.engines.duckdb.compiler import COMPILER as DUCKDB
from featdsl.engines.session import Fault
from featdsl.engines.spark.compiler import COMPILER as SPARK
from tests.budgets import examples
from tests.spark.sources_made import Both, Rows, feature_of, group_of, source_of

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.filterwarnings("ignore:PySpark does not yet fully support pandas:FutureWarning")

TIMES = {
    "DATE": "DATE '2025-03-29' + CAST(t AS INTEGER)",
    "TIMESTAMP": "TIMESTAMP '2025-03-30 00:30:00' + to_minutes(CAST(t * 30 AS INTEGER)) + to_microseconds(t % 2)",
    "TIMESTAMP_MS": "TIMESTAMP_MS '1969-12-31 23:59:59.123' + to_milliseconds(t)",
    "TIMESTAMP WITH TIME ZONE": "TIMESTAMPTZ '1969-12-31 23:59:59.999999+00' + to_microseconds(t)",
    "BIGINT": "t - 2",
    "UBIGINT": "t + 1",
    "DOUBLE": "(t - 2) * 0.25",
    "DECIMAL(12,4)": "(t - 2) * 0.0625",
}
"""A time of each type, which increases with a number `t`."""
VALUES = {"v": "INTEGER", "x": "DOUBLE", "label": "VARCHAR", "tags": "INTEGER[]", "at_most": "MAP(VARCHAR, INTEGER)"}
"""The columns of values, with a column of a type that is compared in its own way each."""


@pytest.fixture
def both(spark: SparkSession, tmp_path: Path) -> Both:
    """Both engines."""
    return Both(spark, tmp_path)


@st.composite
def sources(draw: st.DrawFn) -> SourceDefinition:
    """Draw a source with some of its options."""
    dtype = draw(st.sampled_from(["", *TIMES]))
    columns = {"k": "INTEGER", "code": "VARCHAR", "v": "INTEGER", "x": "DOUBLE", "label": "VARCHAR", "tags": "INTEGER[]",
               "at_most": "MAP(VARCHAR, INTEGER)"}  # fmt: skip
    options: dict[str, Any] = {}
    if dtype:
        columns |= {"at": dtype}
        options["timestamp"] = "at"
        if draw(st.booleans()):
            options["available_at"] = "known"
            columns["known"] = draw(st.sampled_from([dtype, "TIMESTAMP"]))
        if draw(st.booleans()):
            options["valid_to"] = "ends"
            columns["ends"] = draw(st.sampled_from([dtype, dtype, "TIMESTAMP"]))
        options["tie_break"] = draw(st.sampled_from([None, "v", ("x", "label")]))
        options["time_unit"] = draw(st.sampled_from(["us", "ms", "s", "minute", "day"])) if dtype[:2] in {"BI", "UB", "DO", "DE"} else None  # fmt: skip
        if dtype in {"DATE", "TIMESTAMP"} and draw(st.booleans()):
            options["timezone"] = draw(st.sampled_from(["Europe/Berlin", "America/New_York", "UTC"]))
            options["ambiguous"] = draw(st.sampled_from(["refuse", "earlier", "later"]))
    return source_of(columns, **options)


NUMBERS = st.sampled_from([None, 0, 1, 1, 2, 3])
ROW = st.tuples(
    st.sampled_from([None, 1, 1, 2]), st.sampled_from([None, "a", "a", "b"]), NUMBERS, NUMBERS, st.integers(0, 8),
    st.sampled_from([None, 1, 2]), st.sampled_from([None, "-0.0", "0.0", "nan", "1.5"]), st.sampled_from([None, "", "é"]),
)  # fmt: skip
DIRTY = st.lists(ROW, max_size=6) | st.lists(ROW, min_size=20, max_size=40)
"""Rows of few entities at few times: `k`, `code`, the numbers of three times, and values."""


def query_of(source: SourceDefinition, rows: list[tuple[Any, ...]]) -> str:
    """Return the query of the rows of a source: `k`, `code`, the numbers of its times, and values."""
    types = {column.name: column.dtype for column in source.columns}
    names = "k, code, a, b, c, v, x, label"
    values = ", ".join(f"({', '.join('NULL' if each is None else literal(str(each)) for each in row)})" for row in rows)
    listed = "CAST(k AS INTEGER) AS k, code, CAST(v AS INTEGER) AS v, CAST(x AS DOUBLE) AS x, label"
    listed += ", CASE WHEN v IS NOT NULL THEN [CAST(v AS INTEGER), NULL] END AS tags"
    listed += ", CASE WHEN v IS NOT NULL THEN MAP {'a': CAST(v AS INTEGER)} END AS at_most"
    for name, number in {"at": "a", "known": "b", "ends": "c"}.items():
        if name in types:
            time = TIMES[types[name]].replace("t ", f"CAST({number} AS BIGINT) ").replace("(t", f"(CAST({number} AS BIGINT)")  # fmt: skip
            listed += f", CAST({time} AS {types[name]}) AS {name}"
    rows_ = f"VALUES {values}" if rows else f"SELECT {', '.join(['NULL'] * 8)} WHERE false"
    return f"SELECT {listed} FROM ({rows_}) AS t({names})"


def repeated(rows: Rows | Fault, identity: int) -> set[tuple[Any, ...]]:
    """Return the identities of several rows."""
    assert not isinstance(rows, Fault)
    return {key for key, count in Counter(row[:identity] for row in rows).items() if count > 1}


@settings(
    report_multiple_bugs=False,
    max_examples=examples(25, 150),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(source=sources(), rows=DIRTY, keys=st.sampled_from([[], ["user"], ["user", "code"]]))
@example(
    source=source_of(
        {"k": "INTEGER", "code": "VARCHAR"} | VALUES | {"at": "DATE", "known": "DATE"}, timestamp="at", available_at="known",
        tie_break="v",
    ),
    rows=[(1, "a", 1, 1, 0, None, None, ""), (1, "a", 1, 1, 0, 1, None, "é")], keys=["user"],
)  # fmt: skip
def test_rows_are_those_of_duckdb(both: Both, source: SourceDefinition, rows: list[Any], keys: list[str]) -> None:
    """Whatever the rows lack; where several rows of an entity and a time differ, both have several."""
    types = {"user": "BIGINT", "code": "VARCHAR"}
    listed = [Column(name=key, dtype=types[key]) for key in keys]
    features = [feature_of(name, dtype, source, listed) for name, dtype in VALUES.items()]
    both.load(query_of(source, rows), source.columns)

    expected, found = (
        run(compiler.base_table(group_of(user="k"), features, source))
        for compiler, run in ((DUCKDB, both.by_duckdb), (SPARK, both.by_spark))
    )

    if isinstance(expected, Fault) or isinstance(found, Fault):
        assert isinstance(expected, Fault), found
        assert isinstance(found, Fault), expected
        assert expected.summary == found.summary
        return
    identity = len(keys) + bool(source.timestamp)
    several = repeated(expected, identity)
    assert repeated(found, identity) == several
    assert [row for row in found if row[:identity] not in several] == [
        row for row in expected if row[:identity] not in several
    ]
