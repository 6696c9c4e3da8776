"""The calls of a classic feature store: features made of rows in memory, through the same plan and apply."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from featdsl import binding, catalog, engine, frames, lossless, planner, project
from featdsl.apply import apply
from featdsl.definitions import Catalog, Column, FeatureDefinition
from featdsl.dtypes import duckdb_type, family
from featdsl.entity import Entity
from featdsl.errors import FeatdslError, Problem, RequestError, StalePlanError
from featdsl.events import ignore
from featdsl.feature import Feature
from featdsl.group import GroupDeclaration
from featdsl.names import did_you_mean, quote
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


def is_data(value: Any) -> bool:
    """Return whether an argument in the place of a type is rows rather than a type."""
    return not isinstance(value, str | type) and not hasattr(value, "__origin__")


def register(at: project.Project, store: Store, asked: Registration) -> None:
    """Make an ad hoc feature, without rows where no data are given.

    Raises RequestError for a name that is taken or data that do not fit.
    """

    def desired(snapshot: Snapshot) -> Catalog:
        taken = [each for each in snapshot.catalog.features.values() if each.name == asked.name]
        if taken and not _is_without_rows(snapshot, taken[0]):
            raise _taken(taken[0])
        given = _completed(at, snapshot, asked, taken[0].dtype if taken else None)
        entity = _entity(snapshot, given.entity)
        dtype = _dtype(given.data_type)
        if given.data is None:
            kept = _keep(at, store, _no_rows(given, entity, dtype), [{given.name: None}])
        else:
            rows = frames.as_rows(given.data, given.name)
            found = _columns(at, rows)
            column = _value_column(given, found, entity)
            kept = _keep(at, store, _fitted(found, _types(entity, column, dtype)), rows)
        return _declare(at, given, entity, *kept)

    _change(at, store, desired)


def update(at: project.Project, store: Store, name: str, data: Any, entity: Any = None) -> None:
    """Give an ad hoc feature new rows; an `entity` is given to one that has no rows yet.

    Raises FeatureNotFoundError, or RequestError for one that code declares and for rows that do not fit.
    """

    def desired(snapshot: Snapshot) -> Catalog:
        feature = snapshot.catalog.features[resolve(snapshot, name, at.name)]
        if not feature.adhoc:
            what = f"{feature.address} is declared in code, at {feature.origin}."
            raise RequestError(Problem("Not an ad hoc feature", what, mend="Change its source's data, then apply."))
        source = snapshot.catalog.sources[f"{_PREFIX}{feature.name}"]
        asked = Registration(
            name=feature.name,
            data_type=feature.dtype,
            entity=None,
            data=None,
            timestamp=source.timestamp,
            description=feature.description,
            tags=feature.tags,
        )
        rows = frames.as_rows(data, feature.name)
        if not feature.keys and _is_without_rows(snapshot, feature):
            return _first_rows(at, store, snapshot, replace(asked, entity=entity, data=rows))
        known = _with_keys(feature.entity, feature.keys) if feature.entity else None
        _refuse_other_entity(feature, _entity(snapshot, entity), known)
        stored = {column.name: column.dtype for column in source.columns}
        column = _value_column(asked, stored, known)
        types = stored | _types(known, column, feature.dtype)
        found = _columns(at, rows)
        _refuse_missing(found, [*(known.keys if known else ()), *_time(source.timestamp), column])
        if not known and len(found) > 1 + len(_time(source.timestamp)):
            what = f"{feature.name} is one value for everyone, but the data have the columns {', '.join(found)}."
            raise RequestError(Problem("Other entity", what, mend="Give the value alone, or register another feature."))
        old = f"({engine.reading(source, at.root, store.frames)})"
        identity = [key.name for key in feature.keys] + _time(source.timestamp)
        kept = _keep(at, store, _merged(old, stored, types, identity, found), rows)
        return _declare(at, asked, known, *kept)

    _change(at, store, desired)


def _first_rows(at: project.Project, store: Store, snapshot: Snapshot, asked: Registration) -> Catalog:
    """Return the catalogue of a feature that was registered without rows, with its first ones."""
    asked = _completed(at, snapshot, asked, asked.data_type)
    entity = _entity(snapshot, asked.entity)
    found = _columns(at, asked.data)
    _refuse_missing(found, [*(entity.keys if entity else ()), *_time(asked.timestamp), asked.name])
    kept = _keep(at, store, _fitted(found, _types(entity, asked.name, asked.data_type)), asked.data)
    return _declare(at, asked, entity, *kept)


def _refuse_other_entity(feature: FeatureDefinition, given: Entity | None, known: Entity | None) -> None:
    if given is not None and dict(given.keys) != dict(known.keys if known else {}):
        keys = ", ".join(f"{name}: {dtype}" for name, dtype in (known.keys if known else {}).items()) or "none"
        what = f"{feature.name} has rows of another entity already; its keys are: {keys}."
        raise RequestError(Problem("Other entity", what, mend="Leave entity= out, or register another feature."))


def _time(timestamp: str | None) -> list[str]:
    return [timestamp] if timestamp else []


def _is_without_rows(snapshot: Snapshot, feature: FeatureDefinition) -> bool:
    table = snapshot.tables.get(feature.table)
    return feature.adhoc and table is not None and table.rows == 0


def _completed(at: project.Project, snapshot: Snapshot, asked: Registration, known: str | None) -> Registration:
    """Return a registration with the type and the keys that the data have, where they were left out and are clear.

    `known` is the type of the feature that this gives rows to. Raises RequestError that shows the call to write.
    """
    if asked.data is None or (asked.data_type is not None and asked.entity is not None):
        if asked.data_type is None and known is None:
            raise _unclear(asked, "Neither a type nor data are given.")
        return replace(asked, data_type=asked.data_type if asked.data_type is not None else known)
    found = _columns(at, frames.as_rows(asked.data, asked.name))
    if asked.entity is None and len(found) > 1:
        asked = replace(asked, entity=_entity_of(snapshot, asked, found))
    if asked.data_type is not None:
        return asked
    column = _value_column(asked, found, _entity(snapshot, asked.entity))
    if found[column] in lossless.NULLS:
        raise _unclear(asked, f"The column {column!r} has no values that tell its type.")
    return replace(asked, data_type=known or _plain_type(found[column]))


def _entity_of(snapshot: Snapshot, asked: Registration, found: Mapping[str, str]) -> Any:
    """Return the entity that the columns of data belong to: an applied one, else the only column that is no value."""
    column = asked.name if asked.name in found else None
    others = {name: dtype for name, dtype in found.items() if name not in {column, asked.timestamp}}
    fits = [
        each
        for each in snapshot.catalog.entities.values()
        if each.keys and all(key.name in others and lossless.widens(others[key.name], key.dtype) for key in each.keys)
    ]
    if len(fits) == 1:
        return {key.name: key.dtype for key in fits[0].keys}
    if not fits and column and len(others) == 1 and family(next(iter(others.values()))) in {"integer", "text", "UUID"}:
        return {name: _plain_type(dtype) for name, dtype in others.items()}
    raise _unclear(asked, f"The data have the columns {', '.join(found)}, which may be keys or values.")


def _plain_type(dtype: str) -> str:
    """Return the type that `int` stands for where a frame has a smaller one: rows to come may need it."""
    return "BIGINT" if lossless.widens(dtype, "BIGINT") and dtype not in lossless.NULLS else dtype


def _unclear(asked: Registration, what: str) -> RequestError:
    dtype = asked.data_type if isinstance(asked.data_type, str) else "int"
    call = f'store.register_feature("{asked.name}", "{dtype}", data=frame, entity={{"user_id": int}})'
    return RequestError(Problem("Unclear registration", what, mend=f"Write: {call}"))


def _columns(at: project.Project, rows: Any) -> dict[str, str]:
    """Return the columns of a frame and their types."""
    connection = engine.connect(at)
    try:
        relation = frames.scan(connection, rows)
        return dict(zip(relation.columns, map(str, relation.types), strict=True))
    finally:
        connection.close()


def _types(entity: Entity | None, column: str, dtype: str) -> dict[str, str]:
    """Return the declared types of columns: those of the keys, and of the value."""
    return {**(dict(entity.keys) if entity else {}), column: dtype}


def _no_rows(asked: Registration, entity: Entity | None, dtype: str) -> Parts:
    columns = _types(entity, asked.name, dtype) | dict.fromkeys(_time(asked.timestamp), "TIMESTAMP")
    listed = ", ".join(f"CAST(NULL AS {each}) AS {quote(name)}" for name, each in columns.items())
    return Parts((f"SELECT {listed} WHERE false",), ())


@dataclass(frozen=True)
class Parts:
    """The queries that give rows to keep, and those that find a value which does not fit, by its column and type."""

    selects: tuple[str, ...]
    misfits: tuple[tuple[str, str, str], ...]


def _fitted(found: Mapping[str, str], types: Mapping[str, str]) -> Parts:
    """Return the rows of a frame in the types that are declared for some columns."""
    numbered = f'(SELECT *, row_number() OVER () - 1 AS "#row" FROM {frames.VIEW})'
    changed = {name: types[name] for name, dtype in found.items() if name in types and dtype != types[name]}
    queries = []
    for name, dtype in changed.items():
        # Python has one kind of float: the smaller one is only in what is asked for.
        if lossless.widens(found[name].replace("DOUBLE", "FLOAT"), dtype):
            continue
        if query := lossless.first_misfit(quote(name), _plain(found[name]), dtype, numbered):
            queries.append((name, dtype, query))
    casts = ", ".join(f"CAST({quote(name)} AS {dtype}) AS {quote(name)}" for name, dtype in changed.items())
    star = f"* REPLACE ({casts})" if casts else "*"
    return Parts((f"SELECT {star} FROM {frames.VIEW}",), tuple(queries))


def _plain(dtype: str) -> str:
    return "INTEGER" if dtype in lossless.NULLS else dtype


def _merged(
    old: str, stored: Mapping[str, str], types: Mapping[str, str], identity: Sequence[str], found: Mapping[str, str]
) -> Parts:
    """Return the rows to keep: old ones that no new one replaces, and the new ones, in the types that are stored."""
    new = _fitted({name: dtype for name, dtype in found.items() if name in stored}, types)
    columns = ", ".join(
        f"CAST({quote(name)} AS {types[name]}) AS {quote(name)}"
        if name in found
        else f"CAST(NULL AS {types[name]}) AS {quote(name)}"
        for name in stored
    )
    fresh = f"SELECT {columns} FROM {frames.VIEW}"
    if not identity:
        return Parts((fresh,), new.misfits)
    kept = ", ".join(f"CAST({quote(name)} AS {types[name]}) AS {quote(name)}" for name in stored)
    same = ", ".join(quote(column) for column in identity)
    return Parts((f"SELECT {kept} FROM {old} AS old ANTI JOIN ({fresh}) AS fresh USING ({same})", fresh), new.misfits)


def _refuse_missing(found: Mapping[str, str], wanted: Sequence[str]) -> None:
    for name in wanted:
        if name not in found:
            what = f"The data have no column {name!r}; their columns are: {', '.join(found)}."
            mend = did_you_mean(name, found) or "Name the columns as those of the feature."
            raise RequestError(Problem("Missing column", what, mend=mend))


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


def _keep(at: project.Project, store: Store, parts: Parts, rows: Any) -> tuple[str, dict[str, str]]:
    """Keep rows as a file; return their hash and their columns. Raises RequestError for a value that does not fit."""
    connection = engine.connect(at)
    try:
        frames.register(connection, rows)
        for name, dtype, query in parts.misfits:
            for row, value in connection.execute(query).fetchall():
                what = f"The column {name!r} has the value {value!r} in row {row}, which {dtype} does not hold."
                mend = f"Give values of {dtype}: pandas keeps integers beside gaps as Int64."
                raise RequestError(Problem("Value does not fit", what, mend=mend))
        select = "\nUNION ALL BY NAME\n".join(parts.selects)
        relation = connection.sql(select)
        columns = dict(zip(relation.columns, map(str, relation.types), strict=True))
        digest = frames.digest(connection, select)
        frames.write(connection, select, store.frames, digest)
    finally:
        connection.close()
    return digest, columns


def _dtype(data_type: Any) -> str:
    """Return the DuckDB type of `data_type=`. Raises RequestError where there is none."""
    import duckdb

    try:
        dtype = duckdb_type(data_type)
        duckdb.connect().sql(f"SELECT CAST(NULL AS {dtype})")
    except ValueError as error:
        raise RequestError(Problem("Invalid type", f"data_type: {error}.")) from None
    except duckdb.Error:
        known = ("int", "float", "str", "bool", "bytes", "BIGINT", "DOUBLE", "VARCHAR", "BOOLEAN", "DATE", "TIMESTAMP")
        mend = did_you_mean(str(data_type), known) or "Write a Python type's name, such as \"int\", or one of DuckDB's."
        raise RequestError(Problem("Invalid type", f"data_type: there is no type {data_type!r}.", mend=mend)) from None
    return dtype


def _declare(
    at: project.Project, asked: Registration, entity: Entity | None, digest: str, columns: Mapping[str, str]
) -> Catalog:
    """Return the catalogue of one ad hoc feature, checked against its rows."""
    name = f"{_PREFIX}{asked.name}"
    source = Source(name, frame=digest, timestamp=asked.timestamp)  # the rows are kept already, under their hash
    feature: Feature[Any] = Feature(
        _dtype(asked.data_type),
        sql=quote(_value_column(asked, columns, entity)),
        description=asked.description,
        tags=asked.tags,
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
    # The project's policy is what it applies, not what a notebook does.
    return Catalog.of(_marked(each) for each in bound if each.kind != "policy")


def _value_column(asked: Registration, columns: Mapping[str, str], entity: Entity | None) -> str:
    """Return the column of the value: that of the feature's name, or the only one that is no key and no time."""
    around = {*(entity.keys if entity else {}), asked.timestamp}
    others = [column for column in columns if column not in around]
    column = asked.name if asked.name in columns else others[0] if len(others) == 1 else None
    if column is None:
        what = f"The data has no column {asked.name!r}; its columns are: {', '.join(columns)}."
        raise RequestError(Problem("Missing column", what, mend="Name the column of values as the feature."))
    return column


def _marked(definition: Any) -> Any:
    own = replace(definition, owner=user())
    return replace(own, adhoc=True) if definition.kind in {"feature", "group"} else own
