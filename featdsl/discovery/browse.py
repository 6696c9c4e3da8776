"""Browse the applied definitions by attribute, with completion: `store.catalog.user_profile.age`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Generic, Protocol, Self, TypeVar

from featdsl.definitions.kinds import Definition, FeatureDefinition, address
from featdsl.definitions.names import did_you_mean
from featdsl.definitions.sheets import Mark, Sheet, documented
from featdsl.definitions.snapshot import Snapshot
from featdsl.errors import FeatureNotFoundError, Problem

if TYPE_CHECKING:
    from featdsl.discovery.describe import Described
    from featdsl.discovery.lineage import Lineage

V = TypeVar("V")


class Finder(Protocol):
    """Finds what is known of a definition, as a feature store does."""

    def applied(self) -> Snapshot:
        """Return the newest state."""

    def describe(self, name: str) -> Described:
        """Return the description of a definition."""

    def lineage(self, name: str) -> Lineage:
        """Return everything upstream and downstream of a definition."""


class AppliedName(str):
    """The name of an applied definition, which also tells what is known of it.

    It is a text, so every call that takes a name takes it: `store.get_features([store.catalog.user_profile.age], user_id=42)`.
    """

    __slots__ = ("_definition", "_finder")
    _definition: Definition
    _finder: Finder

    def __new__(cls, definition: Definition, finder: Finder) -> Self:
        """Return the address of a definition, with what finds the rest."""
        name = super().__new__(cls, address(definition))
        name._definition, name._finder = definition, finder
        return name

    def __reduce__(self) -> tuple[Any, ...]:
        return AppliedName, (self._definition, self._finder)

    def describe(self) -> Described:
        """Return its description, with figures from its data."""
        return self._finder.describe(str(self))

    def lineage(self) -> Lineage:
        """Return everything upstream and downstream of it."""
        return self._finder.lineage(str(self))

    def sheet(self) -> Sheet:
        """Return what `help()` and an editor show of it, without reading data."""
        known = self._definition
        return Sheet(
            kind=known.kind,
            name=str(self),
            dtype=known.dtype if isinstance(known, FeatureDefinition) else "",
            marks=[Mark("deprecated", "warn")] if getattr(known, "deprecated", None) else [],
            description=known.description,
            facts=[
                ("unit", known.unit if isinstance(known, FeatureDefinition) else ""),
                ("owner", known.owner),
                ("entity", getattr(known, "entity", None) or ""),
            ],
        )

    def __dir__(self) -> list[str]:
        return ["describe", "lineage"]

    def __repr__(self) -> str:
        return f"<{self._definition.kind} {self!s}>"

    def _repr_html_(self) -> str:
        return self.describe().sheet().html()


documented(AppliedName)


class Branch(Generic[V]):
    """Definitions by name: `branch.name`, or `branch["name"]`. Iterating it yields them in order of name."""

    def __init__(self, title: str, parts: Mapping[str, V], show: Callable[[], str | None]) -> None:
        self._title, self._parts, self._show = title, parts, show
        # Editors complete what is an attribute, and run no code of ours to find it.
        vars(self).update(parts)

    def __getitem__(self, name: str) -> V:
        if name not in self._parts:
            what = f"{self._title} has no {name!r}."
            raise FeatureNotFoundError(Problem("Unknown name", what, fix=did_you_mean(str(name), self._parts)))
        return self._parts[name]

    def __iter__(self) -> Iterator[V]:
        return iter(self._parts.values())

    def __len__(self) -> int:
        return len(self._parts)

    def __contains__(self, name: object) -> bool:
        return name in self._parts

    def __dir__(self) -> list[str]:
        return list(self._parts)

    def _ipython_key_completions_(self) -> list[str]:
        return list(self._parts)

    def __repr__(self) -> str:
        return f"<{self._title}: {', '.join(self._parts) or 'nothing'}>"

    def _repr_html_(self) -> str | None:
        return self._show()


class AppliedCatalog:
    """The applied definitions, to browse with completion.

    It has each group, with its features, and the other kinds below `sets`, `models`, `sources`, `entities` and `teams`. `store.catalog.user_profile.age` is the name of a feature, `store.catalog.sets.credit_risk.v2` of a set version, and
    `store.catalog.teams.lending` has the groups of a team. A group that is named as another kind is `store.catalog["sets"]`.
    Each access reads the newest state. A notebook shows each of them.
    """

    def __init__(self, finder: Finder) -> None:
        self._finder = finder
        self._loaded: tuple[Snapshot, Mapping[str, Any], Mapping[str, Any]] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"_finder": self._finder, "_loaded": None}

    def _parts(self) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """Return the groups, and the branches of the other kinds."""
        snapshot = self._finder.applied()
        if self._loaded is None or self._loaded[0] is not snapshot:
            grown = _Growing(snapshot, self._finder)
            groups = {name: grown.group(name) for name in sorted(snapshot.catalog.groups)}
            self._loaded = (snapshot, groups, grown.kinds(groups))
        return self._loaded[1:]

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("_"):
            groups, kinds = self._parts()
            if name in kinds or name in groups:
                return kinds[name] if name in kinds else groups[name]
        raise AttributeError(f"the catalogue has no {name!r}", name=name, obj=self)

    def __getitem__(self, name: str) -> Any:
        groups, kinds = self._parts()
        known = {**kinds, **groups}
        if name not in known:
            what = f"No group {name!r} has been applied."
            raise FeatureNotFoundError(Problem("Unknown group", what, fix=did_you_mean(str(name), known)))
        return known[name]

    def __iter__(self) -> Iterator[Branch[AppliedName]]:
        return iter(self._parts()[0].values())

    def __len__(self) -> int:
        return len(self._parts()[0])

    def __contains__(self, name: object) -> bool:
        return name in self._parts()[0]

    def __dir__(self) -> list[str]:
        groups, kinds = self._parts()
        return [*groups, *kinds]

    def _ipython_key_completions_(self) -> list[str]:
        return dir(self)

    def __repr__(self) -> str:
        groups, kinds = self._parts()
        return f"<catalog: {', '.join([*groups, *kinds])}>"

    def _repr_html_(self) -> str | None:
        return _shown(self._finder.applied(), kind="group")


class _Growing:
    """Makes the branches of one state."""

    def __init__(self, snapshot: Snapshot, finder: Finder) -> None:
        self._snapshot, self._finder = snapshot, finder

    def group(self, name: str) -> Branch[AppliedName]:
        """Return a group with its features."""
        features = {each.name: self._name(each) for each in self._snapshot.catalog.members_of(name)}
        described = self._name(self._snapshot.catalog.groups[name])
        return Branch(f"group {name}", features, described._repr_html_)

    def kinds(self, groups: Mapping[str, Branch[AppliedName]]) -> dict[str, Branch[Any]]:
        """Return the branches of the other kinds."""
        catalog = self._snapshot.catalog
        return {
            "sets": Branch("sets", self._sets(), self._listed(kind="set")),
            "models": self._names("model", catalog.models.values()),
            "sources": self._names("source", catalog.sources.values()),
            "entities": self._names("entity", catalog.entities.values()),
            "teams": Branch("teams", self._teams(groups), self._listed(kind="team")),
        }

    def _sets(self) -> dict[str, Branch[AppliedName]]:
        versions: dict[str, dict[str, AppliedName]] = defaultdict(dict)
        for each in sorted(self._snapshot.catalog.sets.values(), key=lambda each: (each.name, each.version)):
            versions[each.name][f"v{each.version}"] = self._name(each)
        return {
            name: Branch(f"set {name}", found, self._listed(kind="set", set=name)) for name, found in versions.items()
        }

    def _teams(self, groups: Mapping[str, Branch[AppliedName]]) -> dict[str, Branch[Any]]:
        owned: dict[str, dict[str, Branch[AppliedName]]] = {
            owner: {} for owner in sorted({each.owner for each in self._snapshot.catalog})
        }
        for name, group in groups.items():
            owned[self._snapshot.catalog.groups[name].owner][name] = group
        return {team: Branch(f"team {team}", found, self._listed(owner=team)) for team, found in owned.items()}

    def _names(self, kind: str, definitions: Iterable[Definition]) -> Branch[AppliedName]:
        names = {each.name: self._name(each) for each in sorted(definitions, key=address)}
        return Branch(f"{kind} names", names, self._listed(kind=kind))

    def _name(self, definition: Definition) -> AppliedName:
        return AppliedName(definition, self._finder)

    def _listed(self, **wanted: str) -> Callable[[], str | None]:
        return lambda: _shown(self._snapshot, **wanted)


def _shown(snapshot: Snapshot, **wanted: str) -> str | None:
    """Return the definitions that match filters, as a notebook shows them."""
    from featdsl.discovery import filters, listings  # model code that browses nothing need not load them

    return listings.entries(filters.chosen(snapshot, filters.Filter(**wanted)))._repr_html_()
