"""Feature sets and models: versioned selections of features, and the models that consume them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Annotated, Any, ClassVar, Never

from pydantic import AfterValidator, Field, InstanceOf, PrivateAttr, SkipValidation, StrictBool

from featdsl.declarations.declaration import Declaration, Name, listed, place, refuse
from featdsl.declarations.deprecation import Deprecated
from featdsl.declarations.feature import Feature, FeatureAlias
from featdsl.declarations.feature_group import FeatureGroup
from featdsl.declarations.references import Reference, cells, references
from featdsl.definitions.names import did_you_mean
from featdsl.definitions.sheets import Grid, grid_of
from featdsl.definitions.validation_errors import shown
from featdsl.errors import Problem

Selected = Reference | type[FeatureGroup]
"""One feature, or a group for all its features."""


def _some(selected: tuple[Reference, ...]) -> tuple[Reference, ...]:
    if not selected:
        raise ValueError("the set is empty; list at least one feature")
    return selected


def _by_columns(selected: tuple[Reference, ...]) -> tuple[Reference, ...]:
    for each in selected:
        if isinstance(each, FeatureAlias):
            for key in [key for key, by in each.keys.items() if isinstance(by, Feature)]:
                what = f"the alias of {each.feature.address} looks up {key!r} by a feature"
                raise ValueError(
                    f"{what}; a set can only use spine columns for keys, so derive a feature in a group instead"
                )
    return selected


class FeatureSet(Declaration):
    """A named, versioned, pinned selection of features for a purpose.

        credit_risk_v1 = FeatureSet("credit_risk", version=1, features=[UserProfile.age, UserProfile.income])
        credit_risk_v2 = credit_risk_v1.evolve(version=2, add=[Affordability.spend_to_income])

    A set may span entities: a spine then has the keys of all of them. Plans must not remove a version with `protect=True`,
    and `deprecated=Deprecated(...)` warns its consumers. `online=False` keeps a version out of the online store. Raises DeclarationError if an argument is invalid.
    """

    kind: ClassVar[str] = "set"
    title: ClassVar[str] = "FeatureSet"

    name: Name
    version: Annotated[int, Field(ge=1, strict=True)]
    features: Annotated[
        tuple[Reference, ...],
        SkipValidation,
        AfterValidator(references),
        AfterValidator(_some),
        AfterValidator(_by_columns),
    ]
    description: str = ""
    protect: StrictBool = False
    deprecated: InstanceOf[Deprecated] | None = None
    renamed_from: Name | None = None
    online: StrictBool = True

    _by: dict[str, str] = PrivateAttr(default={})

    def __init__(  # noqa: PLR0913 - one flat call is what people type
        self,
        name: str,
        *,
        version: int,
        features: Collection[Selected],
        description: str = "",
        protect: bool = False,
        deprecated: Deprecated | None = None,
        renamed_from: str | None = None,
        online: bool = True,
        **unknown: Never,
    ) -> None:
        options = {
            "name": name, "version": version, "features": _chosen(features), "description": description,
            "protect": protect, "deprecated": deprecated, "renamed_from": renamed_from, "online": online,
        }  # fmt: skip
        super().__init__({**options, **unknown})
        self._private["_by"] = _listed_by(features)

    @property
    def address(self) -> str:
        """The name with the version: `credit_risk@1`."""
        return f"{self.name}@{self.version}"

    def listed_by(self, reference: Reference) -> str:
        """Return how the set lists a feature: `*` by its group, the family's name by its family, `""` by itself."""
        return self._private["_by"].get(_address(reference), "") if isinstance(reference, Feature) else ""

    def grids(self) -> Iterator[Grid]:
        """Yield its features."""
        yield grid_of(self.features, cells)

    def evolve(  # noqa: PLR0913 - one flat call is what people type
        self,
        *,
        version: int,
        add: Collection[Selected] = (),
        remove: Collection[Selected] = (),
        description: str | None = None,
        protect: bool = False,
        deprecated: Deprecated | None = None,
        online: bool = True,
    ) -> FeatureSet:
        """Return another version of this set, with features added and removed.

        Features to remove are named by object, by address or by column name. `protect`, `deprecated` and `online` apply to
        the new version only; `renamed_from` is inherited. Raises DeclarationError if the set lacks a feature to remove.
        """
        kept = _usable(self.features)
        for reference in _references("remove", remove, version):
            matches = [feature for feature in kept if _is(feature, reference)]
            if self.valid and not matches:
                what = f"Version {version} removes {_shown(reference)}, which {self.address} does not contain."
                known = [column_of(feature) for feature in self.features]
                refuse(Problem("Unknown feature", what, place(), did_you_mean(_shown(reference), known)))
            kept = [feature for feature in kept if feature not in matches]
        # A listed group includes features that its owner added later; adding one of them again would be a duplicate.
        added = [each for each in _references("add", add, version) if not self._has_by_list(kept, each)]
        evolved = FeatureSet(
            self.name,
            version=version,
            features=[*kept, *added],
            description=self.description if description is None else description,
            protect=protect,
            deprecated=deprecated,
            renamed_from=self.renamed_from if self.valid else None,
            online=online,
        )
        evolved._private["_by"] = {**self._private["_by"], **_listed_by(add)}
        return evolved

    def _has_by_list(self, kept: Sequence[Reference], added: Reference) -> bool:
        """Return whether a listed group or family already includes a feature."""
        return any(self.listed_by(each) and _is(each, added) for each in kept)


class Model(Declaration):
    """A model that consumes one version of a set: `loan_default = Model("loan_default", features=credit_risk_v1)`."""

    kind: ClassVar[str] = "model"

    name: Name
    features: InstanceOf[FeatureSet]
    description: str = ""

    def __init__(self, name: str, *, features: FeatureSet, description: str = "", **unknown: Never) -> None:
        super().__init__({"name": name, "features": features, "description": description, **unknown})

    def facts(self) -> Iterator[tuple[str, str]]:
        """Yield the set version that it consumes."""
        yield "features", f"{self.features.address}: {len(self.features.features)} columns"
        yield from super().facts()

    def grids(self) -> Iterator[Grid]:
        """Yield the features of its set version."""
        yield from self.features.grids()


def _references(option: str, selected: Any, version: int) -> Sequence[Reference]:
    """Return the features to add or remove. Report a problem and return none if the selection is invalid."""
    try:
        return references(_chosen(selected)) or ()
    except ValueError as error:
        refuse(Problem("Invalid declaration", f"Version {shown(version)}: {option}: {error}", place()))
        return ()


def column_of(reference: Reference) -> str:
    """Return the column name of a selected feature."""
    return reference.rpartition(".")[2] if isinstance(reference, str) else reference.name


def _usable(features: Any) -> list[Reference]:
    """Return the valid references of a set, which may itself be invalid."""
    listed = features if isinstance(features, tuple) else (features,)
    return [feature for feature in listed if isinstance(feature, Feature | FeatureAlias | str)]


def _is(feature: Reference, reference: Reference) -> bool:
    """Return whether `reference` names a selected feature, by object, by address or by column name."""
    if isinstance(reference, str) and "." not in reference:
        return column_of(feature) == reference
    return (_address(feature), column_of(feature)) == (_address(reference), column_of(reference))


def _address(reference: Reference) -> str:
    if isinstance(reference, str):
        return reference
    return reference.feature.address if isinstance(reference, FeatureAlias) else reference.address


def _shown(reference: Reference) -> str:
    return reference if isinstance(reference, str) else reference.address


def _chosen(features: Any) -> Any:
    """Return the selected features as a tuple; return the value unchanged if it is not a collection."""
    if isinstance(features, Feature | FeatureAlias | str | type):
        return features
    items = listed(features)
    return tuple(feature for item in items for feature in features_of(item)) if isinstance(items, tuple) else items


def _listed_by(features: Any) -> dict[str, str]:
    """Return how features are listed that are not listed by themselves: `*` by a group, or a family's name."""
    result: dict[str, str] = {}
    items = () if isinstance(features, Feature | FeatureAlias | str | type) else listed(features)
    for selected in items if isinstance(items, tuple) else ():
        if isinstance(selected, type) and issubclass(selected, FeatureGroup):
            result.update((feature.address, "*") for feature in selected.declaration.features.values())
        elif isinstance(selected, Feature) and selected.windows and selected.joined:
            result.update((feature.address, feature.family_name) for feature in selected.each())
    return result


def features_of(selected: Any) -> Sequence[Reference]:
    """Return the features of a selected group or family; otherwise the selected feature alone."""
    if isinstance(selected, type) and issubclass(selected, FeatureGroup):
        return tuple(selected.declaration.features.values())
    return selected.each() if isinstance(selected, Feature) else (selected,)
