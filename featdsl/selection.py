"""From what a reader names to applied features: by object, by address, by bare name, by set."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

from featdsl import barenames, requested
from featdsl.definitions import Definition, FeatureDefinition, SetDefinition, address
from featdsl.errors import AmbiguousFeatureError, FeatureNotFoundError, Problem, RequestError
from featdsl.feature import Feature, FeatureAlias
from featdsl.featureset import FeatureSet, features_of
from featdsl.group import FeatureGroup
from featdsl.names import did_you_mean
from featdsl.pointintime import Want
from featdsl.snapshot import Snapshot

Selectable = Feature[Any] | FeatureAlias[Any] | type[FeatureGroup] | str
"""A feature by object or alias, by its address, by its bare name where that is unambiguous; all of a group; or a set as `name@1`."""


@dataclass(frozen=True)
class Selection:
    """Features to read, in the order of their columns; `name` is the set's, where they are one's."""

    wants: tuple[Want, ...]
    name: str = ""
    former: tuple[tuple[str, str], ...] = ()
    """What was asked for by a former name, and its name by now."""

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
        """The key columns that a spine needs, and their types."""
        return {column: dtype for want in self.wants for column, dtype in _keys_of(want)}

    @property
    def request(self) -> dict[str, str]:
        """What the call has to bring, and its types."""
        return requested.columns(self.wants)

    @property
    def timed(self) -> bool:
        """Whether any value depends on time."""
        return any(want.feature.timed for want in self.wants)


def _keys_of(want: Want) -> Iterator[tuple[str, str]]:
    """Yield the spine column and the type of each key that a feature is looked up by."""
    return ((column, key.dtype) for key, (_, column) in zip(want.feature.keys, want.roles, strict=True))


def select(snapshot: Snapshot, asked: FeatureSet | Selectable | Sequence[Selectable], project: str = "") -> Selection:
    """Return the applied features that `asked` names; a set version has the definitions that it pins.

    `project` is the one that asks: it decides what bare names mean.

    Raises FeatureNotFoundError, with the nearest names, AmbiguousFeatureError, with the candidates, and RequestError for
    what names no features.
    """
    if isinstance(asked, FeatureSet):
        return _of_set(snapshot, asked.address)
    if isinstance(asked, str) and "@" in asked:
        return _of_set(snapshot, asked)
    listed = list(asked) if isinstance(asked, Iterable) and not isinstance(asked, str | type) else [asked]
    if not listed:
        raise RequestError(Problem("Nothing asked for", "The list of features is empty."))
    single = [one for each in listed for one in features_of(each)]
    wants = [_want(snapshot, each, project) for each in single]
    former = [
        (each, want.feature.address) for each, want in zip(single, wants, strict=True) if _is_former(each, want.feature)
    ]
    _refuse_shared_columns(wants)
    _refuse_shared_keys(wants)
    if said := requested.clash(wants):
        mend = "Ask for them one after the other, or give one another name: .alias(...)."
        raise RequestError(Problem("Requests clash", f"{said}.", mend=mend))
    return Selection(tuple(wants), former=tuple(former))


def _of_set(snapshot: Snapshot, address: str) -> Selection:
    found = snapshot.catalog.sets.get(address) or snapshot.catalog.sets.get(snapshot.catalog.former.get(address, ""))
    if found is None:
        known = snapshot.catalog.sets
        raise FeatureNotFoundError(
            Problem("Unknown feature set", f'No set version "{address}" has been applied.', mend=_hint(address, known))
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


def _want(snapshot: Snapshot, asked: Selectable, project: str) -> Want:
    if isinstance(asked, FeatureAlias):
        feature = snapshot.catalog.features[resolve(snapshot, asked.feature.address)]
        givers = [key for key, by in asked.keys.items() if isinstance(by, Feature)]
        if givers:
            what = f"{feature.address} is to be looked up by a feature, in the role of {givers[0]}."
            mend = "Derive a feature from it in a group: there an input may be looked up so."
            raise RequestError(Problem("Role by a feature", what, mend=mend))
        return Want(asked.name, feature, tuple(sorted(asked.keys.items())))
    if not isinstance(asked, str | Feature):
        what = f"{asked!r} names no feature."
        mend = "Name features as UserProfile.age or 'user_profile.age', and a set alone."
        raise RequestError(Problem("Not a feature", what, mend=mend))
    if isinstance(asked, str) and "@" in asked:
        what = f"{asked} is a set version, which is asked for alone, not in a list beside features."
        raise RequestError(Problem("Set in a list", what, mend="Ask for it on its own, or list the features."))
    address = resolve(snapshot, asked if isinstance(asked, str) else asked.address, project)
    feature = snapshot.catalog.features[address]
    name = asked.rpartition(".")[2] if isinstance(asked, str) else asked.name
    return Want(name if name == feature.renamed_from else feature.name, feature)


def _is_former(asked: Selectable, found: FeatureDefinition) -> TypeGuard[str]:
    return isinstance(asked, str) and asked not in {found.address, found.name}


def resolve(snapshot: Snapshot, name: str, project: str = "") -> str:
    """Return the address of an applied feature by its address, present or former, or by its bare name.

    What a bare name means is the asking project's to say, else that of the feature that had it first.
    """
    features = snapshot.catalog.features
    if name in features:
        return name
    former = snapshot.catalog.former.get(name, "") if "." in name else ""
    if former in features:
        return former
    found = barenames.meaning(snapshot.catalog, name, project)
    if len(found.features) == 1:
        return found.features[0]
    if found.features:
        what = f'"{name}" is a feature of several groups: {", ".join(found.features)}.'
        raise AmbiguousFeatureError(Problem("Ambiguous feature", what, mend="Say which, as group.feature."))
    if found.others:
        what = f'"{name}" was the bare name of another feature before {" and ".join(found.others)} came.'
        raise AmbiguousFeatureError(Problem("Ambiguous feature", what, mend=f"Ask for {found.others[0]}."))
    raise FeatureNotFoundError(
        Problem("Unknown feature", f'No feature "{name}" has been applied.', mend=_hint(name, features))
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
    raise FeatureNotFoundError(Problem("Unknown name", what, mend=_hint(name, known)))


def _hint(name: str, known: Any) -> str:
    if not known:
        return "Nothing has been applied yet; run: featdsl apply"
    return did_you_mean(name, known) or "See what there is: featdsl list"


def _refuse_shared_columns(wants: Sequence[Want]) -> None:
    first: dict[str, Want] = {}
    for want in wants:
        other = first.setdefault(want.column, want)
        if other is not want:
            what = f"{other.feature.address} and {want.feature.address} would both be the column {want.column}."
            mend = f'Give one another name: .alias("{want.feature.group}_{want.column}").'
            raise RequestError(Problem("Column used twice", what, mend=mend))


def _refuse_shared_keys(wants: Sequence[Want]) -> None:
    """Refuse one column that is a key of two types: the key of one entity as a number may be none as a text."""
    first: dict[str, tuple[str, Want]] = {}
    for want in wants:
        for column, dtype in _keys_of(want):
            known, other = first.setdefault(column, (dtype, want))
            if known != dtype:
                addresses = other.feature.address, want.feature.address
                what = f"The column {column} is a {known}, a key of {addresses[0]}, and a {dtype}, a key of {addresses[1]}."
                mend = f'Read one by another column: .alias(keys={{"{want.roles[0][0]}": "{column}_2"}}).'
                raise RequestError(Problem("Key of two types", what, mend=mend))
