"""Find out from which columns of which datasets the columns of a table or a view come, and how."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from featdsl.definitions.kinds import FeatureDefinition, GroupDefinition
from featdsl.definitions.names import EVENT_TIMESTAMP, SOURCE_TIMESTAMP, VALID_TO
from featdsl.definitions.sources import SourceDefinition
from featdsl.integrations.openlineage.datasets import Dataset, of_source, of_view

if TYPE_CHECKING:
    from featdsl.integrations.openlineage.definitions import KnownDefinitions

IDENTITY = {"type": "DIRECT", "subtype": "IDENTITY"}
TRANSFORMATION = {"type": "DIRECT", "subtype": "TRANSFORMATION"}
AGGREGATION = {"type": "DIRECT", "subtype": "AGGREGATION"}
_COLUMN = re.compile(r'[A-Za-z_][A-Za-z0-9_]*|"[^"]+"')

InputField = dict[str, Any]
Columns = dict[str, list[InputField]]


def origins(known: KnownDefinitions, group: GroupDefinition, features: Mapping[str, FeatureDefinition]) -> Columns:
    """Return the input columns of each column: keys, times, and features by column. One of unknown origin is left out."""
    first = next(iter(features.values()), None)
    columns = dict(_keys_and_times(known, group, first)) if first else {}
    columns |= {name: _of_feature(known, each) for name, each in features.items()}
    return {name: found for name, found in columns.items() if found}


def inputs(known: KnownDefinitions, group: GroupDefinition, features: Iterable[FeatureDefinition]) -> list[Dataset]:
    """Return the datasets that a group's features are computed from: those of its source, or the views of their groups."""
    if group.source is not None:
        return sorted({each for root in _roots(known, group.source) for each in of_source(root, known.project)})
    names = {name.partition(".")[0] for feature in features for name, _ in feature.upstream}
    return sorted(_view(known, name) for name in names)


def _keys_and_times(
    known: KnownDefinitions, group: GroupDefinition, feature: FeatureDefinition
) -> Iterator[tuple[str, list[InputField]]]:
    if group.source is None:
        yield from _of_inputs(known, feature)
    elif group.source in known.sources:
        yield from _of_source(known, group, known.sources[group.source], feature)


def _of_source(
    known: KnownDefinitions, group: GroupDefinition, source: SourceDefinition, feature: FeatureDefinition
) -> Iterator[tuple[str, list[InputField]]]:
    renamed = dict(group.keys)
    for key in feature.keys:
        yield key.name, _columns(known, source, [renamed.get(key.name, key.name)], IDENTITY)
    if feature.timed:
        event = source.available_at if feature.late else source.timestamp
        read = TRANSFORMATION if source.time_unit or source.timezone else IDENTITY
        yield EVENT_TIMESTAMP, _columns(known, source, filter(None, [event]), read)
        if feature.late:
            yield SOURCE_TIMESTAMP, _columns(known, source, filter(None, [source.timestamp]), read)
    if feature.ends:
        yield VALID_TO, _columns(known, source, filter(None, [source.valid_to]), IDENTITY)


def _of_inputs(known: KnownDefinitions, feature: FeatureDefinition) -> Iterator[tuple[str, list[InputField]]]:
    """Yield the keys and the time of a derived group: keys that an input has under the same name, the times of all inputs."""
    groups = sorted({name.partition(".")[0] for name, _ in feature.upstream})
    for key in feature.keys:
        having = [name for name in groups if key.name in known.keys_of(name)]
        yield key.name, [_field(_view(known, name), key.name, IDENTITY) for name in having]
    if feature.timed:
        timed = [name for name in groups if known.is_timed(name)]
        yield EVENT_TIMESTAMP, [_field(_view(known, name), EVENT_TIMESTAMP, TRANSFORMATION) for name in timed]


def _of_feature(known: KnownDefinitions, feature: FeatureDefinition) -> list[InputField]:
    group = known.groups[feature.group]
    if group.source is not None:
        source = known.sources.get(group.source)
        return _columns(known, source, feature.reads, _how(feature)) if source else []
    read = [each.feature for each in feature.inputs if each.column in feature.reads]
    pairs = [name.rpartition(".")[::2] for name in read]
    return [_field(_view(known, upstream), name, _how(feature)) for upstream, name in pairs]


def _how(feature: FeatureDefinition) -> dict[str, str]:
    """Return how a feature is computed from the columns that it reads."""
    if feature.window is not None:
        return AGGREGATION
    is_bare = _COLUMN.fullmatch(feature.sql.strip()) is not None and feature.function is None
    return IDENTITY if is_bare else TRANSFORMATION


def _columns(
    known: KnownDefinitions, source: SourceDefinition, names: Iterable[str], how: dict[str, str]
) -> list[InputField]:
    """Return the stored columns behind columns of a source.

    Behind a query they also include the columns that choose its rows, so nothing is said about the transformation. What a
    function reads is unknown.
    """
    if source.inputs and not source.sql:
        return []
    if not source.sql:
        places = of_source(source, known.project)
        return [_field(place, name, how) for place in places for name in sorted(set(names))]
    lineage, found = dict(source.lineage), set[tuple[Dataset, str]]()
    for leaf in {leaf for name in names for leaf in lineage.get(name, ())}:
        upstream, _, column = leaf.partition(".")
        if upstream in known.sources:
            behind = _columns(known, known.sources[upstream], [column], how)
            found |= {(Dataset(each["namespace"], each["name"]), each["field"]) for each in behind}
    return [_field(place, column) for place, column in sorted(found)]


def _field(place: Dataset, column: str, how: dict[str, str] | None = None) -> InputField:
    told = {"transformations": [how]} if how else {}
    return {"namespace": place.namespace, "name": place.name, "field": column, **told}


def _view(known: KnownDefinitions, group: str) -> Dataset:
    return of_view(known.environment, group, known.project)


def _roots(known: KnownDefinitions, name: str) -> Iterator[SourceDefinition]:
    """Yield the sources that data of a source come from: itself, or those behind its query or its function."""
    source = known.sources.get(name)
    if source is None:
        return
    if not source.inputs:
        yield source
    for upstream in source.inputs:
        yield from _roots(known, upstream)
