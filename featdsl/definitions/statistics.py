"""Statistics of stored tables, as plain data: one record for each table and run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

QUANTILE_LEVELS = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
"""The levels of `ColumnStatistics.quantiles`."""
MOST_TOP = 50
"""The maximum number of values in `ColumnStatistics.top`."""


@dataclass(frozen=True, kw_only=True)
class Bin:
    """One bar of a histogram: `rows` values v with `low` <= v < `high`.

    The bounds are numbers, seconds since 1970 in UTC for dates and timestamps, seconds since midnight for TIME, and seconds for
    INTERVAL. A bar is [m * 2**k, (m + 1) * 2**k) in numbers, or in days for times, with integers m and k: bars of two histograms
    are equal, apart, or one contains the other. So bars have different widths, smaller ones where there are more values.
    """

    low: float
    high: float
    rows: int


@dataclass(frozen=True, kw_only=True)
class TopValue:
    """A frequent value as text, and its number of rows.

    A text of more than 80 characters is cut, and ends in `…` and eight digits of its hash.
    """

    value: str
    rows: int


@dataclass(frozen=True, kw_only=True)
class ColumnStatistics:
    """Statistics of one version of a feature over `rows` rows.

    `rows` are those of its table; of a windowed feature, a sample of up to 2,000 times of its events. `nulls` of them are NULL and
    `not_finite` are NaN or infinite; the other figures are of the rest. `distinct` is approximate (HyperLogLog). `minimum`,
    `maximum` and `quantiles` are text as DuckDB prints the values, cut as `TopValue` is: None or empty for types without an order,
    and quantiles are of numbers and times alone. `mean` and `deviation` (of a sample: n - 1) are numbers, for numbers and BOOLEAN
    (share of true) alone. `bins` is a histogram of numbers and times without empty bars, in order; `top` has up to 50 of the most
    frequent values of other types, and of numbers and times with up to 20 different values.

    If `sampled` is not None, `mean`, `deviation`, `quantiles`, `bins` and `top` are of a sample of this many rows. `problem` says why
    figures are missing.
    """

    dtype: str
    fingerprint: str = ""
    rows: int = 0
    nulls: int = 0
    not_finite: int = 0
    distinct: int | None = None
    minimum: str | None = None
    maximum: str | None = None
    mean: float | None = None
    deviation: float | None = None
    quantiles: tuple[str, ...] = ()
    top: tuple[TopValue, ...] = ()
    bins: tuple[Bin, ...] = ()
    sampled: int | None = None
    problem: str = ""

    @property
    def null_share(self) -> float | None:
        """The share of NULLs; None without rows."""
        return self.nulls / self.rows if self.rows else None

    @property
    def counted(self) -> int:
        """The number of rows that `bins` and `top` are of, NULLs included."""
        return self.rows if self.sampled is None else self.sampled


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
