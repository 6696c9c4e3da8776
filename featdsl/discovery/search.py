"""List and search applied definitions."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from featdsl.definitions.catalog import Catalog
from featdsl.definitions.kinds import (
    Definition,
    Deprecation,
    EntityDefinition,
    FeatureDefinition,
    GroupDefinition,
    ModelDefinition,
    PolicyDefinition,
    SetDefinition,
    address,
)
from featdsl.definitions.snapshot import Snapshot
from featdsl.definitions.sources import SourceDefinition
from featdsl.discovery import filters
from featdsl.discovery.describe import EVERYTHING, is_private
from featdsl.discovery.filters import Filter
from featdsl.discovery.ranking import BY_USE, Ranking


@dataclass(frozen=True, kw_only=True)
class Listed:
    """One feature in a list."""

    address: str
    dtype: str
    entity: str | None
    owner: str
    description: str
    tags: tuple[str, ...]
    adhoc: bool
    deprecated: Deprecation | None
    private: bool = False


def listed(snapshot: Snapshot, wanted: Filter = EVERYTHING) -> list[Listed]:
    """Return the current features that match a filter, in order of address."""
    features, keeps = snapshot.catalog.features, filters.keeping(snapshot, wanted)
    return [_listed(snapshot.catalog, features[name]) for name in sorted(features) if keeps(("feature", name))]


def _listed(catalog: Catalog, feature: FeatureDefinition) -> Listed:
    return Listed(
        address=feature.address,
        dtype=feature.dtype,
        entity=feature.entity,
        owner=feature.owner,
        description=feature.description,
        tags=feature.tags,
        adhoc=feature.adhoc,
        deprecated=catalog.deprecation_of(feature),
        private=is_private(catalog, feature),
    )


# Search

_WORDS = re.compile(r"[a-z0-9]+")
_IDENTIFIERS = re.compile(r"[a-z0-9]+(?:_[a-z0-9]+)+")
_FUZZY_FROM = 75  # of 100: about one wrong letter in four
_EXACT, _PREFIX = 1.0, 0.8
_COLUMN, _SQL = 2.5, 1.2
"""The weights of a column that a feature reads, and of its SQL."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """One result of a search; a higher score is a better match."""

    kind: str
    address: str
    owner: str
    description: str
    score: float
    deprecated: Deprecation | None
    private: bool = False


def search(
    snapshot: Snapshot, words: str, *, limit: int, wanted: Filter = EVERYTHING, ranking: Ranking = BY_USE
) -> list[Found]:
    """Return the definitions that match `words` and a filter, the best match first.

    A word scores by where it matches (a name more than a description, and that more than SQL) and how well (exactly, as a prefix,
    or with a typo). Definitions that match more of the words come first. Of those, `ranking` puts the ones with many users, fresh
    values and a description first: it changes a score by less than a third, so that a match of a name stays before one of SQL.
    """
    queried = _tokens(words)
    index = _index(snapshot)
    scores: dict[tuple[str, str], dict[str, float]] = defaultdict(dict)
    for word in queried:
        for token, likeness in _alike(word, index).items():
            for key, weight in index[token].items():
                scores[key][word] = max(scores[key].get(word, 0.0), likeness * weight)
        for key in _in_sql(word, snapshot):
            scores[key].setdefault(word, _SQL)
    definitions: dict[tuple[str, str], Definition] = {(d.kind, address(d)): d for d in snapshot.catalog}
    keeps = filters.keeping(snapshot, wanted)
    kept = [item for item in scores.items() if keeps(item[0])]
    weighed = ranking.weighed(snapshot, {key: (len(parts), sum(parts.values())) for key, parts in kept})
    return [_found(snapshot.catalog, definitions[key], score) for key, score in weighed[:limit]]


def _found(catalog: Catalog, definition: Definition, score: float) -> Found:
    return Found(
        kind=definition.kind,
        address=address(definition),
        owner=definition.owner,
        description=definition.description,
        score=round(score, 2),
        deprecated=catalog.deprecation_of(definition),
        private=is_private(catalog, definition),
    )


def _tokens(text: str) -> list[str]:
    """Return the words of a text, and its names of several words: `dep_delay` is `dep`, `delay` and `dep_delay`."""
    lowered = text.lower()
    return [*_WORDS.findall(lowered), *_IDENTIFIERS.findall(lowered)]


def _index(snapshot: Snapshot) -> dict[str, dict[tuple[str, str], float]]:
    """Return, for each word, the definitions that contain it, with the weight of its best place."""
    index: dict[str, dict[tuple[str, str], float]] = defaultdict(dict)
    for definition in snapshot.catalog:
        if isinstance(definition, PolicyDefinition):
            continue
        key = (definition.kind, address(definition))
        for weight, texts in _places(definition):
            for token in _WORDS.findall(" ".join(texts).lower()):
                index[token][key] = max(index[token].get(key, 0.0), weight)
        for name in _columns(definition):
            index[name][key] = max(index[name].get(key, 0.0), _COLUMN)
    return index


def _columns(definition: Definition) -> set[str]:
    """Return the names of several words among the columns that a definition reads or has."""
    match definition:
        case FeatureDefinition():
            columns = {*definition.reads, *(root.rpartition(".")[2] for root in definition.roots)}
        case SourceDefinition():
            columns = {column.name for column in definition.columns}
        case _:
            return set()
    return {name.lower() for name in columns if "_" in name}


def _in_sql(word: str, snapshot: Snapshot) -> Iterator[tuple[str, str]]:
    """Yield the features and sources whose SQL or code has a word that begins with this one."""
    begins = re.compile(rf"(?<![a-z0-9]){re.escape(word)}", re.IGNORECASE)
    catalog = snapshot.catalog
    computed: list[FeatureDefinition | SourceDefinition] = [*catalog.features.values(), *catalog.sources.values()]
    for definition in computed:
        text = definition.function.text if definition.function else definition.sql
        if begins.search(text):
            yield definition.kind, address(definition)


def _places(definition: Definition) -> Iterable[tuple[float, Iterable[str]]]:
    # People look for features: a word in a feature's name scores a little more than in another kind's name,
    # and more if it is the whole name than if it is one word of three.
    share = 1 / len(definition.name.split("_"))
    yield (10.0 if definition.kind == "feature" else 9.0) * (0.7 + 0.3 * share), definition.name.split("_")
    yield 3.0, [definition.description]
    yield 4.0, [definition.owner]
    match definition:
        case FeatureDefinition():
            yield 6.0, definition.tags
            yield 5.0, [definition.group, definition.entity or ""]
            yield _COLUMN, [*definition.reads, *definition.roots]
            yield 2.0, [definition.unit]
        case GroupDefinition():
            yield 6.0, definition.tags
            yield 4.0, [definition.entity or ""]
        case EntityDefinition():
            yield 4.0, [key.name for key in definition.keys]
        case SourceDefinition():
            yield 2.0, [column.name for column in definition.columns]
        case SetDefinition():
            yield 2.0, [member.feature for member in definition.members]
        case ModelDefinition():
            yield 2.0, [definition.features]


def _alike(word: str, tokens: Iterable[str]) -> dict[str, float]:
    """Return the known words that match `word`, with their likeness, at most 1."""
    from rapidfuzz import fuzz, process

    known = list(tokens)
    alike = {token: score / 100 * 0.7 for token, score, _ in process.extract(
        word, known, scorer=fuzz.ratio, score_cutoff=_FUZZY_FROM, limit=None
    )}  # fmt: skip
    alike |= {token: _PREFIX for token in known if token.startswith(word)}
    if word in alike:
        alike[word] = _EXACT
    return alike
