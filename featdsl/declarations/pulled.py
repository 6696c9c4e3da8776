"""Functions that modules written by `featdsl pull` call, to declare the features of another project."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, overload

from featdsl.declarations.entity import Entity
from featdsl.declarations.feature import Feature, FeatureAlias
from featdsl.declarations.feature_group import GroupDeclaration
from featdsl.declarations.feature_set import FeatureSet
from featdsl.declarations.references import Reference

T = TypeVar("T")


def entity(name: str, *, keys: Mapping[str, type[Any] | str], project: str, description: str = "") -> Entity:
    """Return an entity that the other project declares or uses. Raises DeclarationError like Entity."""
    pulled = Entity(name, keys=keys, description=description)
    pulled._foreign = project  # noqa: SLF001 - only this module sets it
    return pulled


@overload
def feature(
    dtype: type[T],
    fingerprint: str,
    *,
    description: str = ...,
    unit: str = ...,
    tags: Sequence[str] = ...,
    name: str | None = ...,
) -> Feature[T]: ...


@overload
def feature(
    dtype: str,
    fingerprint: str,
    *,
    description: str = ...,
    unit: str = ...,
    tags: Sequence[str] = ...,
    name: str | None = ...,
) -> Feature[Any]: ...


def feature(  # noqa: PLR0913 - one flat call is what a pulled module writes
    dtype: Any,
    fingerprint: str,
    *,
    description: str = "",
    unit: str = "",
    tags: Sequence[str] = (),
    name: str | None = None,
) -> Feature[Any]:
    """Return a feature of the other project, with the pulled fingerprint. Raises DeclarationError like Feature."""
    pulled: Feature[Any] = Feature(dtype, description=description, unit=unit, tags=tags, name=name)
    pulled._pulled = fingerprint  # noqa: SLF001 - only this module sets it
    return pulled


def role(
    address: str, column: str, *, dtype: type[Any] | str, project: str, keys: Mapping[str, str] | None = None
) -> FeatureAlias[Any]:
    """Return an alias of a feature that the pulled module does not declare, for the list of a set."""
    group, _, name = address.partition(".")
    pulled: Feature[Any] = Feature(dtype)
    options = {"name": group, "entity": None, "features": {name: pulled}, "shared_by": project}
    pulled.join(GroupDeclaration(options), name)
    return pulled.alias(column, keys=keys)


def feature_set(
    name: str, *, version: int, features: Sequence[Reference], project: str, description: str = ""
) -> FeatureSet:
    """Return a set version that the other project declares. Raises DeclarationError like FeatureSet."""
    pulled = FeatureSet(name, version=version, features=features, description=description)
    pulled._foreign = project  # noqa: SLF001 - only this module sets it
    return pulled
