"""Compare definitions that were pulled from other projects with the registry, and report outdated ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from featdsl.declarations.declaration import Declaration
from featdsl.declarations.entity import Entity
from featdsl.declarations.feature import Feature
from featdsl.declarations.feature_group import GroupDeclaration
from featdsl.declarations.feature_set import FeatureSet
from featdsl.definitions.catalog import Catalog
from featdsl.definitions.history import HistoryEntry
from featdsl.definitions.kinds import Definition, EntityDefinition, FeatureDefinition, SetDefinition, address
from featdsl.definitions.notices import Notice
from featdsl.definitions.snapshot import Snapshot
from featdsl.definitions.sources import Column
from featdsl.errors import DeclarationError, Origin, Problem


def _no_history() -> Sequence[HistoryEntry]:
    return ()


@dataclass(frozen=True)
class AppliedRegistry:
    """The applied state, and a function that reads the change history only if needed."""

    snapshot: Snapshot
    history: Callable[[], Sequence[HistoryEntry]] = _no_history


@dataclass(frozen=True)
class OutdatedImport:
    """A pulled definition that has changed since. `what` describes the change, as a phrase that follows "uses"."""

    project: str
    what: str

    @property
    def fix(self) -> str:
        """The command that updates the pulled definition."""
        return f"Review and pull the current definition: featdsl pull {self.project}"

    def problem(self, user: str, where: Origin) -> Problem:
        """Return the problem of a definition that uses the outdated one."""
        return Problem("Pulled definition is out of date", f"{user} uses {self.what}.", where, self.fix)


@dataclass(frozen=True)
class Imports:
    """The definitions that this project has pulled from others.

    `features` are the versions that were pulled, while the registry keeps them. `outdated` has the changed definitions, by
    kind and address.
    """

    entities: Mapping[str, EntityDefinition] = field(default_factory=dict)
    features: Mapping[str, FeatureDefinition] = field(default_factory=dict)
    sets: Mapping[str, SetDefinition] = field(default_factory=dict)
    outdated: Mapping[str, OutdatedImport] = field(default_factory=dict)


def known(declarations: Iterable[Declaration], registry: AppliedRegistry, project: str) -> Imports:
    """Return the definitions that were pulled from projects other than `project`, looked up in the registry."""
    pulled = [each for each in declarations if each.valid and each.foreign]
    lookup = _Lookup(registry, project)
    for each in pulled:
        match each:
            case Entity():
                lookup.entity(each)
            case GroupDeclaration():
                for feature in each.features.values():
                    if feature.pulled:  # others are only named by a pulled set
                        lookup.feature(feature, each)
            case FeatureSet():
                lookup.set(each)
            case _:
                raise AssertionError(f"{each!r} cannot be pulled")
    # Two pulled modules may contain the same entity, one of them an old version.
    entities = {name: each for name, each in lookup.entities.items() if f"entity {name}" not in lookup.outdated}
    return Imports(entities, lookup.features, lookup.sets, lookup.outdated)


@dataclass
class _Lookup:
    """Looks up pulled definitions in the registry and collects the results."""

    registry: AppliedRegistry
    project: str
    entities: dict[str, EntityDefinition] = field(default_factory=dict)
    features: dict[str, FeatureDefinition] = field(default_factory=dict)
    sets: dict[str, SetDefinition] = field(default_factory=dict)
    outdated: dict[str, OutdatedImport] = field(default_factory=dict)

    def entity(self, pulled: Entity) -> None:
        now = self.registry.snapshot.catalog.entities.get(pulled.name)
        if now is None:
            self._note("entity", pulled, "was removed")
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
            # Applied definitions still use the old name. A set version has the version it pins, whichever was pulled.
            known = sorted(each for name, each in snapshot.versions if name == pulled.address)
            if version is None and known:
                self.features[pulled.address] = snapshot.versions[pulled.address, known[0]]
            succeeded = next(
                (each.successor for (name, _), each in snapshot.versions.items() if name == pulled.address), ""
            )
            new = snapshot.catalog.features.get(self._renamed(pulled) or succeeded)
            what = f"was renamed to {new.address}" if new else "was removed"
            self._note("feature", pulled, what, new, group.foreign)
        elif now.fingerprint != pulled.pulled:
            self._note("feature", pulled, f"has changed{_how(pulled, version, now)}", now, group.foreign)
        elif snapshot.catalog.groups[now.group].access == "private":
            self._note("feature", pulled, "has become private", now, group.foreign)

    def set(self, pulled: FeatureSet) -> None:
        now = self.registry.snapshot.catalog.sets.get(pulled.address)
        if now is None and (named := self._renamed(pulled)) in self.registry.snapshot.catalog.sets:
            new = self.registry.snapshot.catalog.sets[named]
            self._note("set", pulled, f"was renamed to {named}", new)
        elif now is None:
            self._note("set", pulled, "was removed")
        elif now.project != self.project:
            self.sets[pulled.address] = now

    def _renamed(self, pulled: Declaration) -> str:
        """Return the current address of a renamed feature or set version; empty if its owner declares no rename."""
        return self.registry.snapshot.catalog.former.get(pulled.address, "")

    def _note(
        self, kind: str, pulled: Declaration, what: str, now: Definition | None = None, pulled_from: str = ""
    ) -> None:
        source = pulled_from or pulled.foreign
        owner = now.project if now else source  # a project's entities may belong to another project
        whose = f"of the project {owner}" + (f" (team {now.owner})" if now else "")
        text = f"the {kind} {pulled.address} {whose}, which {what} since it was pulled"
        self.outdated[f"{kind} {pulled.address}"] = OutdatedImport(
            source, text + self._who(kind, address(now) if now else pulled.address, owner)
        )

    @cached_property
    def _history(self) -> Sequence[HistoryEntry]:
        return self.registry.history()

    def _who(self, kind: str, name: str, project: str) -> str:
        """Return the user and state of a definition's latest change, as a phrase; empty if the history has none."""
        for entry in self._history:
            if entry.project == project and any((each.kind, each.address) == (kind, name) for each in entry.changes):
                return f", by {entry.user} at state {entry.serial}"
        return ""


def _how(pulled: Feature[object], version: FeatureDefinition | None, now: FeatureDefinition) -> str:
    """Return the breaking part of a feature's change, as a phrase: its type or its keys; empty if neither changed."""
    if pulled.dtype != now.dtype:
        return f" from {pulled.dtype} to {now.dtype}"
    if version is not None and version.keys != now.keys:
        return f" its keys from {_keys(version.keys)} to {_keys(now.keys)}"
    return ""


def _keys(keys: Iterable[Column]) -> str:
    return ", ".join(f"{key.name} {key.dtype}" for key in keys)


def refuse_outdated(catalog: Catalog, imports: Imports, snapshot: Snapshot, project: str) -> None:
    """Raise DeclarationError for new definitions that use outdated pulled features.

    Applied definitions may go on using them: the registry keeps the old versions.
    """
    former: dict[str, list[str]] = {}
    for old, new in catalog.former.items():
        former.setdefault(new, []).append(old)
    problems = [
        imports.outdated[f"feature {name}"].problem(f"{user.kind} {user.address}", user.origin)
        for user, names in _users(catalog, imports, project)
        if not _is_applied(user, snapshot, former.get(user.address, ()))
        for name in names
    ]
    if problems:
        raise DeclarationError(sorted(problems, key=lambda problem: (problem.where or Origin("", 0), problem.what)))


def notices(catalog: Catalog, imports: Imports, project: str) -> tuple[Notice, ...]:
    """Return a notice for each outdated pulled feature that applied features still read."""
    users: dict[str, list[str]] = {}
    for user, names in _users(catalog, imports, project):
        for name in names if isinstance(user, FeatureDefinition) else ():
            users.setdefault(name, []).append(user.address)
    return tuple(_notice(name, users[name], imports.outdated[f"feature {name}"]) for name in sorted(users))


def _notice(name: str, users: Sequence[str], outdated: OutdatedImport) -> Notice:
    what = (
        f"{' and '.join(sorted(users))} still read{'s' if len(users) == 1 else ''} the old version of {outdated.what}."
    )
    return Notice(code="pulled", address=name, what=what, fix=outdated.fix)


def _users(
    catalog: Catalog, imports: Imports, project: str
) -> Iterator[tuple[FeatureDefinition | SetDefinition, list[str]]]:
    """Yield this project's features and sets that use outdated features, with the addresses of those."""
    stale = {
        (name, feature.fingerprint)
        for name, feature in imports.features.items()
        if f"feature {name}" in imports.outdated
    }
    for definition in catalog if stale else ():
        if definition.project != project or not isinstance(definition, FeatureDefinition | SetDefinition):
            continue
        if names := [name for name, fingerprint in _features_of(definition) if (name, fingerprint) in stale]:
            yield definition, names


def _features_of(definition: FeatureDefinition | SetDefinition) -> Iterable[tuple[str, str]]:
    """Return the address and fingerprint of each feature that a feature or a set uses."""
    if isinstance(definition, FeatureDefinition):
        return definition.upstream
    return [(member.feature, member.fingerprint) for member in definition.members]


def _is_applied(definition: FeatureDefinition | SetDefinition, snapshot: Snapshot, former: Iterable[str]) -> bool:
    """Return whether a definition is applied under its own address or one of its former ones."""
    names = [definition.address, *former]
    if isinstance(definition, FeatureDefinition):
        return any((name, definition.fingerprint) in snapshot.versions for name in names)
    return any(name in snapshot.catalog.sets for name in names)
