"""Register features with rows from memory, as in a classic feature store, through plan and apply."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import replace
from typing import Any

from featdsl.apply.events import ignore
from featdsl.apply.execute import apply
from featdsl.catalog import bind, build
from featdsl.catalog.bind_context import BindContext
from featdsl.catalog.loader import Loaded
from featdsl.declarations.entity import Entity
from featdsl.declarations.feature import Feature
from featdsl.declarations.feature_group import GroupDeclaration
from featdsl.declarations.source import Source
from featdsl.definitions.catalog import Catalog
from featdsl.definitions.kinds import FeatureDefinition
from featdsl.definitions.names import quote
from featdsl.definitions.snapshot import Snapshot
from featdsl.engines import Compilers
from featdsl.engines.duckdb import dataframes, session, source_files
from featdsl.engines.duckdb.compiler import COMPILER
from featdsl.errors import FeatdslError, Problem, RequestError, StalePlanError
from featdsl.notebook.registration import (
    Registration,
    completed,
    dtype_of,
    entity_of,
    entity_with_keys,
    is_data,
    refuse_wrong_call,
    value_column,
    wrong_call,
)
from featdsl.notebook.rows import columns_of, declared_types, fitted, keep, merged, no_rows, refuse_missing
from featdsl.plan import planner
from featdsl.project import settings
from featdsl.query.selection import resolve
from featdsl.stores import Store, open_store
from featdsl.stores.provenance import user

__all__ = ["Registration", "is_data", "refuse_wrong_call", "register", "update", "wrong_call"]

_PREFIX = "adhoc_"
_ATTEMPTS = 5


def register(at: settings.Project, store: Store, registration: Registration) -> None:
    """Apply an ad hoc feature, without rows if the registration has no data.

    Raises RequestError for a taken name, and for data that do not fit.
    """

    def desired(snapshot: Snapshot) -> Catalog:
        namesakes = [each for each in snapshot.catalog.features.values() if each.name == registration.name]
        if namesakes and not _is_without_rows(snapshot, namesakes[0]):
            raise _name_is_taken(namesakes[0])
        whole = completed(at, snapshot, registration, namesakes[0].dtype if namesakes else None)
        entity = entity_of(snapshot, whole.entity)
        dtype = dtype_of(whole.data_type)
        if whole.data is None:
            times = dict.fromkeys(_times(whole.timestamp), "TIMESTAMP")
            no_data = no_rows(declared_types(entity, whole.name, dtype) | times)
            kept = keep(at, store, no_data, [{whole.name: None}])
        else:
            rows = dataframes.as_rows(whole.data, whole.name)
            columns = columns_of(at, rows)
            column = value_column(whole, columns, entity)
            kept = keep(at, store, fitted(columns, declared_types(entity, column, dtype)), rows)
        return _declare(at, whole, entity, *kept)

    _change(at, store, desired)


def update(at: settings.Project, store: Store, name: str, data: Any, entity: Any = None) -> None:
    """Add rows to an ad hoc feature; `entity` is the entity of a feature that has no rows yet.

    Raises FeatureNotFoundError, and RequestError for a feature that code declares and for rows that do not fit.
    """

    def desired(snapshot: Snapshot) -> Catalog:
        feature = snapshot.catalog.features[resolve(snapshot, name, at.name)]
        if not feature.adhoc:
            what = f"{feature.address} is declared in code, at {feature.origin}."
            raise RequestError(Problem("Not an ad hoc feature", what, fix="Change its source's data, then apply."))
        source = snapshot.catalog.sources[f"{_PREFIX}{feature.name}"]
        registration = Registration(
            name=feature.name,
            data_type=feature.dtype,
            entity=None,
            data=None,
            timestamp=source.timestamp,
            description=feature.description,
            tags=feature.tags,
        )
        rows = dataframes.as_rows(data, feature.name)
        if not feature.keys and _is_without_rows(snapshot, feature):
            return _first_rows(at, store, snapshot, replace(registration, entity=entity, data=rows))
        known = entity_with_keys(feature.entity, feature.keys) if feature.entity else None
        _refuse_other_entity(feature, entity_of(snapshot, entity), known)
        stored = {column.name: column.dtype for column in source.columns}
        column = value_column(registration, stored, known)
        types = stored | declared_types(known, column, feature.dtype)
        columns = columns_of(at, rows)
        refuse_missing(columns, [*(known.keys if known else ()), *_times(source.timestamp), column])
        if not known and len(columns) > 1 + len(_times(source.timestamp)):
            what = f"{feature.name} is one value for everyone, but the data have the columns {', '.join(columns)}."
            raise RequestError(Problem("Other entity", what, fix="Give the value alone, or register another feature."))
        old = f"({source_files.reading(source, at.root, store.frames)})"
        identity = [key.name for key in feature.keys] + _times(source.timestamp)
        kept = keep(at, store, merged(old, {name: types[name] for name in stored}, identity, columns), rows)
        return _declare(at, registration, known, *kept)

    _change(at, store, desired)


def _first_rows(at: settings.Project, store: Store, snapshot: Snapshot, registration: Registration) -> Catalog:
    """Return the catalogue of a feature that was registered without rows, with its first rows."""
    registration = completed(at, snapshot, registration, registration.data_type)
    entity = entity_of(snapshot, registration.entity)
    columns = columns_of(at, registration.data)
    refuse_missing(columns, [*(entity.keys if entity else ()), *_times(registration.timestamp), registration.name])
    rows = fitted(columns, declared_types(entity, registration.name, registration.data_type))
    kept = keep(at, store, rows, registration.data)
    return _declare(at, registration, entity, *kept)


def _times(timestamp: str | None) -> list[str]:
    """Return the columns of event times: one, or none."""
    return [timestamp] if timestamp else []


def _refuse_other_entity(feature: FeatureDefinition, entity: Entity | None, known: Entity | None) -> None:
    if entity is not None and dict(entity.keys) != dict(known.keys if known else {}):
        keys = ", ".join(f"{name}: {dtype}" for name, dtype in (known.keys if known else {}).items()) or "none"
        what = f"{feature.name} already has rows of another entity; its keys are: {keys}."
        raise RequestError(Problem("Other entity", what, fix="Leave entity= out, or register another feature."))


def _is_without_rows(snapshot: Snapshot, feature: FeatureDefinition) -> bool:
    table = snapshot.tables.get(feature.table)
    return feature.adhoc and table is not None and table.rows == 0


def _change(at: settings.Project, store: Store, desired: Callable[[Snapshot], Catalog]) -> None:
    """Plan and apply one feature; plan again if another writer was faster."""
    for attempt in range(1, _ATTEMPTS + 1):
        snapshot = store.read()
        wanted = desired(snapshot)
        new = [each for each in wanted if each.kind != "entity" or each.name not in snapshot.catalog.entities]
        own = snapshot.catalog.of_project(at.name)
        target = Catalog.of([*own, *new])
        try:
            apply(
                planner.build(planner.State(snapshot), target, planner.PlanRequest(at.name), Compilers(COMPILER)),
                at,
                store,
                listen=ignore,
            )
        except StalePlanError:
            if attempt == _ATTEMPTS:
                raise
        else:
            return


def _name_is_taken(feature: FeatureDefinition) -> FeatdslError:
    if feature.adhoc:
        fix = f'Give it new rows: store.update_feature("{feature.name}", data)'
        return RequestError(Problem("Name is taken", f"{feature.name} is registered already.", fix=fix))
    what = f"{feature.address} of {feature.owner} has this name: {feature.description or feature.sql}"
    return RequestError(Problem("Name is taken", what, fix="Use that feature, or choose another name."))


def _declare(
    at: settings.Project, registration: Registration, entity: Entity | None, digest: str, columns: Mapping[str, str]
) -> Catalog:
    """Return the catalogue of one ad hoc feature, bound to its rows."""
    name = f"{_PREFIX}{registration.name}"
    source = Source(name, frame=digest, timestamp=registration.timestamp)  # the rows are in the store, under their hash
    feature: Feature[Any] = Feature(
        dtype_of(registration.data_type),
        sql=quote(value_column(registration, columns, entity)),
        description=registration.description,
        tags=registration.tags,
    )
    group = GroupDeclaration(
        {"name": name, "entity": entity, "source": source, "features": {registration.name: feature}}
    )
    feature.join(group, registration.name)
    declared = [*([entity] if entity else []), source, group]
    made = build.build(Loaded(tuple(declared)), at, build.BuildContext(frames={name: digest}))
    with closing(session.open_session(at)) as binding:
        bound = bind.bind(
            made, BindContext(at, binding, Compilers(COMPILER), frame_folder=open_store(at).frames)
        ).catalog
    # Only the project's own apply changes its policy.
    return Catalog.of(_marked(each) for each in bound if each.kind != "policy")


def _marked(definition: Any) -> Any:
    own = replace(definition, owner=user())
    return replace(own, adhoc=True) if definition.kind in {"feature", "group"} else own
