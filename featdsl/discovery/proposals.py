"""Find the applied features that a proposed definition would repeat: the same SQL, the same columns, or the same words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from featdsl.definitions.kinds import FeatureDefinition
from featdsl.definitions.names import did_you_mean
from featdsl.definitions.snapshot import Snapshot
from featdsl.discovery import search
from featdsl.discovery.describe import is_private
from featdsl.discovery.filters import Filter
from featdsl.errors import FeatureNotFoundError, Problem, RequestError, SqlProblem
from featdsl.sql import parser

Likeness = Literal["same SQL", "same columns", "similar words"]
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
            candidates = [each for each in self._candidates if {*each.reads} == {*self._columns}]
            yield from ((each, "same SQL") for each in candidates if parser.canonical(each.sql) == self._canonical)
            yield from ((each, "same columns") for each in candidates if self._columns)
        words = f"{self.proposal.name.replace('_', ' ')} {self.proposal.description}".strip()
        if words:
            wanted = Filter(kind="feature", entity=self.proposal.entity or None)
            for each in search.search(self.snapshot, words, limit=_WORDS, wanted=wanted):
                yield self.snapshot.catalog.features[each.address], "similar words"

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
        return self._read[1]

    @cached_property
    def _canonical(self) -> str:
        return self._read[0]

    @cached_property
    def _read(self) -> tuple[str, tuple[str, ...]]:
        """The canonical text of the SQL, and the columns that it reads. Raises RequestError."""
        try:
            return parser.read(self.proposal.sql)
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
