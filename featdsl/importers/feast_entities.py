"""Turn the entities of Feast's views into entities of featdsl: a view of several entities has one with all their keys."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from featdsl.definitions.names import is_column
from featdsl.importers import feast_types
from featdsl.importers.declarations import ImportedEntity
from featdsl.importers.feast_objects import FeastEntity, FeastRepository, FeastView
from featdsl.importers.feast_sources import CarriedSource, NotCarriedOverError
from featdsl.importers.names import RESERVED, valid_name


@dataclass(frozen=True)
class CarriedEntity:
    """An entity, and its key columns by Feast's join keys."""

    name: str
    known: Mapping[str, str]

    @property
    def columns(self) -> tuple[str, ...]:
        """The key columns."""
        return tuple(self.known.values())


class FeastEntities:
    """The entities that the carried-over views describe. Each is made when the first view needs it."""

    def __init__(self, repository: FeastRepository, sources: Mapping[str, CarriedSource]) -> None:
        self._declared = {each.name: each for each in repository.entities}
        self._views = repository.views
        self._sources = sources
        self._made: dict[tuple[str, ...], ImportedEntity] = {}
        self._carried: dict[tuple[str, ...], CarriedEntity] = {}

    @property
    def made(self) -> tuple[ImportedEntity, ...]:
        """The entities, in the order in which they were needed."""
        return tuple(self._made.values())

    def of(self, view: FeastView) -> CarriedEntity | None:
        """Return the entity of a view, None for a view without one. Raises NotCarriedOverError if the type of a key is unknown."""
        if not view.entities:
            return None
        self._refuse_missing(view)
        if view.entities not in self._carried:
            self._make(view.entities)
        return self._carried[view.entities]

    def _refuse_missing(self, view: FeastView) -> None:
        """Raise NotCarriedOverError if the source of a view lacks a key."""
        source = self._sources[view.source].of
        columns = {name for name, _ in source.columns}
        for name in view.entities:
            entity = self._declared.get(name)
            if entity and columns and source.column(entity.key) not in columns:
                raise NotCarriedOverError(
                    f"its source has no column {source.column(entity.key)}, the key of its entity {name}"
                )

    def _make(self, names: tuple[str, ...]) -> None:
        entities = [self._declared[name] for name in names if name in self._declared]
        if len(entities) < len(names):
            raise NotCarriedOverError(f"its entity {' or '.join(names)} is not in the repository")
        known = {each.key: _column(each.key) for each in entities}
        types = {known[each.key]: self._type(each) for each in entities}
        taken = {each.name for each in self._made.values()}
        made = ImportedEntity(
            name=valid_name("_".join(names), taken=taken, prefix="entity"),
            keys=types,
            description=" ".join(each.description for each in entities if each.description),
        )
        self._made[names] = made
        self._carried[names] = CarriedEntity(made.name, known)

    def _type(self, entity: FeastEntity) -> str:
        """Return the type of a key: as declared, else as its columns have it, the widest integer if they differ."""
        if entity.dtype:
            return feast_types.of_feast(entity.dtype)
        found = list(dict.fromkeys(self._types(entity)))
        if not found:
            raise NotCarriedOverError(f"the type of its key {entity.key} is unknown: give its entity a value_type")
        return (
            found[0]
            if len(found) == 1
            else "BIGINT"
            if all(each.endswith("INT") or each == "INTEGER" for each in found)
            else found[0]
        )

    def _types(self, entity: FeastEntity) -> Iterator[str]:
        """Yield the types that the views of an entity, and then their sources, know for its key."""
        views = [view for view in self._views if entity.name in view.entities]
        yield from (feast_types.of_feast(each.dtype) for view in views for each in view.keys if each.name == entity.key)
        for view in views:
            source = self._sources.get(view.source)
            if source is not None:
                stored = dict(source.of.columns).get(source.of.column(entity.key), "")
                yield from filter(None, [feast_types.of_column(stored)])


def _column(key: str) -> str:
    """Return a valid key column: Feast's, if it is one."""
    return key if is_column(key) and key not in RESERVED else valid_name(key, taken=RESERVED, prefix="key")
