"""The SQL of values now and at the coming moments at which they may change.

Values depend on time in four ways: a row counts from its event time on, until its ttl or its end, and while it is in a
window. The moments are a superset of these: the values at each are computed by the compiler of all reads.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from featdsl.definitions.dtypes import family
from featdsl.definitions.durations import Length
from featdsl.definitions.kinds import FeatureDefinition, revised
from featdsl.definitions.names import EVENT_TIMESTAMP, VALID_TO, quote
from featdsl.definitions.table_spec import TableSpec
from featdsl.definitions.windows import Window
from featdsl.engines.duckdb import timestamps
from featdsl.engines.lookups import ROW, Spine
from featdsl.engines.reading import StepsRequest, times_of

MOST = 1000
"""The most moments of an entity. Its values hold until the first moment that is left out."""

_DAY = 86_400
_MONTH = 31 * _DAY
MOMENT, UNTIL_MOMENT = quote("#moment"), quote("#until")


def boundaries(request: StepsRequest) -> str:
    """Return the query of the keys and moments after `request.at` at which values may change."""
    tables: dict[str, list[FeatureDefinition]] = {}
    for feature in request.stored:
        tables.setdefault(feature.table, []).append(feature)
    selects = [_of_table(features, request) for features in tables.values() if features[0].timed]
    return "\nUNION ALL\n".join(selects)


def _of_table(features: Sequence[FeatureDefinition], request: StepsRequest) -> str:
    """Return the query of the boundaries of the rows of one stored table."""
    table = TableSpec.of(features)
    spans = sorted({span for feature in features for span in _spans(feature)}, key=str)
    grids = sorted({w.every for w in map(_window, features) if w and w.every}, key=str)
    longest = max((span.longest for span in spans), default=0) + max(map(_at_least, grids), default=0)
    # A bound keeps the sums in the range of times; later rows change values after `upto` all the same.
    latest = _time(request.upto + _DAY * 1_000_000)
    event, own, end = (_finite(name, table, latest) for name in (EVENT_TIMESTAMP, table.times[-1].name, VALID_TO))
    times = [event, *(moment for span in spans for moment in span.after(own)), *([end] if table.ends else [])]
    each = "unnest([" + ", ".join(times) + "])"
    keys = "".join(f"{quote(key)}, " for key in table.key_names)
    earliest = _time(request.at - longest * 1_000_000)
    columns = dict.fromkeys([EVENT_TIMESTAMP, table.times[-1].name, *([VALID_TO] if table.ends else [])])
    recent = " OR ".join(f"{_comparable(name, table, latest)} >= {earliest}" for name in columns)
    rows = f"SELECT {keys}{each} AS {MOMENT} FROM tables.{quote(table.name)} WHERE {recent}"
    exact = f"SELECT {keys}unnest([{MOMENT}, {MOMENT} + to_microseconds(1)]) AS {MOMENT} FROM ({rows})"
    for every in grids:
        # Values on a grid change at its points; the rest of the features of the table change at the moments themselves.
        step = timestamps.interval(every)
        on_grid = f"[{MOMENT}, time_bucket({step}, {MOMENT}), time_bucket({step}, {MOMENT}) + {step}]"
        exact = f"SELECT {keys}unnest({on_grid}) AS {MOMENT} FROM ({exact})"
    return f"SELECT {keys}{MOMENT} FROM ({exact}) WHERE {MOMENT} > {_time(request.at)}"


@dataclass(frozen=True)
class _Span:
    """The time from a row until it leaves a window or expires, as a sum of lengths."""

    lengths: tuple[Length, ...]

    @property
    def longest(self) -> int:
        """At least the number of seconds that it has."""
        return sum(_at_least(each) + 4 * _DAY for each in self.lengths)

    def after(self, time: str) -> list[str]:
        """Return the moments at which values may change after a row's time.

        A window subtracts the lengths in order from the time of the read, so the last one is added first.
        """
        moments = [time]
        for calendar, lengths in groupby(reversed(self.lengths), key=lambda length: length.months > 0):
            shift = " + ".join(map(timestamps.interval, lengths))
            moments = [f"{moment} + {shift}" for moment in moments]
            if calendar:
                moments = [day for moment in moments for day in _days_after(moment)]
        return moments


def _days_after(moment: str) -> list[str]:
    """Return the moments at which a row may leave and enter a window that begins whole months earlier.

    Months have no fixed length: a month before the last days of a month is the end of the shorter month before. So that may be
    on each of the days after, at the row's own time of day or at midnight.
    """
    at_own_time = [f"{moment} + to_days({day})" for day in range(4)]
    return [*at_own_time, *(f"date_trunc('day', {moment}) + to_days({day + 1})" for day in range(4))]


def _at_least(length: Length) -> int:
    """Return a number of seconds that a length of time does not exceed."""
    return length.months * _MONTH + length.seconds


def _window(feature: FeatureDefinition) -> Window | None:
    return feature.window


def _spans(feature: FeatureDefinition) -> Iterator[_Span]:
    if feature.window:
        shifts = feature.window.shifts
        yield _Span(shifts)
        if feature.window.length:
            yield _Span((*shifts, feature.window.length))
    elif feature.ttl is not None:
        yield _Span((Length(seconds=feature.ttl),))


def entities(request: StepsRequest) -> str:
    """Return the query of the entities in the stored tables."""
    keys = [quote(key.name) for key in request.keys]
    if not keys:
        return 'SELECT 0 AS "#nothing"'
    tables = sorted({feature.table for feature in request.stored})
    return "\nUNION\n".join(
        f"SELECT DISTINCT {', '.join(keys)} FROM tables.{quote(table)} WHERE {_named(request)}" for table in tables
    )


def _named(request: StepsRequest) -> str:
    """Return the condition that a row names an entity: no key is NULL, and none is an infinite time, which no call can give."""
    infinite = [f"isfinite({quote(key.name)})" for key in request.keys if family(key.dtype) == "instant"]
    return " AND ".join([*(f"{quote(key.name)} IS NOT NULL" for key in request.keys), *infinite])


def changed(request: StepsRequest, moving: str) -> str:
    """Return the query of the entities with rows since the times of the request, of those that move, and of those it names."""
    keys = ", ".join(quote(key.name) for key in request.keys)
    selects = [moving] if moving else []
    selects += [f"SELECT DISTINCT {keys} FROM {relation}" for relation in request.entities]
    clocks = {feature.table: feature.clock for feature in request.stored}
    for table, since in sorted((request.since or {}).items()):
        later = f" AND {EVENT_TIMESTAMP} >= {timestamps.at(since, clocks[table])}" if since else ""
        selects.append(f"SELECT DISTINCT {keys} FROM tables.{quote(table)} WHERE {_named(request)}{later}")
    return "\nUNION\n".join(selects)


def spine_rows(request: StepsRequest, entities: str, boundaries: str) -> str:
    """Return the query of the rows of the spine: each entity now, and at its coming moments, with the moment after the last."""
    keys = ", ".join(quote(key.name) for key in request.keys)
    listed, same = (f"{keys}, ", f"USING ({keys})") if keys else ("", "ON true")
    now = _time(request.at)
    if not boundaries:
        rows = f"SELECT {listed}{now} AS {MOMENT}, CAST(NULL AS TIMESTAMP) AS {UNTIL_MOMENT} FROM {entities}"
        return f"SELECT *, row_number() OVER () AS {quote(ROW)} FROM ({rows})"
    each = f"PARTITION BY {keys} " if keys else ""
    own = f" SEMI JOIN {entities} {same}" if keys else ""
    distinct = f"SELECT DISTINCT {listed}{MOMENT} FROM ({boundaries}){own}"
    numbered = f"SELECT *, row_number() OVER ({each}ORDER BY {MOMENT}) AS n FROM ({distinct})"
    kept = f"n <= {MOST} AND {MOMENT} <= {_time(request.upto)}"
    group = f" GROUP BY {keys}" if keys else ""
    return f"""WITH numbered AS MATERIALIZED ({numbered}),
ends AS (SELECT {listed}min({MOMENT}) FILTER (WHERE NOT ({kept})) AS {UNTIL_MOMENT} FROM numbered{group}),
moments AS (
  SELECT {listed}{now} AS {MOMENT} FROM {entities}
  UNION ALL
  SELECT {listed}{MOMENT} FROM numbered WHERE {kept}
)
SELECT moments.*, {UNTIL_MOMENT}, row_number() OVER (ORDER BY {listed}{MOMENT}) AS {quote(ROW)}
FROM moments LEFT JOIN ends {same}"""


def spine(request: StepsRequest, table: str) -> Spine:
    """Return the spine over the table with the rows of `spine_rows`."""
    names = [key.name for key in request.keys]
    return Spine(
        sql=table,
        columns=[*names, "#until", "#moment", ROW],
        keys={name: quote(name) for name in names},
        time=MOMENT,
        numbered=True,
        ordered=True,
    )


def time_features(stored: Sequence[FeatureDefinition]) -> dict[str, FeatureDefinition]:
    """Return a feature for each of `times_of`: the time of the newest row at a moment, whether the row is valid or not."""
    return {name: time_feature(name, feature) for name, feature in times_of(stored).items()}


def time_feature(name: str, feature: FeatureDefinition) -> FeatureDefinition:
    """Return the feature of a row's own time (`at ...`) or end; of its first key, if its table has no times."""
    if feature.timed:
        column, dtype = feature.times[-1].name if name.startswith("at ") else VALID_TO, str(feature.clock)
    else:
        column, dtype = (
            (feature.keys[0].name, feature.keys[0].dtype) if feature.keys else (feature.column, feature.dtype)
        )
    return revised(
        feature,
        name=f"#{name}",
        stored=column,
        dtype=dtype,
        window=None,
        aggregates=(),
        formula="",
        ttl=None,
        ends=False,
    )


def micros(name: str, feature: FeatureDefinition) -> str:
    """Return the SQL of a time of `time_feature` in microseconds since 1970: NULL for infinity, 0 for a row without a time."""
    if not feature.timed:
        return f"CASE WHEN {quote(name)} IS NOT NULL THEN 0 END" if feature.keys else "0"
    time = _floored_in(quote(name), feature.clock == "TIMESTAMP_NS")
    return f"CASE WHEN isfinite({quote(name)}) THEN epoch_us({time}) END"


def _finite(column: str, table: TableSpec, latest: str) -> str:
    """Return the SQL of a time of a table to the microsecond, at most `latest`; NULL for an infinite one."""
    time = _floored_in(column, table.clock == "TIMESTAMP_NS")
    return f"CASE WHEN isfinite({column}) THEN least({time}, {latest}) END"


def _comparable(column: str, table: TableSpec, latest: str) -> str:
    """Return the SQL of a time that can be compared with any time of microseconds."""
    return column if table.clock == "TIMESTAMP" else _finite(column, table, latest)


def _floored_in(time: str, fine: bool) -> str:  # noqa: FBT001 - the resolution of a clock
    return timestamps.floored(time) if fine else time


def _time(moment: int) -> str:
    return f"make_timestamp({moment})"
