"""What a group cannot be computed of on Spark: found before anything runs, with the reason and what to do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from featdsl.definitions.kinds import FeatureDefinition
from featdsl.definitions.sources import Column, FunctionDefinition, SourceDefinition
from featdsl.engines.spark.compiler import COMPILER
from featdsl.sql import expressions
from featdsl.sql.cache import AnalysisCache
from tests.spark.sources_made import feature_of, group_of, source_of
from tests.spark.test_table_parts import windows_of

USER = [Column(name="user", dtype="BIGINT")]
TYPES = {"user": "BIGINT", "at": "TIMESTAMP", "v": "INTEGER", "x": "DOUBLE", "fine": "TIMESTAMP_NS", "kind": "ENUM('b', 'a')",
         "span": "INTERVAL", "big": "BIGINT", "flag": "BOOLEAN", "price": "DECIMAL(30,8)", "label": "VARCHAR"}  # fmt: skip
ODD = "some_unknown_function(v)"


def rows(**options: Any) -> SourceDefinition:
    """Return a source with columns of many types."""
    return source_of(TYPES, **{"timestamp": "at", **options})


def found(features: list[FeatureDefinition], *sources: SourceDefinition) -> list[tuple[str, str, str]]:
    """Return what is refused of features over the last source: its kind, its address, and the first words of the fix."""
    refused = list(COMPILER.unsupported(features, sources, {}))
    assert all(each.reason and not each.reason.endswith(".") and each.fix.endswith(".") for each in refused)
    return [(each.kind, each.address, each.fix.partition(":")[0].partition(",")[0]) for each in refused]


def test_plain_columns_are_supported() -> None:
    """Of each type that Spark has, with every option of a source."""
    source = rows(available_at="at", valid_to="at", tie_break=("v", "x"), timezone="Europe/Berlin")

    assert found([feature_of(name, TYPES[name], source, USER) for name in ("v", "x", "kind", "at")], source) == []


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"timezone": "Africa/Casablanca"}, "source"),
        ({"timezone": "EST"}, "source"),
        ({"tie_break": "kind"}, "source"),
        ({"timestamp": "fine"}, "source"),
        ({"available_at": "fine"}, "source"),
    ],
)
def test_times_and_orders_that_differ_are_refused_of_the_source(options: dict[str, Any], kind: str) -> None:
    """Nanoseconds also of the table, whose times they are."""
    source = rows(**options)
    refused = found([feature_of("v", "INTEGER", source, USER)], source)

    assert refused[0] == (kind, "rows", "Convert them in a Source(sql=...)")
    assert (len(refused) > 1) == (source.clock == "TIMESTAMP_NS")


@pytest.mark.parametrize("dtype", ["INTERVAL", "TIME", "TIMESTAMP_NS", "STRUCT(a MAP(INTEGER, INTEGER))"])
def test_types_that_spark_does_not_have_are_refused(dtype: str) -> None:
    """Or that it cannot compare."""
    source = rows()

    assert found([feature_of("v", dtype, source, USER)], source) == [("feature", "g.v", "Give it another type")]


@pytest.mark.parametrize("dtype", ["DOUBLE", "ENUM('a')", "INTEGER[]"])
def test_keys_that_servers_compare_otherwise_are_refused(dtype: str) -> None:
    """Once for a table."""
    source = source_of({"user": dtype, "v": "INTEGER", "x": "DOUBLE"})
    keys = [Column(name="user", dtype=dtype)]
    features = [feature_of("v", "INTEGER", source, keys), feature_of("x", "DOUBLE", source, keys)]

    assert found(features, source) == [("feature", "g.v", "Give it another type")]


def test_sql_is_refused_unless_it_is_proved_or_written_for_spark() -> None:
    """Text for Spark is used as it is."""
    source = rows()
    odd = feature_of("odd", "INTEGER", source, USER, ODD)

    assert found([odd], source) == [("feature", "g.odd", "Write it for Spark too")]
    assert found([replace(odd, variants=(("spark", "anything(v)"),))], source) == []
    compiled = COMPILER.base_table(group_of(), [replace(odd, variants=(("spark", "anything(v) -- as it is"),))], source)
    assert "CAST((\nanything(v) -- as it is\n) AS INT) AS `odd`" in compiled.sql


def test_a_python_function_is_called_with_columns_of_types_that_spark_has() -> None:
    """Its call is not translated."""
    source = rows()
    function = FunctionDefinition(module="m", qualname="f", parameters=("v", "x"), fingerprint="f", text="")
    feature = feature_of("v", "INTEGER", source, USER, 'python_ab("v", "x")', function=function)

    assert found([feature], source) == []
    assert "CAST(python_ab(`v`, `x`) AS INT) AS `v`" in COMPILER.base_table(group_of(), [feature], source).sql
    spans = replace(feature, function=replace(function, parameters=("v", "span")))
    assert found([spans], source) == [("feature", "g.v", "Give it another type")]


def test_the_query_of_a_source_is_refused_unless_it_is_proved_or_written_for_spark() -> None:
    """Of each source by itself."""
    other = replace(rows(), name="other")
    source = replace(
        rows(), format="sql", sql="SELECT some_unknown_function(v) AS v FROM source.other", inputs=("other",)
    )
    feature = feature_of("v", "INTEGER", source, USER)

    assert found([feature], other, source) == [("source", "rows", "Write it for Spark too")]
    assert found([feature], other, replace(source, variants=(("spark", "SELECT 1 AS v"),))) == []


def test_windows_are_refused_for_their_columns_and_their_conditions() -> None:
    """Running totals have the condition of the aggregate: no other SQL replaces it."""
    source = rows()
    windows = windows_of(source, USER)
    assert found(windows[:3], source) == []

    (aggregate,) = windows[2].aggregates
    odd = replace(windows[2], aggregates=(replace(aggregate, where=ODD),), variants=(("spark", "sum(big)"),))
    assert found([odd], source) == [("feature", "g.of_big", "Compute the group in DuckDB.")]
    assert found([replace(windows[0], reads=("span",))], source) == [("feature", "g.rows", "Give it another type")]


def test_any_aggregate_will_do_over_the_rows_of_a_window() -> None:
    """Spark stores the rows, and DuckDB aggregates them when they are read."""
    source = rows()
    sum_of_v = next(each for each in windows_of(source, USER) if each.aggregates)
    read = expressions.windowed("mode(v)", AnalysisCache())
    mode = replace(sum_of_v, sql="mode(v)", aggregates=read.aggregates, formula=read.formula, reads=read.columns)
    assert found([mode], source) == []
