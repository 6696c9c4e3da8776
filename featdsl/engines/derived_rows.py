"""The tables that a derived group reads, and the times at which it has rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from featdsl.definitions.kinds import FeatureDefinition, Moments
from featdsl.definitions.stored_tables import StoredTable
from featdsl.definitions.table_spec import TableSpec
from featdsl.engines.lookups import Versions, reads, tables_of


def most_rows(
    features: Sequence[FeatureDefinition], versions: Versions, tables: Mapping[str, StoredTable]
) -> int | None:
    """Estimate the maximum number of rows of a derived group over other entities.

    Each row of an input of its own entity gives one row; each row of another input gives one to every entity that looks it
    up. None if the group has rows only at its own changes, or an input is not stored yet.
    """
    if only_times_of_its_own(features, versions):
        return None
    keys = TableSpec.of(features).key_names
    inputs: dict[tuple[str, bool], StoredTable] = {}
    for each in features:
        for read in reads(each, versions):
            upstream = versions[read.feature, read.fingerprint]
            if upstream.table not in tables:
                return None
            if upstream.timed:
                inputs[upstream.table, read.identifies(keys) and not any(read.by)] = tables[upstream.table]
    own = [table for (_, is_own), table in inputs.items() if is_own]
    entities = max((_entities_of(table) for table in own), default=0)
    others = [table for (_, is_own), table in inputs.items() if not is_own]
    each_entity = sum(table.rows / max(_entities_of(table), 1) for table in others)
    return sum(table.rows for table in own) + round(entities * each_entity)


def _entities_of(table: StoredTable) -> float:
    return table.rows / max((table.entity_rows or (1, 1))[0], 1)


def only_times_of_its_own(features: Sequence[FeatureDefinition], versions: Versions) -> bool:
    """Return whether no row of a derived group depends on later rows, which could also bring new entities."""
    return TableSpec.of(features).moments == "own changes" or reads_only_its_entity(features, versions)


def reads_only_its_entity(features: Sequence[FeatureDefinition], versions: Versions) -> bool:
    """Return whether a derived group reads only features of its own entity, by its own keys."""
    keys = [key.name for key in features[0].keys]
    return all(read.identifies(keys) and not any(read.by) for each in features for read in reads(each, versions))


def moments_of(features: Sequence[FeatureDefinition], versions: Versions) -> Moments:
    """Return when a derived group has rows if it does not declare `materialize`.

    With timed inputs of its own entity and of others, only at changes of its own: each change of another input would add a
    row for every entity.
    """
    keys = [key.name for key in features[0].keys]
    timed = {
        read.identifies(keys) and not any(read.by)
        for each in features
        for read in reads(each, versions)
        if versions[read.feature, read.fingerprint].timed
    }
    return "own changes" if keys and timed == {True, False} else "every change"


def tables_read(features: Sequence[FeatureDefinition], versions: Versions) -> tuple[str, ...]:
    """Return the stored tables that a derived group's query reads, sorted."""
    inputs = {versions[key].table for feature in features for key in feature.upstream}
    return tuple(sorted(inputs | tables_of(features, versions)))
