"""Find declarations by name, and everything that they are computed from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from featdsl.catalog.loader import Loaded
from featdsl.declarations.declaration import Declaration
from featdsl.declarations.entity import Entity
from featdsl.declarations.feature import Feature, FeatureAlias
from featdsl.declarations.feature_group import FeatureGroup, GroupDeclaration
from featdsl.declarations.feature_set import FeatureSet
from featdsl.declarations.functions import parameters
from featdsl.declarations.references import Reference
from featdsl.declarations.source import Source
from featdsl.definitions.names import did_you_mean
from featdsl.errors import AmbiguousFeatureError, FeatureNotFoundError, Problem, RequestError

if TYPE_CHECKING:
    from featdsl.query.selection import Selectable

D = TypeVar("D", bound=Declaration)
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Namespace:
    """The declarations of a project and of the caller by name; of two with one name, the caller's counts."""

    groups: Mapping[str, GroupDeclaration]
    sources: Mapping[str, Source]
    entities: Mapping[str, Entity]
    sets: Mapping[str, FeatureSet]
    loaded: Loaded

    @classmethod
    def of(cls, loaded: Loaded, own: Iterable[Declaration] = ()) -> Namespace:
        """Return the names of loaded declarations, and of the caller's own ones."""
        everything = (*loaded.declarations, *own)
        return cls(
            _by_address(everything, GroupDeclaration),
            _by_address(everything, Source),
            _by_address(everything, Entity),
            _by_address(everything, FeatureSet),
            loaded,
        )

    # Names

    def resolved(self, requested: Any) -> Any:
        """Return what a call names, as addresses: a set version, or a list of addresses and aliases.

        Groups stand for their features. Raises FeatureNotFoundError with similar names, AmbiguousFeatureError with the
        candidates, RequestError for an object that names no features.
        """
        if isinstance(requested, FeatureSet):
            return self._set(requested.address)
        if isinstance(requested, str) and (found := self._named_set(requested)):
            return found
        one = isinstance(requested, str | type | Declaration) or not isinstance(requested, Iterable)
        listed = [each for item in ([requested] if one else requested) for each in self._features(item)]
        if not listed:
            raise RequestError(Problem("No features", "The list of features is empty."))
        return listed

    def _named_set(self, name: str) -> str:
        """Return the address of the set that a text names, with its newest version if it names none; else nothing."""
        if "@" in name:
            return self._set(name)
        versions = [each for each in self.sets.values() if each.name == name]
        is_other = name in self.groups or any(name in group.features for group in self.groups.values())
        return max(versions, key=lambda each: each.version).address if versions and not is_other else ""

    def _set(self, address: str) -> str:
        if address not in self.sets:
            what = f'No set version "{address}" is declared.'
            raise self._unknown(Problem("Unknown feature set", what, fix=did_you_mean(address, self.sets)))
        return address

    def _features(self, item: Any) -> list[Selectable]:
        match item:
            case type() if issubclass(item, FeatureGroup):
                return list(self._of_group(item.declaration.name))
            case FeatureAlias():
                self._address(item.feature.address)
                return [item]
            case Feature():
                if not item.joined:
                    item.group  # noqa: B018 - raises the error of a feature without a group
                return [self._address(one.address) for one in item.each()]
            case FeatureSet():
                what = f"{item.address} is a set version, and a list can only have features."
                raise RequestError(Problem("Set in a list", what, fix="Name the set alone, or list its features."))
            case str():
                return list(self._of_group(item)) if item in self.groups else [self._address(item)]
            case _:
                what = f"{item!r} names no feature."
                fix = "Name features as UserProfile.age or 'user_profile.age', and a group or a set as such."
                raise RequestError(Problem("Not a feature", what, fix=fix))

    def _of_group(self, name: str) -> Iterator[str]:
        if name not in self.groups:
            raise self._unknown(
                Problem("Unknown group", f'No group "{name}" is declared.', fix=did_you_mean(name, self.groups))
            )
        return (f"{name}.{feature}" for feature in _names(self.groups[name]))

    def _address(self, name: str) -> str:
        addresses = [f"{group}.{each}" for group, declared in self.groups.items() for each in _names(declared)]
        found = [each for each in addresses if name in {each, each.rpartition(".")[2]}]
        if len(found) == 1:
            return found[0]
        if found:
            what = f'"{name}" is a feature of several groups: {", ".join(found)}.'
            raise AmbiguousFeatureError(Problem("Ambiguous feature", what, fix="Write it as group.feature."))
        known = [*addresses, *self.groups, *self.sets]
        fix = did_you_mean(name, known) or "List what is applied: featdsl list"
        raise self._unknown(Problem("Unknown feature", f'No feature "{name}" is declared.', fix=fix))

    def _unknown(self, problem: Problem) -> FeatureNotFoundError:
        """Return the error of an unknown name: with the mistakes of modules that could not be imported, if there are any."""
        return FeatureNotFoundError([*self.loaded.problems, problem])

    # What names need

    def needed(self, resolved: str | Sequence[Selectable]) -> Loaded:
        """Return the declarations that resolved names need, with the mistakes in their files."""
        kept: dict[str, Declaration] = {}
        pending = [resolved] if isinstance(resolved, str) else [_target(each) for each in resolved]
        while pending:
            name = pending.pop()
            if "@" in name:
                kept[f"set {name}"] = chosen = self.sets[name]
                pending += _of_set(chosen)
                continue
            group = self.groups.get(name.partition(".")[0])
            if group is None or f"group {group.name}" in kept:
                continue
            kept[f"group {group.name}"] = group
            pending += [each for each in _upstream(group) if "@" not in each or each in self.sets]
            if isinstance(group.entity, Entity):
                kept[f"entity {group.entity.name}"] = self.entities.get(group.entity.name, group.entity)
            if isinstance(group.source, Source):
                kept |= self._sources(group.source)
        files = {each.origin.file for each in kept.values()}
        problems = [each for each in self.loaded.problems if each.where is None or each.where.file in files]
        return Loaded(tuple(kept.values()), tuple(problems), self.loaded.macro_files)

    def _sources(self, first: Source) -> dict[str, Declaration]:
        """Return a source, and all that its query or its function may read."""
        found: dict[str, Declaration] = {}
        pending = [self.sources.get(first.name, first)]
        while pending:
            source = pending.pop()
            if f"source {source.name}" in found:
                continue
            found[f"source {source.name}"] = source
            pending += [self.sources[name] for name in self._mentioned(source) if name in self.sources]
        return found

    def _mentioned(self, source: Source) -> set[str]:
        texts = [source.sql or ""]
        texts += self.loaded.macro_files.values() if source.sql and "{" in source.sql else ()
        words = {word for text in texts for word in _WORD.findall(text)}
        return words | set(parameters(source.function)) if source.valid and source.function is not None else words


def _by_address(declarations: Iterable[Declaration], kind: type[D]) -> dict[str, D]:
    found: dict[str, D] = {}
    for each in declarations:
        if isinstance(each, kind) and (each.valid or each.address not in found):
            found[each.address] = each
    return found


def _names(group: GroupDeclaration) -> Iterable[str]:
    return group.features if isinstance(group.features, dict) else ()


def _target(reference: Any) -> str:
    """Return the address of the feature behind a reference."""
    target = reference.feature if isinstance(reference, FeatureAlias) else reference
    return target if isinstance(target, str) else str(getattr(target, "address", ""))


def _upstream(group: GroupDeclaration) -> list[str]:
    """Return the addresses of the features that a group reads, and of those that replace its deprecated ones."""
    if not group.valid:
        return []
    found = [name for reference in group.references for name in references_of(reference)]
    deprecated = [group.deprecated, *(each.deprecated for each in group.features.values())]
    return found + [each.use_address for each in deprecated if each is not None and each.valid]


def _of_set(chosen: FeatureSet) -> list[str]:
    """Return the addresses of the features of a set, and of its replacement."""
    if not chosen.valid:
        return []
    deprecated = chosen.deprecated
    return [_target(each) for each in chosen.features] + ([deprecated.use_address] if deprecated else [])


def references_of(reference: Reference) -> list[str]:
    """Return the addresses of a referenced feature, and of the features that give its keys."""
    givers = reference.keys.values() if isinstance(reference, FeatureAlias) else ()
    return [_target(reference), *(each.address for each in givers if isinstance(each, Feature))]
