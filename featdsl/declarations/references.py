"""References to features, in the inputs of groups and in sets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from featdsl.declarations.feature import Feature, FeatureAlias
from featdsl.declarations.request import Request
from featdsl.definitions.sheets import Cell, Code, by_name, listed
from featdsl.definitions.validation_errors import shown

Reference = Feature[Any] | FeatureAlias[Any] | str
"""A feature as an object, as an alias, or by its address `group.feature`."""


def references(value: Any) -> tuple[Reference, ...] | None:
    """Return a tuple of references with families expanded, and None unchanged. Raises ValueError for anything else."""
    if isinstance(value, Feature | FeatureAlias | str):
        raise ValueError(f"{value!r} is one feature; write a list: [...]")  # noqa: TRY004 - pydantic turns ValueError into a problem
    if value is not None and not isinstance(value, tuple):
        raise ValueError(f"{shown(value)} is not a list of features; write [UserProfile.age]")
    for item in value or ():
        if not isinstance(item, Feature | FeatureAlias | str):
            raise ValueError(f"{shown(item)} is not a feature; name features as UserProfile.age or 'user_profile.age'")  # noqa: TRY004 - pydantic turns ValueError into a problem
    return value and tuple(each for item in value for each in (item.each() if isinstance(item, Feature) else (item,)))


def valid_inputs(value: Any) -> tuple[Reference | Request, ...] | None:
    """Return a tuple of references and requests, and None unchanged. Raises ValueError for anything else."""
    if isinstance(value, Request):
        raise ValueError(f"{value!r} is one request; write a list: [...]")  # noqa: TRY004 - pydantic turns ValueError into a problem
    requests = [item for item in value if isinstance(item, Request)] if isinstance(value, tuple) else []
    if not requests:
        return references(value)
    return (*(references(tuple(item for item in value if not isinstance(item, Request))) or ()), *requests)


def described(items: Iterable[Reference | Request]) -> Iterator[str]:
    """Yield each input as people read it: a feature by its address, an alias with its role, a request with its types."""
    for item in items:
        match item:
            case Request():
                yield f"request: {listed(by_name(item.columns))}"
            case FeatureAlias():
                yield f"{item.feature.address} as {item.name}{_role(item)}"
            case _:
                yield item if isinstance(item, str) else item.address


def cells(item: Reference) -> dict[str, Cell]:
    """Return a selected feature as a row of a grid."""
    if isinstance(item, str):
        return {"column": Code(item.rpartition(".")[2]), "feature": Code(item), "type": None, "description": None}
    feature = item.feature if isinstance(item, FeatureAlias) else item
    where = f"{feature.address}{_role(item)}" if isinstance(item, FeatureAlias) else feature.address
    return {
        "column": Code(item.name), "feature": Code(where), "type": Code(feature.dtype),
        "description": feature.description.partition("\n")[0],
    }  # fmt: skip


def _role(alias: FeatureAlias[Any]) -> str:
    keys = listed(f"{key}={by if isinstance(by, str) else by.address}" for key, by in alias.keys.items())
    return f" by {keys}" if keys else ""
