"""Measure the tables that a run has written, before it publishes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

from featdsl.apply.run import Run
from featdsl.definitions.kinds import FeatureDefinition
from featdsl.definitions.statistics import TableStatistics
from featdsl.engines.lookups import Versions
from featdsl.engines.session import EngineError
from featdsl.engines.statistics import MeasuredTable

_FAILURES = (EngineError, ArithmeticError, ValueError, TypeError)
"""What statistics of odd values may raise: it must not fail the run, whose tables are built and checked by now."""
_AT_ONCE = 32
"""The number of tables that are measured together: a query for each would take longer than the small tables themselves."""


def collect(tables: Iterable[str], run: Run, recorded: Iterable[FeatureDefinition] = ()) -> None:
    """Give the writer the statistics of tables, with those of features that this run records.

    A table that cannot be measured has none: no error is raised for it.
    """
    if not run.project.settings.store.statistics:
        return
    new = list(recorded)
    versions = {**run.writer.snapshot.versions, **{(each.address, each.fingerprint): each for each in new}}
    features = _by_table(run, new)
    names = [name for name in dict.fromkeys(tables) if name in features]
    for begin in range(0, len(names), _AT_ONCE):
        part = names[begin : begin + _AT_ONCE]
        run.writer.measured(_measured(part, run, features, versions))


def _by_table(run: Run, recorded: Iterable[FeatureDefinition]) -> dict[str, list[FeatureDefinition]]:
    """Return the features of each table by their names: of several versions that this run records, else the current one."""
    snapshot = run.writer.snapshot
    named: dict[str, dict[str, FeatureDefinition]] = {}
    for feature in (*snapshot.versions.values(), *snapshot.catalog.features.values(), *recorded):
        if feature.table:
            named.setdefault(feature.table, {})[feature.name] = feature
    return {table: list(features.values()) for table, features in named.items()}


def _measured(
    names: Sequence[str], run: Run, features: Mapping[str, Sequence[FeatureDefinition]], versions: Versions
) -> list[TableStatistics]:
    writer = run.writer
    tables = [MeasuredTable(name, writer.table(name).rows, features[name]) for name in names]
    try:
        writer.open(names)
        found = run.session.statistics.measure(tables, versions)
    except _FAILURES:
        return []
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    return [
        TableStatistics(
            table=table.name,
            serial=writer.serial,
            computed_at=now,
            during=run.during,
            rows=table.rows,
            newest=figures.newest,
            columns=dict(figures.columns),
        )
        for table, figures in zip(tables, found, strict=True)
    ]
