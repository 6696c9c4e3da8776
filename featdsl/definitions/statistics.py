"""Statistics of stored tables, as plain data: one record for each table and run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

QUANTILE_LEVELS = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
"""The levels of `ColumnStatistics.quantiles`."""


@dataclass(frozen=True, kw_only=True)
class Bin:
    """One bar of a histogram: `rows` values lie in [`low`, `high`), in the last bin also at `high`.

    The bounds are numbers, or seconds since 1970 in UTC for times.
    """

    low: float
    high: float
    rows: int


@dataclass(frozen=True, kw_only=True)
class TopValue:
    """A frequent value as text of at most 80 characters, and its number of rows."""

    value: str
    rows: int


@dataclass(frozen=True, kw_only=True)
class ColumnStatistics:
    """Statistics of one feature column over the rows of its table.

    `nulls` of the table's rows are NULL, `not_finite` are NaN or infinite; the other figures are of the rest. `distinct` is
    approximate (HyperLogLog). `minimum`, `maximum` and `quantiles` are text as DuckDB prints the values, None for types
    without an order; `mean` and `deviation` are numbers, for numbers and BOOLEAN (share of true) alone. `bins` has a
    histogram of numbers and times, `top` the most frequent values of other types and of columns with few values.
    """

    dtype: str
    nulls: int
    not_finite: int = 0
    distinct: int | None = None
    minimum: str | None = None
    maximum: str | None = None
    mean: float | None = None
    deviation: float | None = None
    quantiles: tuple[str, ...] = ()
    top: tuple[TopValue, ...] = ()
    bins: tuple[Bin, ...] = ()


@dataclass(frozen=True, kw_only=True)
class TableStatistics:
    """Statistics of one table as a run wrote it: the state `serial`, the ISO time, and whether apply or refresh ran.

    `newest` is the latest event time, as ISO text in UTC, or None. `columns` has the statistics of each feature by name.
    """

    table: str
    serial: int
    computed_at: str
    during: Literal["apply", "refresh"]
    rows: int
    newest: str | None = None
    columns: dict[str, ColumnStatistics] = field(default_factory=dict)
