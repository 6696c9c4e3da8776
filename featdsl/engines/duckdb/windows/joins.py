"""Windows by joins of requested times with the rows in their windows.

The work grows with the number of matches. Rows are joined by entity, or by entity and span of time if entities have far
more rows than a window holds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from featdsl.definitions.durations import Length
from featdsl.definitions.names import EVENT_TIMESTAMP, quote
from featdsl.engines.duckdb.windows.families import (
    AT,
    COUNT,
    KNOWN,
    OWN,
    RING,
    ROW,
    TO,
    Call,
    Frame,
    RequestedTimes,
    Results,
    WindowOperator,
    entity,
)

_BAND, _PLACE = quote("#band"), quote("#place")


@dataclass
class WindowPart:
    """Some results: the CTEs that compute them, the relations to join, and the SQL of each result."""

    ctes: list[str] = field(default_factory=list)
    relations: list[str] = field(default_factory=list)
    results: Results = field(default_factory=dict)


def each(frame: Frame, calls: Sequence[Call], requested: RequestedTimes, operator: WindowOperator) -> WindowPart:
    """Return the results of one window, by a join of its own."""
    name = _name(frame, requested)
    banded = operator.is_banded(requested.number(frame))
    rows = (
        _last_rows(frame, requested)
        if frame.window.last_n
        else _matches(frame, frame.columns, requested, banded=banded)
    )
    listed = ", ".join(f"{call.sql} AS {quote(f'#{i}')}" for i, call in enumerate(calls))
    body = f"  SELECT {ROW}, {listed}\n  FROM {rows}\n  GROUP BY {ROW}"
    return WindowPart([f"{name} AS (\n{body}\n)"], [name], _results(frame, calls, name))


def once(frames: Mapping[Frame, Sequence[Call]], requested: RequestedTimes, operator: WindowOperator) -> WindowPart:
    """Return the results of nested windows, by one join of the longest: each row has the number of its shortest window."""
    listed = list(frames)
    rows = f"{requested.name}_rows"
    columns = sorted({column for frame in listed for column in frame.columns})
    kept = ", ".join([ROW, f"{_ring(listed)} AS {RING}", OWN, *(quote(column) for column in columns)])
    part = WindowPart(
        [f"{rows} AS MATERIALIZED (\n  SELECT {kept}\n  FROM {_longest(listed, columns, requested, operator)}\n)"]
    )
    for number, (frame, calls) in enumerate(frames.items()):
        name = _name(frame, requested)
        results = ", ".join(f"{call.sql} AS {quote(f'#{i}')}" for i, call in enumerate(calls))
        inside = f"\n  WHERE {RING} <= {number}" if number < len(listed) - 1 else ""
        part.ctes.append(f"{name} AS (\n  SELECT {ROW}, {results}\n  FROM {rows}{inside}\n  GROUP BY {ROW}\n)")
        part.relations.append(name)
        part.results |= _results(frame, calls, name)
    return part


def rings(frames: Mapping[Frame, Sequence[Call]], requested: RequestedTimes, operator: WindowOperator) -> WindowPart:
    """Return the results of nested windows, by one join: partial results for the rows between two windows are merged."""
    listed = list(frames)
    columns = sorted({column for frame in listed for column in frame.columns})
    calls = list(dict.fromkeys(call for each in frames.values() for call in each))
    partial, name = f"{requested.name}_rings", f"{requested.name}_merged"
    parts = ", ".join(f"{text} AS {column}" for i, call in enumerate(calls) for column, text, _ in partials(i, call))
    ring = f"{_ring(listed)} AS {RING}"
    body = f"  SELECT {ROW}, {ring}, {parts}\n  FROM {_longest(listed, columns, requested, operator)}\n  GROUP BY ALL"
    merged, results = [], {}
    for number, (frame, own) in enumerate(frames.items()):
        where = f" FILTER (WHERE {RING} <= {number})" if number < len(listed) - 1 else ""
        for call in own:
            column = quote(f"#{number}.{calls.index(call)}")
            merged.append(f"{merge(calls.index(call), call, where)} AS {column}")
            results[frame, call] = f"{name}.{column}"
    whole = f"  SELECT {ROW}, {', '.join(merged)}\n  FROM {partial}\n  GROUP BY {ROW}"
    return WindowPart([f"{partial} AS (\n{body}\n)", f"{name} AS (\n{whole}\n)"], [name], results)


def partials(number: int, call: Call) -> list[tuple[str, str, str]]:
    """Return the partial results of an aggregate: the column, its SQL over rows, and the aggregate that merges it."""
    if call.merges != "avg":
        how = "sum" if call.merges == "count" else str(call.merges)
        return [(quote(f"#p{number}"), call.sql, how)]
    sums = Call(f"sum({call.argument})", call.where, "sum", call.argument, "", "")
    counts = Call(f"count({call.argument})", call.where, "count", call.argument, "", "")
    return [(quote(f"#p{number}"), sums.sql, "sum"), (quote(f"#c{number}"), counts.sql, "sum")]


def merge(number: int, call: Call, where: str) -> str:
    """Return the SQL that merges the partial results that meet a condition."""
    first, *rest = (f"{how}({column}){where}" for column, _, how in partials(number, call))
    return f"CAST({first} AS DOUBLE) / nullif({rest[0]}, 0)" if rest else first


def _ring(frames: Sequence[Frame]) -> str:
    """Return the SQL of the number of windows that begin after a row `e`."""
    ends = {frame: end for frame in frames[:-1] if (end := frame.earlier(f"a.{TO}"))}
    return " + ".join(["0", *(f"(NOT ({frame.starts(f'e.{OWN}', end)}))::TINYINT" for frame, end in ends.items())])


def _longest(
    frames: Sequence[Frame], columns: Sequence[str], requested: RequestedTimes, operator: WindowOperator
) -> str:
    return _matches(frames[-1], columns, requested, banded=operator.is_banded(requested.number(frames[-1])))


def _matches(frame: Frame, columns: Sequence[str], requested: RequestedTimes, *, banded: bool) -> str:
    """Return the relation of times `a` and the rows `e` in their windows."""
    times, length = _with_ends([frame], requested), frame.window.length
    on = [*requested.same_entity, *_inside(frame, requested)]
    if not (banded and length and length.seconds):
        return f"({times}) AS a\n  JOIN ({requested.rows(columns)}) AS e ON {' AND '.join(on)}"
    # A window as long as a band overlaps two bands.
    ends = f"SELECT *, unnest([{_band(TO, length)}, {_band(TO, length)} - 1]) AS {_BAND} FROM ({times})"
    own = requested.table.times[-1].name
    rows = requested.rows(columns, {_BAND: _band(own, length)})
    return f"({ends}) AS a\n  JOIN ({rows}) AS e ON {' AND '.join([f'a.{_BAND} = e.{_BAND}', *on])}"


def _band(time: str, length: Length) -> str:
    return f"epoch_us({time}) // {length.seconds}000000"


def _with_ends(frames: Sequence[Frame], requested: RequestedTimes) -> str:
    """Return the query of the requested times, with the starts and the end of windows that end together."""
    times = f"SELECT *, {requested.later} AS {TO} FROM {requested.times}"
    starts = [f"{start} AS {_start(i)}" for i, frame in enumerate(frames) if (start := frame.earlier(TO))]
    return f"SELECT *, {', '.join(starts)} FROM ({times})" if starts else times


def _start(number: int) -> str:
    return quote(f"#from{number or ''}")


def count_matches(requested: RequestedTimes) -> str:
    """Return the query of the number of rows that a join of all times by entity matches, and of those in each window."""
    windows = [
        f"count(*) FILTER (WHERE {' AND '.join(_inside(frame, requested, number))})"
        for number, frame in enumerate(requested.family.frames)
    ]
    on = " AND ".join(requested.same_entity) or "true"
    with_grid = f"WITH {', '.join(requested.grid())}\n" if requested.grid() else ""
    times = _with_ends(requested.family.frames, requested)
    return f"{with_grid}SELECT count(*), {', '.join(windows)}\nFROM ({times}) AS a JOIN ({requested.rows([])}) AS e ON {on}"


def _inside(frame: Frame, requested: RequestedTimes, number: int = 0) -> list[str]:
    """Return the conditions that a row `e` is in the window of a time `a`, and is known at that time."""
    conditions = [f"e.{OWN} {'<=' if frame.window.closed in {'right', 'both'} else '<'} a.{TO}"]
    conditions += [frame.starts(f"e.{OWN}", f"a.{_start(number)}")] if frame.window.length else []
    conditions += [f"e.{KNOWN} <= a.{AT}"] if requested.table.late else []
    return conditions


def _last_rows(frame: Frame, requested: RequestedTimes) -> str:
    """Return the relation of the last rows in each window.

    Unless rows become known late, their numbers limit the join to candidates. Rows of one time share a number.
    """
    most, table, first = frame.window.last_n, requested.table, frame.features[0]
    times = _with_ends([frame], requested)
    on, more = [*requested.same_entity, *_inside(frame, requested)], {}
    if not table.late:
        keys = "".join(f"{quote(key)} AS {entity(i)}, " for i, (key, _) in enumerate(requested.keys))
        numbers = f"SELECT {keys}{EVENT_TIMESTAMP} AS {OWN}, {COUNT} FROM tables.{quote(table.name)}"
        up_to = [*requested.same_entity, f"a.{TO} {'>=' if frame.window.closed in {'right', 'both'} else '>'} e.{OWN}"]
        counted = (
            f"SELECT a.*, e.{COUNT} AS {_PLACE} FROM ({times}) AS a ASOF JOIN ({numbers}) AS e ON {' AND '.join(up_to)}"
        )
        spread = f"unnest(range(greatest({_PLACE} - {most}, 0) + 1, {_PLACE} + 1))"
        times = f"SELECT * REPLACE ({spread} AS {_PLACE}) FROM ({counted})"
        on.append(f"a.{_PLACE} = e.{COUNT}")
        more[COUNT] = COUNT
    # Features share a frame with `last_n` only if they read the same columns.
    order = [f"e.{OWN} DESC", *(f"e.{quote(column)} DESC NULLS LAST" for column in [*first.order, *first.reads])]
    last = f"QUALIFY row_number() OVER (PARTITION BY a.{ROW} ORDER BY {', '.join(order)}) <= {most}"
    rows = requested.rows(frame.columns, more)
    return f"(SELECT a.{ROW}, e.* FROM ({times}) AS a JOIN ({rows}) AS e ON {' AND '.join(on)}\n  {last})"


def _name(frame: Frame, requested: RequestedTimes) -> str:
    return f"{requested.name}_{requested.number(frame)}"


def _results(frame: Frame, calls: Sequence[Call], name: str) -> Results:
    return {(frame, call): f"{name}.{quote(f'#{i}')}" for i, call in enumerate(calls)}
