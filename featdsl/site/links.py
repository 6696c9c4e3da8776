"""Links between the pages of a site."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from featdsl.discovery.catalogue_entries import CatalogueDocument, EntryBase, FeatureEntry
from featdsl.site.urls import page_path

_MOST_BESIDE = 50
"""The maximum number of definitions that a page lists on each side of its own; the graph has all."""
_KINDS = ("feature", "group", "set", "model", "source", "entity", "team")


@dataclass(frozen=True, kw_only=True)
class Link:
    """A definition by name, with the path of its page; None if the site has no page for it."""

    kind: str
    text: str
    path: str | None


@dataclass(frozen=True, kw_only=True)
class Mention:
    """A feature as other pages mention it: what of it seldom changes."""

    link: Link
    description: str
    dtype: str
    unit: str
    owner: Link
    deprecated: bool


@dataclass(frozen=True, kw_only=True)
class Owner:
    """A team and how to reach it."""

    link: Link
    contact: str


@dataclass(frozen=True, kw_only=True)
class Beside:
    """What is directly upstream and downstream of a definition: the first of each side, and how many there are in all."""

    up: list[Link]
    down: list[Link]
    up_in_all: int
    down_in_all: int


class Links:
    """The pages of all definitions of a catalogue."""

    def __init__(self, document: CatalogueDocument) -> None:
        self._up, self._down = _neighbours(document)
        self._features = {each.address: each for each in document.features}
        self._contacts = {each.name: each.contact for each in document.teams}
        known = [(entry.kind, entry.address) for entry in entries(document)]
        known += [("team", each.name) for each in document.teams]
        self._links = {(kind, name): Link(kind=kind, text=name, path=page_path(kind, name)) for kind, name in known}

    def to(self, kind: str, address: str) -> Link:
        """Return the link to a definition, without a path if the catalogue lacks it."""
        return self._links.get((kind, address)) or Link(kind=kind, text=address, path=None)

    def all_to(self, kind: str, addresses: Iterable[str]) -> list[Link]:
        """Return the links to definitions of one kind."""
        return [self.to(kind, each) for each in addresses]

    def to_any(self, address: str) -> Link:
        """Return the link to the definition of this address, whatever its kind."""
        kind = next((kind for kind in _KINDS if (kind, address) in self._links), None)
        return self.to(kind, address) if kind else Link(kind="", text=address, path=None)

    def owner(self, team: str) -> Owner:
        """Return a team with its contact."""
        return Owner(link=self.to("team", team), contact=self._contacts.get(team, ""))

    def mention(self, address: str) -> Mention:
        """Return what a list says of a feature; for one that the catalogue lacks, its address alone."""
        entry = self._features.get(address)
        if entry is None:
            owner = Link(kind="team", text="", path=None)
            return Mention(
                link=self.to("feature", address), description="", dtype="", unit="", owner=owner, deprecated=False
            )
        return Mention(
            link=self.to("feature", address),
            description=entry.description,
            dtype=entry.dtype,
            unit=entry.unit,
            owner=self.to("team", entry.owner),
            deprecated=entry.deprecated is not None,
        )

    def beside(self, kind: str, address: str, members: Iterable[str] = ()) -> Beside:
        """Return what is directly beside a definition in the lineage; for a group, beside its features and not of it."""
        inside = [f"feature {each}" for each in members] if kind == "group" else [f"{kind} {address}"]
        up, down = (self._around(inside, side) for side in (self._up, self._down))
        return Beside(
            up=[self._to_node(each) for each in up[:_MOST_BESIDE]],
            down=[self._to_node(each) for each in down[:_MOST_BESIDE]],
            up_in_all=len(up),
            down_in_all=len(down),
        )

    def _around(self, inside: list[str], side: Mapping[str, list[str]]) -> list[str]:
        return sorted({far for near in inside for far in side.get(near, ())}.difference(inside))

    def _to_node(self, node: str) -> Link:
        kind, _, address = node.partition(" ")
        return self.to(kind, address)

    def feature(self, address: str) -> FeatureEntry | None:
        """Return the entry of a feature, None if the catalogue lacks it."""
        return self._features.get(address)


def entries(document: CatalogueDocument) -> Iterator[EntryBase]:
    """Yield the entry of each definition."""
    yield from document.features
    yield from document.groups
    yield from document.sets
    yield from document.models
    yield from document.sources
    yield from document.entities


def _neighbours(document: CatalogueDocument) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Return the nodes directly upstream of each node of the lineage, and those directly downstream."""
    up: dict[str, list[str]] = {}
    down: dict[str, list[str]] = {}
    for left, right in document.lineage.edges:
        up.setdefault(right, []).append(left)
        down.setdefault(left, []).append(right)
    return up, down
