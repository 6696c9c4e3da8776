"""Declarations that are checked without a registry and without data: what pulled modules alone say, and SQL over unread sources."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from featdsl.catalog.builder import key_columns, target_of
from featdsl.catalog.imports import Imports
from featdsl.declarations.declaration import Declaration
from featdsl.declarations.entity import Entity
from featdsl.declarations.feature import Feature
from featdsl.declarations.feature_group import GroupDeclaration
from featdsl.declarations.feature_set import FeatureSet, column_of
from featdsl.definitions.kinds import EntityDefinition, FeatureDefinition, Member, SetDefinition


class EveryName:
    """A container of all names: without a registry, any feature may be applied. The build reports those that nobody declares."""

    def __contains__(self, name: object) -> bool:
        return True


def pulled(declarations: Iterable[Declaration]) -> Imports:
    """Return the definitions that were pulled from other projects, as their modules declare them."""
    entities, features, sets = {}, {}, {}
    for each in declarations:
        if not (each.valid and each.foreign):
            continue
        match each:
            case Entity():
                entities[each.name] = EntityDefinition(
                    name=each.name, description=each.description, keys=key_columns(each.keys), **_common(each)
                )
            case GroupDeclaration():
                features.update({f.address: _feature(each, f) for f in each.features.values() if f.pulled})
            case FeatureSet():
                sets[each.address] = _set(each)
    return Imports(entities, features, sets)


def _common(declaration: Declaration) -> dict[str, Any]:
    return {"project": declaration.foreign, "owner": declaration.foreign, "origin": declaration.origin}


def _feature(group: GroupDeclaration, feature: Feature[object]) -> FeatureDefinition:
    """Return a pulled feature. Its module does not say what it is computed from, nor whether it changes over time."""
    return FeatureDefinition(
        name=feature.name,
        group=group.name,
        description=feature.description,
        tags=feature.tags,
        dtype=feature.dtype,
        sql="",
        expect=(),
        reads=(),
        entity=group.entity.name if group.entity else None,
        keys=key_columns(group.entity.keys) if group.entity else (),
        timed=True,
        ttl=None,
        fingerprint=feature.pulled,
        table=feature.pulled,
        **_common(group),
    )


def _set(pulled_set: FeatureSet) -> SetDefinition:
    members = [
        Member(
            column=column_of(each), feature=each if isinstance(each, str) else target_of(each).address, fingerprint=""
        )
        for each in pulled_set.features
    ]
    return SetDefinition(
        name=pulled_set.name,
        version=pulled_set.version,
        description=pulled_set.description,
        members=tuple(members),
        **_common(pulled_set),
    )
