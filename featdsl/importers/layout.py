"""Decide which module each imported declaration stands in, and what it is called there."""

from __future__ import annotations

import itertools
import keyword
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import featdsl
from featdsl.errors import FeatdslError, Origin, Problem
from featdsl.importers import existing
from featdsl.importers.declarations import (
    ImportedEntity,
    ImportedGroup,
    ImportedProject,
    ImportedReference,
    ImportedSource,
)
from featdsl.importers.existing import ExistingEntity
from featdsl.importers.names import class_name, valid_module

ENTITIES, SOURCES, SETS = "entities", "sources", "sets"
"""Modules for what several modules use."""

_BUILT_IN = frozenset({"bool", "int", "float", "str", "bytes"})


@dataclass(frozen=True)
class ModuleLayout:
    """The modules of an import, relative to the features package: `orders.entities` is `orders/entities.py`."""

    entities: Mapping[str, str]
    sources: Mapping[str, str]
    groups: Mapping[str, str]
    sets: Mapping[tuple[str, int], str]
    variables: Mapping[tuple[str, str], str]
    """The Python name of each declaration, by its kind and name. No two modules use a name for different things."""
    existing: frozenset[str] = frozenset()
    """The entities that the project declares already."""

    def modules(self) -> list[str]:
        """Return all modules to write, in order of their paths."""
        entities = {module for name, module in self.entities.items() if name not in self.existing}
        return sorted({*entities, *self.sources.values(), *self.groups.values(), *self.sets.values()})


def arrange(project: ImportedProject, package: Path | None = None) -> ModuleLayout:
    """Return the layout of an import into a features package, or a new one.

    Raises FeatdslError for an entity that the package declares with other keys.
    """
    if package is None:
        return _arranged(project, ())
    known = _matching(project.entities, existing.entities(package))
    new = replace(project, entities=tuple(each for each in project.entities if each.name not in known))
    layout = _numbered(_arranged(new, [each.variable for each in known.values()]), package)
    return replace(
        layout,
        entities={**layout.entities, **{name: each.module for name, each in known.items()}},
        variables={**layout.variables, **{("entity", name): each.variable for name, each in known.items()}},
        existing=frozenset(known),
    )


def _matching(entities: Iterable[ImportedEntity], known: Mapping[str, ExistingEntity]) -> dict[str, ExistingEntity]:
    """Return the existing entities that an import uses. Raises FeatdslError if one has other keys."""
    used = {each.name: known[each.name] for each in entities if each.name in known}
    for each in entities:
        other = used.get(each.name)
        if other is not None and other.keys != tuple(each.keys):
            what = f"The import needs {each.name} with the keys {', '.join(each.keys)}, and the project's has {', '.join(other.keys)}."
            where = Origin(other.file, other.line)
            raise FeatdslError(
                Problem("Entity has other keys", what, where, "Import into another folder: --into FOLDER")
            )
    return used


def _numbered(layout: ModuleLayout, package: Path) -> ModuleLayout:
    """Return a layout whose shared modules are new: `entities_2` if there is an `entities.py`."""
    shared = [each for each in layout.modules() if each.rpartition(".")[2] in {ENTITIES, SOURCES, SETS}]
    names = {each: _free_module(each, package) for each in shared}
    return replace(
        layout,
        entities={name: names.get(each, each) for name, each in layout.entities.items()},
        sources={name: names.get(each, each) for name, each in layout.sources.items()},
        sets={name: names.get(each, each) for name, each in layout.sets.items()},
    )


def _free_module(module: str, package: Path) -> str:
    numbers = itertools.chain([""], (f"_{number}" for number in itertools.count(2)))
    return next(
        f"{module}{each}" for each in numbers if not (package / f"{module.replace('.', '/')}{each}.py").exists()
    )


def _arranged(project: ImportedProject, taken: Iterable[str]) -> ModuleLayout:
    groups = {each.name: _module(each.team, each.module or each.name) for each in project.groups}
    users = _users(project, groups)
    return ModuleLayout(
        entities={
            each.name: _place(users["entity", each.name], ENTITIES, each.team) for each in project.entities
        },
        sources={
            each.name: _place(users["source", each.name], SOURCES, each.team) for each in project.sources
        },
        groups=groups,
        sets={(each.name, each.version): f"{folder(each.team)}.{SETS}" for each in project.sets},
        variables=_variables(project, taken),
    )  # fmt: skip


def folder(team: str) -> str:
    """Return the folder of a team among the features."""
    return valid_module(team, taken={ENTITIES, SOURCES, "macros", "shared"})


def group_of(reference: ImportedReference) -> str:
    """Return the name of the group that a reference names a feature of."""
    return reference.address.rpartition(".")[0]


def in_order(groups: Iterable[ImportedGroup]) -> list[ImportedGroup]:
    """Return groups of one module, each after the groups that it reads, otherwise in their order."""
    waiting = {each.name: each for each in groups}
    ordered: list[ImportedGroup] = []

    def place(group: ImportedGroup) -> None:
        del waiting[group.name]
        for name in map(group_of, group.inputs):
            if name in waiting:
                place(waiting[name])
        ordered.append(group)

    while waiting:
        place(next(iter(waiting.values())))
    return ordered


def _module(team: str, name: str) -> str:
    return f"{folder(team)}.{valid_module(name, taken={ENTITIES, SOURCES, SETS})}"


def _users(project: ImportedProject, groups: Mapping[str, str]) -> dict[tuple[str, str], set[str]]:
    """Return the modules that use each entity and each source, by kind and name."""
    users: dict[tuple[str, str], set[str]] = {("entity", each.name): set() for each in project.entities}
    users |= {("source", each.name): set() for each in project.sources}
    for group in project.groups:
        for used in (("entity", group.entity or ""), ("source", group.source)):
            users.setdefault(used, set()).add(groups[group.name])
    for source in _readers_first(project.sources):
        for read in _read_by(source, project.sources):
            users["source", read].update(users["source", source.name])
    return users


def _readers_first(sources: Iterable[ImportedSource]) -> list[ImportedSource]:
    """Return sources, each before those that its SQL reads."""
    waiting = {each.name: each for each in sources}
    ordered: list[ImportedSource] = []

    def place(source: ImportedSource) -> None:
        del waiting[source.name]
        for name in _read_by(source, [*waiting.values()]):
            if name in waiting:
                place(waiting[name])
        ordered.insert(0, source)

    while waiting:
        place(next(iter(waiting.values())))
    return ordered


def _read_by(source: ImportedSource, sources: Iterable[ImportedSource]) -> Iterator[str]:
    """Yield the names of the sources that a template reads."""
    sql = str(source.options.get("sql", ""))
    if "{{" not in sql:
        return
    named = {name for inside in re.findall(r"\{\{(.*?)\}\}", sql, re.DOTALL) for name in re.findall(r"\w+", inside)}
    yield from (each.name for each in sources if each.name in named and each.name != source.name)


def _place(users: set[str], shared: str, team: str) -> str:
    """Return the module that uses something alone, else the shared module of its team, or of all teams."""
    teams = {module.partition(".")[0] for module in users}
    if team and {folder(team)} != teams:
        return f"{folder(team)}.{shared}"
    if len(users) == 1:
        return next(iter(users))
    return f"{next(iter(teams))}.{shared}" if len(teams) == 1 else shared


def _variables(project: ImportedProject, names: Iterable[str]) -> dict[tuple[str, str], str]:
    taken = {*_BUILT_IN, *featdsl.__all__, *names}
    variables: dict[tuple[str, str], str] = {}
    wanted = [
        *(("group", each.name, class_name(each.name), "Group") for each in project.groups),
        *(("entity", each.name, each.name, "_entity") for each in project.entities),
        *(("source", each.name, each.name, "_source") for each in project.sources),
        *(("set", f"{each.name}@{each.version}", f"{each.name}_v{each.version}", "_set") for each in project.sets),
    ]
    for kind, name, near, ending in wanted:
        variable = _free(near, ending, taken)
        taken.add(variable)
        variables[kind, name] = variable
    return variables


def _free(near: str, ending: str, taken: set[str]) -> str:
    """Return a name that is neither taken nor a keyword."""
    while near in taken or keyword.iskeyword(near):
        near += ending
    return near
