"""The SQL of statistics of columns of one type, over the values of many columns in one long relation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from featdsl.definitions.dtypes import family, parse
from featdsl.definitions.names import quote
from featdsl.definitions.statistics import MOST_TOP, QUANTILE_LEVELS
from featdsl.engines.duckdb import dyadic_bins

ValueKind = Literal["number", "share", "time", "ordered", "other"]
"""What can be told of values: numbers and times are also measured along a line, and of BOOLEAN there is the share of true."""
_SMALL = 1_000
"""Reading this many values takes less time than another query."""
_LONGEST = 80
_DAY = 86_400.0
_ORDERED = frozenset({"UUID", "BLOB", "BIT", "TIME WITH TIME ZONE", "BIGNUM"})
_ZONED_NANOSECONDS = "TIMESTAMPTZ_NS"


def kind_of(dtype: str) -> ValueKind:
    """Return what can be told of values of a type."""
    if family(dtype) in {"integer", "decimal", "real"}:
        return "number"
    if family(dtype) == "instant" or dtype in {"TIME", "INTERVAL"}:
        return "time"
    if dtype == "BOOLEAN":
        return "share"
    return "ordered" if family(dtype) == "text" or dtype in _ORDERED else "other"


@dataclass(frozen=True)
class MeasuredColumn:
    """A column to measure: its number in the run, the relation that it is in and its rows, its name there, and its type."""

    number: int
    relation: str
    rows: int
    name: str
    dtype: str

    @property
    def is_small(self) -> bool:
        """Whether it has so few values that they are read, instead of asked about again."""
        return self.rows <= _SMALL

    @property
    def kind(self) -> ValueKind:
        """What can be told of its values."""
        return kind_of(self.dtype)


def unit_of(dtype: str) -> tuple[float, float]:
    """Return the unit of a type's bars, and the width of its narrowest ones."""
    if kind_of(dtype) == "time":
        return _DAY, _DAY if dtype == "DATE" else 0.0
    whole = family(dtype) == "integer" or (family(dtype) == "decimal" and parse(dtype).arguments.endswith(",0"))
    return 1.0, 1.0 if whole else 0.0


def long(columns: Sequence[MeasuredColumn]) -> str:
    """Return the relation of the values `v` of columns of one type, each with the number of its column as `c`."""
    selects = [
        f"SELECT {[each.number for each in inside]} AS c, [{', '.join(quote(each.name) for each in inside)}] AS v"
        f" FROM {relation}"
        for relation, inside in _by_relation(columns).items()
    ]
    rows = "\nUNION ALL ".join(selects)
    return f"(SELECT unnest(c) AS c, unnest(v) AS v FROM ({rows}))"


def _by_relation(columns: Sequence[MeasuredColumn]) -> dict[str, list[MeasuredColumn]]:
    found: dict[str, list[MeasuredColumn]] = {}
    for column in columns:
        found.setdefault(column.relation, []).append(column)
    return found


def finite(dtype: str, value: str = "v") -> str:
    """Return the SQL of a value that is NULL where it is NaN or infinite."""
    if family(dtype) != "real" and family(dtype) != "instant":
        return value
    tested = f"CAST({value} AS TIMESTAMPTZ)" if dtype == _ZONED_NANOSECONDS else value
    return f"CASE WHEN isfinite({tested}) THEN {value} END"


def number(dtype: str, value: str) -> str:
    """Return the SQL of a value as a DOUBLE: of times, the seconds since 1970 or since midnight."""
    if kind_of(dtype) == "time":
        return f"epoch({f'CAST({value} AS TIMESTAMPTZ)' if dtype == _ZONED_NANOSECONDS else value})"
    return f"CAST({value} AS DOUBLE)"


def text(value: str) -> str:
    """Return the SQL of a value as text; a long one is cut and ends in digits of its hash."""
    whole = f"CAST({value} AS VARCHAR)"
    cut = f"left({whole}, {_LONGEST - 9}) || '…' || left(md5({whole}), 8)"
    return f"CASE WHEN length({whole}) > {_LONGEST} THEN {cut} ELSE {whole} END"


def figures(columns: Sequence[MeasuredColumn]) -> str:
    """Return the query of the figures of columns of one type, all of them small or none.

    Rows have the number of the column, its rows, its values, its finite values, and then the distinct values, minimum, maximum,
    mean, deviation, quantiles as text, and the numbers that bars are chosen by: quantiles, or of a small column the sorted values.
    """
    return _figures(columns, "favg(n)", "stddev_samp(n)")


def figures_without_moments(columns: Sequence[MeasuredColumn]) -> str:
    """Return the same query without mean and deviation, which numbers may be too large for."""
    return _figures(columns, "NULL::DOUBLE", "NULL::DOUBLE")


def _figures(columns: Sequence[MeasuredColumn], mean: str, deviation: str) -> str:
    dtype, kind = columns[0].dtype, columns[0].kind
    n, points, spread = "NULL::DOUBLE", "NULL", ("NULL", "NULL")
    if kind in {"number", "time"}:
        n = number(dtype, finite(dtype))
        points, spread = _sorted_values(dtype) if columns[0].is_small else _quantiles(dtype)
    elif kind == "share":
        n = "CAST(v AS DOUBLE)"
    least, most = ("NULL", "NULL") if kind == "other" else (text("min(f)"), text("max(f)"))
    mean, deviation = (mean, deviation) if kind in {"number", "share"} else ("NULL", "NULL")
    inner = f"SELECT c, v, {finite(dtype)} AS f, {n} AS n FROM {long(columns)}"
    grouped = (
        f"SELECT c, count(*) AS rows, count(v) AS present, count(f) AS finite, approx_count_distinct(f) AS several,"
        f" {least} AS least, {most} AS most, {mean} AS mean, {deviation} AS deviation, {points} AS q\n"
        f"FROM ({inner}) GROUP BY c"
    )
    return (
        f"SELECT c, rows, present, finite, several, least, most, mean, deviation, {spread[0]}, {spread[1]}"
        f" FROM ({grouped})"
    )


def _quantiles(dtype: str) -> tuple[str, tuple[str, str]]:
    """Return the SQL of the quantiles of `f` as `q`, and the texts and the numbers among them."""
    end = len(QUANTILE_LEVELS)
    points = f"quantile_disc(f, {[*QUANTILE_LEVELS, *dyadic_bins.levels()]})"
    return points, (f"CAST(q[1:{end}] AS VARCHAR[])", f"[{number(dtype, 'x')} FOR x IN q[{end + 1}:]]")


def _sorted_values(dtype: str) -> tuple[str, tuple[str, str]]:
    """Return the SQL of the sorted values of `f` as `q`, and of the same texts and of all numbers of it."""
    place = "greatest(1, CAST(ceil(x * len(q)) AS BIGINT))"
    texts = f"CASE WHEN len(q) > 0 THEN [CAST(q[{place}] AS VARCHAR) FOR x IN {list(QUANTILE_LEVELS)}] END"
    return "list_sort(list(f) FILTER (f IS NOT NULL))", (texts, f"[{number(dtype, 'x')} FOR x IN q]")


def bar_counts(columns: Sequence[MeasuredColumn], edges: Mapping[int, Sequence[float]]) -> str:
    """Return the query of the number of values in each bar, as a list for each column, by its number."""
    return "\nUNION ALL ".join(
        f"SELECT unnest({[each.number for each in inside]}), unnest([{', '.join(_bars(each, edges) for each in inside)}])"
        f" FROM {relation}"
        for relation, inside in _by_relation(columns).items()
    )


def _bars(column: MeasuredColumn, edges: Mapping[int, Sequence[float]]) -> str:
    # As text, because DuckDB takes long to read many numbers in a statement.
    uppers = [dyadic_bins.below(edge) for edge in edges[column.number][1:]]
    value = number(column.dtype, finite(column.dtype, quote(column.name)))
    return f"map_values(histogram({value}, '{uppers}'::DOUBLE[]))"


def top_values(columns: Sequence[MeasuredColumn]) -> str:
    """Return the query of the most frequent values of columns of one type, in order: number of the column, value, rows."""
    # By hash, so that long values are neither kept nor compared.
    inner = f"SELECT c, {finite(columns[0].dtype)} AS f FROM {long(columns)}"
    counted = f"SELECT c, {text('any_value(f)')} AS value, count(*) AS n FROM ({inner}) WHERE f IS NOT NULL GROUP BY c, hash(f)"
    place = "row_number() OVER (PARTITION BY c ORDER BY n DESC, value)"
    return f"SELECT c, value, n FROM ({counted}) QUALIFY {place} <= {MOST_TOP} ORDER BY c, n DESC, value"


def cheap_figures(relation: str, columns: Sequence[MeasuredColumn]) -> str:
    """Return the query of one row of figures that cost little over many rows, NaN and infinite values among them.

    First the number of rows, then four for each column: values, distinct ones, minimum and maximum.
    """
    return f"SELECT count(*), {', '.join(_cheap(each) for each in columns)} FROM {relation}"


def _cheap(column: MeasuredColumn) -> str:
    name = quote(column.name)
    least, most = ("NULL", "NULL") if column.kind == "other" else (text(f"min({name})"), text(f"max({name})"))
    return f"count({name}), approx_count_distinct({name}), {least}, {most}"
