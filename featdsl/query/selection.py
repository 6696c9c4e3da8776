"""Select applied features: by object, by address, by bare name, or by set."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

from featdsl.declarations.feature import Feature, FeatureAlias
from featdsl.declarations.feature_group import FeatureGroup
from featdsl.declarations.feature_set import FeatureSet, features_of
from featdsl.definitions import bare_names
from featdsl.definitions.kinds import Definition, FeatureDefinition, SetDefinition, address
from featdsl.definitions.names import did_you_mean
from featdsl.definitions.snapshot import Snapshot
from featdsl.engines import request_columns
from featdsl.engines.lookups import Want
from featdsl.errors import AmbiguousFeatureError, FeatureNotFoundError, Problem, RequestError

Selectable = Feature[Any] | FeatureAlias[Any] | type[FeatureGroup] | str
"""A feature by object, alias, address or unambiguous bare name; a group, for all its features; or a set as `name@1`."""


@dataclass(frozen=True)
class Selection:
    """Features to read, in the order of their columns; `name` is the set, or empty."""

    wants: tuple[Want, ...]
    name: str = ""
    former: tuple[tuple[str, str], ...] = ()
    """Each former name that was requested, with the present name."""

    @property
    def columns(self) -> list[str]:
        """The output columns."""
        return [want.column for want in self.wants]

    @property
    def dtypes(self) -> dict[str, str]:
        """The type of each output column."""
        return {want.column: want.feature.dtype for want in self.wants}

    @property
    def keys(self) -> dict[str, str]:
        """The types of the key columns that a spine needs."""
        return {column: dtype for want in self.wants for column, dtype in _keys_of(want)}

    @property
    def request(self) -> dict[str, str]:
        """The types of the request-time data that a call needs."""
        return request_columns.columns(self.wants)

    @property
    def timed(self) -> bool:
        """Whether any value depends on time."""
        return any(want.feature.timed for want in self.wants)


def _keys_of(want: Want) -> Iterator[tuple[str, str]]:
    """Yield the spine column and the type of each key that a feature is looked up by."""
    return ((column, key.dtype) for key, (_, column) in zip(want.feature.keys, want.roles, strict=True))


def select(
    snapshot: Snapshot, features: FeatureSet | Selectable | Sequence[Selectable], project: str = ""
) -> Selection:
    """Return the applied features that a call requests; a set version has the definitions that it pins.

    Bare names are resolved for the calling `project`.

    Raises FeatureNotFoundError with similar names, AmbiguousFeatureError with the candidates, and RequestError for values
    that name no features, or features that cannot be read together.
    """
    if isinstance(features, FeatureSet):
        return _of_set(snapshot, features.address)
    if isinstance(features, str) and "@" in features:
        return _of_set(snapshot, features)
    is_one = isinstance(features, str | type | Feature | FeatureAlias) or not isinstance(features, Iterable)
    listed: list[Selectable] = [features] if is_one else list(features)  # type: ignore[list-item, arg-type]
    if not listed:
        raise RequestError(Problem("No features", "The list of features is empty."))
    single = [one for each in listed for one in features_of(each)]
    wants = [_want(snapshot, each, project) for each in single]
    former = [
        (each, want.feature.address) for each, want in zip(single, wants, strict=True) if _is_former(each, want.feature)
    ]
    _refuse_shared_columns(wants)
    _refuse_shared_keys(wants)
    if clash := request_columns.clash(wants):
        fix = "Read them in separate calls, or rename one: .alias(...)."
        raise RequestError(Problem("Requests clash", f"{clash}.", fix=fix))
    return Selection(tuple(wants), former=tuple(former))


def _of_set(snapshot: Snapshot, address: str) -> Selection:
    found = snapshot.catalog.sets.get(address) or snapshot.catalog.sets.get(snapshot.catalog.former.get(address, ""))
    if found is None:
        known = snapshot.catalog.sets
        raise FeatureNotFoundError(
            Problem("Unknown feature set", f'No set version "{address}" has been applied.', fix=_hint(address, known))
        )
    former = ((address, found.address),) if address != found.address else ()
    wants = tuple(members(snapshot, found))
    _refuse_shared_keys(wants)
    return Selection(wants, found.address, former)


def members(snapshot: Snapshot, feature_set: SetDefinition) -> list[Want]:
    """Return the features of an applied set version, at the fingerprints that it pins."""
    return [
        Want(member.column, snapshot.versions[member.feature, member.fingerprint], member.keys)
        for member in feature_set.members
    ]


def _want(snapshot: Snapshot, requested: Selectable, project: str) -> Want:
    if isinstance(requested, FeatureAlias):
        feature = snapshot.catalog.features[resolve(snapshot, requested.feature.address)]
        givers = [key for key, by in requested.keys.items() if isinstance(by, Feature)]
        if givers:
            what = f"The alias of {feature.address} gives the key {givers[0]} by a feature."
            fix = "Derive a feature from it in a group: inputs can have keys by features."
            raise RequestError(Problem("Role by a feature", what, fix=fix))
        return Want(requested.name, feature, tuple(sorted(requested.keys.items())))
    if not isinstance(requested, str | Feature):
        what = f"{requested!r} names no feature."
        fix = "Name features as UserProfile.age or 'user_profile.age', and a set alone."
        raise RequestError(Problem("Not a feature", what, fix=fix))
    if isinstance(requested, str) and "@" in requested:
        what = f"{requested} is a set version, and a list can only have features."
        raise RequestError(Problem("Set in a list", what, fix="Name the set alone, or list its features."))
    address = resolve(snapshot, requested if isinstance(requested, str) else requested.address, project)
    feature = snapshot.catalog.features[address]
    name = requested.rpartition(".")[2] if isinstance(requested, str) else requested.name
    return Want(name if name == feature.renamed_from else feature.name, feature)


def _is_former(requested: Selectable, feature: FeatureDefinition) -> TypeGuard[str]:
    return isinstance(requested, str) and requested not in {feature.address, feature.name}


def stored_feature(selection: Selection) -> Want:
    """Return the one feature of a selection. Raises RequestError for several, and for a feature without stored values."""
    if len(selection.wants) > 1:
        what = f"The call names several features: {', '.join(each.feature.address for each in selection.wants)}."
        raise RequestError(Problem("Several features", what, fix="Name one of them."))
    (want,) = selection.wants
    if want.feature.request:
        columns = ", ".join(column.name for column in want.feature.request)
        what = f"{want.feature.address} is computed from the request {columns}, so none of its values are stored."
        raise RequestError(Problem("No stored values", what, fix="Use get_features(..., request=) or training_set."))
    if want.feature.as_of:
        what = f"{want.feature.address} depends on the time of the read, so none of its values are stored."
        raise RequestError(Problem("No stored values", what, fix="Use get_features(...) or training_set."))
    return want


def resolve(snapshot: Snapshot, name: str, project: str = "") -> str:
    """Return the address of an applied feature by its address, present or former, or by its bare name.

    A bare name means a feature of the calling project if there is one, else the feature that had the name first.
    """
    features = snapshot.catalog.features
    if name in features:
        return name
    former = snapshot.catalog.former.get(name, "") if "." in name else ""
    if former in features:
        return former
    meaning = bare_names.meaning(snapshot.catalog, name, project)
    if len(meaning.features) == 1:
        return meaning.features[0]
    if meaning.features:
        what = f'"{name}" is a feature of several groups: {", ".join(meaning.features)}.'
        raise AmbiguousFeatureError(Problem("Ambiguous feature", what, fix="Write it as group.feature."))
    if meaning.others:
        what = f'"{name}" was the bare name of another feature before {" and ".join(meaning.others)} came.'
        raise AmbiguousFeatureError(Problem("Ambiguous feature", what, fix=f"Name {meaning.others[0]}."))
    raise FeatureNotFoundError(
        Problem("Unknown feature", f'No feature "{name}" has been applied.', fix=_hint(name, features))
    )


def find(snapshot: Snapshot, name: str, project: str = "") -> Definition:
    """Return the definition of a feature, by address or bare name, or of a group, set, model, source or entity."""
    catalog = snapshot.catalog
    for mapping in (catalog.features, catalog.groups, catalog.sets, catalog.models, catalog.sources, catalog.entities):
        if name in mapping:
            return mapping[name]
    if any(known.endswith(f".{name}") for known in catalog.features):
        return catalog.features[resolve(snapshot, name, project)]
    if new := next((new for old, new in catalog.former.items() if name in {old, old.rpartition(".")[2]}), ""):
        return find(snapshot, new, project)
    known = {address(definition) for definition in catalog if definition.kind != "policy"}
    what = f'Nothing called "{name}" has been applied.'
    raise FeatureNotFoundError(Problem("Unknown name", what, fix=_hint(name, known)))


def _hint(name: str, known: Any) -> str:
    if not known:
        return "Nothing has been applied yet; run: featdsl apply"
    return did_you_mean(name, known) or "List all definitions: featdsl list"


def _refuse_shared_columns(wants: Sequence[Want]) -> None:
    first: dict[str, Want] = {}
    for want in wants:
        other = first.setdefault(want.column, want)
        if other is not want:
            what = f"{other.feature.address} and {want.feature.address} would both be the column {want.column}."
            fix = f'Give one another name: .alias("{want.feature.group}_{want.column}").'
            raise RequestError(Problem("Column used twice", what, fix=fix))


def _refuse_shared_keys(wants: Sequence[Want]) -> None:
    """Refuse one column that is a key of two types: the key of one entity as a number may be none as a text."""
    first: dict[str, tuple[str, Want]] = {}
    for want in wants:
        for column, dtype in _keys_of(want):
            known, other = first.setdefault(column, (dtype, want))
            if known != dtype:
                addresses = other.feature.address, want.feature.address
                what = f"The column {column} is a {known}, a key of {addresses[0]}, and a {dtype}, a key of {addresses[1]}."
                fix = f'Read one by another column: .alias(keys={{"{want.roles[0][0]}": "{column}_2"}}).'
                raise RequestError(Problem("Key of two types", what, fix=fix))
