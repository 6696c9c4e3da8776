"""Windows by running totals, which are stored with the rows: what a window holds is the difference of two of them.

All ends of all windows are looked up by one ASOF join, so that the work grows with the ends and not with the matches.
Only totals that are exact are used: of counts, integers and decimals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from featdsl.names import quote
from featdsl.windows.family import OWN, ROW, Asked, Call, Family, Frame, Way
from featdsl.windows.joins import Part

_END, _NUMBER = quote("#end"), quote("#number")


def count_column(total: str) -> str:
    """Return the name of the stored column with the running count of what `total` says."""
    return f"#count {total}" if total else "#count"


def sum_column(total: str) -> str:
    """Return the name of the stored column with the running sum of what `total` says."""
    return f"#sum {total}"


def columns_of(call: Call) -> list[str] | None:
    """Return the stored columns that a result is a difference of, None where it is no such difference."""
    match call.merges:
        case "count":
            return [count_column(call.total)]
        case "sum" | "avg" if call.exact:
            return [count_column(call.total), sum_column(call.total)]
        case _:
            return None


def covered(family: Family, way: Way) -> dict[Frame, list[Call]]:
    """Return the calls of each window that stored totals give."""
    found: dict[Frame, list[Call]] = {}
    if family.window.last_n or family.first.late or family.first.clock != "TIMESTAMP":
        return found
    for frame in family.frames:
        for call in frame.calls:
            needed = columns_of(call)
            if needed is not None and way.totals.issuperset(needed):
                found.setdefault(frame, []).append(call)
    return found


def subtract(family: Family, summed: Mapping[Frame, Sequence[Call]], asked: Asked) -> Part:
    """Return the results of all windows of a family that totals give."""
    name = f"{asked.name}_totals"
    ends = [_before(asked.later, closed=family.window.closed in {"right", "both"})]
    starts: dict[Frame, int] = {}
    for frame in summed:
        start = frame.earlier(f"({asked.later})")
        if start:
            starts[frame] = len(ends)
            ends.append(_before(start, closed=frame.window.closed in {"right", "neither"}))
    columns = sorted({column for calls in summed.values() for call in calls for column in columns_of(call) or ()})
    numbers = ", ".join(str(number) for number in range(len(ends)))
    times = f"SELECT *, unnest([{', '.join(ends)}]) AS {_END}, unnest([{numbers}]) AS {_NUMBER} FROM {asked.times}"
    rows = asked.rows([], {quote(column): quote(column) for column in columns})
    on = " AND ".join([*asked.same_entity, f"a.{_END} > e.{OWN}"])
    found = f"SELECT a.{ROW}, a.{_NUMBER}, {', '.join(f'e.{quote(column)}' for column in columns)}\n    FROM ({times}) AS a\n    ASOF JOIN ({rows}) AS e ON {on}"
    listed, results = [], {}
    for number, (frame, calls) in enumerate(summed.items()):
        for place, call in enumerate(calls):
            column = quote(f"#{number}.{place}")
            listed.append(f"{_difference(call, starts.get(frame))} AS {column}")
            results[frame, call] = f"{name}.{column}"
    body = f"  SELECT {ROW}, {', '.join(listed)}\n  FROM (\n    {found}\n  )\n  GROUP BY {ROW}"
    return Part([f"{name} AS (\n{body}\n)"], [name], results)


def _before(end: str, *, closed: bool) -> str:
    """Return the time before which the rows lie that are counted up to an end, itself included where it is closed."""
    return f"{end} + to_microseconds(1)" if closed else end


def _difference(call: Call, start: int | None) -> str:
    def between(column: str) -> str:
        up_to = [
            f"coalesce(any_value({quote(column)}) FILTER (WHERE {_NUMBER} = {end}), 0)"
            for end in (0, start)
            if end is not None
        ]
        return " - ".join(up_to)

    count = between(count_column(call.total))
    if call.merges == "count":
        return count
    total = between(sum_column(call.total))
    if call.merges == "sum":
        return f"CASE WHEN {count} > 0 THEN {total} END"
    return f"CAST({total} AS DOUBLE) / nullif({count}, 0)"
