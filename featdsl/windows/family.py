"""Which windows end together, which aggregates each has, and where the rows and the times come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from featdsl import instants
from featdsl.definitions import ORDER, Aggregate, FeatureDefinition, Merge, Window
from featdsl.durations import Length
from featdsl.names import EVENT_TIMESTAMP, quote

ROW, AT, TO, OWN, KNOWN, COUNT, RING = (
    quote(f"#{name}") for name in ("row", "at", "to", "own", "known", "count", "ring")
)
Method = Literal["each", "once", "rings", "tiles", "frames"]
"""How aggregates are computed: a join for each window, one join of the longest, that one with partial results by the
smallest window that holds a row, partial results of spans of time, or frames of OVER."""


@dataclass(frozen=True)
class Way:
    """How a family of windows is computed.

    `banded` numbers the windows whose joins go by spans of time as well as by entity. `totals` names the columns of
    running totals that are stored: where their differences are results they are used. `rest` is how results are computed
    that rings or tiles cannot be merged to. Tiles are `tile_seconds` wide.
    """

    method: Method = "each"
    banded: frozenset[int] = frozenset()
    totals: frozenset[str] = frozenset()
    rest: Method = "each"
    tile_seconds: int = 86_400

    def is_banded(self, number: int) -> bool:
        """Return whether a window's join goes by spans of time."""
        return number in self.banded


@dataclass(frozen=True)
class Call:
    """One aggregate as SQL over rows: `text` with its order filled in, over those that meet `where`."""

    text: str
    where: str
    merges: Merge | None
    argument: str
    total: str
    dtype: str

    @property
    def exact(self) -> bool:
        """Whether sums of its argument are exact, so that a difference of two of them is as well."""
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
"""The SQL of each result, once what it stands in is joined."""


@dataclass(frozen=True)
class Frame:
    """Features that look at the same rows."""

    window: Window
    features: tuple[FeatureDefinition, ...]

    @property
    def calls(self) -> list[Call]:
        """The aggregates that the features need, each once."""
        return list(dict.fromkeys(call_of(feature, each) for feature in self.features for each in feature.aggregates))

    @property
    def columns(self) -> list[str]:
        """The columns of the source that the aggregates read."""
        return sorted({column for feature in self.features for column in [*feature.reads, *feature.order]})

    @property
    def slides(self) -> bool:
        """Whether the window can be a frame of OVER."""
        first, window = self.features[0], self.window
        calendar = any(each and each.months for each in (window.length, *window.shifts))
        plain = all(each.slides for feature in self.features for each in feature.aggregates)
        fit = not first.late and first.clock == "TIMESTAMP" and not window.last_n
        return plain and fit and not (calendar and window.shifts)

    def earlier(self, later: str) -> str | None:
        """Return the earlier end of the window, where it has one."""
        return instants.before(later, self.window.length, self.features[0].clock) if self.window.length else None

    def starts(self, own: str, start: str) -> str:
        """Return the condition that a row is not before the window."""
        return f"{own} {'>=' if self.window.closed in {'left', 'both'} else '>'} {start}"


@dataclass(frozen=True)
class Family:
    """Windows that end together, the shortest first."""

    frames: tuple[Frame, ...]

    @property
    def first(self) -> FeatureDefinition:
        """One of the features: what their table has, all of them say."""
        return self.frames[0].features[0]

    @property
    def window(self) -> Window:
        """One of the windows: their later ends are the same."""
        return self.frames[0].window

    @property
    def nested(self) -> bool:
        """Whether each window lies within the next one, whatever the time."""
        lengths = [frame.window.length for frame in self.frames]
        fixed = not any(length and length.months for length in lengths) and not self.window.last_n
        return fixed and len({frame.window.closed for frame in self.frames}) == 1

    @property
    def longest(self) -> Length | None:
        """The length of the longest window, None where one has no beginning."""
        return self.frames[-1].window.length


def families(features: Sequence[FeatureDefinition]) -> list[Family]:
    """Return the windowed features by the ends of their windows, then by the windows."""
    ends: dict[object, dict[object, list[FeatureDefinition]]] = {}
    for feature in features:
        window = feature.window
        if window is None:
            continue
        # Which rows are the last ones may depend on what a feature reads: where times tie.
        order = (*feature.order, *feature.reads) if window.last_n else ()
        slides = all(each.slides for each in feature.aggregates)
        end = (window.delay, window.offset, window.every, window.last_n, order, window.closed in {"right", "both"})
        ends.setdefault(end, {}).setdefault((window, slides), []).append(feature)
    found = []
    for frames in ends.values():
        listed = [Frame(members[0].window, tuple(members)) for members in frames.values() if members[0].window]
        found.append(Family(tuple(sorted(listed, key=lambda frame: _size(frame.window.length)))))
    return found


def _size(length: Length | None) -> float:
    return float("inf") if length is None else length.months * 2_629_746 + length.seconds


def call_of(feature: FeatureDefinition, aggregate: Aggregate) -> Call:
    """Return an aggregate with the order of rows filled in: by time, and where times tie by what the feature reads."""
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
    """Return a condition whose comments swallow nothing that follows."""
    return f"{condition}\n" if "--" in condition else condition


def stored(column: str) -> str:
    """Return the name in an events table of a column of its source; no key and no time has such a name."""
    return f"= {column}"


def entity(number: int) -> str:
    """Return the name of a key within the SQL of windows."""
    return quote(f"#e{number}")


@dataclass(frozen=True)
class Asked:
    """The times that are asked for, and the stored rows.

    `keys` are pairs of a key of the entity and the SQL of its value in the layer `base`; `name` makes the names of CTEs
    its own; `few` says that few of the stored entities are asked for.
    """

    base: str
    keys: tuple[tuple[str, str], ...]
    name: str
    few: bool
    family: Family = Family(())

    def of_family(self, number: int, family: Family) -> Asked:
        """Return the same for one family."""
        return replace(self, name=f"{self.name}_{number}", family=family)

    @property
    def first(self) -> FeatureDefinition:
        """One of the features of the family."""
        return self.family.first

    def number(self, frame: Frame) -> int:
        """Return the number of a window in its family."""
        return self.family.frames.index(frame)

    @property
    def window(self) -> Window:
        """One of the windows of the family."""
        return self.family.window

    @property
    def _at(self) -> str:
        fine = self.first.clock == "TIMESTAMP_NS"
        if self.window.every:
            whole = f'time_bucket({instants.interval(self.window.every)}, {self.base}."#time")'
            return instants.widened(whole) if fine else whole
        return f'{self.base}."#time_ns"' if fine else f'{self.base}."#time"'

    @property
    def _listed(self) -> str:
        keys = [f"{value} AS {entity(i)}" for i, (_, value) in enumerate(self.keys)]
        return ", ".join([*keys, f"{self._at} AS {AT}"])

    def grid(self) -> list[str]:
        """Return the CTE of the times of a grid, each once for each entity, with numbers."""
        if not self.window.every:
            return []
        distinct = f"SELECT DISTINCT {self._listed} FROM {self.base}"
        return [f"{self.name}_asked AS MATERIALIZED (\n  SELECT row_number() OVER () AS {ROW}, * FROM ({distinct})\n)"]

    @property
    def times(self) -> str:
        """The relation of the times that are asked for, each with a number: where there is no grid, that of the row."""
        return f"{self.name}_asked" if self.window.every else f"(SELECT {ROW}, {self._listed} FROM {self.base})"

    def join(self, name: str) -> str:
        """Return the join of results to the layer that asks."""
        if not self.window.every:
            return f"LEFT JOIN {name} ON {name}.{ROW} = {self.base}.{ROW}"
        same = [f"{value} = {name}.{entity(i)}" for i, (_, value) in enumerate(self.keys)]
        same.append(f"{self._at} = {name}.{AT}")
        return (
            f"LEFT JOIN (SELECT * FROM {self.name}_asked JOIN {name} USING ({ROW})) AS {name} ON {' AND '.join(same)}"
        )

    @property
    def later(self) -> str:
        """The later end of the windows, over `times`."""
        end = AT
        for shift in self.window.shifts:
            end = instants.before(end, shift, self.first.clock)
        return end

    @property
    def same_entity(self) -> list[str]:
        """The conditions that a time `a` and a row `e` are of one entity."""
        return [f"a.{entity(i)} = e.{entity(i)}" for i in range(len(self.keys))]

    def rows(self, columns: Sequence[str], more: Mapping[str, str] | None = None) -> str:
        """Return the query of the stored rows: entity, times, and columns under the names that SQL of users knows."""
        keys = [f"{quote(key)} AS {entity(i)}" for i, (key, _) in enumerate(self.keys)]
        times = [f"{self.first.times[-1].name} AS {OWN}"]
        times += [f"{EVENT_TIMESTAMP} AS {KNOWN}"] if self.first.late else []
        data = [f"{quote(stored(column))} AS {quote(column)}" for column in columns]
        data += [f"{expression} AS {name}" for name, expression in (more or {}).items()]
        select = f"SELECT {', '.join([*keys, *times, *data])} FROM tables.{quote(self.first.table)}"
        if self.few and self.keys:
            select += f" WHERE {quote(self.keys[0][0])} IN (SELECT {self.keys[0][1]} FROM {self.base})"
        return select
