"""Find features that resemble each other: those that share rare words, source columns, tags and an entity."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterator

from featdsl.definitions.catalog import Catalog
from featdsl.definitions.kinds import FeatureDefinition

_WORD = re.compile(r"[a-z]{3,}")
_COMMON = 200
"""A trait that more features have says little, and comparing all of them would take long."""
_LEAST = 0.25
"""The least share of a feature's traits, weighted by rarity, that a similar feature has too."""


def similar(catalog: Catalog, most: int = 5) -> dict[str, tuple[str, ...]]:
    """Return up to `most` similar features of each feature, by address, the most similar first.

    The likeness of two features is the cosine of their traits, each weighted by its inverse document frequency (Salton and
    Buckley, 1988): words of name and description, source columns, tags, entity. Private features are left out.
    """
    index = _TraitIndex(catalog)
    return {name: index.nearest(name, most) for name in index.traits}


def _traits(feature: FeatureDefinition) -> Iterator[str]:
    yield f"entity {feature.entity}"
    yield from (f"word {word}" for word in feature.name.split("_") if len(word) > 1)
    yield from (f"word {word}" for word in _WORD.findall(feature.description.lower()))
    yield from (f"column {root}" for root in feature.roots)
    yield from (f"tag {tag}" for tag in feature.tags)


class _TraitIndex:
    """The traits of public features, and the features that have each trait."""

    def __init__(self, catalog: Catalog) -> None:
        public = [each for each in catalog.features.values() if catalog.groups[each.group].access != "private"]
        # In an order: sums of floats depend on it, and the same catalogue must give the same neighbours in every process.
        self.traits = {each.address: sorted(set(_traits(each))) for each in public}
        self._holders: dict[str, list[str]] = defaultdict(list)
        for name, held in self.traits.items():
            for trait in held:
                self._holders[trait].append(name)
        self._weights = {trait: math.log((1 + len(public)) / len(names)) ** 2 for trait, names in self._holders.items()}
        self._norms = {name: math.sqrt(sum(map(self._weights.__getitem__, held))) for name, held in self.traits.items()}

    def nearest(self, name: str, most: int) -> tuple[str, ...]:
        """Return the most similar features, the most similar first."""
        shared: dict[str, float] = defaultdict(float)
        for trait in self.traits[name]:
            if len(self._holders[trait]) <= _COMMON:
                for other in self._holders[trait]:
                    shared[other] += self._weights[trait]
        shared.pop(name, None)
        likeness = {
            other: weight / (self._norms[name] * self._norms[other]) for other, weight in shared.items() if weight
        }
        near = sorted((-score, other) for other, score in likeness.items() if score >= _LEAST)
        return tuple(other for _, other in near[:most])
