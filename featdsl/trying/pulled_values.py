"""Values that a test gives for features of other projects, in place of their stored tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from featdsl.definitions.catalog import Catalog
from featdsl.definitions.kinds import FeatureDefinition
from featdsl.definitions.names import EVENT_TIMESTAMP, quote
from featdsl.definitions.sources import SourceDefinition
from featdsl.definitions.stored_tables import StoredTable
from featdsl.engines.table_layout import stored_columns
from featdsl.errors import Problem, RequestError
from featdsl.trying.given import Needed, load

if TYPE_CHECKING:
    from featdsl.engines.session import Session


def pulled(catalog: Catalog) -> dict[str, list[FeatureDefinition]]:
    """Return the features of a catalogue that other projects compute, by group."""
    groups: dict[str, list[FeatureDefinition]] = {}
    for each in catalog.features.values():
        if each.group not in catalog.groups:
            groups.setdefault(each.group, []).append(each)
    return groups


def tables(session: Session, catalog: Catalog, rows: Mapping[str, Any]) -> dict[str, StoredTable]:
    """Compute the table of each feature of another project from the values that a test gives, and return these tables.

    A value without an `event_timestamp` holds at all times. Raises RequestError if the test gives none.
    """
    found = {}
    for group, features in pulled(catalog).items():
        if group not in rows:
            what = f"{features[0].address} is computed by the project {features[0].project}; the test gives no values of {group}."
            keys = ", ".join(f'"{key.name}": ...' for key in features[0].keys)
            fix = f'Give them: given({group}=[{{{keys}{", " if keys else ""}"{features[0].name}": ...}}]).'
            raise RequestError(Problem("Missing rows", what, fix=fix))
        view = load(session, _needed(group, features), rows[group])
        for feature in features:
            found[feature.table] = _table(session, feature, view)
    return found


def _needed(group: str, features: Sequence[FeatureDefinition]) -> Needed:
    """Return the columns of given values: keys, the time from which they hold, and the features."""
    first = features[0]
    place = SourceDefinition(
        name=group,
        project=first.project,
        owner=first.owner,
        description="",
        format="frame",
        timestamp=None,
        tie_break=None,
        fingerprint="",
        origin=first.origin,
    )
    keys = {key.name.lower(): key.dtype for key in first.keys}
    types = {**keys, EVENT_TIMESTAMP: "TIMESTAMP", **{each.name: each.dtype for each in features}}
    readers = dict.fromkeys(keys, f"a key of {group}") | {each.name: f"the feature {each.address}" for each in features}
    return Needed(place, types, readers, frozenset(keys), frozenset(), keys)


def _table(session: Session, feature: FeatureDefinition, view: str) -> StoredTable:
    keys = [quote(key.name) for key in feature.keys]
    at = f"coalesce({EVENT_TIMESTAMP}, TIMESTAMP '-infinity') AS {EVENT_TIMESTAMP}"
    listed = ", ".join([*keys, at, f"{quote(feature.name)} AS {quote(feature.column)}"])
    session.execute("CREATE SCHEMA IF NOT EXISTS tables")
    session.execute(f"CREATE TABLE tables.{quote(feature.table)} AS SELECT {listed} FROM {quote(view)}")
    return StoredTable(name=feature.table, file="", rows=0, columns=stored_columns([feature]), engine="", built_at="")
