"""Windows by joins: the rows in a window beside each time that is asked for.

The work grows with the rows that match. A join goes by entity, or by entity and span of time where entities have far
more rows than a window holds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from featdsl.durations import Length
from featdsl.names import EVENT_TIMESTAMP, quote
from featdsl.windows.family import AT, COUNT, KNOWN, OWN, RING, ROW, TO, Asked, Call, Frame, Results, Way, entity

_BAND, _PLACE = quote("#band"), quote("#place")


@dataclass
class Part:
    """Some results: the CTEs that compute them, the relations to join, and where each result stands in these."""

    ctes: list[str] = field(default_factory=list)
    relations: list[str] = field(default_factory=list)
    results: Results = field(default_factory=dict)


def each(frame: Frame, calls: Sequence[Call], asked: Asked, way: Way) -> Part:
    """Return the results of one window by a join of its own."""
    name = _name(frame, asked)
    banded = way.is_banded(asked.number(frame))
    rows = _last_rows(frame, asked) if frame.window.last_n else _matches(frame, frame.columns, asked, banded=banded)
    listed = ", ".join(f"{call.sql} AS {quote(f'#{i}')}" for i, call in enumerate(calls))
    body = f"  SELECT {ROW}, {listed}\n  FROM {rows}\n  GROUP BY {ROW}"
    return Part([f"{name} AS (\n{body}\n)"], [name], _results(frame, calls, name))


def once(frames: Mapping[Frame, Sequence[Call]], asked: Asked, way: Way) -> Part:
    """Return the results of nested windows by one join of the longest, each row with the number of its smallest one."""
    listed = list(frames)
    rows = f"{asked.name}_rows"
    columns = sorted({column for frame in listed for column in frame.columns})
    kept = ", ".join([ROW, f"{_ring(listed)} AS {RING}", OWN, *(quote(column) for column in columns)])
    part = Part([f"{rows} AS MATERIALIZED (\n  SELECT {kept}\n  FROM {_longest(listed, columns, asked, way)}\n)"])
    for number, (frame, calls) in enumerate(frames.items()):
        name = _name(frame, asked)
        results = ", ".join(f"{call.sql} AS {quote(f'#{i}')}" for i, call in enumerate(calls))
        inside = f"\n  WHERE {RING} <= {number}" if number < len(listed) - 1 else ""
        part.ctes.append(f"{name} AS (\n  SELECT {ROW}, {results}\n  FROM {rows}{inside}\n  GROUP BY {ROW}\n)")
        part.relations.append(name)
        part.results |= _results(frame, calls, name)
    return part


def rings(frames: Mapping[Frame, Sequence[Call]], asked: Asked, way: Way) -> Part:
    """Return the results of nested windows by one join: partial ones of the rows between two windows, then merged."""
    listed = list(frames)
    columns = sorted({column for frame in listed for column in frame.columns})
    calls = list(dict.fromkeys(call for each in frames.values() for call in each))
    partial, name = f"{asked.name}_rings", f"{asked.name}_merged"
    parts = ", ".join(f"{text} AS {column}" for i, call in enumerate(calls) for column, text, _ in partials(i, call))
    ring = f"{_ring(listed)} AS {RING}"
    body = f"  SELECT {ROW}, {ring}, {parts}\n  FROM {_longest(listed, columns, asked, way)}\n  GROUP BY ALL"
    merged, results = [], {}
    for number, (frame, own) in enumerate(frames.items()):
        where = f" FILTER (WHERE {RING} <= {number})" if number < len(listed) - 1 else ""
        for call in own:
            column = quote(f"#{number}.{calls.index(call)}")
            merged.append(f"{merge(calls.index(call), call, where)} AS {column}")
            results[frame, call] = f"{name}.{column}"
    whole = f"  SELECT {ROW}, {', '.join(merged)}\n  FROM {partial}\n  GROUP BY {ROW}"
    return Part([f"{partial} AS (\n{body}\n)", f"{name} AS (\n{whole}\n)"], [name], results)


def partials(number: int, call: Call) -> list[tuple[str, str, str]]:
    """Return the partial results of an aggregate: the column, what it is of rows, and what merges it."""
    if call.merges != "avg":
        how = "sum" if call.merges == "count" else str(call.merges)
        return [(quote(f"#p{number}"), call.sql, how)]
    sums = Call(f"sum({call.argument})", call.where, "sum", call.argument, "", "")
    counts = Call(f"count({call.argument})", call.where, "count", call.argument, "", "")
    return [(quote(f"#p{number}"), sums.sql, "sum"), (quote(f"#c{number}"), counts.sql, "sum")]


def merge(number: int, call: Call, where: str) -> str:
    """Return the result that partial ones come to, those of them that meet a condition."""
    first, *rest = (f"{how}({column}){where}" for column, _, how in partials(number, call))
    return f"CAST({first} AS DOUBLE) / nullif({rest[0]}, 0)" if rest else first


def _ring(frames: Sequence[Frame]) -> str:
    """Return how many of the windows, the shortest first, a row `e` lies before."""
    ends = {frame: end for frame in frames[:-1] if (end := frame.earlier(f"a.{TO}"))}
    return " + ".join(["0", *(f"(NOT ({frame.starts(f'e.{OWN}', end)}))::TINYINT" for frame, end in ends.items())])


def _longest(frames: Sequence[Frame], columns: Sequence[str], asked: Asked, way: Way) -> str:
    return _matches(frames[-1], columns, asked, banded=way.is_banded(asked.number(frames[-1])))


def _matches(frame: Frame, columns: Sequence[str], asked: Asked, *, banded: bool) -> str:
    """Return the relation of times `a` and the rows `e` that lie in a window at them."""
    times, length = _with_ends([frame], asked), frame.window.length
    on = [*asked.same_entity, *_inside(frame, asked)]
    if not (banded and length and length.seconds):
        return f"({times}) AS a\n  JOIN ({asked.rows(columns)}) AS e ON {' AND '.join(on)}"
    # A window as long as a band lies in two of them.
    ends = f"SELECT *, unnest([{_band(TO, length)}, {_band(TO, length)} - 1]) AS {_BAND} FROM ({times})"
    own = asked.first.times[-1].name
    rows = asked.rows(columns, {_BAND: _band(own, length)})
    return f"({ends}) AS a\n  JOIN ({rows}) AS e ON {' AND '.join([f'a.{_BAND} = e.{_BAND}', *on])}"


def _band(time: str, length: Length) -> str:
    return f"epoch_us({time}) // {length.seconds}000000"


def _with_ends(frames: Sequence[Frame], asked: Asked) -> str:
    """Return the query of the times that are asked for, with the ends of windows that end together."""
    times = f"SELECT *, {asked.later} AS {TO} FROM {asked.times}"
    starts = [f"{start} AS {_start(i)}" for i, frame in enumerate(frames) if (start := frame.earlier(TO))]
    return f"SELECT *, {', '.join(starts)} FROM ({times})" if starts else times


def _start(number: int) -> str:
    return quote(f"#from{number or ''}")


def count_met(asked: Asked) -> str:
    """Return the query that counts the rows of their entity and those in each window that all times together meet."""
    windows = [
        f"count(*) FILTER (WHERE {' AND '.join(_inside(frame, asked, number))})"
        for number, frame in enumerate(asked.family.frames)
    ]
    on = " AND ".join(asked.same_entity) or "true"
    with_grid = f"WITH {', '.join(asked.grid())}\n" if asked.grid() else ""
    times = _with_ends(asked.family.frames, asked)
    return f"{with_grid}SELECT count(*), {', '.join(windows)}\nFROM ({times}) AS a JOIN ({asked.rows([])}) AS e ON {on}"


def _inside(frame: Frame, asked: Asked, number: int = 0) -> list[str]:
    """Return the conditions that a row `e` lies in the window of a time `a`, and is known by then."""
    conditions = [f"e.{OWN} {'<=' if frame.window.closed in {'right', 'both'} else '<'} a.{TO}"]
    conditions += [frame.starts(f"e.{OWN}", f"a.{_start(number)}")] if frame.window.length else []
    conditions += [f"e.{KNOWN} <= a.{AT}"] if asked.first.late else []
    return conditions


def _last_rows(frame: Frame, asked: Asked) -> str:
    """Return the relation of the last rows in each window.

    Where rows are known at once their numbers tell which ones can be among them; those of one time share a number.
    """
    most, first = frame.window.last_n, asked.first
    times = _with_ends([frame], asked)
    on, more = [*asked.same_entity, *_inside(frame, asked)], {}
    if not first.late:
        keys = "".join(f"{quote(key)} AS {entity(i)}, " for i, (key, _) in enumerate(asked.keys))
        numbers = f"SELECT {keys}{EVENT_TIMESTAMP} AS {OWN}, {COUNT} FROM tables.{quote(first.table)}"
        up_to = [*asked.same_entity, f"a.{TO} {'>=' if frame.window.closed in {'right', 'both'} else '>'} e.{OWN}"]
        counted = (
            f"SELECT a.*, e.{COUNT} AS {_PLACE} FROM ({times}) AS a ASOF JOIN ({numbers}) AS e ON {' AND '.join(up_to)}"
        )
        spread = f"unnest(range(greatest({_PLACE} - {most}, 0) + 1, {_PLACE} + 1))"
        times = f"SELECT * REPLACE ({spread} AS {_PLACE}) FROM ({counted})"
        on.append(f"a.{_PLACE} = e.{COUNT}")
        more[COUNT] = COUNT
    order = [f"e.{OWN} DESC", *(f"e.{quote(column)} DESC NULLS LAST" for column in [*first.order, *first.reads])]
    last = f"QUALIFY row_number() OVER (PARTITION BY a.{ROW} ORDER BY {', '.join(order)}) <= {most}"
    rows = asked.rows(frame.columns, more)
    return f"(SELECT a.{ROW}, e.* FROM ({times}) AS a JOIN ({rows}) AS e ON {' AND '.join(on)}\n  {last})"


def _name(frame: Frame, asked: Asked) -> str:
    return f"{asked.name}_{asked.number(frame)}"


def _results(frame: Frame, calls: Sequence[Call], name: str) -> Results:
    return {(frame, call): f"{name}.{quote(f'#{i}')}" for i, call in enumerate(calls)}
