"""The table of rows that windows aggregate: its columns, and the running totals that it has."""

from __future__ import annotations

from collections.abc import Sequence

from featdsl.definitions.kinds import FeatureDefinition
from featdsl.definitions.sources import Column, SourceDefinition
from featdsl.definitions.table_spec import TableSpec
from featdsl.engines.duckdb.windows.families import Call, call_of, stored
from featdsl.engines.duckdb.windows.running_totals import columns_of, count_column


def event_columns(features: Sequence[FeatureDefinition], source: SourceDefinition) -> tuple[Column, ...]:
    """Return the columns of the table of rows that windows aggregate."""
    table = TableSpec.of(features)
    data = [Column(name=stored(column), dtype=source.dtype(column)) for column in read_columns(features)]
    totals = [Column(name=name, dtype=_total_type(name, call)) for name, call in totals_of(table, features).items()]
    return (*table.keys, *table.times, *data, *totals)


def read_columns(features: Sequence[FeatureDefinition]) -> list[str]:
    """Return the source columns that windows read, or that order rows of the same time."""
    return sorted({column for feature in features for column in [*feature.reads, *feature.order]})


def totals_of(table: TableSpec, features: Sequence[FeatureDefinition]) -> dict[str, Call | None]:
    """Return the aggregate of each column of running totals that the windows can use; None for the count of all rows."""
    if table.late:
        return {}
    totals: dict[str, Call | None] = {}
    if table.clock == "TIMESTAMP":
        calls = [call_of(feature, each) for feature in features for each in feature.aggregates]
        totals |= {name: call for call in calls for name in columns_of(call) or ()}
    return {**dict(sorted(totals.items())), count_column(""): None}


def _total_type(name: str, call: Call | None) -> str:
    if call is None or name == count_column(call.total):
        return "BIGINT"
    return f"DECIMAL(38,{call.dtype.rpartition(',')[2]}" if call.dtype.startswith("DECIMAL") else "HUGEINT"
