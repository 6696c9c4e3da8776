"""Select a part of a project to plan; the rest stays as applied."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from featdsl.definitions.catalog import Catalog
from featdsl.definitions.kinds import (
    Definition,
    FeatureDefinition,
    GroupDefinition,
    ModelDefinition,
    SetDefinition,
    address,
)
from featdsl.definitions.names import did_you_mean
from featdsl.definitions.sources import SourceDefinition
from featdsl.errors import FeatureNotFoundError, Problem

Key = tuple[str, str]


def chosen(names: Sequence[str], *catalogs: Catalog) -> set[Key]:
    """Return the kinds and addresses of the named definitions in any of the catalogs, and of all definitions upstream.

    A name is that of a group, a feature (which selects its group), a set with or without its version, a model, a source, an
    entity or a team. Raises FeatureNotFoundError for an unknown name.
    """
    found: set[Key] = set()
    for name in names:
        named = {key for catalog in catalogs for key, each in catalog.by_key.items() if name in _names(each)}
        if not named:
            known = {known_name for catalog in catalogs for each in catalog for known_name in _names(each)}
            what = f'Nothing here is called "{name}".'
            raise FeatureNotFoundError(Problem("Unknown name", what, fix=did_you_mean(name, known)))
        found |= named
    for catalog in catalogs:
        found |= _with_upstream(catalog, found & catalog.by_key.keys())
    return found


def _names(definition: Definition) -> set[str]:
    return {address(definition), definition.name, definition.owner} - (
        {definition.name} if isinstance(definition, FeatureDefinition) else set()
    )


def _with_upstream(catalog: Catalog, keys: Iterable[Key]) -> set[Key]:
    found: set[Key] = set()
    pending = list(keys)
    while pending:
        key = pending.pop()
        if key in catalog.by_key and key not in found:
            found.add(key)
            pending += _upstream(catalog.by_key[key])
    return found


def _upstream(definition: Definition) -> Iterator[Key]:
    """Yield the definitions that must be planned with a definition: a feature with its whole group, which has one table."""
    match definition:
        case FeatureDefinition():
            yield "group", definition.group
            yield from (("group", name.partition(".")[0]) for name, _ in definition.upstream)
        case GroupDefinition():
            yield "entity", definition.entity or ""
            yield "source", definition.source or ""
            yield from (("feature", member.feature) for member in definition.members)
        case SourceDefinition():
            yield from (("source", name) for name in definition.inputs)
        case SetDefinition():
            yield from (("group", member.feature.partition(".")[0]) for member in definition.members)
        case ModelDefinition():
            yield "set", definition.features
