"""Versioned selections of features: the contract between the teams that own them and those that use them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Annotated, Any, ClassVar, Never

from pydantic import AfterValidator, Field, InstanceOf, PrivateAttr, SkipValidation, StrictBool

from featdsl.declaration import Declaration, Name, listed, place, refuse
from featdsl.deprecated import Deprecated
from featdsl.errors import Problem
from featdsl.feature import Feature, FeatureAlias
from featdsl.group import FeatureGroup, Reference, references
from featdsl.names import did_you_mean
from featdsl.reasons import shown

Selected = Reference | type[FeatureGroup]
"""One feature, or a group that stands for all of its features."""


def _some(selected: tuple[Reference, ...]) -> tuple[Reference, ...]:
    if not selected:
        raise ValueError("the set is empty; list at least one feature")
    return selected


def _by_columns(selected: tuple[Reference, ...]) -> tuple[Reference, ...]:
    for each in selected:
        if isinstance(each, FeatureAlias):
            for key in [key for key, by in each.keys.items() if isinstance(by, Feature)]:
                what = f"{each.feature.address} is looked up by a feature, in the role of {key!r}"
                raise ValueError(
                    f"{what}; in a set a role is a column of the spine, so derive a feature from it in a group"
                )
    return selected


class FeatureSet(Declaration):
    """A named, versioned, pinned selection of features for a purpose.

        credit_risk_v1 = FeatureSet("credit_risk", version=1, features=[UserProfile.age, UserProfile.income])
        credit_risk_v2 = credit_risk_v1.evolve(version=2, add=[Affordability.spend_to_income])

    A set may span entities: a spine then carries all their keys. A version that is `protect`ed is not removed, and
    `deprecated=Deprecated(...)` warns who uses it. Raises DeclarationError for what does not fit.
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
        **unknown: Never,
    ) -> None:
        given = {
            "name": name, "version": version, "features": _chosen(features), "description": description,
            "protect": protect, "deprecated": deprecated, "renamed_from": renamed_from,
        }  # fmt: skip
        super().__init__({**given, **unknown})
        self._private["_by"] = _listed_by(features)

    @property
    def address(self) -> str:
        """Its name for everyone: `credit_risk@1`."""
        return f"{self.name}@{self.version}"

    def listed_by(self, reference: Reference) -> str:
        """Return how a feature of it is listed: `*` for its whole group, the name of its family, nothing for itself."""
        return self._private["_by"].get(_address(reference), "") if isinstance(reference, Feature) else ""

    def evolve(  # noqa: PLR0913 - likewise
        self,
        *,
        version: int,
        add: Collection[Selected] = (),
        remove: Collection[Selected] = (),
        description: str | None = None,
        protect: bool = False,
        deprecated: Deprecated | None = None,
    ) -> FeatureSet:
        """Return a further version of this set, with features added and removed.

        A removed feature is named as it was selected: by object, or by its address or column name. Each version is
        protected and deprecated for itself; `renamed_from` holds for all.
        Raises DeclarationError when a feature to remove is not in the set.
        """
        kept = _usable(self.features)
        for wanted in _references("remove", remove, version):
            found = [feature for feature in kept if _is(feature, wanted)]
            if self.valid and not found:
                what = f"Version {version} removes {_shown(wanted)}, which {self.address} does not have."
                known = [column_of(feature) for feature in self.features]
                refuse(Problem("Unknown feature", what, place(), did_you_mean(_shown(wanted), known)))
            kept = [feature for feature in kept if feature not in found]
        # A group that is listed has what its owner has added since, so that to add this as well is to say it twice.
        added = [each for each in _references("add", add, version) if not self._has_by_list(kept, each)]
        made = FeatureSet(
            self.name,
            version=version,
            features=[*kept, *added],
            description=self.description if description is None else description,
            protect=protect,
            deprecated=deprecated,
            renamed_from=self.renamed_from if self.valid else None,
        )
        made._private["_by"] = {**self._private["_by"], **_listed_by(add)}
        return made

    def _has_by_list(self, kept: Sequence[Reference], added: Reference) -> bool:
        """Return whether a feature is there already, by way of a group or a family that is listed."""
        return any(self.listed_by(each) and _is(each, added) for each in kept)


class Model(Declaration):
    """A declared consumer of one version of a set: `loan_default = Model("loan_default", features=credit_risk_v1)`."""

    kind: ClassVar[str] = "model"

    name: Name
    features: InstanceOf[FeatureSet]
    description: str = ""

    def __init__(self, name: str, *, features: FeatureSet, description: str = "", **unknown: Never) -> None:
        super().__init__({"name": name, "features": features, "description": description, **unknown})


def _references(option: str, given: Any, version: int) -> Sequence[Reference]:
    """Return the features that are added or removed, or refuse what names none."""
    try:
        return references(_chosen(given)) or ()
    except ValueError as error:
        refuse(Problem("Invalid declaration", f"Version {shown(version)}: {option}: {error}", place()))
        return ()


def column_of(reference: Reference) -> str:
    """Return the name of the column that a selected feature gives."""
    return reference.rpartition(".")[2] if isinstance(reference, str) else reference.name


def _usable(features: Any) -> list[Reference]:
    """Return what names features, also of a set that was refused."""
    listed = features if isinstance(features, tuple) else (features,)
    return [feature for feature in listed if isinstance(feature, Feature | FeatureAlias | str)]


def _is(feature: Reference, wanted: Reference) -> bool:
    """Return whether `wanted` names a selected feature, by object, by address, or by its column alone."""
    if isinstance(wanted, str) and "." not in wanted:
        return column_of(feature) == wanted
    return (_address(feature), column_of(feature)) == (_address(wanted), column_of(wanted))


def _address(reference: Reference) -> str:
    if isinstance(reference, str):
        return reference
    return reference.feature.address if isinstance(reference, FeatureAlias) else reference.address


def _shown(reference: Reference) -> str:
    return reference if isinstance(reference, str) else reference.address


def _chosen(features: Any) -> Any:
    """Return the features that were selected, or what stands in their place when it is no collection."""
    if isinstance(features, Feature | FeatureAlias | str | type):
        return features
    row = listed(features)
    return tuple(feature for selected in row for feature in features_of(selected)) if isinstance(row, tuple) else row


def _listed_by(features: Any) -> dict[str, str]:
    """Return by what features are listed that are not listed by themselves: `*` for a group, or the name of a family."""
    found: dict[str, str] = {}
    row = () if isinstance(features, Feature | FeatureAlias | str | type) else listed(features)
    for selected in row if isinstance(row, tuple) else ():
        if isinstance(selected, type) and issubclass(selected, FeatureGroup):
            found.update((feature.address, "*") for feature in selected.declaration.features.values())
        elif isinstance(selected, Feature) and selected.windows and selected.joined:
            found.update((feature.address, feature.family_name) for feature in selected.each())
    return found


def features_of(selected: Any) -> Sequence[Reference]:
    """Return the features that one selected thing stands for: all of a group or a family, else itself."""
    if isinstance(selected, type) and issubclass(selected, FeatureGroup):
        return tuple(selected.declaration.features.values())
    return selected.each() if isinstance(selected, Feature) else (selected,)
