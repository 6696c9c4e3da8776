"""The SQL of checks: each query returns the rows or figures that break a rule."""

from __future__ import annotations

from collections.abc import Sequence

from featdsl.definitions.kinds import FeatureDefinition
from featdsl.definitions.names import EVENT_TIMESTAMP, SOURCE_TIMESTAMP, UNTIL, quote
from featdsl.definitions.quality_rules import Distribution, Expectation, Freshness, Stability, Uniqueness, Volume
from featdsl.definitions.table_spec import RowSpec, TableSpec
from featdsl.engines import Baseline
from featdsl.engines.duckdb import distributions
from featdsl.engines.duckdb.timestamps import NOW, at, floored, is_younger
from featdsl.engines.duckdb.views import values
from featdsl.engines.lookups import Versions


def duplicates(features: Sequence[FeatureDefinition], *, is_base: bool, since: str | None) -> str:
    """Return the query of rows that share an entity and an event time, in the table of these features.

    `is_base` says whether the table is over a source. Rows before `since`, a time as text, are not read.
    """
    table = TableSpec.of(features)
    by = [*table.identity, *([SOURCE_TIMESTAMP] if table.late else [])]
    names = ", ".join(quote(column) for column in by)
    listed, grouped = (f"{names}, ", f" GROUP BY {names}") if names else ("", "")
    number, conditions = "count(*)", [f"{EVENT_TIMESTAMP} >= {at(since, table.clock)}"] if since else []
    if is_base and table.timed and not table.late:
        # Of duplicates, all but the last end at their own time: grouping only such rows is much faster.
        conditions.append(f"{quote(UNTIL)} = {EVENT_TIMESTAMP}")
        number += f" + CAST({EVENT_TIMESTAMP} < {table.clock} 'infinity' AS INTEGER)"
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    return f"SELECT {listed}{number} AS rows FROM tables.{quote(table.name)}{where}{grouped} HAVING rows > 1"


def violations(
    features: Sequence[FeatureDefinition], versions: Versions, rule: tuple[str, Expectation], since: str | None
) -> str:
    """Return the query of the rows of a group that break a condition on a feature; NULL breaks none."""
    feature, expectation = rule
    rows = RowSpec.of(features)
    shown = ", ".join(quote(column) for column in [*rows.identity, feature])
    later = f"{EVENT_TIMESTAMP} >= {at(since, rows.clock)} AND " if since else ""
    relation = values(features, versions, since=since)
    return f"SELECT {shown} FROM {relation} WHERE {later}NOT (\n{expectation.condition}\n)"


def outside(feature: FeatureDefinition, versions: Versions, rule: Distribution) -> str:
    """Return the query of a feature's figures that lie outside their bounds."""
    return distributions.outside(rule, feature.name, feature.dtype, values([feature], versions))


def moved(feature: FeatureDefinition, versions: Versions, rule: Stability, baseline: Baseline) -> str:
    """Return the query of a distribution shift: of later rows from earlier ones, or of one build from another."""
    rows, before = values([feature], versions), baseline.before
    if rule.reference or (before is None and not baseline.since):
        return distributions.moved(rule, feature.name, feature.dtype, rows, rows)
    if baseline.since:
        time = at(baseline.since, feature.clock)
        new, old = (f"(SELECT * FROM {rows} WHERE {EVENT_TIMESTAMP} {sign} {time})" for sign in (">=", "<"))
        return distributions.moved(rule, feature.name, feature.dtype, new, old)
    assert before is not None  # noqa: S101 - the first `if` returns without a baseline
    renamed = f"(SELECT {quote(before.name)} AS {quote(feature.name)} FROM {values([before], versions)})"
    return distributions.moved(rule, feature.name, feature.dtype, rows, renamed)


def shared(features: Sequence[FeatureDefinition], versions: Versions, rule: Uniqueness) -> str:
    """Return the query of the values that several entities share, with the number of entities."""
    names = ", ".join(quote(column) for column in rule.columns)
    keys = ", ".join(quote(key) for key in RowSpec.of(features).key_names if key not in rule.columns)
    present = " AND ".join(f"{quote(column)} IS NOT NULL" for column in rule.columns)
    each = f"SELECT DISTINCT {names}, {keys} FROM {values(features, versions)} WHERE {present}"
    return f"SELECT {names}, count(*) AS entities FROM ({each}) GROUP BY {names} HAVING count(*) > 1"


def stale(table: TableSpec, rule: Freshness) -> str:
    """Return the query of the newest event time of a table up to now, empty unless it is NULL or too old."""
    time = floored(EVENT_TIMESTAMP) if table.clock == "TIMESTAMP_NS" else EVENT_TIMESTAMP
    newest = f"SELECT max({time}) FILTER ({time} <= {NOW}) AS newest FROM tables.{quote(table.name)}"
    young = is_younger("newest", NOW, rule.seconds, "TIMESTAMP")
    return f"SELECT newest FROM ({newest}) WHERE newest IS NULL OR NOT {young}"


def miscounted(table: TableSpec, rule: Volume) -> str:
    """Return the query of the number of rows of a table, empty unless it is too small or too large."""
    ends = [f"rows < {rule.least}"] * (rule.least is not None) + [f"rows > {rule.most}"] * (rule.most is not None)
    counted = f"SELECT count(*) AS rows FROM tables.{quote(table.name)}"
    return f"SELECT rows FROM ({counted}) WHERE {' OR '.join(ends)}"
