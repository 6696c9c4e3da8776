"""The calls of a classic feature store: features made of rows in memory, through the same plan and apply."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from featdsl import binding, catalog, engine, frames, planner, project
from featdsl.apply import apply
from featdsl.definitions import Catalog, Column, FeatureDefinition
from featdsl.dtypes import duckdb_type, family, gives
from featdsl.entity import Entity
from featdsl.errors import FeatdslError, Problem, RequestError, StalePlanError
from featdsl.events import ignore
from featdsl.feature import Feature
from featdsl.group import GroupDeclaration
from featdsl.names import quote
from featdsl.selection import resolve
from featdsl.snapshot import Snapshot
from featdsl.source import Source
from featdsl.stores import Store, open_store
from featdsl.stores.lock import user

_PREFIX = "adhoc_"
_ATTEMPTS = 5


@dataclass(frozen=True, kw_only=True)
class Registration:
    """What `register_feature` was asked for."""

    name: str
    data_type: Any
    entity: Any
    data: Any
    timestamp: str | None
    description: str
    tags: str | Sequence[str]


def register(at: project.Project, store: Store, asked: Registration) -> None:
    """Make an ad hoc feature. Raises RequestError for a name that is taken or data that do not fit."""

    def desired(snapshot: Snapshot) -> Catalog:
        taken = [each for each in snapshot.catalog.features.values() if each.name == asked.name]
        if taken:
            raise _taken(taken[0])
        rows = frames.as_rows(asked.data, asked.name)
        digest, columns = _keep(at, store, [f"SELECT * FROM {frames.VIEW}"], rows)
        return _declare(at, asked, _entity(snapshot, asked.entity), digest, columns)

    _change(at, store, desired)


def update(at: project.Project, store: Store, name: str, data: Any) -> None:
    """Give an ad hoc feature new rows. Raises FeatureNotFoundError, or RequestError for one that code declares."""

    def desired(snapshot: Snapshot) -> Catalog:
        feature = snapshot.catalog.features[resolve(snapshot, name)]
        if not feature.adhoc:
            what = f"{feature.address} is declared in code, at {feature.origin}."
            raise RequestError(Problem("Not an ad hoc feature", what, mend="Change its source's data, then apply."))
        source = snapshot.catalog.sources[f"{_PREFIX}{feature.name}"]
        old = f"({engine.reading(source, at.root, store.frames)})"
        identity = [key.name for key in feature.keys] + ([source.timestamp] if source.timestamp else [])
        rows = frames.as_rows(data, feature.name)
        digest, columns = _keep(at, store, _merged(old, identity), rows)
        asked = Registration(
            name=feature.name,
            data_type=feature.dtype,
            entity=None,
            data=None,
            timestamp=source.timestamp,
            description=feature.description,
            tags=feature.tags,
        )
        entity = _with_keys(feature.entity, feature.keys) if feature.entity else None
        return _declare(at, asked, entity, digest, columns)

    _change(at, store, desired)


def _merged(old: str, identity: Sequence[str]) -> list[str]:
    """Return the parts of the new rows: old ones that no new one replaces, and the new ones."""
    if not identity:
        return [f"SELECT * FROM {frames.VIEW}"]
    same = ", ".join(quote(column) for column in identity)
    return [f"SELECT * FROM {old} AS old ANTI JOIN {frames.VIEW} USING ({same})", f"SELECT * FROM {frames.VIEW}"]


def _change(at: project.Project, store: Store, desired: Callable[[Snapshot], Catalog]) -> None:
    """Plan and apply one feature, again when another writer was first."""
    for attempt in range(1, _ATTEMPTS + 1):
        snapshot = store.read()
        wanted = desired(snapshot)
        new = [each for each in wanted if each.kind != "entity" or each.name not in snapshot.catalog.entities]
        own = snapshot.catalog.of_project(at.name)
        target = Catalog.of([*own, *new])
        try:
            apply(planner.build(snapshot, target, at.name), at, store, listen=ignore)
        except StalePlanError:
            if attempt == _ATTEMPTS:
                raise
        else:
            return


def _taken(feature: FeatureDefinition) -> FeatdslError:
    if feature.adhoc:
        mend = f'Give it new rows: store.update_feature("{feature.name}", data)'
        return RequestError(Problem("Name is taken", f"{feature.name} is registered already.", mend=mend))
    what = f"{feature.address} of {feature.owner} has this name: {feature.description or feature.sql}"
    return RequestError(Problem("Name is taken", what, mend="Use that feature, or choose another name."))


def _entity(snapshot: Snapshot, asked: Any) -> Entity | None:
    """Return the entity that was asked for: an applied one with the same keys where there is one."""
    if isinstance(asked, Entity) and asked.foreign:
        return Entity(asked.name, keys=asked.keys)  # of another project, which has applied it
    if asked is None or isinstance(asked, Entity):
        return asked
    if not isinstance(asked, Mapping):
        what = f"entity={asked!r} is neither an Entity nor a mapping of key columns to types."
        raise RequestError(Problem("Invalid entity", what, mend='Write entity={"user_id": int}.'))
    made = Entity("_".join(str(key).lower() for key in sorted(asked)) or "entity", keys=asked)
    for known in snapshot.catalog.entities.values():
        if {key.name: key.dtype for key in known.keys} == dict(made.keys):
            return _with_keys(known.name, known.keys)
    return made


def _with_keys(name: str, keys: Sequence[Column]) -> Entity:
    return Entity(name, keys={key.name: key.dtype for key in keys})


def _keep(at: project.Project, store: Store, parts: Sequence[str], rows: Any) -> tuple[str, dict[str, str]]:
    """Keep rows as a file; return their hash and their columns."""
    connection = engine.connect(at)
    try:
        frames.register(connection, rows)
        select = "\nUNION ALL BY NAME\n".join(parts)
        relation = connection.sql(select)
        columns = dict(zip(relation.columns, map(str, relation.types), strict=True))
        digest = frames.digest(connection, select)
        frames.write(connection, select, store.frames, digest)
    finally:
        connection.close()
    return digest, columns


def _declare(
    at: project.Project, asked: Registration, entity: Entity | None, digest: str, columns: Mapping[str, str]
) -> Catalog:
    """Return the catalogue of one ad hoc feature, checked against its rows."""
    name = f"{_PREFIX}{asked.name}"
    try:
        dtype = duckdb_type(asked.data_type)
    except ValueError as error:
        raise RequestError(Problem("Invalid type", f"data_type: {error}.")) from None
    source = Source(name, frame=digest, timestamp=asked.timestamp)  # the rows are kept already, under their hash
    feature: Feature[Any] = Feature(
        dtype, sql=_value(asked, dtype, columns, entity), description=asked.description, tags=asked.tags
    )
    group = GroupDeclaration({"name": name, "entity": entity, "source": source, "features": {asked.name: feature}})
    feature.join(group, asked.name)
    declared = [*([entity] if entity else []), source, group]
    made = catalog.build(declared, at, frames={name: digest})
    connection = engine.connect(at)
    try:
        bound = binding.bind(made, connection, project=at, frame_folder=open_store(at).frames, rows={})
    finally:
        connection.close()
    return Catalog.of(_marked(each) for each in bound)


def _value(asked: Registration, dtype: str, columns: Mapping[str, str], entity: Entity | None) -> str:
    """Return the SQL of the value: the column of the feature's name, or the only one that is no key and no time."""
    around = {*(entity.keys if entity else {}), asked.timestamp}
    others = [column for column in columns if column not in around]
    column = asked.name if asked.name in columns else others[0] if len(others) == 1 else None
    if column is None:
        what = f"The data has no column {asked.name!r}; its columns are: {', '.join(columns)}."
        raise RequestError(Problem("Missing column", what, mend="Name the column of values as the feature."))
    if family(columns[column]) == "real" and family(dtype) == "integer":
        # pandas turns a column of integers with a gap into floats: whole numbers go back, others are an error.
        whole = f"{quote(column)} = trunc({quote(column)})"
        return f"CASE WHEN {whole} THEN CAST({quote(column)} AS {dtype}) WHEN NOT {whole} THEN error('a fraction in {asked.name}') END"
    # Python has one kind of float: the smaller one is only in what is asked for.
    if gives(columns[column].replace("DOUBLE", "FLOAT"), dtype) and not gives(columns[column], dtype):
        return f"CAST({quote(column)} AS {dtype})"
    return quote(column)


def _marked(definition: Any) -> Any:
    own = replace(definition, owner=user())
    return replace(own, adhoc=True) if definition.kind in {"feature", "group"} else own
