"""The rules for all rows of a group in the catalogue, refused where nothing stored could ever keep or break them."""

from __future__ import annotations

from collections.abc import Sequence

from featdsl.definitions import FeatureDefinition
from featdsl.draft import Draft
from featdsl.group import GroupDeclaration
from featdsl.names import EVENT_TIMESTAMP, did_you_mean
from featdsl.rules import GroupRule


def rules_of(draft: Draft, group: GroupDeclaration, stored: Sequence[FeatureDefinition]) -> tuple[GroupRule, ...]:
    """Return the rules of a group with these stored features."""
    address = f"group {group.name}"
    found: tuple[GroupRule, ...] = (*group.unique, *group.max_age, *group.rows)
    if found and not stored:
        what = f"{address} stores no rows, as all of its features need a request, so nothing keeps or breaks: {found[0].text}."
        draft.refuse(address, "Check on a request", what, group.origin, "Leave it out, or put it on the inputs.")
        return ()
    for unique in group.unique:
        _refuse_other_columns(draft, group, stored, unique.columns)
    if group.max_age and not (group.source and group.source.timestamp):
        lacks = f"source {group.source.name} has no timestamp=" if group.source else "it is derived from features"
        mend = "Give the source its timestamp=." if group.source else "Put it on the groups that have the sources."
        what = f"{address} has max_age=, but {lacks}, so nothing tells how old its rows are."
        draft.refuse(address, "Age without times", what, group.origin, mend)
    return found


def _refuse_other_columns(
    draft: Draft, group: GroupDeclaration, stored: Sequence[FeatureDefinition], columns: Sequence[str]
) -> None:
    """Refuse columns that the group has not, and those that are unique whatever the data are."""
    address, said = f"group {group.name}", f"unique {', '.join(columns)}"
    keys = [key.name for key in stored[0].keys]
    known = [*keys, EVENT_TIMESTAMP, *sorted(feature.name for feature in stored)]
    unknown = [column for column in columns if column not in known]
    if any(f"feature {group.name}.{column}" in draft.broken for column in unknown):
        return
    if unknown:
        what = f"{address} has the check {said}, but no column {unknown[0]!r}."
        mend = did_you_mean(unknown[0], known) or f"Its columns are: {', '.join(known)}."
        draft.refuse(address, "Unknown column", what, group.origin, mend)
    elif set(keys) <= set(columns):
        why = f"it names the whole key of {stored[0].entity}" if keys else "it has no entity"
        what = f"{address} has the check {said}, which no data can break: {why}."
        mend = "Name columns that tell one entity from another, or leave it out."
        draft.refuse(address, "Check without effect", what, group.origin, mend)
