"""Windows that end together, their aggregates, and the SQL of the rows and times that they read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from featdsl.definitions.durations import Length
from featdsl.definitions.kinds import FeatureDefinition
from featdsl.definitions.names import EVENT_TIMESTAMP, quote
from featdsl.definitions.table_spec import TableSpec
from featdsl.definitions.windows import ORDER, Aggregate, Merge, Window
from featdsl.engines.duckdb import timestamps

ROW, AT, TO, OWN, KNOWN, COUNT, RING = (
    quote(f"#{name}") for name in ("row", "at", "to", "own", "known", "count", "ring")
)
Method = Literal["each", "once", "rings", "tiles", "frames"]
"""How aggregates are computed: one join for each window; one join of the longest window; that join with partial results for
the rows between two windows; partial results for spans of time; or frames of OVER."""


@dataclass(frozen=True)
class WindowOperator:
    """How a family of windows is computed.

    `banded` has the numbers of the windows that are joined by spans of time as well as by entity. `totals` names the stored
    columns of running totals: a result that is a difference of two is computed so. `rest` is the method for aggregates that
    rings or tiles cannot merge. Tiles are `tile_seconds` wide.
    """

    method: Method = "each"
    banded: frozenset[int] = frozenset()
    totals: frozenset[str] = frozenset()
    rest: Method = "each"
    tile_seconds: int = 86_400

    def is_banded(self, number: int) -> bool:
        """Return whether a window is joined by spans of time."""
        return number in self.banded


@dataclass(frozen=True)
class Call:
    """One aggregate as SQL: `text` with its order filled in, over the rows that meet `where`."""

    text: str
    where: str
    merges: Merge | None
    argument: str
    total: str
    dtype: str

    @property
    def exact(self) -> bool:
        """Whether sums of its argument are exact, so that differences of two sums are exact too."""
        return self.dtype in _EXACT or (self.dtype.startswith("DECIMAL") and self.dtype.endswith(")"))

    @property
    def sql(self) -> str:
        """The call with its condition."""
        return self.over(())

    def over(self, conditions: Sequence[str]) -> str:
        """Return the call over the rows that meet further conditions."""
        where = [*conditions, *([f"({safe(self.where)})"] if self.where and conditions else [])]
        where = where or ([safe(self.where)] if self.where else [])
        return f"{self.text} FILTER (WHERE {' AND '.join(where)})" if where else self.text


Results = dict[tuple["Frame", Call], str]
"""The SQL of each result, after its relation is joined."""


@dataclass(frozen=True)
class Frame:
    """Features that aggregate the same rows."""

    window: Window
    features: tuple[FeatureDefinition, ...]

    @property
    def calls(self) -> list[Call]:
        """The distinct aggregates that the features need."""
        return list(dict.fromkeys(call_of(feature, each) for feature in self.features for each in feature.aggregates))

    @property
    def columns(self) -> list[str]:
        """The source columns that the aggregates read."""
        return sorted({column for feature in self.features for column in [*feature.reads, *feature.order]})

    @cached_property
    def table(self) -> TableSpec:
        """The table with the rows."""
        return TableSpec.of(self.features)

    @property
    def slides(self) -> bool:
        """Whether the window can be a frame of OVER."""
        table, window = self.table, self.window
        calendar = any(each and each.months for each in (window.length, *window.shifts))
        plain = all(each.slides for feature in self.features for each in feature.aggregates)
        fit = not table.late and table.clock == "TIMESTAMP" and not window.last_n
        return plain and fit and not (calendar and window.shifts)

    def earlier(self, later: str) -> str | None:
        """Return the start of a window that ends at `later`, None if it has no start."""
        return timestamps.before(later, self.window.length, self.table.clock) if self.window.length else None

    def starts(self, own: str, start: str) -> str:
        """Return the condition that a row's time `own` is not before the window."""
        return f"{own} {'>=' if self.window.closed in {'left', 'both'} else '>'} {start}"


@dataclass(frozen=True)
class Family:
    """Windows that end together, the shortest first."""

    frames: tuple[Frame, ...]

    @property
    def table(self) -> TableSpec:
        """The table with the rows."""
        return self.frames[0].table

    @property
    def window(self) -> Window:
        """The shortest window. All windows of the family end as it does."""
        return self.frames[0].window

    @property
    def nested(self) -> bool:
        """Whether each window lies within the next one, whatever the time."""
        lengths = [frame.window.length for frame in self.frames]
        fixed = not any(length and length.months for length in lengths) and not self.window.last_n
        return fixed and len({frame.window.closed for frame in self.frames}) == 1

    @property
    def longest(self) -> Length | None:
        """The length of the longest window, None if it has no start."""
        return self.frames[-1].window.length


def families(features: Sequence[FeatureDefinition]) -> list[Family]:
    """Return the windows of features, grouped by their ends."""
    ends: dict[object, dict[tuple[Window, bool], list[FeatureDefinition]]] = {}
    for feature in features:
        window = feature.window
        if window is None:
            continue
        # Among rows of the same time, the columns that a feature reads decide which rows are the last.
        order = (*feature.order, *feature.reads) if window.last_n else ()
        slides = all(each.slides for each in feature.aggregates)
        end = (window.delay, window.offset, window.every, window.last_n, order, window.closed in {"right", "both"})
        ends.setdefault(end, {}).setdefault((window, slides), []).append(feature)
    listed = []
    for by_window in ends.values():
        frames = [Frame(window, tuple(members)) for (window, _), members in by_window.items()]
        listed.append(Family(tuple(sorted(frames, key=lambda frame: _size(frame.window.length)))))
    return listed


def _size(length: Length | None) -> float:
    return float("inf") if length is None else length.months * 2_629_746 + length.seconds


def call_of(feature: FeatureDefinition, aggregate: Aggregate) -> Call:
    """Return an aggregate with the order of rows filled in: by time, then by the columns that the feature reads."""
    order = ", ".join([OWN, *(f"{quote(column)} NULLS FIRST" for column in [*feature.order, *feature.reads])])
    return Call(
        text=aggregate.call.replace(ORDER, order),
        where=aggregate.where,
        merges=aggregate.merges,
        argument=aggregate.argument,
        total=aggregate.total,
        dtype=aggregate.dtype,
    )


_EXACT = frozenset({
    "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT",
})  # fmt: skip


def safe(condition: str) -> str:
    """Return a condition that ends with a line break if it has a comment."""
    return f"{condition}\n" if "--" in condition else condition


def stored(column: str) -> str:
    """Return the name of a source column in an events table. Neither keys nor times have such names."""
    return f"= {column}"


def entity(number: int) -> str:
    """Return the name of a key within the SQL of windows."""
    return quote(f"#e{number}")


@dataclass(frozen=True)
class RequestedTimes:
    """The requested times, and the stored rows.

    `keys` are pairs of a key of the entity and the SQL of its value in the layer `base`; `name` is the prefix of CTEs;
    `few` says that few of the stored entities are requested.
    """

    base: str
    keys: tuple[tuple[str, str], ...]
    name: str
    few: bool
    family: Family = Family(())

    def of_family(self, number: int, family: Family) -> RequestedTimes:
        """Return the requested times for one family."""
        return replace(self, name=f"{self.name}_{number}", family=family)

    @property
    def table(self) -> TableSpec:
        """The table with the rows."""
        return self.family.table

    def number(self, frame: Frame) -> int:
        """Return the number of a window in its family."""
        return self.family.frames.index(frame)

    @property
    def window(self) -> Window:
        """The shortest window of the family."""
        return self.family.window

    @property
    def _at(self) -> str:
        fine = self.table.clock == "TIMESTAMP_NS"
        if self.window.every:
            whole = f'time_bucket({timestamps.interval(self.window.every)}, {self.base}."#time")'
            return timestamps.widened(whole) if fine else whole
        return f'{self.base}."#time_ns"' if fine else f'{self.base}."#time"'

    @property
    def _listed(self) -> str:
        keys = [f"{value} AS {entity(i)}" for i, (_, value) in enumerate(self.keys)]
        return ", ".join([*keys, f"{self._at} AS {AT}"])

    def grid(self) -> list[str]:
        """Return the CTE of the distinct times of each entity on a grid, with numbers."""
        if not self.window.every:
            return []
        distinct = f"SELECT DISTINCT {self._listed} FROM {self.base}"
        return [f"{self.name}_asked AS MATERIALIZED (\n  SELECT row_number() OVER () AS {ROW}, * FROM ({distinct})\n)"]

    @property
    def times(self) -> str:
        """The relation of the requested times with numbers, which without a grid are those of the rows."""
        return f"{self.name}_asked" if self.window.every else f"(SELECT {ROW}, {self._listed} FROM {self.base})"

    def join(self, name: str) -> str:
        """Return the join of results to the layer `base`."""
        if not self.window.every:
            return f"LEFT JOIN {name} ON {name}.{ROW} = {self.base}.{ROW}"
        same = [f"{value} = {name}.{entity(i)}" for i, (_, value) in enumerate(self.keys)]
        same.append(f"{self._at} = {name}.{AT}")
        return (
            f"LEFT JOIN (SELECT * FROM {self.name}_asked JOIN {name} USING ({ROW})) AS {name} ON {' AND '.join(same)}"
        )

    @property
    def later(self) -> str:
        """The SQL of the end of the windows, over `times`."""
        end = AT
        for shift in self.window.shifts:
            end = timestamps.before(end, shift, self.table.clock)
        return end

    @property
    def same_entity(self) -> list[str]:
        """The conditions that a time `a` and a row `e` have the same entity."""
        return [f"a.{entity(i)} = e.{entity(i)}" for i in range(len(self.keys))]

    def rows(self, columns: Sequence[str], more: Mapping[str, str] | None = None) -> str:
        """Return the query of the stored rows: keys, times, and source columns under the names that features use."""
        keys = [f"{quote(key)} AS {entity(i)}" for i, (key, _) in enumerate(self.keys)]
        times = [f"{self.table.times[-1].name} AS {OWN}"]
        times += [f"{EVENT_TIMESTAMP} AS {KNOWN}"] if self.table.late else []
        data = [f"{quote(stored(column))} AS {quote(column)}" for column in columns]
        data += [f"{expression} AS {name}" for name, expression in (more or {}).items()]
        select = f"SELECT {', '.join([*keys, *times, *data])} FROM tables.{quote(self.table.name)}"
        if self.few and self.keys:
            select += f" WHERE {quote(self.keys[0][0])} IN (SELECT {self.keys[0][1]} FROM {self.base})"
        return select
