"""Bind a catalogue to the real schemas: the engine binds every expression and runs none.

The files of each source are read once. Everything else binds to empty tables with the columns of the sources.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from featdsl.catalog.bind_context import BindContext, Binding, has_type
from featdsl.catalog.bind_groups import bind_group
from featdsl.catalog.bind_sources import bind_source
from featdsl.definitions import graph
from featdsl.definitions.catalog import Catalog
from featdsl.definitions.notices import Notice
from featdsl.definitions.snapshot import Snapshot
from featdsl.errors import DeclarationError, Origin


@dataclass(frozen=True)
class Bound:
    """A catalogue with the columns, types and column lineage of its sources, and a notice for each unchecked source."""

    catalog: Catalog
    notices: tuple[Notice, ...] = ()


def bind(catalog: Catalog, context: BindContext, applied: Snapshot = Snapshot()) -> Bound:  # noqa: B008 - frozen
    """Return the catalogue with its schemas and column lineage.

    `applied` is the registry, which knows the former columns of sources. Raises DeclarationError with every unknown column,
    wrong type and SQL text that does not bind.
    """
    binding = Binding(context, catalog, applied)
    binding.features.update(
        {each.address: each for each in catalog.features.values() if each.group not in catalog.groups}
    )
    for entity in catalog.entities.values():
        for key in entity.keys:
            if not has_type(binding, f"entity {entity.name}: key {key.name}", key.dtype, entity.origin):
                binding.broken_entities.add(entity.name)
    for name in graph.ordered({source.name: source.inputs for source in catalog.sources.values()}):
        bind_source(binding, catalog.sources[name])
    for name in graph.ordered({name: catalog.upstream_of(name) for name in catalog.groups}):
        bind_group(binding, catalog.groups[name])
    if binding.problems:
        raise DeclarationError(
            sorted(binding.problems, key=lambda problem: (problem.where or Origin("", 0), problem.what))
        )
    bound = replace(catalog, sources=binding.sources, features=binding.features)
    return Bound(bound, tuple(_not_checked(binding, name) for name in sorted(binding.unchecked)))


def _not_checked(binding: Binding, source: str) -> Notice:
    """Return the notice of a source that could not be read here."""
    readers = sorted(group.name for group in binding.catalog.groups.values() if group.source == source)
    unread = f", so nothing that {' and '.join(readers)} read{'' if len(readers) > 1 else 's'} of it" if readers else ""
    return Notice(
        code="not checked",
        address=f"source {source}",
        what=f"The columns of source {source} were not checked{unread}: {binding.unchecked[source]}.",
        fix="Plan where it can be read: featdsl plan",
    )
