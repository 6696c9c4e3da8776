"""Windows by frames of OVER: times and rows sorted together, so that the work does not grow with the matches."""

from __future__ import annotations

from collections.abc import Sequence

from featdsl import instants
from featdsl.definitions import Window
from featdsl.names import quote
from featdsl.windows.family import AT, OWN, ROW, Asked, Call, Frame, entity
from featdsl.windows.joins import Part


def slide(frame: Frame, calls: Sequence[Call], asked: Asked) -> Part:
    """Return the results of one window."""
    name = f"{asked.name}_over_{asked.number(frame)}"
    keys = ", ".join(entity(i) for i in range(len(asked.keys)))
    times = (
        f"SELECT {', '.join([*filter(None, [keys]), f'{AT} AS {OWN}', ROW])} FROM {asked.times} WHERE {AT} IS NOT NULL"
    )
    both = f"SELECT *, NULL::BIGINT AS {ROW} FROM ({asked.rows(frame.columns)})\n    UNION ALL BY NAME\n    {times}"
    by = f"PARTITION BY {keys} " if keys else ""
    over = f"WINDOW f AS ({by}ORDER BY {OWN} RANGE BETWEEN {_ends(frame.window)})"
    # The times are sorted among the rows, and are none of them.
    results = ", ".join(
        f"{call.over([f'{ROW} IS NULL'])} OVER f AS {quote(f'#{number}')}" for number, call in enumerate(calls)
    )
    slid = f"    SELECT {ROW}, {results}\n    FROM (\n    {both}\n    )\n    {over}"
    cte = f"{name} AS (\n  SELECT * FROM (\n{slid}\n  )\n  WHERE {ROW} IS NOT NULL\n)"
    return Part([cte], [name], {(frame, call): f"{name}.{quote(f'#{i}')}" for i, call in enumerate(calls)})


def _ends(window: Window) -> str:
    """Return the ends of a frame. One microsecond is between an end that counts and one that does not."""
    micro = "to_microseconds(1)"
    shift = " + ".join(instants.interval(each) for each in window.shifts) or "to_seconds(0)"
    right = shift if window.closed in {"right", "both"} else f"{shift} + {micro}"
    if window.length is None:
        return f"UNBOUNDED PRECEDING AND {right} PRECEDING"
    left = f"{shift} + {instants.interval(window.length)}"
    left = left if window.closed in {"left", "both"} else f"{left} - {micro}"
    return f"{left} PRECEDING AND {right} PRECEDING"
