"""Find the applied features that a proposed definition would repeat: the same values, the same columns, or similar words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from featdsl.definitions.catalog import Catalog
from featdsl.definitions.kinds import FeatureDefinition
from featdsl.definitions.names import did_you_mean
from featdsl.definitions.snapshot import Snapshot
from featdsl.discovery import search
from featdsl.discovery.describe import is_private
from featdsl.discovery.filters import Filter
from featdsl.errors import FeatureNotFoundError, Problem, RequestError, SqlProblem
from featdsl.sql import parser
from featdsl.sql.feature_meanings import Meanings

Likeness = Literal["same values", "same columns", "similar words"]
_WORDS = 10
"""The most features that are found by words."""


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """A feature that somebody wants to declare; what is left out is compared with everything."""

    sql: str = ""
    source: str = ""
    entity: str = ""
    name: str = ""
    description: str = ""


@dataclass(frozen=True, kw_only=True)
class Repeated:
    """An applied feature that a proposal may repeat, and in which way."""

    address: str
    owner: str
    description: str
    dtype: str
    unit: str
    entity: str | None
    source: str | None
    window: str
    private: bool
    likeness: Likeness


def repeated(snapshot: Snapshot, proposal: Proposal, *, limit: int = 10) -> list[Repeated]:
    """Return the applied features that a proposal may repeat, the most alike first.

    Raises FeatureNotFoundError for an unknown source or entity, RequestError for SQL that is no expression.
    """
    asked = _Asked(snapshot, proposal)
    asked.refuse_unknown()
    found: dict[str, Repeated] = {}
    for feature, likeness in asked.alike():
        found.setdefault(feature.address, asked.entry(feature, likeness))
    return list(found.values())[:limit]


@dataclass(frozen=True)
class _Asked:
    """A proposal and the state that it is compared with."""

    snapshot: Snapshot
    proposal: Proposal

    def refuse_unknown(self) -> None:
        """Raise FeatureNotFoundError for a source or an entity that has not been applied."""
        catalog = self.snapshot.catalog
        for kind, name, known in (
            ("source", self.proposal.source, catalog.sources),
            ("entity", self.proposal.entity, catalog.entities),
        ):
            if name and name not in known:
                what = f"No {kind} {name!r} has been applied."
                fix = did_you_mean(name, known) or f"Known: {', '.join(sorted(known)[:20])}."
                raise FeatureNotFoundError(Problem(f"Unknown {kind}", what, fix=fix))

    def alike(self) -> Iterator[tuple[FeatureDefinition, Likeness]]:
        """Yield the features that are alike, the most alike first; a feature may come several times."""
        if self.proposal.sql:
            yield from ((each, "same values") for each in self._of_one_meaning())
            yield from ((each, "same columns") for each in self._of_the_same_columns())
        words = f"{self.proposal.name.replace('_', ' ')} {self.proposal.description}".strip()
        if words:
            wanted = Filter(kind="feature", entity=self.proposal.entity or None)
            for each in search.search(self.snapshot, words, limit=_WORDS, wanted=wanted):
                yield self.snapshot.catalog.features[each.address], "similar words"

    def _of_the_same_columns(self) -> list[FeatureDefinition]:
        """Return the features that read the same columns, those with the most similar SQL first."""
        from rapidfuzz import fuzz

        same = [each for each in self._candidates if self._columns and {*each.reads} == {*self._columns}]
        return sorted(same, key=lambda each: (-fuzz.ratio(each.sql, self.proposal.sql), each.address))

    def _of_one_meaning(self) -> list[FeatureDefinition]:
        """Return the features whose values the SQL would repeat, also written otherwise and over a renamed source.

        A proposal says nothing about type, window and ttl, so it is compared as having those of each existing feature.
        """
        catalog = self.snapshot.catalog
        known = [each for each in catalog.features.values() if self.proposal.entity in {"", each.entity}]
        alike = [each for each in known if not each.function and len(each.reads) == len(self._columns)]
        proposed: dict[tuple[object, ...], FeatureDefinition] = {}
        for each in alike:
            if placed := self._placed(each):
                shape = (placed.group, each.dtype, str(each.window), each.ttl, each.roots)
                proposed.setdefault(shape, replace(placed, name=f"proposed_{len(proposed)}"))
        added = Catalog.of(proposed.values())
        found = Meanings(catalog.updated(added)).of_one_meaning(added.features.keys())
        same = {each.address for several in found for each in several} & catalog.features.keys()
        return [catalog.features[name] for name in sorted(same)]

    def _placed(self, like: FeatureDefinition) -> FeatureDefinition | None:
        """Return the proposal as a feature of a group over its source, with the shape of another feature."""
        over = self._over if self.proposal.source and self._source_of(like) != self.proposal.source else like
        if over is None:
            return None
        return replace(
            over, sql=self.proposal.sql, reads=self._columns, roots=like.roots, dtype=like.dtype, window=like.window,
            aggregates=like.aggregates, formula=like.formula, ttl=like.ttl,
        )  # fmt: skip

    @cached_property
    def _over(self) -> FeatureDefinition | None:
        """Any feature over the proposal's source."""
        return next(iter(self._candidates), None)

    @cached_property
    def _candidates(self) -> list[FeatureDefinition]:
        """The features that have the entity and read the source, if the proposal names them."""
        features = self.snapshot.catalog.features
        return [
            features[name]
            for name in sorted(features)
            if self.proposal.entity in {"", features[name].entity}
            and (not self.proposal.source or self._source_of(features[name]) == self.proposal.source)
        ]

    def _source_of(self, feature: FeatureDefinition) -> str | None:
        group = self.snapshot.catalog.groups.get(feature.group)
        return group.source if group else None

    @cached_property
    def _columns(self) -> tuple[str, ...]:
        """The columns that the SQL reads. Raises RequestError."""
        try:
            return parser.read(self.proposal.sql)[1]
        except SqlProblem as problem:
            fix = problem.fix or "Give the expression of one feature, such as annual_income / 12."
            raise RequestError(Problem("SQL cannot be read", str(problem), fix=fix)) from None

    def entry(self, feature: FeatureDefinition, likeness: Likeness) -> Repeated:
        """Return a feature with the way in which it is alike."""
        return Repeated(
            address=feature.address,
            owner=feature.owner,
            description=feature.description,
            dtype=feature.dtype,
            unit=feature.unit,
            entity=feature.entity,
            source=self._source_of(feature),
            window=str(feature.window) if feature.window else "",
            private=is_private(self.snapshot.catalog, feature),
            likeness=likeness,
        )
