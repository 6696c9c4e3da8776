"""Decide which module each imported declaration stands in, and what it is called there."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import featdsl
from featdsl.importers.declarations import ImportedGroup, ImportedProject, ImportedReference, ImportedSource
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

    def modules(self) -> list[str]:
        """Return all modules, in order of their paths."""
        return sorted({*self.entities.values(), *self.sources.values(), *self.groups.values(), *self.sets.values()})


def arrange(project: ImportedProject) -> ModuleLayout:
    """Return the layout of an import."""
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
        variables=_variables(project),
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


def _variables(project: ImportedProject) -> dict[tuple[str, str], str]:
    taken = {*_BUILT_IN, *featdsl.__all__}
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
