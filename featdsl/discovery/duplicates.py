"""Find features of different groups that compute the same values: built twice, because nobody found the first."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from featdsl.definitions.catalog import Catalog
from featdsl.definitions.kinds import FeatureDefinition
from featdsl.sql.feature_meanings import Meanings


@dataclass(frozen=True, kw_only=True)
class SameMeaning:
    """Features of several groups with the same columns and SQL, in address order; `owners` are their teams, in that order."""

    features: tuple[str, ...]
    owners: tuple[str, ...]


def of_one_meaning(catalog: Catalog, wanted: Collection[str] | None = None) -> tuple[SameMeaning, ...]:
    """Return the features that repeat a feature of another group, in order of address; with `wanted`, only those of these.

    Names, formatting, and the order of operands do not count; every difference of values does.
    """
    several = Meanings(catalog).of_one_meaning(wanted)
    return tuple(sorted(map(_same, filter(_in_groups, several)), key=lambda each: each.features))


def _in_groups(features: list[FeatureDefinition]) -> bool:
    return len({each.group for each in features}) > 1


def _same(features: list[FeatureDefinition]) -> SameMeaning:
    ordered = sorted(features, key=lambda each: each.address)
    return SameMeaning(features=tuple(each.address for each in ordered), owners=tuple(each.owner for each in ordered))
