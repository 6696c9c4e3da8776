"""Windows by tiles: partial results for spans of equal width, and the rows of spans that a window covers in part.

The work grows with the number of tiles in a window and of rows in the tiles at its ends, not with all matches. Wider tiles
are fewer, but have more rows at the ends. Each query makes the tiles from the stored rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from featdsl.definitions.names import quote
from featdsl.engines.duckdb.windows.families import (
    OWN,
    RING,
    ROW,
    TO,
    Call,
    Family,
    Frame,
    RequestedTimes,
    Results,
    WindowOperator,
    entity,
)
from featdsl.engines.duckdb.windows.joins import WindowPart, merge, partials

_TILE, _LAST, _FROM = quote("#tile"), quote("#last tile"), quote("#from")
_BEYOND = 2**62
_EDGE = 1_000
"""Ring numbers from here on are those of the tiles in which windows begin."""


def is_tiled(family: Family) -> bool:
    """Return whether tiles can compute the windows of a family."""
    return family.nested and family.table.clock == "TIMESTAMP" and not family.table.late


def add_up(frames: Mapping[Frame, Sequence[Call]], requested: RequestedTimes, operator: WindowOperator) -> WindowPart:
    """Return the results of nested windows."""
    listed, name = list(frames), f"{requested.name}_tiles"
    times, tiles, whole, ends = (f"{name}_{suffix}" for suffix in ("times", "made", "whole", "ends"))
    calls = list(dict.fromkeys(call for each in frames.values() for call in each))
    parts = [part for i, call in enumerate(calls) for part in partials(i, call)]
    made = ", ".join(f"{text} AS {column}" for column, text, _ in parts)
    again = ", ".join(f"{how}(e.{column}) AS {column}" for column, _, how in parts)
    rows = requested.rows(sorted({column for frame in listed for column in frame.columns}))
    rows = f"SELECT *, {_tile(OWN, operator)} AS {_TILE} FROM ({rows})"
    keys = "".join(f"{entity(i)}, " for i in range(len(requested.keys)))
    merged, results = _merged(frames, calls, name)
    bodies = {
        times: _times(listed, requested, operator),
        tiles: f"SELECT {keys}{_TILE}, {made}\n  FROM ({rows})\n  GROUP BY ALL",
        whole: f"SELECT {ROW}, {_ring(listed, f'e.{_TILE}')} AS {RING}, {again}\n"
        f"  FROM {times} AS a\n  JOIN {tiles} AS e ON {' AND '.join(_between(listed, requested))}\n  GROUP BY ALL",
        ends: f"SELECT {ROW}, {RING}, {made}\n"
        f"  FROM ({_ends(listed, times)}) AS a\n  JOIN ({rows}) AS e ON {' AND '.join(_inside(listed, requested))}\n  GROUP BY ALL",
        name: f"SELECT {ROW}, {merged}\n  FROM (FROM {whole} UNION ALL FROM {ends})\n  GROUP BY {ROW}",
    }
    return WindowPart([f"{key} AS (\n  {body}\n)" for key, body in bodies.items()], [name], results)


def _tile(time: str, operator: WindowOperator) -> str:
    """Return the SQL of the number of a time's tile; infinite times have a tile before or after all others."""
    beyond = f"CASE WHEN {time} > TIMESTAMP '1970-01-01' THEN {_BEYOND} ELSE -{_BEYOND} END"
    return f"coalesce(epoch_us({time}) // {operator.tile_seconds}000000, {beyond})"


def _times(frames: Sequence[Frame], requested: RequestedTimes, operator: WindowOperator) -> str:
    """Return the query of the times, with the tile and the start of each window."""
    later = f"SELECT *, {requested.later} AS {TO} FROM {requested.times}"
    starts = {number: start for number, frame in enumerate(frames) if (start := frame.earlier(TO))}
    listed = "".join(f", {start} AS {_start(number)}" for number, start in starts.items())
    tiles = "".join(f", {_tile(_start(number), operator)} AS {_first(number)}" for number in starts)
    return f"SELECT *, {_tile(TO, operator)} AS {_LAST}{tiles} FROM (SELECT *{listed} FROM ({later})) WHERE {TO} IS NOT NULL"


def _start(number: int) -> str:
    return quote(f"#from{number}")


def _first(number: int) -> str:
    return quote(f"#tile{number}")


def _between(frames: Sequence[Frame], requested: RequestedTimes) -> list[str]:
    """Return the conditions that a tile `e` is within the longest window of a time `a`."""
    on = [*requested.same_entity, f"e.{_TILE} < a.{_LAST}"]
    return [*on, f"e.{_TILE} > a.{_first(len(frames) - 1)}"] if frames[-1].window.length else on


def _ring(frames: Sequence[Frame], tile: str) -> str:
    """Return the SQL of the number of windows that begin in a tile or after it."""
    begun = [f"({tile} <= a.{_first(i)})::SMALLINT" for i, frame in enumerate(frames) if frame.window.length]
    return " + ".join(["0::SMALLINT", *begun])


def _ends(frames: Sequence[Frame], times: str) -> str:
    """Return the query of the tiles in which windows begin or end, with the time from which their rows count.

    Windows that begin before the last tile share it; a window that begins in it has its own part of it.
    """
    starts = [number for number, frame in enumerate(frames) if frame.window.length]
    listed = {
        _TILE: [f"a.{_LAST}", *(f"a.{_first(i)}" for i in starts)],
        _FROM: ["TIMESTAMP '-infinity'", *(f"a.{_start(i)}" for i in starts)],
        RING: [_ring(frames, f"a.{_LAST}"), *(f"{_EDGE + i}::SMALLINT" for i in starts)],
    }
    spread = ", ".join(f"unnest([{', '.join(values)}]) AS {column}" for column, values in listed.items())
    return f"SELECT a.*, {spread} FROM {times} AS a"


def _inside(frames: Sequence[Frame], requested: RequestedTimes) -> list[str]:
    """Return the conditions that a row `e` is in the part of a tile that counts at an end `a`."""
    closed = frames[0].window.closed
    until = f"e.{OWN} {'<=' if closed in {'right', 'both'} else '<'} a.{TO}"
    return [*requested.same_entity, f"e.{_TILE} = a.{_TILE}", until, frames[0].starts(f"e.{OWN}", f"a.{_FROM}")]


def _merged(frames: Mapping[Frame, Sequence[Call]], calls: Sequence[Call], name: str) -> tuple[str, Results]:
    """Return the SQL that merges the results of whole tiles and of ends, and the column of each result."""
    listed, results = [], {}
    for number, (frame, own) in enumerate(frames.items()):
        where = f" FILTER (WHERE {RING} <= {number} OR {RING} = {_EDGE + number})"
        for call in own:
            column = quote(f"#{number}.{calls.index(call)}")
            listed.append(f"{merge(calls.index(call), call, where)} AS {column}")
            results[frame, call] = f"{name}.{column}"
    return ", ".join(listed), results
