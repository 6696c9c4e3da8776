"""What a project declares, as an orchestrator needs it: groups with what they depend on, and sources.

`featdsl validate --format json --definitions` prints it, so that the project can live in another environment. This module
imports only the standard library, and what it is given.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from featdsl.definitions.catalog import Catalog


@dataclass(frozen=True, kw_only=True)
class DeclaredRule:
    """A data quality rule of a group or of one of its features."""

    address: str
    kind: str
    rule: str
    name: str
    severity: str


@dataclass(frozen=True, kw_only=True)
class DeclaredColumn:
    """A key or a feature of a group, with its type in DuckDB."""

    name: str
    dtype: str
    description: str = ""


@dataclass(frozen=True, kw_only=True)
class DeclaredGroup:
    """A group that has a stored table: `sources` are the sources that its data come from, `upstream` the groups that it reads.

    `file` is relative to the project's folder.
    """

    name: str
    owner: str
    description: str
    tags: tuple[str, ...]
    entity: str | None
    file: str
    line: int
    sources: tuple[str, ...]
    upstream: tuple[str, ...]
    columns: tuple[DeclaredColumn, ...]
    rules: tuple[DeclaredRule, ...]


@dataclass(frozen=True, kw_only=True)
class DeclaredSource:
    """A source that reads data from outside of the project; `location` has its paths, or its database and table."""

    name: str
    owner: str
    description: str
    format: str
    location: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class DeclaredProject:
    """The name of a project, its groups, and the sources that their data come from."""

    name: str
    groups: tuple[DeclaredGroup, ...]
    sources: tuple[DeclaredSource, ...]


def declared_project(name: str, catalog: Catalog) -> DeclaredProject:
    """Return what the catalogue of a project declares; its groups are in an order in which each is after those that it reads."""
    from featdsl.definitions import graph

    order = graph.ordered({each: catalog.upstream_of(each) for each in catalog.groups})
    groups = tuple(_group(catalog, each) for each in order if catalog.stored_members_of(each))
    read = sorted({source for group in groups for source in group.sources})
    sources = (catalog.sources[each] for each in read)
    listed = tuple(
        DeclaredSource(
            name=each.name,
            owner=each.owner,
            description=each.description,
            format=each.format,
            location=() if each.format == "frame" else each.location,
        )
        for each in sources
    )
    return DeclaredProject(name=name, groups=groups, sources=listed)


def from_json(definitions: Mapping[str, Any]) -> DeclaredProject:
    """Return the project that `featdsl validate` has printed."""
    groups = tuple(
        DeclaredGroup(
            **{
                **each,
                "tags": tuple(each["tags"]),
                "sources": tuple(each["sources"]),
                "upstream": tuple(each["upstream"]),
                "columns": tuple(DeclaredColumn(**column) for column in each["columns"]),
                "rules": tuple(DeclaredRule(**rule) for rule in each["rules"]),
            }
        )
        for each in definitions["groups"]
    )
    sources = tuple(DeclaredSource(**{**each, "location": tuple(each["location"])}) for each in definitions["sources"])
    return DeclaredProject(name=definitions["name"], groups=groups, sources=sources)


def _group(catalog: Catalog, name: str) -> DeclaredGroup:
    group, members = catalog.groups[name], catalog.stored_members_of(name)
    keys = [DeclaredColumn(name=key.name, dtype=key.dtype) for key in members[0].keys]
    features = [DeclaredColumn(name=each.name, dtype=each.dtype, description=each.description) for each in members]
    return DeclaredGroup(
        name=name,
        owner=group.owner,
        description=group.description,
        tags=group.tags,
        entity=group.entity,
        file=group.origin.file,
        line=group.origin.line,
        sources=tuple(sorted(set(_roots(catalog, group.source)))) if group.source else (),
        upstream=tuple(sorted(set(_stored_upstream(catalog, name)))),
        columns=(*keys, *features),
        rules=tuple(_rules(catalog, name)),
    )


def _roots(catalog: Catalog, name: str) -> Iterator[str]:
    """Yield the sources that data of a source come from: itself, or those behind its query or its function."""
    if name not in catalog.sources:
        return
    inputs = catalog.sources[name].inputs
    if not inputs:
        yield name
    for each in inputs:
        yield from _roots(catalog, each)


def _stored_upstream(catalog: Catalog, name: str) -> Iterator[str]:
    """Yield the groups that a group reads; for one without a stored table, the groups that it reads in turn."""
    for each in catalog.upstream_of(name):
        if each not in catalog.groups or catalog.stored_members_of(each):
            yield each
        else:
            yield from _stored_upstream(catalog, each)


def _rules(catalog: Catalog, name: str) -> Iterator[DeclaredRule]:
    from featdsl.plan.rule_checks import declared

    for address, rule in declared(catalog, name):
        yield DeclaredRule(address=address, kind=rule.kind, rule=rule.text, name=rule.name, severity=rule.severity)
