"""Collect a group's data quality rules, and refuse rules that no stored data could break or satisfy."""

from __future__ import annotations

from collections.abc import Sequence

from featdsl.catalog.builder import CatalogBuilder
from featdsl.declarations.feature_group import GroupDeclaration
from featdsl.definitions.kinds import FeatureDefinition
from featdsl.definitions.names import EVENT_TIMESTAMP, did_you_mean
from featdsl.definitions.quality_rules import GroupRule


def rules_of(
    builder: CatalogBuilder, group: GroupDeclaration, stored: Sequence[FeatureDefinition]
) -> tuple[GroupRule, ...]:
    """Return the row rules of a group with these stored features; adds a problem to the builder for each unusable one."""
    address = f"group {group.name}"
    rules: tuple[GroupRule, ...] = (*group.unique, *group.max_age, *group.rows)
    if rules and not stored:
        what = f"{address} cannot check {rules[0].text}: it stores no rows, as all its features need request-time data."
        builder.refuse(
            address, "Check on a request", what, group.origin, "Remove it, or move it to the inputs' groups."
        )
        return ()
    for unique in group.unique:
        _refuse_other_columns(builder, group, stored, unique.columns)
    if group.max_age and not (group.source and group.source.timestamp):
        lacks = f"source {group.source.name} has no timestamp=" if group.source else "it is derived from features"
        fix = "Add timestamp= to the source." if group.source else "Move it to the groups over the sources."
        what = f"{address} has max_age=, but {lacks}, so the age of its rows is unknown."
        builder.refuse(address, "Age without times", what, group.origin, fix)
    return rules


def _refuse_other_columns(
    builder: CatalogBuilder, group: GroupDeclaration, stored: Sequence[FeatureDefinition], columns: Sequence[str]
) -> None:
    """Refuse a unique rule over unknown columns, and one over a whole key, which is always unique."""
    address, rule = f"group {group.name}", f"unique {', '.join(columns)}"
    keys = [key.name for key in stored[0].keys]
    known = [*keys, EVENT_TIMESTAMP, *sorted(feature.name for feature in stored)]
    unknown = [column for column in columns if column not in known]
    if any(f"feature {group.name}.{column}" in builder.broken for column in unknown):
        return
    if unknown:
        what = f"{address} has the check {rule}, but no column {unknown[0]!r}."
        fix = did_you_mean(unknown[0], known) or f"Its columns are: {', '.join(known)}."
        builder.refuse(address, "Unknown column", what, group.origin, fix)
    elif set(keys) <= set(columns):
        why = f"it contains the whole key of {stored[0].entity}" if keys else "the group has no entity"
        what = f"{address} has the check {rule}, which always passes: {why}."
        fix = "Name columns that differ between entities, or remove the check."
        builder.refuse(address, "Check without effect", what, group.origin, fix)
