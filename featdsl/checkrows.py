"""The checks of a plan: for each declared rule the query of what breaks it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, assert_never

from featdsl import distributions, engine, instants, selects
from featdsl.definitions import Catalog, FeatureDefinition
from featdsl.errors import DataError, Problem
from featdsl.names import EVENT_TIMESTAMP, quote
from featdsl.plan import CheckRows
from featdsl.rules import Distribution, Expectation, Freshness, Rule, Stability, Uniqueness, Volume

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

Versions = Mapping[tuple[str, str], FeatureDefinition]


def declared(catalog: Catalog, group: str) -> list[tuple[str, Rule]]:
    """Return the rules of the features of a group, and of all its rows, each with the address of what it is of."""
    stored = catalog.stored_members_of(group)
    of_features = [(each.address, rule) for each in stored for rule in (*each.expect, *each.whole)]
    return [*of_features, *((group, rule) for rule in catalog.groups[group].rules)]


def can_be_run(rule: Rule, since: str, before: FeatureDefinition | None) -> bool:
    """Return whether there is something to compare with, where a rule compares the values of two builds."""
    return not isinstance(rule, Stability) or bool(rule.reference or since or before)


def check(  # noqa: PLR0913 - what it may be compared with
    catalog: Catalog,
    group: str,
    ruled: tuple[str, Rule],
    versions: Versions,
    since: str = "",
    *,
    before: FeatureDefinition | None = None,
) -> CheckRows:
    """Return the check of one rule of a group.

    Of what is told of single rows only those from a time on are looked at, where its SQL is given. A distribution is
    compared with that of the feature as it was `before`, or with that of the rows before this time.
    """
    address, rule = ruled
    features = catalog.stored_members_of(group)
    table = _table(features)
    match rule:
        case Expectation():
            sql = selects.violations(features, versions, rule.condition, catalog.features[address].name, since)
            mend = "Correct the data or the feature's SQL, or relax its expect=."
        case Distribution():
            feature = catalog.features[address]
            sql = distributions.outside(rule, feature.name, feature.dtype, selects.values(features, versions))
            mend = "See what has changed in the data, or relax expect=Between(...)."
        case Stability():
            sql = _moved(rule, catalog.features[address], versions, since, before)
            mend = "See what has changed in the data, or relax expect=Stable(...)."
        case Uniqueness():
            sql = _shared(features, versions, rule)
            mend = "Correct the data, or relax unique=."
        case Freshness():
            sql = _old(table, rule, features[0].clock)
            mend = "See why no newer rows come, or relax max_age=."
        case Volume():
            sql = _miscounted(table, rule)
            mend = "See why rows are missing or too many, or relax rows=."
        case _:
            assert_never(rule)
    wide = isinstance(rule, Expectation | Uniqueness | Distribution | Stability)
    compared = {before.table} if isinstance(rule, Stability) and before and not rule.reference and not since else set()
    return CheckRows(
        address=address,
        kind=rule.kind,
        rule=rule.text,
        name=rule.name,
        severity=rule.severity,
        sql=sql,
        reads=tuple(sorted({each.table for each in features} | compared)) if wide else (table,),
        mend=mend,
        origin=catalog.features[address].origin if address in catalog.features else catalog.groups[group].origin,
    )


def _moved(
    rule: Stability, feature: FeatureDefinition, versions: Versions, since: str, before: FeatureDefinition | None
) -> str:
    """Return the query of how far the values of a feature moved: new rows from older ones, or one build from another."""
    values = selects.values([feature], versions)
    if rule.reference or (before is None and not since):
        return distributions.moved(rule, feature.name, feature.dtype, values, values)
    if since:
        new, old = (f"(SELECT * FROM {values} WHERE {EVENT_TIMESTAMP} {sign} {since})" for sign in (">=", "<"))
        return distributions.moved(rule, feature.name, feature.dtype, new, old)
    assert before is not None  # noqa: S101 - see above
    renamed = f"(SELECT {quote(before.name)} AS {quote(feature.name)} FROM {selects.values([before], versions)})"
    return distributions.moved(rule, feature.name, feature.dtype, values, renamed)


def violations(step: CheckRows, connection: DuckDBPyConnection, *, most: int) -> tuple[int, list[dict[str, Any]]]:
    """Return how many rows break the rule of a check, and up to `most` of them by column.

    Raises DataError where the rule cannot be computed for what the data hold.
    """
    import duckdb

    try:
        return engine.first_rows(connection, step.sql, most)
    except duckdb.Error as error:
        said = "\n".join(str(error).splitlines()[:3])
        what = f"{step.address}, the rule {step.told}: {said}"
        raise DataError(Problem("Check cannot be computed", what, step.origin, step.mend)) from None


def _table(features: Sequence[FeatureDefinition]) -> str:
    """Return the table whose rows count as the group's: that of its values, else that of what its windows look at."""
    return min(features, key=lambda each: (each.window is not None, each.table)).table


def _shared(features: Sequence[FeatureDefinition], versions: Versions, rule: Uniqueness) -> str:
    """Return the query of the values that several entities share."""
    names = ", ".join(quote(column) for column in rule.columns)
    keys = ", ".join(quote(key.name) for key in features[0].keys if key.name not in rule.columns)
    present = " AND ".join(f"{quote(column)} IS NOT NULL" for column in rule.columns)
    each = f"SELECT DISTINCT {names}, {keys} FROM {selects.values(features, versions)} WHERE {present}"
    return f"SELECT {names}, count(*) AS entities FROM ({each}) GROUP BY {names} HAVING count(*) > 1"


def _old(table: str, rule: Freshness, clock: instants.Clock) -> str:
    """Return the query of the newest time, where that is too old or there is none; times to come tell nothing."""
    time = instants.floored(EVENT_TIMESTAMP) if clock == "TIMESTAMP_NS" else EVENT_TIMESTAMP
    newest = f"SELECT max({time}) FILTER ({time} <= {instants.NOW}) AS newest FROM tables.{quote(table)}"
    young = instants.is_younger("newest", instants.NOW, rule.seconds, "TIMESTAMP")
    return f"SELECT newest FROM ({newest}) WHERE newest IS NULL OR NOT {young}"


def _miscounted(table: str, rule: Volume) -> str:
    """Return the query of the number of rows, where that is too small or too large."""
    ends = [f"rows < {rule.least}"] * (rule.least is not None) + [f"rows > {rule.most}"] * (rule.most is not None)
    return f"SELECT rows FROM (SELECT count(*) AS rows FROM tables.{quote(table)}) WHERE {' OR '.join(ends)}"
