"""The call that registers a feature: check it, and complete it from its data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from featdsl.declarations.entity import Entity
from featdsl.definitions import casts as lossless_casts
from featdsl.definitions.dtypes import duckdb_type, family
from featdsl.definitions.names import did_you_mean
from featdsl.definitions.snapshot import Snapshot
from featdsl.definitions.sources import Column
from featdsl.engines.duckdb import dataframes
from featdsl.errors import Problem, RequestError
from featdsl.notebook.rows import columns_of
from featdsl.project import settings


@dataclass(frozen=True, kw_only=True)
class Registration:
    """The arguments of a call of `register_feature`."""

    name: str
    data_type: Any
    entity: Any
    data: Any
    timestamp: str | None
    description: str
    tags: str | Sequence[str]


def is_data(value: Any) -> bool:
    """Return whether an argument in the place of a type is data."""
    return not isinstance(value, str | type) and not hasattr(value, "__origin__")


def refuse_wrong_call(name: object, unknown: Mapping[str, object], options: set[str], example: str) -> None:
    """Raise RequestError for a call without the name of a feature, or with an unknown option."""
    if unknown:
        option = next(iter(unknown))
        raise wrong_call(f"There is no option {option}=", example, did_you_mean(option, options))
    if not isinstance(name, str) or not name:
        raise wrong_call("The call names no feature" if name == "" else f"{name!r} is not a feature's name", example)


def wrong_call(what: str, example: str, hint: str = "") -> RequestError:
    """Return the error for a call that must be written as in the example."""
    fix = "\n".join(filter(None, (hint, f"Write: store.{example}")))
    return RequestError(Problem("Wrong call", f"{what}.", fix=fix))


def completed(at: settings.Project, snapshot: Snapshot, registration: Registration, known: str | None) -> Registration:
    """Return a registration with the type and the keys of its data, if the call leaves them out.

    `known` is the type of a feature that was registered without rows. Raises RequestError with the full call if the data may
    have several meanings.
    """
    if registration.data is None or (registration.data_type is not None and registration.entity is not None):
        if registration.data_type is None and known is None:
            raise _unclear(registration, "The call has neither a type nor data.")
        return replace(registration, data_type=registration.data_type if registration.data_type is not None else known)
    columns = columns_of(at, dataframes.as_rows(registration.data, registration.name))
    if registration.entity is None and len(columns) > 1:
        registration = replace(registration, entity=_entity_of_columns(snapshot, registration, columns))
    if registration.data_type is not None:
        return registration
    column = value_column(registration, columns, entity_of(snapshot, registration.entity))
    if columns[column] in lossless_casts.NULLS:
        raise _unclear(registration, f"The column {column!r} has only NULLs, which have no type.")
    return replace(registration, data_type=known or _plain_type(columns[column]))


def _entity_of_columns(snapshot: Snapshot, registration: Registration, columns: Mapping[str, str]) -> Any:
    """Return the entity of data: an applied one with matching keys, else the only column beside the value."""
    column = registration.name if registration.name in columns else None
    others = {name: dtype for name, dtype in columns.items() if name not in {column, registration.timestamp}}
    matches = [
        each
        for each in snapshot.catalog.entities.values()
        if each.keys
        and all(key.name in others and lossless_casts.widens(others[key.name], key.dtype) for key in each.keys)
    ]
    if len(matches) == 1:
        return {key.name: key.dtype for key in matches[0].keys}
    if (
        not matches
        and column
        and len(others) == 1
        and family(next(iter(others.values()))) in {"integer", "text", "UUID"}
    ):
        return {name: _plain_type(dtype) for name, dtype in others.items()}
    raise _unclear(registration, f"The data have the columns {', '.join(columns)}, which may be keys or values.")


def _plain_type(dtype: str) -> str:
    """Return BIGINT for a smaller integer type, because later rows may need it."""
    return "BIGINT" if lossless_casts.widens(dtype, "BIGINT") and dtype not in lossless_casts.NULLS else dtype


def _unclear(registration: Registration, what: str) -> RequestError:
    dtype = registration.data_type if isinstance(registration.data_type, str) else "int"
    call = f'store.register_feature("{registration.name}", "{dtype}", data=frame, entity={{"user_id": int}})'
    return RequestError(Problem("Unclear registration", what, fix=f"Write: {call}"))


def value_column(registration: Registration, columns: Mapping[str, str], entity: Entity | None) -> str:
    """Return the column of values: the one with the feature's name, or the only one beside keys and times."""
    around = {*(entity.keys if entity else {}), registration.timestamp}
    others = [column for column in columns if column not in around]
    column = registration.name if registration.name in columns else others[0] if len(others) == 1 else None
    if column is None:
        what = f"The data has no column {registration.name!r}; its columns are: {', '.join(columns)}."
        raise RequestError(Problem("Missing column", what, fix="Name the column of values as the feature."))
    return column


def entity_of(snapshot: Snapshot, requested: Any) -> Entity | None:
    """Return the requested entity, or an applied one with the same keys."""
    if isinstance(requested, Entity) and requested.foreign:
        return Entity(requested.name, keys=requested.keys)  # of another project, which has applied it
    if requested is None or isinstance(requested, Entity):
        return requested
    if not isinstance(requested, Mapping):
        what = f"entity={requested!r} is neither an Entity nor a mapping of key columns to types."
        raise RequestError(Problem("Invalid entity", what, fix='Write entity={"user_id": int}.'))
    made = Entity("_".join(str(key).lower() for key in sorted(requested)) or "entity", keys=requested)
    for known in snapshot.catalog.entities.values():
        if {key.name: key.dtype for key in known.keys} == dict(made.keys):
            return entity_with_keys(known.name, known.keys)
    return made


def entity_with_keys(name: str, keys: Sequence[Column]) -> Entity:
    """Return an entity with the keys of an applied one."""
    return Entity(name, keys={key.name: key.dtype for key in keys})


def dtype_of(data_type: Any) -> str:
    """Return the DuckDB type of `data_type=`. Raises RequestError for an unknown type."""
    import duckdb

    try:
        dtype = duckdb_type(data_type)
        duckdb.connect().sql(f"SELECT CAST(NULL AS {dtype})")
    except ValueError as error:
        raise RequestError(Problem("Invalid type", f"data_type: {error}.")) from None
    except duckdb.Error:
        known = ("int", "float", "str", "bool", "bytes", "BIGINT", "DOUBLE", "VARCHAR", "BOOLEAN", "DATE", "TIMESTAMP")
        fix = did_you_mean(str(data_type), known) or "Write a Python type's name, such as \"int\", or one of DuckDB's."
        raise RequestError(Problem("Invalid type", f"data_type: there is no type {data_type!r}.", fix=fix)) from None
    return dtype
