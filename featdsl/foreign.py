"""What a project uses of other projects: as it was pulled, as it is now, and whether that still fits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from featdsl.declaration import Declaration
from featdsl.definitions import Catalog, Column, Definition, EntityDefinition, FeatureDefinition, SetDefinition, address
from featdsl.entity import Entity
from featdsl.errors import DeclarationError, Origin, Problem
from featdsl.feature import Feature
from featdsl.featureset import FeatureSet
from featdsl.group import GroupDeclaration
from featdsl.plan import Notice
from featdsl.snapshot import HistoryEntry, Snapshot


def _no_history() -> Sequence[HistoryEntry]:
    return ()


@dataclass(frozen=True)
class Registry:
    """What is applied, and a way to ask who applied it, which costs a further read."""

    snapshot: Snapshot
    history: Callable[[], Sequence[HistoryEntry]] = _no_history


@dataclass(frozen=True)
class Outdated:
    """Something that is no longer what was pulled from a project: what it is now, in words that follow "uses"."""

    project: str
    what: str

    @property
    def mend(self) -> str:
        """How to go on."""
        return f"See what it is now, and take it: featdsl pull {self.project}"

    def problem(self, user: str, where: Origin) -> Problem:
        """Return the mistake of a thing that uses it."""
        return Problem("Pulled definition is out of date", f"{user} uses {self.what}.", where, self.mend)


@dataclass(frozen=True)
class Foreign:
    """What other projects declare and this one has pulled.

    `features` are as they were pulled, as long as the registry keeps them. `outdated` tells, by kind and address, what is
    no longer so.
    """

    entities: Mapping[str, EntityDefinition] = field(default_factory=dict)
    features: Mapping[str, FeatureDefinition] = field(default_factory=dict)
    sets: Mapping[str, SetDefinition] = field(default_factory=dict)
    outdated: Mapping[str, Outdated] = field(default_factory=dict)


def known(declarations: Iterable[Declaration], registry: Registry, project: str) -> Foreign:
    """Return what was pulled from other projects than this one, beside what the registry holds of it now."""
    pulled = [each for each in declarations if each.valid and each.foreign]
    found = _Found(registry, project)
    for each in pulled:
        match each:
            case Entity():
                found.entity(each)
            case GroupDeclaration():
                for feature in each.features.values():
                    if feature.pulled:  # else a set names it, and that is all
                        found.feature(feature, each)
            case FeatureSet():
                found.set(each)
            case _:
                raise AssertionError(f"{each!r} cannot be pulled")
    # Two modules may have an entity, one of them as it was.
    entities = {name: each for name, each in found.entities.items() if f"entity {name}" not in found.outdated}
    return Foreign(entities, found.features, found.sets, found.outdated)


@dataclass
class _Found:
    """What was pulled, while it is looked up."""

    registry: Registry
    project: str
    entities: dict[str, EntityDefinition] = field(default_factory=dict)
    features: dict[str, FeatureDefinition] = field(default_factory=dict)
    sets: dict[str, SetDefinition] = field(default_factory=dict)
    outdated: dict[str, Outdated] = field(default_factory=dict)

    def entity(self, pulled: Entity) -> None:
        now = self.registry.snapshot.catalog.entities.get(pulled.name)
        if now is None:
            self._note("entity", pulled, "is gone")
        elif {key.name: key.dtype for key in now.keys} != dict(pulled.keys):
            self._note("entity", pulled, f"has other keys ({_keys(now.keys)})", now)
        elif now.project != self.project:
            self.entities[pulled.name] = now

    def feature(self, pulled: Feature[object], group: GroupDeclaration) -> None:
        snapshot = self.registry.snapshot
        now = snapshot.catalog.features.get(pulled.address)
        if now is not None and now.project == self.project:
            return
        version = snapshot.versions.get((pulled.address, pulled.pulled))
        if version is not None:
            self.features[pulled.address] = version
        if now is None:
            # What was applied with it still calls it so; a set version has what it pins, whatever was pulled.
            known = sorted(each for name, each in snapshot.versions if name == pulled.address)
            if version is None and known:
                self.features[pulled.address] = snapshot.versions[pulled.address, known[0]]
            succeeded = next(
                (each.successor for (name, _), each in snapshot.versions.items() if name == pulled.address), ""
            )
            new = snapshot.catalog.features.get(self._renamed(pulled) or succeeded)
            what = f"has been renamed to {new.address}" if new else "is gone"
            self._note("feature", pulled, what, new, group.foreign)
        elif now.fingerprint != pulled.pulled:
            self._note("feature", pulled, f"has changed{_how(pulled, version, now)}", now, group.foreign)
        elif snapshot.catalog.groups[now.group].access == "private":
            self._note("feature", pulled, "has become private", now, group.foreign)

    def set(self, pulled: FeatureSet) -> None:
        now = self.registry.snapshot.catalog.sets.get(pulled.address)
        if now is None and (named := self._renamed(pulled)) in self.registry.snapshot.catalog.sets:
            new = self.registry.snapshot.catalog.sets[named]
            self._note("set", pulled, f"has been renamed to {named}", new)
        elif now is None:
            self._note("set", pulled, "is gone")
        elif now.project != self.project:
            self.sets[pulled.address] = now

    def _renamed(self, pulled: Declaration) -> str:
        """Return what a feature or a set version is called now, as long as its owner tells, or nothing."""
        return self.registry.snapshot.catalog.former.get(pulled.address, "")

    def _note(
        self, kind: str, pulled: Declaration, what: str, now: Definition | None = None, pulled_from: str = ""
    ) -> None:
        source = pulled_from or pulled.foreign
        owner = now.project if now else source  # the entities of a project may be another one's
        whose = f"of the project {owner}" + (f" (team {now.owner})" if now else "")
        said = f"the {kind} {pulled.address} {whose}, which {what} since it was pulled"
        self.outdated[f"{kind} {pulled.address}"] = Outdated(
            source, said + self._who(kind, address(now) if now else pulled.address, owner)
        )

    @cached_property
    def _history(self) -> Sequence[HistoryEntry]:
        return self.registry.history()

    def _who(self, kind: str, name: str, project: str) -> str:
        """Return who applied the latest change of a thing, and when."""
        for entry in self._history:
            if entry.project == project and any((each.kind, each.address) == (kind, name) for each in entry.changes):
                return f", by {entry.user} at state {entry.serial}"
        return ""


def _how(pulled: Feature[object], version: FeatureDefinition | None, now: FeatureDefinition) -> str:
    """Return what breaks whoever reads it as before."""
    if pulled.dtype != now.dtype:
        return f" from {pulled.dtype} to {now.dtype}"
    if version is not None and version.keys != now.keys:
        return f" its keys from {_keys(version.keys)} to {_keys(now.keys)}"
    return ""


def _keys(keys: Iterable[Column]) -> str:
    return ", ".join(f"{key.name} {key.dtype}" for key in keys)


def refuse_outdated(catalog: Catalog, foreign: Foreign, snapshot: Snapshot, project: str) -> None:
    """Refuse what newly builds on something that is no longer what was pulled.

    What was applied with it stays as it is: the registry keeps the old definition for it. Raises DeclarationError.
    """
    former: dict[str, list[str]] = {}
    for old, new in catalog.former.items():
        former.setdefault(new, []).append(old)
    problems = [
        foreign.outdated[f"feature {name}"].problem(f"{user.kind} {user.address}", user.origin)
        for user, names in _users(catalog, foreign, project)
        if not _is_applied(user, snapshot, former.get(user.address, ()))
        for name in names
    ]
    if problems:
        raise DeclarationError(sorted(problems, key=lambda problem: (problem.where or Origin("", 0), problem.what)))


def notices(catalog: Catalog, foreign: Foreign, project: str) -> tuple[Notice, ...]:
    """Return what a reviewer should know: applied features that go on with what is no longer what was pulled."""
    users: dict[str, list[str]] = {}
    for user, names in _users(catalog, foreign, project):
        for name in names if isinstance(user, FeatureDefinition) else ():
            users.setdefault(name, []).append(user.address)
    return tuple(_notice(name, users[name], foreign.outdated[f"feature {name}"]) for name in sorted(users))


def _notice(name: str, users: Sequence[str], outdated: Outdated) -> Notice:
    what = f"{' and '.join(sorted(users))} still read{'s' if len(users) == 1 else ''} the old one of {outdated.what}."
    return Notice(code="pulled", address=name, what=what, mend=outdated.mend)


def _users(
    catalog: Catalog, foreign: Foreign, project: str
) -> Iterator[tuple[FeatureDefinition | SetDefinition, list[str]]]:
    """Yield what this project declares over outdated features, with their addresses."""
    stale = {
        (name, feature.fingerprint)
        for name, feature in foreign.features.items()
        if f"feature {name}" in foreign.outdated
    }
    for definition in catalog if stale else ():
        if definition.project != project or not isinstance(definition, FeatureDefinition | SetDefinition):
            continue
        if names := [name for name, fingerprint in _made_of(definition) if (name, fingerprint) in stale]:
            yield definition, names


def _made_of(definition: FeatureDefinition | SetDefinition) -> Iterable[tuple[str, str]]:
    if isinstance(definition, FeatureDefinition):
        return definition.upstream
    return [(member.feature, member.fingerprint) for member in definition.members]


def _is_applied(definition: FeatureDefinition | SetDefinition, snapshot: Snapshot, former: Iterable[str]) -> bool:
    """Return whether it is applied under the name that it has, or one of those that it had."""
    names = [definition.address, *former]
    if isinstance(definition, FeatureDefinition):
        return any((name, definition.fingerprint) in snapshot.versions for name in names)
    return any(name in snapshot.catalog.sets for name in names)
