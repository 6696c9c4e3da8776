"""Windows by stored running totals: the result of a window is the difference of the totals at its ends.

One ASOF join looks up the ends of all windows, so the work grows with the number of ends, not of matches. Only exact totals
are used: counts, and sums of integers and decimals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from featdsl.definitions.kinds import FeatureDefinition
from featdsl.definitions.names import quote
from featdsl.engines.duckdb.windows.families import (
    OWN,
    ROW,
    Call,
    Family,
    Frame,
    RequestedTimes,
    WindowOperator,
    call_of,
)
from featdsl.engines.duckdb.windows.joins import WindowPart

_END, _NUMBER = quote("#end"), quote("#number")


def count_column(total: str) -> str:
    """Return the name of the stored column with the running count of `total`; of all rows if it is empty."""
    return f"#count {total}" if total else "#count"


def sum_column(total: str) -> str:
    """Return the name of the stored column with the running sum of `total`."""
    return f"#sum {total}"


def columns_of(call: Call) -> list[str] | None:
    """Return the stored columns that a result is computed from, None if it cannot be computed from totals."""
    match call.merges:
        case "count":
            return [count_column(call.total)]
        case "sum" | "avg" if call.exact:
            return [count_column(call.total), sum_column(call.total)]
        case _:
            return None


def columns_of_features(features: Sequence[FeatureDefinition]) -> dict[str, Call]:
    """Return the stored columns that the windows of features are differences of, each with one of its aggregates."""
    calls = [call_of(feature, aggregate) for feature in features for aggregate in feature.aggregates]
    return {name: call for call in calls for name in columns_of(call) or ()}


def covered(family: Family, operator: WindowOperator) -> dict[Frame, list[Call]]:
    """Return the calls of each window that can be computed from stored totals."""
    if family.window.last_n or family.table.late or family.table.clock != "TIMESTAMP":
        return {}
    calls_by_frame: dict[Frame, list[Call]] = {}
    for frame in family.frames:
        for call in frame.calls:
            needed = columns_of(call)
            if needed is not None and operator.totals.issuperset(needed):
                calls_by_frame.setdefault(frame, []).append(call)
    return calls_by_frame


def subtract(family: Family, summed: Mapping[Frame, Sequence[Call]], requested: RequestedTimes) -> WindowPart:
    """Return the results of the calls of a family that are computed from totals."""
    name = f"{requested.name}_totals"
    ends = [_before(requested.later, closed=family.window.closed in {"right", "both"})]
    starts: dict[Frame, int] = {}
    for frame in summed:
        start = frame.earlier(f"({requested.later})")
        if start:
            starts[frame] = len(ends)
            ends.append(_before(start, closed=frame.window.closed in {"right", "neither"}))
    columns = sorted({column for calls in summed.values() for call in calls for column in columns_of(call) or ()})
    numbers = ", ".join(str(number) for number in range(len(ends)))
    times = f"SELECT *, unnest([{', '.join(ends)}]) AS {_END}, unnest([{numbers}]) AS {_NUMBER} FROM {requested.times}"
    rows = requested.rows([], {quote(column): quote(column) for column in columns})
    on = " AND ".join([*requested.same_entity, f"a.{_END} > e.{OWN}"])
    totals = f"SELECT a.{ROW}, a.{_NUMBER}, {', '.join(f'e.{quote(column)}' for column in columns)}\n    FROM ({times}) AS a\n    ASOF JOIN ({rows}) AS e ON {on}"
    listed, results = [], {}
    for number, (frame, calls) in enumerate(summed.items()):
        for place, call in enumerate(calls):
            column = quote(f"#{number}.{place}")
            listed.append(f"{_difference(call, starts.get(frame))} AS {column}")
            results[frame, call] = f"{name}.{column}"
    body = f"  SELECT {ROW}, {', '.join(listed)}\n  FROM (\n    {totals}\n  )\n  GROUP BY {ROW}"
    return WindowPart([f"{name} AS (\n{body}\n)"], [name], results)


def _before(end: str, *, closed: bool) -> str:
    """Return the time before which rows count up to an end; rows at a `closed` end count too."""
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
