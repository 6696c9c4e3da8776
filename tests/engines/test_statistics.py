"""Statistics of tables, against plain Python."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from featdsl.definitions.kinds import FeatureDefinition
from featdsl.definitions.names import quote
from featdsl.definitions.sources import Column
from featdsl.definitions.statistics import QUANTILE_LEVELS, Bin, ColumnStatistics, TopValue
from featdsl.engines.duckdb import dyadic_bins, session
from featdsl.engines.duckdb import statistics as measuring
from featdsl.engines.duckdb.session import DuckDBSession
from featdsl.engines.statistics import MeasuredTable, TableFigures
from featdsl.errors import Origin
from featdsl.project.settings import Project, ProjectTable, Settings

SCORE = FeatureDefinition(
    name="score", group="scores", tags=(), dtype="DOUBLE", sql="1", expect=(), reads=(), entity="user", keys=(), timed=False,
    ttl=None, fingerprint="f1", table="scores_1", project="bank", owner="risk", description="", origin=Origin("a.py", 1),
)  # fmt: skip


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DuckDBSession]:
    """A session in memory."""
    opened = session.open_session(
        Project(Path(tmp_path_factory.mktemp("p")), Settings(project=ProjectTable(name="bank")))
    )
    opened.execute("CREATE SCHEMA tables")
    yield opened
    opened.close()


def measured(engine: DuckDBSession, query: str, dtypes: dict[str, str], *, timed: bool = False) -> TableFigures:
    """Return the figures of the rows of a query with columns of these types."""
    engine.execute(f"CREATE OR REPLACE TABLE tables.scores_1 AS {query}")
    ((rows,),) = engine.rows("SELECT count(*) FROM tables.scores_1")
    features = [replace(SCORE, name=name, dtype=dtype, timed=timed) for name, dtype in dtypes.items()]
    (found,) = engine.statistics.measure([MeasuredTable("scores_1", rows, features)], {})
    return found


def of_numbers(engine: DuckDBSession, values: Sequence[object], dtype: str = "DOUBLE") -> ColumnStatistics:
    """Return the figures of these values."""
    engine.execute(f"CREATE OR REPLACE TABLE given (score {dtype})")
    for value in values:
        engine.execute("INSERT INTO given VALUES (?)", [value])
    return measured(engine, "FROM given", {"score": dtype}).columns["score"]


def discrete(values: Sequence[float], level: float) -> float:
    """Return the smallest value that at least this share of the values is not greater than."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(level * len(ordered)) - 1)]


def test_numbers_as_python_computes_them(engine: DuckDBSession) -> None:
    """Mean, deviation, ends, quantiles and bars of numbers equal those of a loop; NULL, NaN and infinity are counted apart."""
    values = [
        None if i % 10 == 3 else math.nan if i == 4 else math.inf if i == 5 else (i * 7919 % 1009) / 8
        for i in range(1000)
    ]
    known = [each for each in values if each is not None and math.isfinite(each)]
    found = of_numbers(engine, values)
    assert (found.rows, found.nulls, found.not_finite, found.fingerprint) == (1000, 100, 2, "f1")
    assert found.mean == pytest.approx(statistics.fmean(known))
    assert found.deviation == pytest.approx(statistics.stdev(known))
    assert (found.minimum, found.maximum) == (str(min(known)), str(max(known)))
    assert [float(each) for each in found.quantiles] == [discrete(known, level) for level in QUANTILE_LEVELS]
    assert found.distinct is not None
    assert abs(found.distinct - len(set(known))) < 0.1 * len(set(known))
    assert 10 <= len(found.bins) <= 40
    assert found.bins == tuple(
        Bin(low=each.low, high=each.high, rows=sum(each.low <= value < each.high for value in known))
        for each in found.bins
    )
    assert sum(each.rows for each in found.bins) == len(known)


def test_few_different_numbers_have_frequent_values(engine: DuckDBSession) -> None:
    """A code that is a number is also told as categories, the most frequent first."""
    found = of_numbers(engine, [3, 1, 3, None, 2, 3, 1], "BIGINT")
    assert found.top == (TopValue(value="3", rows=3), TopValue(value="1", rows=2), TopValue(value="2", rows=1))
    assert found.bins == (Bin(low=0, high=2, rows=2), Bin(low=2, high=3, rows=1), Bin(low=3, high=4, rows=3))


ODD_TYPES = {
    "DATE": "DATE '2020-01-01' + i::INTEGER",
    "TIMESTAMP": "CASE WHEN i = 7 THEN 'infinity' ELSE TIMESTAMP '2020-01-01' + to_hours(i) END",
    "TIMESTAMP WITH TIME ZONE": "TIMESTAMPTZ '2020-01-01 00:00:00+00' + to_hours(i)",
    "TIMESTAMP_S": "TIMESTAMP '2020-01-01' + to_hours(i)",
    "TIMESTAMP_MS": "TIMESTAMP '2020-01-01' + to_hours(i)",
    "TIMESTAMP_NS": "TIMESTAMP '2020-01-01' + to_hours(i)",
    "TIME": "TIME '00:00' + to_minutes(i)",
    "INTERVAL": "to_hours(i)",
    "HUGEINT": "170141183460469231731687303715884105727::HUGEINT - i",
    "UBIGINT": "18446744073709551615::UBIGINT - i::UBIGINT",
    "DECIMAL(38,2)": "i * 1.25",
    "DOUBLE": "CASE i WHEN 7 THEN 'nan' WHEN 8 THEN '-inf' ELSE i * 1e290 END",
    "FLOAT": "i",
    "BOOLEAN": "i % 3 = 0",
    "VARCHAR": "repeat('é', i::INTEGER)",
    "ENUM('a', 'b')": "CASE WHEN i % 3 = 0 THEN 'b' ELSE 'a' END",
    "UUID": "md5(i::VARCHAR)::UUID",
    "BLOB": "('a' || i)::BLOB",
    "BIT": "'101'",
    "TIME WITH TIME ZONE": "'10:00:00+02:00'",
    "STRUCT(a BIGINT, b VARCHAR)": "{'a': i % 7, 'b': 'x'}",
    "INTEGER[]": "[i % 3, NULL]",
    "INTEGER[2]": "[i % 5, 2]",
    "MAP(VARCHAR, BIGINT)": "MAP {'a': i % 5}",
    "UNION(a BIGINT, b VARCHAR)": "union_value(a := i % 4)",
    "JSON": "'{\"a\": 1}'",
}


@pytest.mark.parametrize("dtype", ODD_TYPES)
def test_every_type_is_measured(engine: DuckDBSession, dtype: str) -> None:
    """Columns of every type have counts, and what is shown of them is text; an odd name is no problem."""
    name = "o\"dd 'name"
    values = f"SELECT ({ODD_TYPES[dtype]})::{dtype} AS {quote(name)} FROM range(100) t(i) WHERE i % 11 != 5"
    found = measured(engine, f"{values} UNION ALL SELECT NULL FROM range(9)", {name: dtype})
    (column,) = found.columns.values()
    assert (column.rows, column.nulls, column.problem) == (100, 9, "")
    assert column.distinct is not None
    assert column.distinct >= 1
    assert column.top or column.bins or dtype in {"VARCHAR", "UUID", "BLOB"}  # each of their values is another
    assert sum(each.rows for each in column.bins) in {0, 91 - column.not_finite}


def test_times_have_bars_of_days_and_parts_of_days(engine: DuckDBSession) -> None:
    """A bar of dates begins at midnight in UTC, and infinite times count as not finite."""
    dates = measured(engine, "SELECT DATE '2020-01-01' + i::INTEGER AS at FROM range(400) t(i)", {"at": "DATE"})
    column = dates.columns["at"]
    assert {each.low % 86_400 for each in column.bins} == {0.0}
    assert (column.minimum, column.maximum, column.quantiles[3]) == ("2020-01-01", "2021-02-03", "2020-07-18")
    times = measured(engine, "SELECT unnest(['infinity'::TIMESTAMP, '2020-01-01']) AS at", {"at": "TIMESTAMP"})
    assert times.columns["at"].not_finite == 1
    assert times.columns["at"].maximum == "2020-01-01 00:00:00"


def test_numbers_too_large_for_a_deviation(engine: DuckDBSession) -> None:
    """They have all other figures."""
    found = of_numbers(engine, [1e308, -1e308, 1.5e308])
    assert found.deviation is None
    assert (found.minimum, found.maximum, found.rows) == ("-1e+308", "1.5e+308", 3)


def test_a_long_value_is_cut_and_stays_itself(engine: DuckDBSession) -> None:
    """Of a value of 2 MB there are 80 characters; two long values with one beginning are told apart."""
    query = "SELECT unnest([repeat('x', 2000000), repeat('x', 2000000), repeat('x', 2000001)]) AS t"
    column = measured(engine, query, {"t": "VARCHAR"}).columns["t"]
    assert [each.rows for each in column.top] == [2, 1]
    assert {len(each.value) for each in column.top} == {80}
    assert len({each.value for each in column.top}) == 2
    assert len(column.minimum or "") == 80


@pytest.mark.parametrize("query", ["SELECT 1.5 AS score WHERE false", "SELECT NULL::DOUBLE AS score FROM range(5)"])
def test_without_values_there_are_no_figures(engine: DuckDBSession, query: str) -> None:
    """An empty table and one of NULLs have counts alone."""
    column = measured(engine, query, {"score": "DOUBLE"}).columns["score"]
    rows = 5 if "range" in query else 0
    assert replace(column, distinct=None) == ColumnStatistics(dtype="DOUBLE", fingerprint="f1", rows=rows, nulls=rows)


def test_values_that_identify_rows_are_not_kept(engine: DuckDBSession) -> None:
    """No value of many different ones is frequent."""
    column = measured(engine, "SELECT 'id' || i AS t FROM range(100) t(i)", {"t": "VARCHAR"}).columns["t"]
    assert column.top == ()


def test_a_table_of_many_rows_is_sampled(engine: DuckDBSession, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counts and ends are of all rows; mean, quantiles, bars and frequent values of a part, and the record says how many rows."""
    monkeypatch.setattr(measuring, "SAMPLED_ABOVE", 9_999)
    monkeypatch.setattr(measuring, "_SAMPLE", 1000)
    query = """SELECT i AS k, CASE WHEN i % 5 = 0 THEN NULL WHEN i = 1 THEN -7 WHEN i = 2 THEN 'nan'::DOUBLE ELSE i % 1000 END AS a,
               (i % 4)::VARCHAR AS b, i AS c FROM range(10000) t(i)"""
    engine.execute(f"CREATE OR REPLACE TABLE tables.scores_1 AS {query}")
    features = [
        replace(SCORE, name=name, dtype=dtype, keys=(Column(name="k", dtype="BIGINT"),))
        for name, dtype in {"a": "DOUBLE", "b": "VARCHAR", "c": "BIGINT"}.items()
    ]
    (found,) = engine.statistics.measure([MeasuredTable("scores_1", 10_000, features)], {})
    a, b, c = found.columns.values()
    values = [-7.0 if i == 1 else float(i % 1000) for i in range(10_000) if i % 5 and i != 2]
    assert (a.rows, a.nulls, a.not_finite, a.minimum, a.maximum) == (10_000, 2000, 1, "-7.0", "999.0")
    assert a.mean == pytest.approx(statistics.fmean(values), rel=0.1)
    assert a.sampled is not None
    assert 800 < a.sampled < 1200
    assert a.counted == a.sampled
    assert abs(float(a.quantiles[3]) - 500) < 60
    assert sum(each.rows for each in b.top) == b.sampled == a.sampled
    assert (c.minimum, c.maximum) == ("0", "9999")


def test_the_newest_time_is_told(engine: DuckDBSession) -> None:
    """It is ISO text in UTC."""
    query = "SELECT TIMESTAMP '2020-01-01 10:00' AS event_timestamp, 1.0 AS score"
    assert measured(engine, query, {"score": "DOUBLE"}, timed=True).newest == "2020-01-01T10:00:00.000000"


def test_a_column_that_fails_says_so_and_the_others_are_measured(
    engine: DuckDBSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failure of one column leaves the figures of all others."""
    good = measuring.column_figures.figures
    bad = "SELECT error('no')"
    monkeypatch.setattr(
        measuring.column_figures,
        "figures",
        lambda columns: bad if any(e.name == "b" for e in columns) else good(columns),
    )
    monkeypatch.setattr(measuring.column_figures, "figures_without_moments", lambda columns: bad)  # noqa: ARG005
    found = measured(engine, "SELECT 1.0::DOUBLE AS a, 2.0::DOUBLE AS b", {"a": "DOUBLE", "b": "DOUBLE"}).columns
    assert (found["a"].mean, found["a"].problem) == (1.0, "")
    assert found["b"].mean is None
    assert found["b"].problem.startswith("Not computed: ")


# Bars

NUMBERS = st.lists(
    st.floats(allow_nan=False, allow_infinity=False, width=64) | st.integers(-1000, 1000).map(float)
    | st.sampled_from([0.0, -0.0, 1e-300, 5e-324, 1e308, 1e9]),
    min_size=1, max_size=80,
)  # fmt: skip


def edges_of(values: Sequence[float]) -> list[float]:
    """Return the edges of bars for these values, with quantiles as DuckDB's quantile_disc has them."""
    return dyadic_bins.edges([discrete(values, level) for level in dyadic_bins.levels()])


@given(NUMBERS)
def test_bars_hold_all_values(values: list[float]) -> None:
    """The edges rise, all values lie between the first and the last, and there are no bars at all only where numbers end."""
    found = edges_of(values)
    if not found:
        assert max(map(abs, values)) > 1e300
        return
    assert found == sorted(set(found))
    assert found[0] <= min(values)
    assert max(values) < found[-1]
    assert len(found) < 200


@given(NUMBERS, NUMBERS)
def test_bars_of_any_two_columns_nest(one: list[float], other: list[float]) -> None:
    """Two bars are equal, apart, or one contains the other."""
    for low, high in dyadic_bins.bars(edges_of(one)):
        for begin, end in dyadic_bins.bars(edges_of(other)):
            apart = high <= begin or end <= low
            assert apart or (low <= begin and end <= high) or (begin <= low and high <= end)


@given(st.lists(st.integers(-(10**6), 10**6), min_size=200, max_size=400))
def test_no_bar_holds_most_values_unless_they_are_equal(values: list[int]) -> None:
    """A bar that is wider than one whole number has at most an eighth of the values."""
    found = dyadic_bins.edges([discrete(values, level) for level in dyadic_bins.levels()], least=1.0)
    counts = Counter(
        low for low, high in dyadic_bins.bars(found) if high - low > 1 for each in values if low <= each < high
    )
    assert max(counts.values(), default=0) <= len(values) / 8 or len(set(values)) < 8


ODD_NUMBERS = st.lists(
    st.none() | st.floats(allow_subnormal=True) | st.sampled_from([0.0, -0.0, math.nan, math.inf, -math.inf, 5e-324, 1.7e308]),
    max_size=60,
)  # fmt: skip


@given(ODD_NUMBERS)
def test_odd_numbers_are_measured_as_in_python(engine: DuckDBSession, values: list[float | None]) -> None:
    """Counts, ends, mean, quantiles and bars of any numbers are those of a loop."""
    engine.execute("CREATE OR REPLACE TABLE given AS SELECT unnest(?::DOUBLE[]) AS score", [values])
    found = measured(engine, "FROM given", {"score": "DOUBLE"}).columns["score"]
    known = [each for each in values if each is not None and math.isfinite(each)]
    assert found.problem == ""
    assert (found.rows, found.nulls) == (len(values), values.count(None))
    assert found.not_finite == len(values) - values.count(None) - len(known)
    assert [float(each) for each in found.quantiles] == (
        [discrete(known, level) for level in QUANTILE_LEVELS] if known else []
    )
    if known:
        assert (float(found.minimum or "nan"), float(found.maximum or "nan")) == (min(known), max(known))
        size = max(map(abs, known))
        if size < 1e150:
            assert found.mean == pytest.approx(statistics.fmean(known), rel=1e-9, abs=1e-12 * size)
        if len(known) > 1 and 1e-150 < size < 1e150:
            assert found.deviation == pytest.approx(statistics.stdev(known), rel=1e-6, abs=1e-9 * size)
        if size < 1e300:
            assert sum(each.rows for each in found.bins) == len(known)
            assert all(each.rows == sum(each.low <= v < each.high for v in known) for each in found.bins)


def test_decimals_stay_exact(engine: DuckDBSession) -> None:
    """Ends are told to the last digit, also of numbers that no DOUBLE holds."""
    found = of_numbers(engine, [Decimal("123456789012345678901234567890.12"), Decimal("-0.01")], "DECIMAL(38,2)")
    assert (found.minimum, found.maximum) == ("-0.01", "123456789012345678901234567890.12")
