"""Windows by frames of OVER: times and rows are sorted together, so the work does not grow with the number of matches."""

from __future__ import annotations

from collections.abc import Sequence

from featdsl.definitions.names import quote
from featdsl.definitions.windows import Window
from featdsl.engines.duckdb import timestamps
from featdsl.engines.duckdb.windows.families import AT, OWN, ROW, Call, Frame, RequestedTimes, entity
from featdsl.engines.duckdb.windows.joins import WindowPart


def slide(frame: Frame, calls: Sequence[Call], requested: RequestedTimes) -> WindowPart:
    """Return the results of one window."""
    name = f"{requested.name}_over_{requested.number(frame)}"
    keys = ", ".join(entity(i) for i in range(len(requested.keys)))
    times = f"SELECT {', '.join([*filter(None, [keys]), f'{AT} AS {OWN}', ROW])} FROM {requested.times} WHERE {AT} IS NOT NULL"
    both = f"SELECT *, NULL::BIGINT AS {ROW} FROM ({requested.rows(frame.columns)})\n    UNION ALL BY NAME\n    {times}"
    by = f"PARTITION BY {keys} " if keys else ""
    over = f"WINDOW f AS ({by}ORDER BY {OWN} RANGE BETWEEN {_ends(frame.window)})"
    # The times are sorted among the rows; the filter leaves them out of the aggregates.
    results = ", ".join(
        f"{call.over([f'{ROW} IS NULL'])} OVER f AS {quote(f'#{number}')}" for number, call in enumerate(calls)
    )
    slid = f"    SELECT {ROW}, {results}\n    FROM (\n    {both}\n    )\n    {over}"
    cte = f"{name} AS (\n  SELECT * FROM (\n{slid}\n  )\n  WHERE {ROW} IS NOT NULL\n)"
    return WindowPart([cte], [name], {(frame, call): f"{name}.{quote(f'#{i}')}" for i, call in enumerate(calls)})


def _ends(window: Window) -> str:
    """Return the ends of a frame. An open end lies one microsecond inside a closed one."""
    micro = "to_microseconds(1)"
    shift = " + ".join(timestamps.interval(each) for each in window.shifts) or "to_seconds(0)"
    right = shift if window.closed in {"right", "both"} else f"{shift} + {micro}"
    if window.length is None:
        return f"UNBOUNDED PRECEDING AND {right} PRECEDING"
    left = f"{shift} + {timestamps.interval(window.length)}"
    left = left if window.closed in {"left", "both"} else f"{left} - {micro}"
    return f"{left} PRECEDING AND {right} PRECEDING"
