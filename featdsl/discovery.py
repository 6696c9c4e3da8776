"""Find features that others made, and see whether they can be trusted."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from featdsl import checkrows, durations, filters, impact, selects
from featdsl.definitions import (
    Catalog,
    Definition,
    Deprecation,
    EntityDefinition,
    FeatureDefinition,
    FunctionDefinition,
    GroupDefinition,
    Member,
    ModelDefinition,
    PolicyDefinition,
    SetDefinition,
    SourceDefinition,
    address,
)
from featdsl.dtypes import family
from featdsl.filters import Filter
from featdsl.lineage import neighbours
from featdsl.names import EVENT_TIMESTAMP, quote
from featdsl.plan import Kept
from featdsl.selection import find
from featdsl.snapshot import CheckResult, Snapshot

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

Session = Callable[[set[str]], "DuckDBPyConnection"]
"""Opens stored tables and returns a session that reads them as `tables.<name>`."""


_ALL = Filter()


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


def listed(snapshot: Snapshot, wanted: Filter = _ALL) -> list[Listed]:
    """Return the current features that have all that is wanted, in order of address."""
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
        private=_is_private(catalog, feature),
    )


def _is_private(catalog: Catalog, definition: Definition) -> bool:
    """Return whether only the own team may use a feature or a group."""
    group = definition if isinstance(definition, GroupDefinition) else None
    if isinstance(definition, FeatureDefinition):
        group = catalog.groups.get(definition.group)
    return group is not None and group.access == "private"


# Search

_WORDS = re.compile(r"[a-z0-9]+")
_FUZZY_FROM = 75  # of 100: one wrong letter in four
_EXACT, _PREFIX = 1.0, 0.8


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


def search(snapshot: Snapshot, words: str, *, limit: int, wanted: Filter = _ALL) -> list[Found]:
    """Return what `words` may mean and has all that is wanted, the best first.

    A word counts by where it is found (a name more than a description) and by how well (whole, as a beginning, or
    mistyped). What matches more of the words comes first.
    """
    asked = _WORDS.findall(words.lower())
    index = _index(snapshot)
    scores: dict[tuple[str, str], dict[str, float]] = defaultdict(dict)
    for word in asked:
        for token, likeness in _alike(word, index).items():
            for key, weight in index[token].items():
                scores[key][word] = max(scores[key].get(word, 0.0), likeness * weight)
    definitions: dict[tuple[str, str], Definition] = {(d.kind, address(d)): d for d in snapshot.catalog}
    keeps = filters.keeping(snapshot, wanted)
    kept = [item for item in scores.items() if keeps(item[0])]
    ranked = sorted(kept, key=lambda item: (-len(item[1]), -sum(item[1].values()), item[0][1], item[0][0]))
    return [_found(snapshot.catalog, definitions[key], sum(parts.values())) for key, parts in ranked[:limit]]


def _found(catalog: Catalog, definition: Definition, score: float) -> Found:
    return Found(
        kind=definition.kind,
        address=address(definition),
        owner=definition.owner,
        description=definition.description,
        score=round(score, 2),
        deprecated=catalog.deprecation_of(definition),
        private=_is_private(catalog, definition),
    )


def _index(snapshot: Snapshot) -> dict[str, dict[tuple[str, str], float]]:
    """Return for each word the things that hold it, with the weight of the best place."""
    index: dict[str, dict[tuple[str, str], float]] = defaultdict(dict)
    for definition in snapshot.catalog:
        if isinstance(definition, PolicyDefinition):
            continue
        key = (definition.kind, address(definition))
        for weight, texts in _places(definition):
            for token in _WORDS.findall(" ".join(texts).lower()):
                index[token][key] = max(index[token].get(key, 0.0), weight)
    return index


def _places(definition: Definition) -> Iterable[tuple[float, Iterable[str]]]:
    # A feature is what people look for: the same word counts a little more there than in what is around it,
    # and more where it is the whole name than where it is one word of three.
    share = 1 / len(definition.name.split("_"))
    yield (10.0 if definition.kind == "feature" else 9.0) * (0.7 + 0.3 * share), definition.name.split("_")
    yield 3.0, [definition.description]
    yield 4.0, [definition.owner]
    match definition:
        case FeatureDefinition():
            yield 6.0, definition.tags
            yield 5.0, [definition.group, definition.entity or ""]
            yield 2.5, [*definition.reads, *definition.roots]
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
    """Return the known words that `word` may mean, with how alike they are, at most 1."""
    from rapidfuzz import fuzz, process

    known = list(tokens)
    alike = {token: score / 100 * 0.7 for token, score, _ in process.extract(
        word, known, scorer=fuzz.ratio, score_cutoff=_FUZZY_FROM, limit=None
    )}  # fmt: skip
    alike |= {token: _PREFIX for token in known if token.startswith(word)}
    if word in alike:
        alike[word] = _EXACT
    return alike


# Description

_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Which of many values stand for all."""
_FEW = 10
"""So many values or fewer are told by how often they come, also where they are numbers."""
_MEASURED = 10_000
"""How many times the values of a window are computed at, for a look at them."""


@dataclass(frozen=True, kw_only=True)
class Described:
    """All that is known of one thing. `definition` and `data` hold what its kind has; `data` is measured now.

    `kept` are the older versions of a feature, or of those of a group, that live on, with who holds them; `checks` what
    the last check of each of its rules found.
    """

    kind: str
    address: str
    owner: str
    description: str
    adhoc: bool
    deprecated: Deprecation | None
    declared_at: str
    definition: Mapping[str, Any]
    data: Mapping[str, Any]
    made_of: tuple[str, ...]
    used_by: tuple[str, ...]
    kept: tuple[Kept, ...]
    checks: tuple[CheckResult, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)


def describe(snapshot: Snapshot, name: str, session: Session, history: Sequence[CheckResult]) -> Described:
    """Return all that is known of what `name` names; `history` are results of checks, the newest first.

    Raises FeatureNotFoundError.
    """
    definition = find(snapshot, name)
    adhoc = isinstance(definition, FeatureDefinition | GroupDefinition) and definition.adhoc
    made_of, used_by = neighbours(snapshot, definition)
    holders: list[GroupDefinition | SetDefinition] = [*snapshot.catalog.groups.values()]
    holders += snapshot.catalog.sets.values()
    kept = impact.kept(holders, snapshot.versions, snapshot.tables)
    of = {address(definition), *(each.address for each in _features_of(snapshot, definition))}
    return Described(
        kind=definition.kind,
        address=address(definition),
        owner=definition.owner,
        description=definition.description,
        adhoc=adhoc,
        deprecated=snapshot.catalog.deprecation_of(definition),
        declared_at=str(definition.origin),
        definition=_definition(snapshot, definition),
        data=_data(snapshot, definition, session),
        made_of=made_of,
        used_by=used_by,
        kept=tuple(each for each in kept if each.feature in of),
        checks=tuple(_last_checks(snapshot, of, history)),
    )


def _last_checks(snapshot: Snapshot, of: set[str], history: Sequence[CheckResult]) -> Iterator[CheckResult]:
    """Yield the last result of each rule that these things have by now."""
    groups = {name.partition(".")[0] for name in of} & snapshot.catalog.groups.keys()
    ruled = [each for group in sorted(groups) for each in checkrows.declared(snapshot.catalog, group)]
    known = {(name, rule.name, rule.text) for name, rule in ruled if name in of}
    seen: set[tuple[str, str, str]] = set()
    for each in history:
        key = (each.address, each.name, each.rule)
        if key in known - seen:
            seen.add(key)
            yield each


def _features_of(snapshot: Snapshot, definition: Definition) -> Sequence[FeatureDefinition]:
    return snapshot.catalog.members_of(definition.name) if isinstance(definition, GroupDefinition) else []


def _definition(snapshot: Snapshot, definition: Definition) -> dict[str, Any]:  # noqa: PLR0911 - one a kind
    match definition:
        case FeatureDefinition():
            return {
                "dtype": definition.dtype, "group": definition.group, "entity": definition.entity,
                "keys": _columns(definition.keys), "sql": definition.sql, "reads": list(definition.reads),
                "request": _columns(definition.request), "columns": list(definition.roots),
                "expect": [str(rule) for rule in (*definition.expect, *definition.whole)], "tags": list(definition.tags),
                "ttl": durations.written(definition.ttl) if definition.ttl else None,
                "window": str(definition.window) if definition.window else None,
                "fingerprint": definition.fingerprint, "renamed_from": definition.renamed_from,
                "protect": snapshot.catalog.protects(definition), **_function(definition.function),
                **({"as_of": "the time asked for"} if definition.as_of else {}),
                **({"access": "private"} if _is_private(snapshot.catalog, definition) else {}),
            }  # fmt: skip
        case GroupDefinition():
            features = snapshot.catalog.members_of(definition.name)
            return {
                "entity": definition.entity, "source": definition.source, "tags": list(definition.tags),
                "features": {feature.name: feature.dtype for feature in features},
                "view": _view(snapshot, definition.name), "access": definition.access, "protect": definition.protect,
                "renamed_from": definition.renamed_from, "rules": [str(rule) for rule in definition.rules],
            }  # fmt: skip
        case SetDefinition():
            return {"members": [_member(snapshot, member) for member in definition.members],
                    **_needs(snapshot, definition), "view": _view(snapshot, definition.view), "protect": definition.protect,
                    "renamed_from": definition.renamed_from}  # fmt: skip
        case ModelDefinition():
            return {"features": definition.features}
        case SourceDefinition():
            return {
                "format": definition.format, "location": list(definition.location), "sql": definition.sql,
                "timestamp": definition.timestamp, "available_at": definition.available_at, "tie_break": definition.tie_break,
                **_reading(definition),
                "columns": _columns(definition.columns), **_function(definition.function),
            }  # fmt: skip
        case EntityDefinition():
            return {"keys": _columns(definition.keys)}
        case PolicyDefinition():
            return {"approvals": definition.approvals}


def _view(snapshot: Snapshot, name: str) -> str | None:
    return f"{snapshot.environment}.{name}" if name in snapshot.views else None


def _function(function: FunctionDefinition | None) -> dict[str, Any]:
    return {"function": function.name, "code": function.text} if function else {}


def _reading(source: SourceDefinition) -> dict[str, Any]:
    """Return what a source says of how its times are read."""
    zone = {"timezone": source.timezone, "ambiguous": source.ambiguous} if source.timezone else {}
    said = {"valid_to": source.valid_to, "time_unit": source.time_unit}
    schema = {"schema": _columns(source.schema)} if source.schema else {}
    return {**schema, **{name: value for name, value in said.items() if value}, **zone}


def _columns(columns: Iterable[Any]) -> dict[str, str]:
    return {column.name: column.dtype for column in columns}


def _member(snapshot: Snapshot, member: Member) -> dict[str, Any]:
    current = snapshot.catalog.features.get(member.feature)
    return {
        "column": member.column,
        "feature": member.feature,
        "dtype": snapshot.versions[member.feature, member.fingerprint].dtype,
        "keys": dict(member.keys),
        "current": current is not None and current.fingerprint == member.fingerprint,
    }


def _needs(snapshot: Snapshot, definition: SetDefinition) -> dict[str, dict[str, str]]:
    """Return what a spine or a call brings for a set: the columns of its keys, by role, and of its requests."""
    keys: dict[str, str] = {}
    requests: dict[str, str] = {}
    for member in definition.members:
        feature, roles = snapshot.versions[member.feature, member.fingerprint], dict(member.keys)
        keys |= {roles.get(key.name, key.name): key.dtype for key in feature.keys}
        requests |= _columns(feature.request)
    return {"keys": keys, "request": requests}


def _data(snapshot: Snapshot, definition: Definition, session: Session) -> dict[str, Any]:
    if isinstance(definition, FeatureDefinition) and definition.table:
        return _figures(snapshot, definition, session)
    if isinstance(definition, GroupDefinition):
        for table, features in snapshot.catalog.tables_of(definition.name).items():
            return _table(snapshot, table) | _newest(features[0], session)
    return {}


def _table(snapshot: Snapshot, name: str) -> dict[str, Any]:
    table = snapshot.tables[name]
    return {"rows": table.rows, "built_at": table.built_at, "engine": table.engine}


def _newest(feature: FeatureDefinition, session: Session) -> dict[str, Any]:
    if not feature.timed:
        return {"newest": None}
    query = f"SELECT max({EVENT_TIMESTAMP}) FROM tables.{quote(feature.table)}"
    (newest,) = session({feature.table}).execute(query).fetchone() or (None,)
    return {"newest": newest}


def _figures(snapshot: Snapshot, feature: FeatureDefinition, session: Session) -> dict[str, Any]:
    column = quote(feature.name)
    values = selects.values([feature], snapshot.versions, most=_MEASURED)
    connection = session({feature.table})
    (rows, nulls) = connection.execute(f"SELECT count(*), count(*) - count({column}) FROM {values}").fetchone() or (
        0,
        0,
    )
    return {
        **_table(snapshot, feature.table),
        **_newest(feature, session),
        "null_share": nulls / rows if rows else None,
        "samples": _typical(connection, f"SELECT {column} AS value FROM {values} LIMIT {_MEASURED}", feature.dtype),
    }


def _typical(connection: DuckDBPyConnection, query: str, dtype: str) -> list[Any]:
    """Return typical values: of numbers and times that are many the quantiles, of others the most frequent ones."""
    present = "value IS NOT NULL" + (" AND isfinite(value)" if family(dtype) == "real" else "")
    rows = f"(SELECT value FROM ({query}) WHERE {present})"
    ((distinct,),) = connection.execute(f"SELECT count(DISTINCT value) FROM {rows}").fetchall()
    if distinct > _FEW and family(dtype) in {"integer", "decimal", "real", "instant"}:
        ((found,),) = connection.execute(f"SELECT quantile_disc(value, {list(_QUANTILES)}) FROM {rows}").fetchall()
        return list(found)
    frequent = f"SELECT value FROM {rows} GROUP BY value ORDER BY count(*) DESC, value LIMIT {len(_QUANTILES)}"
    return [value for (value,) in connection.execute(frequent).fetchall()]
