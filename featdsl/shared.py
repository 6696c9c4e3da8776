"""What the modules that `featdsl pull` writes are made of: another project's declarations, known here and applied there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, overload

from featdsl.entity import Entity
from featdsl.feature import Feature, FeatureAlias
from featdsl.featureset import FeatureSet
from featdsl.group import GroupDeclaration, Reference

T = TypeVar("T")


def entity(name: str, *, keys: Mapping[str, type[Any] | str], project: str, description: str = "") -> Entity:
    """Return an entity that a pulled project declares or uses. Raises DeclarationError as Entity does."""
    made = Entity(name, keys=keys, description=description)
    made._foreign = project  # noqa: SLF001 - what only this module makes
    return made


@overload
def feature(
    dtype: type[T], fingerprint: str, *, description: str = ..., tags: Sequence[str] = ..., name: str | None = ...
) -> Feature[T]: ...


@overload
def feature(
    dtype: str, fingerprint: str, *, description: str = ..., tags: Sequence[str] = ..., name: str | None = ...
) -> Feature[Any]: ...


def feature(
    dtype: Any, fingerprint: str, *, description: str = "", tags: Sequence[str] = (), name: str | None = None
) -> Feature[Any]:
    """Return a feature of another project's group, at the fingerprint that was pulled. Raises as Feature does."""
    made: Feature[Any] = Feature(dtype, description=description, tags=tags, name=name)
    made._pulled = fingerprint  # noqa: SLF001 - likewise
    return made


def role(
    address: str, column: str, *, dtype: type[Any] | str, project: str, keys: Mapping[str, str] | None = None
) -> FeatureAlias[Any]:
    """Return a member of a set under another name or in another role, of a feature that the module does not have."""
    group, _, name = address.partition(".")
    made: Feature[Any] = Feature(dtype)
    given = {"name": group, "entity": None, "features": {name: made}, "shared_by": project}
    made.join(GroupDeclaration(given), name)
    return made.alias(column, keys=keys)


def feature_set(
    name: str, *, version: int, features: Sequence[Reference], project: str, description: str = ""
) -> FeatureSet:
    """Return a set version that another project declares. Raises DeclarationError as FeatureSet does."""
    made = FeatureSet(name, version=version, features=features, description=description)
    made._foreign = project  # noqa: SLF001 - likewise
    return made
