"""Name the entities of an import by their key columns, so that sources with the same key share one."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from featdsl.definitions.dtypes import family
from featdsl.definitions.names import is_column
from featdsl.importers.declarations import ImportedEntity
from featdsl.importers.names import RESERVED, valid_name

_ENDINGS = re.compile(r"_(id|key|code|sk|pk|uuid|no|nr)$")
_PREFIXES = re.compile(r"^(stg|int|dim|fct|fact|mart|raw|src)_+")
_NO_SUBJECT = ("id", "key", "code", "pk", "uuid", "sk")


@dataclass(frozen=True)
class KeyedBy:
    """The entity of a group, and the key columns that have another name in the source."""

    entity: str
    keys: Mapping[str, str] = field(default_factory=dict)


class EntityNames:
    """Gathers entities."""

    def __init__(self, named: Mapping[str, str]) -> None:
        self._named = {column.lower(): name for column, name in named.items()}
        """Names of entities by the key column, where the other tool has them."""
        self._entities: dict[str, ImportedEntity] = {}

    def all(self) -> tuple[ImportedEntity, ...]:
        """Return the entities, in the order in which they were met."""
        return tuple(self._entities.values())

    def of(self, columns: Mapping[str, str], relation: str, name: str = "", description: str = "") -> KeyedBy:
        """Return the entity with these key columns and types. `name` is its name if the other tool has one."""
        near = valid_name(name or self._name(list(columns), relation), prefix="e")
        keys = {_key(column, near): dtype for column, dtype in columns.items()}
        known = self._entities.get(near)
        if known is not None and not _same(known.keys, keys):
            near = valid_name(f"{near}_of_{relation}", taken=self._entities)
            known = None
        if known is None:
            known = ImportedEntity(name=near, keys=keys, description=description)
            self._entities[near] = known
        renamed = zip(known.keys, columns, strict=True)
        return KeyedBy(near, {key: column for key, column in renamed if key != column})

    def _name(self, columns: Sequence[str], relation: str) -> str:
        return "_".join(self._named.get(each.lower(), _subject(each, relation)) for each in columns)


def _subject(column: str, relation: str) -> str:
    """Return what a key column identifies: `customer_id` a customer, the `id` of `dim_orders` an order."""
    plain = column.lower()
    if plain not in _NO_SUBJECT:
        return _ENDINGS.sub("", plain)
    subject = _PREFIXES.sub("", relation.lower())
    return re.sub(r"ies$", "y", subject) if subject.endswith("ies") else re.sub(r"(?<=[^s])s$", "", subject)


def _key(column: str, entity: str) -> str:
    """Return the name of an entity's key: `id` says nothing beside other keys."""
    if column.lower() in _NO_SUBJECT:
        return f"{entity}_{column.lower()}"
    return column if is_column(column) and column.lower() not in RESERVED else valid_name(f"{column}_key", prefix="k")


def _same(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    kinds = [[family(dtype) for dtype in keys.values()] for keys in (one, other)]
    return kinds[0] == kinds[1]
