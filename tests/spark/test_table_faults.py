"""Values that are no times, or contradict each other, on Spark: the faults of DuckDB, word for word."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from featdsl.definitions.sources import Column
from featdsl.engines.duckdb.compiler import COMPILER as DUCKDB
from featdsl.engines.session import Fault
from featdsl.engines.spark.compiler import COMPILER as SPARK
from tests.spark.sources_made import Both, feature_of, group_of, source_of

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.filterwarnings("ignore:PySpark does not yet fully support pandas:FutureWarning")

USER = [Column(name="user", dtype="BIGINT")]
BERLIN: dict[str, Any] = {"timezone": "Europe/Berlin"}
FAULTS: dict[str, tuple[str, str, dict[str, Any], str]] = {
    "comes twice": ("TIMESTAMP", "TIMESTAMP '2025-10-26 02:30:00'", BERLIN, "at is 2025-10-26 02:30:00, which comes twice in Europe/Berlin"),
    "never comes": ("TIMESTAMP", "TIMESTAMP '2025-03-30 02:30:00.5'", BERLIN, "at is 2025-03-30 02:30:00.5, which never comes in Europe/Berlin"),
    "too large": ("BIGINT", "15250000000", {"time_unit": "week"}, "at is 15250000000, but week counts from -15250284 to 15250284"),
    "not exact": ("DECIMAL(12,4)", "0.1234", {"time_unit": "us"}, "at is 0.1234, which is no whole number of microseconds"),
    "a float": ("DOUBLE", "1e-7", {"time_unit": "s"}, "which is no whole number of microseconds"),
}  # fmt: skip
"""The type, the value and the options of a time that is refused, and what the fault says."""


@pytest.fixture
def both(spark: SparkSession, tmp_path: Path) -> Both:
    """Both engines."""
    return Both(spark, tmp_path)


@pytest.mark.parametrize("name", FAULTS)
def test_a_value_that_is_no_time_is_the_fault_of_duckdb(both: Both, name: str) -> None:
    """The message has the value, and what can be done about it."""
    dtype, value, options, said = FAULTS[name]
    source = source_of({"k": "BIGINT", "v": "INTEGER", "at": dtype}, timestamp="at", **options)
    both.load(f'SELECT 1::BIGINT AS k, 7 AS v, CAST({value} AS {dtype}) AS "at"', source.columns)
    arguments = (group_of(user="k"), [feature_of("v", "INTEGER", source, USER)], source)

    expected, found = both.by_duckdb(DUCKDB.base_table(*arguments)), both.by_spark(SPARK.base_table(*arguments))

    assert isinstance(found, Fault)
    assert isinstance(expected, Fault)
    assert (found.summary, found.fix) == (expected.summary, expected.fix)
    assert said in found.what
    assert said in expected.what
    assert name == "a float" or found.what == expected.what


def test_a_row_that_ends_before_it_begins_is_named(both: Both) -> None:
    """With its key; also if the end is a time with a zone."""
    source = source_of(
        {"k": "BIGINT", "v": "INTEGER", "at": "DATE", "ends": "TIMESTAMP WITH TIME ZONE"},
        timestamp="at",
        valid_to="ends",
    )
    both.load(
        "SELECT 42::BIGINT AS k, 7 AS v, DATE '2026-01-02' AS \"at\", TIMESTAMPTZ '2026-01-01 12:00:00+00' AS ends",
        source.columns,
    )
    arguments = (group_of(user="k"), [feature_of("v", "INTEGER", source, USER)], source)

    found = both.by_spark(SPARK.base_table(*arguments))

    assert found == both.by_duckdb(DUCKDB.base_table(*arguments))
    assert found == Fault(
        "Row ends before it begins",
        "ends is 2026-01-01 12:00:00+00, before its at 2026-01-02, k = 42",
        "Correct the data, or leave such rows out in a Source(sql=...).",
    )


def test_local_times_that_servers_do_not_agree_about_are_refused(both: Both) -> None:
    """From the end of 2099 on, although DuckDB reads them."""
    source = source_of({"k": "BIGINT", "v": "INTEGER", "at": "TIMESTAMP"}, timestamp="at", **BERLIN)
    both.load("SELECT 1::BIGINT AS k, 7 AS v, TIMESTAMP '2101-07-01' AS \"at\"", source.columns)
    arguments = (group_of(user="k"), [feature_of("v", "INTEGER", source, USER)], source)

    found = both.by_spark(SPARK.base_table(*arguments))

    assert isinstance(found, Fault)
    assert found.what == "at is 2101-07-01 00:00:00, but on Spark the clocks of Europe/Berlin are known only up to 2099"
    assert not isinstance(both.by_duckdb(DUCKDB.base_table(*arguments)), Fault)
