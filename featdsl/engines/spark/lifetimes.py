"""Windows without a start, from the running totals of their last row: one pass over the rows and the requested times.

Only exact totals are used: counts, and sums of integers and decimals. Other aggregates are computed by the join of windows, whose
work grows with the number of rows before each requested time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from featdsl.definitions.kinds import FeatureDefinition
from featdsl.definitions.names import EVENT_TIMESTAMP
from featdsl.engines.duckdb.windows.families import Call, call_of
from featdsl.engines.duckdb.windows.running_totals import columns_of
from featdsl.engines.spark.expressions import plain, variant
from featdsl.engines.spark.sql_text import quote, table_relation

_TOTALS, _FOUND, _SIDE, _TIME = (quote(f"#{name}") for name in ("totals", "found", "side", "time"))


@dataclass(frozen=True)
class Lifetime:
    """Features of one window without a start whose aggregates all are running totals, which have these types by column."""

    features: tuple[FeatureDefinition, ...]
    totals: Mapping[str, str]

    @classmethod
    def of(cls, features: Sequence[FeatureDefinition], types: Mapping[str, str]) -> Lifetime | None:
        """Return the features of a window with their totals, given the types of the stored columns; None if totals will not do."""
        window = features[0].window
        if window is None or window.length or window.last_n or features[0].late or any(map(variant, features)):
            return None
        totals: dict[str, str] = {}
        for call in _calls(features):
            columns = columns_of(call)
            if columns is None or call.merges == "avg" or not types.keys() >= set(columns):
                return None
            totals |= {column: types[column] for column in columns}
        return cls(tuple(features), dict(sorted(totals.items())))

    def value(self, call: Call) -> str:
        """Return the result of an aggregate, over the relation of `rows`."""
        columns = columns_of(call) or []
        count = f"coalesce({self._field(columns[0])}, 0)"
        return count if call.merges == "count" else f"CASE WHEN {count} > 0 THEN {self._field(columns[1])} END"

    def _field(self, column: str) -> str:
        return f"{_FOUND}.c{list(self.totals).index(column)}"

    def rows(self, keys: Sequence[str], at: str, asked: str) -> str:
        """Return the relation of requested times, each with the totals of the last row in its window.

        `asked` is the query of the keys, the times and the ends of windows, `#to`. Rows at an end that is closed come before it.
        """
        window, feature = self.features[0].window, self.features[0]
        closed = window is not None and window.closed in {"right", "both"}
        request, row = ("1", "0") if closed else ("0", "1")
        kind = f"STRUCT<{', '.join(f'c{i}: {plain(dtype)}' for i, dtype in enumerate(self.totals.values()))}>"
        fields = ", ".join(f"'c{i}', {quote(column)}" for i, column in enumerate(self.totals))
        own = [quote(key.name) for key in feature.keys]
        times = f"SELECT {_listed([*keys, at, f'`#to` AS {_TIME}', f'{request} AS {_SIDE}', f'CAST(NULL AS {kind}) AS {_TOTALS}'])} FROM ({asked})"
        stored = f"SELECT {_listed([*own, 'NULL', EVENT_TIMESTAMP, row, f'named_struct({fields})'])} FROM {table_relation(feature.table)}"
        partition = f"PARTITION BY {_listed(keys)} " if keys else ""
        over = (
            f"{partition}ORDER BY {_TIME} ASC NULLS FIRST, {_SIDE} ASC ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW"
        )
        found = f"last_value({_TOTALS}) IGNORE NULLS OVER ({over}) AS {_FOUND}"
        inside = f"SELECT {_listed([*keys, at, _SIDE, found])} FROM ({times} UNION ALL {stored})"
        return f"(SELECT {_listed([*keys, at, _FOUND])} FROM ({inside}) WHERE {_SIDE} = {request})"


def _listed(columns: Iterable[str]) -> str:
    return ", ".join(columns)


def _calls(features: Iterable[FeatureDefinition]) -> list[Call]:
    return [call_of(feature, aggregate) for feature in features for aggregate in feature.aggregates]
