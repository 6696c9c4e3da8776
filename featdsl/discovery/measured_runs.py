"""Find the runs that measured a feature: in its table, and in earlier tables of its group that the store still keeps."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from featdsl.definitions.kinds import FeatureDefinition
from featdsl.definitions.statistics import ColumnStatistics, TableStatistics


@dataclass(frozen=True)
class MeasuredRun:
    """The statistics of a feature in one run of a table."""

    run: TableStatistics
    column: ColumnStatistics


def tables_of_groups(features: Iterable[FeatureDefinition]) -> Mapping[str, set[str]]:
    """Return the stored tables of each group, also those of older versions that consumers pin."""
    tables: dict[str, set[str]] = defaultdict(set)
    for feature in features:
        if feature.table:
            tables[feature.group].add(feature.table)
    return tables


def measured_runs(
    feature: FeatureDefinition, tables: Iterable[str], statistics: Mapping[str, Sequence[TableStatistics]]
) -> list[MeasuredRun]:
    """Return the runs that measured this version of a feature, newest first, one for each state.

    `tables` are those of its group: where another feature of the group changes, the values of this one move to a new table with
    the same fingerprint. A run has a feature by the name that it had then.
    """
    found: dict[int, MeasuredRun] = {}
    for table in sorted(tables, key=lambda name: (name != feature.table, name)):
        for run in statistics.get(table, ()):
            own = [(name, each) for name, each in run.columns.items() if each.fingerprint == feature.fingerprint]
            column = next((each for name, each in own if name == feature.name), own[0][1] if own else None)
            if column is not None:
                found.setdefault(run.serial, MeasuredRun(run, column))
    return [found[serial] for serial in sorted(found, reverse=True)]
