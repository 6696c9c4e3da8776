"""Filter applied definitions by owner, entity, tag, type, set and kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

from featdsl.definitions import dtypes
from featdsl.definitions.catalog import Catalog
from featdsl.definitions.kinds import (
    Definition,
    Deprecation,
    EntityDefinition,
    FeatureDefinition,
    GroupDefinition,
    ModelDefinition,
    PolicyDefinition,
    SetDefinition,
    address,
)
from featdsl.definitions.snapshot import Snapshot
from featdsl.definitions.sources import SourceDefinition

KINDS = ("feature", "group", "set", "model", "source", "entity", "team")
_PLURALS = {"entity": "entities"}


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One applied definition, or a team with what it owns, and the values to filter it by.

    `types` has the type of a feature. `sets` are the set versions that contain the definition, or that it is or trains on.
    """

    kind: str
    address: str
    owner: str
    description: str
    entities: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    sets: tuple[str, ...] = ()
    private: bool = False
    deprecated: Deprecation | None = None


@dataclass(frozen=True, kw_only=True)
class Filter:
    """The values that a definition must have; None matches all. `type` is a Python type's name or a DuckDB type."""

    owner: str | None = None
    entity: str | None = None
    tag: str | None = None
    type: str | None = None
    set: str | None = None
    kind: str | None = None

    @cached_property
    def given(self) -> Mapping[str, str]:
        """The filters that are set, by name."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return {name: value for name, value in values.items() if value is not None}

    def keeps(self, entry: Entry) -> bool:
        """Return whether an entry matches every filter."""
        return all(_wanted(name, value) & {*_names(name, entry)} for name, value in self.given.items())


def _wanted(name: str, value: str) -> set[str]:
    """Return the values that a filter's value matches."""
    if name != "type":
        return {value}
    try:
        return {value.strip().upper(), dtypes.duckdb_type(value)}
    except ValueError:
        return {value.strip().upper()}


def _names(name: str, entry: Entry) -> Iterable[str]:
    """Return the values of an entry that a filter compares; a set also matches by its name without a version."""
    match name:
        case "owner":
            return [entry.owner]
        case "kind":
            return [entry.kind]
        case "entity":
            return entry.entities
        case "tag":
            return entry.tags
        case "type":
            return entry.types
        case _:
            return [*entry.sets, *(each.partition("@")[0] for each in entry.sets)]


def chosen(snapshot: Snapshot, wanted: Filter) -> list[Entry]:
    """Return the applied definitions that match a filter, by kind and then by address."""
    return [entry for entry in entries(snapshot) if wanted.keeps(entry)]


def keeping(snapshot: Snapshot, wanted: Filter) -> Callable[[tuple[str, str]], bool]:
    """Return a predicate over (kind, address) that is true for definitions that match a filter."""
    if not wanted.given:
        return lambda _: True
    kept = {(each.kind, each.address) for each in chosen(snapshot, wanted)}
    return lambda key: key in kept


def nothing(snapshot: Snapshot, wanted: Filter) -> str:
    """Return a message that nothing matches, with the possible values of each filter given the other filters."""
    if not snapshot.catalog.by_key:
        return "Nothing has been applied yet. Run: featdsl apply\n"
    options = " ".join(f"--{name} {value}" for name, value in wanted.given.items())
    lines = [f"Nothing matches {options}." if options else "There are no definitions."]
    everything = list(entries(snapshot))
    for name in wanted.given:
        if name == "kind":
            continue
        others = replace(wanted, **{name: None})
        values = sorted({value for each in everything if others.keeps(each) for value in _shown(name, each)})
        scope = " with the other filters" if len(wanted.given) > 1 else ""
        lines.append(f"Possible values of --{name}{scope}: {', '.join(values) or 'none'}.")
    return "\n".join(lines) + "\n"


def _shown(name: str, entry: Entry) -> Iterable[str]:
    return entry.sets if name == "set" else _names(name, entry)


def entries(snapshot: Snapshot) -> Iterator[Entry]:
    """Yield every applied definition, by kind and then by address; teams come last."""
    catalog = snapshot.catalog
    relations = _Relations(catalog)
    by_kind: dict[str, list[Entry]] = {kind: [] for kind in KINDS}
    for definition in catalog:
        if not isinstance(definition, PolicyDefinition):
            by_kind[definition.kind].append(relations.entry(definition))
    by_kind["team"] = list(_teams(by_kind))
    for kind in KINDS:
        yield from by_kind[kind]


def _teams(by_kind: Mapping[str, Sequence[Entry]]) -> Iterator[Entry]:
    owned = Counter((each.owner, each.kind) for several in by_kind.values() for each in several)
    for team in sorted({owner for owner, _ in owned}):
        counts = [_counted(owned[team, kind], kind) for kind in KINDS if owned[team, kind]]
        yield Entry(kind="team", address=team, owner=team, description=", ".join(counts))


def _counted(number: int, kind: str) -> str:
    return f"{number} {kind if number == 1 else _PLURALS.get(kind, f'{kind}s')}"


@dataclass(frozen=True)
class _Relations:
    """The sets, entities and groups that the definitions of a catalogue belong to."""

    catalog: Catalog

    @cached_property
    def sets_of(self) -> Mapping[str, tuple[str, ...]]:
        """The set versions that contain each feature, or a feature of each group."""
        found: dict[str, dict[str, None]] = {}
        for name in sorted(self.catalog.sets):
            for member in self.catalog.sets[name].members:
                for each in (member.feature, member.feature.partition(".")[0]):
                    found.setdefault(each, {})[name] = None
        return {each: tuple(names) for each, names in found.items()}

    def entry(self, definition: Definition) -> Entry:
        """Return a definition as an entry, with the values to filter it by."""
        plain = Entry(
            kind=definition.kind,
            address=address(definition),
            owner=definition.owner,
            description=definition.description,
            deprecated=self.catalog.deprecation_of(definition),
        )
        return replace(plain, **self._facts(definition))

    def _facts(self, definition: Definition) -> dict[str, Any]:  # noqa: PLR0911 - one a kind
        match definition:
            case FeatureDefinition():
                group = self.catalog.groups.get(definition.group)
                tags = {*definition.tags, *(group.tags if group else ())}
                return {
                    "entities": (definition.entity,) if definition.entity else (), "tags": tuple(sorted(tags)),
                    "types": (definition.dtype,), "sets": self.sets_of.get(definition.address, ()),
                    "private": group is not None and group.access == "private",
                }  # fmt: skip
            case GroupDefinition():
                return {
                    "entities": (definition.entity,) if definition.entity else (), "tags": definition.tags,
                    "sets": self.sets_of.get(definition.name, ()), "private": definition.access == "private",
                }  # fmt: skip
            case SetDefinition():
                return {"entities": self._entities(definition), "sets": (definition.address,)}
            case ModelDefinition():
                used = self.catalog.sets.get(definition.features)
                return {"entities": self._entities(used) if used else (), "sets": (definition.features,)}
            case EntityDefinition():
                return {"entities": (definition.name,)}
            case SourceDefinition():
                groups = [each for each in self.catalog.groups.values() if each.source == definition.name]
                return {"entities": tuple(sorted({each.entity for each in groups if each.entity}))}
        return {}

    def _entities(self, definition: SetDefinition) -> tuple[str, ...]:
        groups = {member.feature.partition(".")[0] for member in definition.members} & self.catalog.groups.keys()
        return tuple(sorted({entity for name in groups if (entity := self.catalog.groups[name].entity)}))
