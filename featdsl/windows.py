"""The SQL of windows: what the rows of a source that lie in a window come to, at each time that is asked for.

Some ways to compute one value are quick where others are slow; each gives every row of the spine the same results:

- `join`: the rows in the window are joined to each time and aggregated; quick where few rows match;
- `frames`: times and rows are sorted together and OVER slides along; its cost does not grow with the matches.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from featdsl import instants
from featdsl.definitions import ORDER, Aggregate, FeatureDefinition, Window
from featdsl.durations import Length
from featdsl.names import EVENT_TIMESTAMP, quote

Way = Literal["join", "frames"]
"""How windows are computed."""

_ROW, _AT, _FROM, _TO, _OWN, _KNOWN, _COUNT, _PLACE = (
    quote(f"#{name}") for name in ("row", "at", "from", "to", "own", "known", "count", "place")
)

_PLACED = re.compile(r'"#(\d+)"')


def stored(column: str) -> str:
    """Return the name in an events table of a column of its source; no key and no time has such a name."""
    return f"= {column}"


COUNT = "#count"
"""The column of an events table that tells how many rows its entity has up to its time, itself included."""


@dataclass(frozen=True)
class Lookup:
    """Windowed features that are read from one events table for the same entity of a spine.

    `keys` are pairs of a key of the entity and the column of the spine's layer that it is asked by.
    """

    features: tuple[FeatureDefinition, ...]
    keys: tuple[tuple[str, str], ...]

    @property
    def frames(self) -> dict[tuple[Window, tuple[str, ...], bool], list[FeatureDefinition]]:
        """The features that look at the same rows, whose aggregates are computed together; and whether OVER can."""
        found: dict[tuple[Window, tuple[str, ...], bool], list[FeatureDefinition]] = {}
        for feature in self.features:
            if feature.window:
                # Which rows are the last ones may depend on what a feature reads: where times tie.
                order = (*feature.order, *feature.reads) if feature.window.last_n else ()
                found.setdefault((feature.window, order, _slides(feature, feature.window)), []).append(feature)
        return found


@dataclass
class Compiled:
    """A windowed lookup as SQL: CTEs, joins to the spine's layer, and the value of each feature."""

    ctes: list[str]
    joins: list[str]
    values: dict[str, str]


def compile_lookup(lookup: Lookup, *, base: str, number: int, few: bool, way: Way = "join") -> Compiled:
    """Return the SQL of a lookup over the layer `base`, whose rows `"#row"` tells apart.

    `number` makes the names of its CTEs its own; `few` says that few of the stored entities are asked for.
    """
    compiled = Compiled([], [], {})
    for part, ((window, _, slides), features) in enumerate(lookup.frames.items()):
        name = f"w{number}_{part}"
        frame = _Frame(lookup, window, features, base, name, few=few)
        results = {text: f"{name}.{quote(f'#{i}')}" for i, text in enumerate(frame.calls)}
        compiled.ctes += frame.ctes(way if slides else "join")
        compiled.joins.append(frame.join())
        for feature in features:
            filled = [_present(results[_call(feature, each)], each) for each in feature.aggregates]
            compiled.values[feature.fingerprint] = _filled(feature.formula, filled)
    return compiled


def _slides(feature: FeatureDefinition, window: Window) -> bool:
    """Return whether a window can be a frame of OVER, which knows no order of rows but that of time."""
    calendar = any(each and each.months for each in (window.length, *window.shifts))
    plain = not feature.late and feature.clock == "TIMESTAMP" and not window.last_n
    by_order = any(ORDER in each.call for each in feature.aggregates)
    return plain and not by_order and not (calendar and window.shifts)


def _present(result: str, aggregate: Aggregate) -> str:
    return f"coalesce({result}, {aggregate.empty})" if aggregate.empty else result


def _call(feature: FeatureDefinition, aggregate: Aggregate) -> str:
    """Return an aggregate with the order of rows filled in: by time, and where times tie by what the feature reads."""
    order = ", ".join([_OWN, *(f"{quote(column)} NULLS FIRST" for column in [*feature.order, *feature.reads])])
    call = aggregate.call.replace(ORDER, order)
    return f"{call} FILTER (WHERE {_safe(aggregate.where)})" if aggregate.where else call


@dataclass
class _Frame:
    """The features of a lookup that look at the same rows."""

    lookup: Lookup
    window: Window
    features: Sequence[FeatureDefinition]
    base: str
    name: str
    few: bool

    @property
    def first(self) -> FeatureDefinition:
        return self.features[0]

    @property
    def calls(self) -> list[str]:
        return list(dict.fromkeys(_call(feature, each) for feature in self.features for each in feature.aggregates))

    @property
    def columns(self) -> list[str]:
        return sorted({column for feature in self.features for column in [*feature.reads, *feature.order]})

    def ctes(self, way: Way) -> list[str]:
        body = _sliding(self) if way == "frames" else _joined(self)
        grid = f"SELECT row_number() OVER () AS {_ROW}, * FROM (SELECT DISTINCT {self._listed()} FROM {self.base})"
        asked = [f"{self.name}_asked AS MATERIALIZED (\n  {grid}\n)"] if self.window.every else []
        return [*asked, f"{self.name} AS (\n{body}\n)"]

    @property
    def asked(self) -> str:
        """The times that are asked for, each with a number: of a grid each once, else one a row of the spine."""
        return f"{self.name}_asked" if self.window.every else f"(SELECT {_ROW}, {self._listed()} FROM {self.base})"

    def _listed(self) -> str:
        keys = [f"{column} AS {_entity(i)}" for i, (_, column) in enumerate(self.lookup.keys)]
        return ", ".join([*keys, f"{self._at()} AS {_AT}"])

    def _at(self) -> str:
        fine = self.first.clock == "TIMESTAMP_NS"
        if self.window.every:
            whole = f'time_bucket({instants.interval(self.window.every)}, {self.base}."#time")'
            return instants.widened(whole) if fine else whole
        return f'{self.base}."#time_ns"' if fine else f'{self.base}."#time"'

    def join(self) -> str:
        """Return the join of the results to the layer that asks."""
        if not self.window.every:
            return f"LEFT JOIN {self.name} ON {self.name}.{_ROW} = {self.base}.{_ROW}"
        same = [f"{column} = {self.name}.{_entity(i)}" for i, (_, column) in enumerate(self.lookup.keys)]
        same.append(f"{self._at()} = {self.name}.{_AT}")
        return f"LEFT JOIN (SELECT * FROM {self.name}_asked JOIN {self.name} USING ({_ROW})) AS {self.name} ON {' AND '.join(same)}"

    @property
    def later(self) -> str:
        """The later end of the window."""
        return _earlier(_AT, self.window.shifts, self.first)

    @property
    def earlier(self) -> str | None:
        """The earlier end of the window, where it has one."""
        return _earlier(_AT, [*self.window.shifts, self.window.length], self.first) if self.window.length else None

    def events(self, *more: str) -> str:
        """Return the relation of stored rows, its columns under the names that SQL of users knows."""
        keys = [f"{quote(key)} AS {_entity(i)}" for i, (key, _) in enumerate(self.lookup.keys)]
        times = [f"{self.first.times[-1].name} AS {_OWN}"]
        times += [f"{EVENT_TIMESTAMP} AS {_KNOWN}"] if self.first.late else []
        data = [f"{quote(stored(column))} AS {quote(column)}" for column in self.columns]
        select = f"SELECT {', '.join([*keys, *times, *data, *more])} FROM tables.{quote(self.first.table)}"
        if self.few and self.lookup.keys:
            select += f" WHERE {quote(self.lookup.keys[0][0])} IN (SELECT {self.lookup.keys[0][1]} FROM {self.base})"
        return select

    @property
    def same_entity(self) -> list[str]:
        return [f"a.{_entity(i)} = e.{_entity(i)}" for i in range(len(self.lookup.keys))]

    def results(self, over: str = "") -> str:
        return ", ".join(f"{call}{over} AS {quote(f'#{i}')}" for i, call in enumerate(self.calls))


def _joined(frame: _Frame) -> str:
    """Return the results by way of joining to each time the rows that lie in its window."""
    window = frame.window
    if window.last_n:
        rows = _last_rows(frame)
    else:
        ends = [f"{frame.later} AS {_TO}"] + ([f"{frame.earlier} AS {_FROM}"] if frame.earlier else [])
        rows = f"(SELECT *, {', '.join(ends)} FROM {frame.asked}) AS a\n  JOIN ({frame.events()}) AS e"
        rows += f" ON {' AND '.join([*frame.same_entity, *_inside(frame)]) or 'true'}"
    return f"  SELECT {_ROW}, {frame.results()}\n  FROM {rows}\n  GROUP BY {_ROW}"


def _inside(frame: _Frame) -> list[str]:
    """Return the conditions that a row `e` lies in the window of a time `a`."""
    left = ">=" if frame.window.closed in {"left", "both"} else ">"
    right = "<=" if frame.window.closed in {"right", "both"} else "<"
    conditions = [f"e.{_OWN} {right} a.{_TO}"]
    conditions += [f"e.{_OWN} {left} a.{_FROM}"] if frame.earlier else []
    conditions += [f"e.{_KNOWN} <= a.{_AT}"] if frame.first.late else []
    return conditions


def _last_rows(frame: _Frame) -> str:
    """Return the relation of the last rows in each window.

    Where rows are known at once their numbers tell which ones can be among them; those of one time share a number.
    """
    most = frame.window.last_n or 0
    ends = [f"{frame.later} AS {_TO}"] + ([f"{frame.earlier} AS {_FROM}"] if frame.earlier else [])
    times = f"(SELECT *, {', '.join(ends)} FROM {frame.asked})"
    on = [*frame.same_entity, *_inside(frame)]
    if not frame.first.late:
        right = ">=" if frame.window.closed in {"right", "both"} else ">"
        keys = "".join(f"{quote(key)} AS {_entity(i)}, " for i, (key, _) in enumerate(frame.lookup.keys))
        numbers = f"SELECT {keys}{EVENT_TIMESTAMP} AS {_OWN}, {quote(COUNT)} AS {_COUNT} FROM tables.{quote(frame.first.table)}"
        up_to = f"{' AND '.join([*frame.same_entity, f'a.{_TO} {right} e.{_OWN}'])}"
        counted = f"SELECT a.*, e.{_COUNT} AS {_PLACE} FROM {times} AS a ASOF JOIN ({numbers}) AS e ON {up_to}"
        spread = f"unnest(range(greatest({_PLACE} - {most}, 0) + 1, {_PLACE} + 1))"
        times = f"(SELECT * REPLACE ({spread} AS {_PLACE}) FROM ({counted}))"
        on.append(f"a.{_PLACE} = e.{_COUNT}")
    events = frame.events(*([] if frame.first.late else [f"{quote(COUNT)} AS {_COUNT}"]))
    order = [
        f"e.{_OWN} DESC",
        *(f"e.{quote(column)} DESC NULLS LAST" for column in [*frame.first.order, *frame.first.reads]),
    ]
    last = f"QUALIFY row_number() OVER (PARTITION BY a.{_ROW} ORDER BY {', '.join(order)}) <= {most}"
    return f"(SELECT a.{_ROW}, e.* FROM {times} AS a JOIN ({events}) AS e ON {' AND '.join(on)}\n  {last})"


def _sliding(frame: _Frame) -> str:
    """Return the results by way of frames over the rows and the times together."""
    keys = ", ".join(_entity(i) for i in range(len(frame.lookup.keys)))
    both = f"SELECT *, NULL::BIGINT AS {_ROW} FROM ({frame.events()})\n    UNION ALL BY NAME\n"
    both += f"    SELECT {', '.join([*filter(None, [keys]), f'{_AT} AS {_OWN}', _ROW])} FROM {frame.asked} WHERE {_AT} IS NOT NULL"
    by = f"PARTITION BY {keys} " if keys else ""
    over = f"WINDOW f AS ({by}ORDER BY {_OWN} RANGE BETWEEN {_range(frame.window)})"
    results = ", ".join(
        f"{_only_events(feature, aggregate)} OVER f AS {quote(f'#{number}')}"
        for number, (feature, aggregate) in enumerate(_distinct(frame))
    )
    return f"  SELECT * FROM (\n    SELECT {_ROW}, {results}\n    FROM (\n    {both}\n    )\n    {over}\n  )\n  WHERE {_ROW} IS NOT NULL"


def _distinct(frame: _Frame) -> Iterable[tuple[FeatureDefinition, Aggregate]]:
    """Return the aggregates of a frame in the order of its calls."""
    found: dict[str, tuple[FeatureDefinition, Aggregate]] = {}
    for feature in frame.features:
        for aggregate in feature.aggregates:
            found.setdefault(_call(feature, aggregate), (feature, aggregate))
    return found.values()


def _only_events(feature: FeatureDefinition, aggregate: Aggregate) -> str:
    """Return an aggregate over the rows alone, without the times that are sorted among them."""
    call = _call(feature, Aggregate(call=aggregate.call))
    where = f" AND ({_safe(aggregate.where)})" if aggregate.where else ""
    return f"{call} FILTER (WHERE {_ROW} IS NULL{where})"


def _range(window: Window) -> str:
    """Return the ends of a frame. One microsecond is between an end that counts and one that does not."""
    micro = "to_microseconds(1)"
    shift = " + ".join(instants.interval(each) for each in window.shifts) or "to_seconds(0)"
    right = shift if window.closed in {"right", "both"} else f"{shift} + {micro}"
    if window.length is None:
        return f"UNBOUNDED PRECEDING AND {right} PRECEDING"
    left = f"{shift} + {instants.interval(window.length)}"
    left = left if window.closed in {"left", "both"} else f"{left} - {micro}"
    return f"{left} PRECEDING AND {right} PRECEDING"


def _earlier(time: str, lengths: Iterable[Length], feature: FeatureDefinition) -> str:
    for length in lengths:
        time = instants.before(time, length, feature.clock)
    return time


def _filled(formula: str, results: Sequence[str]) -> str:
    """Return a formula with the SQL of each aggregate's result in its place."""
    return _PLACED.sub(lambda match: results[int(match[1])], formula)


def _safe(condition: str) -> str:
    """Return a condition whose comments swallow nothing that follows."""
    return f"{condition}\n" if "--" in condition else condition


def _entity(number: int) -> str:
    return quote(f"#e{number}")
