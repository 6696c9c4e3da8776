"""Find features of different groups whose values are alike, on a sample of the same entities at the same times.

Comparing all pairs of 5,000 features would take 12 million comparisons. So each feature first gets sketches: of its values at 16
rows of the sample, whether each is above its median, or for texts and booleans a hash of the values. Only features that share a
sketch are compared: two features of correlation 0.99 share one of their 16 sketches almost certainly, two that are unrelated
hardly ever do (locality-sensitive hashing; Indyk and Motwani, 1998). Of many features with one sketch, each is compared with the
first alone; a sketch of many features that has one value, such as that of features that are almost always 0, is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from featdsl.definitions.catalog import Catalog
from featdsl.definitions.dtypes import family
from featdsl.definitions.kinds import FeatureDefinition
from featdsl.definitions.names import EVENT_TIMESTAMP, literal, quote
from featdsl.definitions.snapshot import Snapshot
from featdsl.engines import lookups
from featdsl.engines.lookups import ROW, Spine, Want
from featdsl.engines.reading import Reader
from featdsl.engines.session import Session

Opening = Callable[[set[str]], Reader]
"""Open stored tables and return a reader of their values."""

_TABLES = 8
"""The most tables of an entity that the sample is drawn from."""
_BANDS = 16
"""The number of sketches of a feature."""
_COMMON = 40
"""The most features with one sketch that are all compared with each other."""
_LEAST = 10
"""The least number of rows with both values that a likeness is computed from."""
_HUGE = 1e100
"""Numbers from here on are left out: their squares, which a correlation sums up, have no room in a DOUBLE."""
_NUMBERS = frozenset({"integer", "decimal", "real"})


@dataclass(frozen=True, kw_only=True)
class SampleSize:
    """How much is compared: the entities of a sample, the most pairs of an entity, and the least likeness that counts."""

    entities: int = 1_000
    pairs: int = 2_000
    threshold: float = 0.98


@dataclass(frozen=True, kw_only=True)
class AlikeValues:
    """Two features with alike values: the measure, the likeness between -1 and 1, and the rows with both values.

    Numbers have the greater of Pearson's and Spearman's correlation; texts and booleans the share of equal values beyond chance
    (Cohen's kappa). `is_equal` says whether all these values are equal.
    """

    features: tuple[str, str]
    owners: tuple[str, str]
    measure: Literal["pearson", "spearman", "agreement"]
    likeness: float
    rows: int
    is_equal: bool


@dataclass(frozen=True, kw_only=True)
class ValueComparison:
    """The pairs of alike values, the most alike first, with the number of features and pairs that were compared."""

    pairs: tuple[AlikeValues, ...]
    features: int
    compared: int
    threshold: float


def alike_values(snapshot: Snapshot, opening: Opening, size: SampleSize) -> ValueComparison:
    """Return the features of different groups whose values are alike, for each entity.

    A feature that is computed from the other is left out, and so are features that need request-time data.
    """
    catalog = snapshot.catalog
    by_entity: dict[str, list[FeatureDefinition]] = {}
    for each in sorted(catalog.features.values(), key=lambda feature: feature.address):
        if each.entity and not each.is_rowless and _kind(each):
            by_entity.setdefault(each.entity, []).append(each)
    found: list[AlikeValues] = []
    counts = [0, 0]
    for features in by_entity.values():
        if len({each.group for each in features}) > 1:
            alike, compared = _of_entity(snapshot, features, opening, size)
            found += alike
            counts = [counts[0] + len(features), counts[1] + compared]
    ordered = sorted(found, key=lambda each: (-abs(each.likeness), each.features))
    return ValueComparison(pairs=tuple(ordered), features=counts[0], compared=counts[1], threshold=size.threshold)


def _kind(feature: FeatureDefinition) -> Literal["number", "text"] | None:
    kind = family(feature.dtype)
    if kind in _NUMBERS:
        return "number"
    return "text" if feature.dtype in {"VARCHAR", "BOOLEAN"} else None


def _of_entity(
    snapshot: Snapshot, features: Sequence[FeatureDefinition], opening: Opening, size: SampleSize
) -> tuple[list[AlikeValues], int]:
    tables = lookups.tables_of(features, snapshot.versions)
    reader = opening({*tables, *(each.table for each in features if each.table)} & snapshot.tables.keys())
    session = reader.session
    if not _drawn(snapshot, features, session, size.entities):
        return [], 0
    wants = [Want(f"v{number}", each) for number, each in enumerate(features)]
    keys = {key.name: quote(key.name) for key in features[0].keys}
    time = '"#time"' if any(each.timed for each in features) else None
    rows = Spine(sql="alike_sample", columns=[ROW], keys=keys, time=time, numbered=True)
    session.execute(f"CREATE OR REPLACE TEMP TABLE alike_rows AS {reader.training_query(wants, rows).sql}")
    _melt(session, features)
    session.execute(_CANDIDATES.format(bands=_BANDS, common=_COMMON, pairs=size.pairs))
    ((compared,),) = session.rows("SELECT count(*) FROM alike_pairs")
    return list(_compared(snapshot.catalog, features, session, size.threshold)), int(compared)


def _drawn(snapshot: Snapshot, features: Sequence[FeatureDefinition], session: Session, most: int) -> int:
    """Draw the sample: entities of the largest tables, the same of all tables, each at one time of its rows."""
    stored = {each.table: each for each in features if each.table in snapshot.tables and not each.inputs}
    largest = sorted(stored, key=lambda name: (-snapshot.tables[name].rows, name))[:_TABLES]
    if not largest:
        return 0
    keys = ", ".join(quote(key.name) for key in features[0].keys)
    parts = [
        f"SELECT {keys}, {EVENT_TIMESTAMP if stored[name].timed else 'NULL'}::TIMESTAMP AS moment FROM tables.{quote(name)}"
        for name in largest
    ]
    session.execute(f"CREATE OR REPLACE TEMP TABLE alike_times AS SELECT DISTINCT * FROM ({' UNION ALL '.join(parts)})")
    session.execute(
        f"CREATE OR REPLACE TEMP TABLE alike_sample AS "
        f"WITH entities AS (SELECT DISTINCT {keys} FROM alike_times ORDER BY hash({keys}) LIMIT {most}), "
        f"several AS (SELECT greatest(1, {most} // count(*)) AS times FROM entities), "
        f"drawn AS (SELECT {keys}, coalesce(moment, now() AT TIME ZONE 'UTC') AS \"#time\" FROM alike_times SEMI JOIN entities "
        f"USING ({keys}) QUALIFY row_number() OVER (PARTITION BY {keys} ORDER BY hash(moment)) <= (SELECT times FROM several)) "
        f'SELECT *, row_number() OVER (ORDER BY hash("#time", {keys})) AS {quote(ROW)} FROM drawn'
    )
    ((count,),) = session.rows("SELECT count(*) FROM alike_sample")
    return int(count)


def _melt(session: Session, features: Sequence[FeatureDefinition]) -> None:
    """Make a row for each value of the sample: numbers, and hashes of texts and booleans, which may be long."""
    for table, kind, dtype in (("alike_numbers", "number", "DOUBLE"), ("alike_texts", "text", "UBIGINT")):
        columns = [f"v{number}" for number, each in enumerate(features) if _kind(each) == kind]
        values = [
            f"{name}::DOUBLE AS {name}"
            if kind == "number"
            else f"CASE WHEN {name} IS NOT NULL THEN hash({name}) END AS {name}"
            for name in columns
        ]
        rows = f"SELECT {quote(ROW)} AS row, {', '.join(values)} FROM alike_rows"
        melted = (
            f"UNPIVOT ({rows}) ON {', '.join(columns)} INTO NAME feature VALUE value"
            if columns
            else f"SELECT 0::BIGINT AS row, '' AS feature, NULL::{dtype} AS value WHERE false"
        )
        kept = f"WHERE abs(value) < {_HUGE}" if kind == "number" else ""  # also no NaN, which is the greatest value
        session.execute(f"CREATE OR REPLACE TEMP TABLE {table} AS SELECT * FROM ({melted}) {kept}")
    groups = ", ".join(f"('v{number}', {literal(each.group)})" for number, each in enumerate(features))
    session.execute(f"CREATE OR REPLACE TEMP TABLE alike_groups AS SELECT * FROM (VALUES {groups}) AS g(feature, own)")


def _compared(
    catalog: Catalog, features: Sequence[FeatureDefinition], session: Session, threshold: float
) -> Iterator[AlikeValues]:
    """Compare the candidates in full, and yield those that are alike."""
    for one, other, linear, monotone, rows, is_equal in session.rows(_CORRELATIONS):
        measure: Literal["pearson", "spearman"] = "pearson" if abs(linear) >= abs(monotone) else "spearman"
        pair = features[int(one[1:])], features[int(other[1:])]
        likeness = linear if measure == "pearson" else monotone
        if abs(likeness) >= threshold and rows >= _LEAST and not _is_derived(catalog, *pair):
            yield _alike(pair, measure, likeness, rows, is_equal=is_equal)
    for one, other, likeness, rows, is_equal in session.rows(_AGREEMENTS):
        pair = features[int(one[1:])], features[int(other[1:])]
        if likeness is not None and likeness >= threshold and rows >= _LEAST and not _is_derived(catalog, *pair):
            yield _alike(pair, "agreement", likeness, rows, is_equal=is_equal)


def _alike(
    pair: tuple[FeatureDefinition, FeatureDefinition],
    measure: Literal["pearson", "spearman", "agreement"],
    likeness: float,
    rows: int,
    *,
    is_equal: bool,
) -> AlikeValues:
    one, other = sorted(pair, key=lambda each: each.address)
    return AlikeValues(
        features=(one.address, other.address),
        owners=(one.owner, other.owner),
        measure=measure,
        likeness=round(likeness, 4),
        rows=rows,
        is_equal=is_equal,
    )


def _is_derived(catalog: Catalog, one: FeatureDefinition, other: FeatureDefinition) -> bool:
    """Return whether one of two features is computed from the other."""
    return one.address in _inputs(catalog, other) or other.address in _inputs(catalog, one)


def _inputs(catalog: Catalog, feature: FeatureDefinition) -> set[str]:
    seen: set[str] = set()
    pending = [name for name, _ in feature.upstream]
    while pending:
        name = pending.pop()
        if name not in seen and name in catalog.features:
            seen.add(name)
            pending += [upstream for upstream, _ in catalog.features[name].upstream]
    return seen


_CANDIDATES = """
CREATE OR REPLACE TEMP TABLE alike_pairs AS
WITH ranked AS (
    SELECT row, feature, rank() OVER (PARTITION BY feature ORDER BY value) * 2 > count(*) OVER (PARTITION BY feature) AS bit,
           row % {bands} AS band, (row // {bands}) < 16 AS is_used
    FROM alike_numbers
    QUALIFY min(value) OVER (PARTITION BY feature) < max(value) OVER (PARTITION BY feature)
), flipped AS (
    SELECT feature, band, row, bit <> first_value(bit) OVER (PARTITION BY feature, band ORDER BY row) AS bit
    FROM ranked WHERE is_used
), sketches AS (
    SELECT feature, 'number' AS kind, band, string_agg(row || ':' || bit::INTEGER, ',' ORDER BY row) AS sketch,
           bool_or(bit) AS tells
    FROM flipped GROUP BY feature, band
    UNION ALL
    SELECT feature, 'text', row % {bands} AS band, string_agg(row || ':' || value, ',' ORDER BY row),
           min(value) < max(value)
    FROM alike_texts WHERE (row // {bands}) < 16 GROUP BY feature, row % {bands}
), telling AS (
    SELECT *, count(*) OVER alike AS times, min(feature) OVER alike AS first
    FROM sketches WINDOW alike AS (PARTITION BY kind, band, sketch)
    QUALIFY times BETWEEN 2 AND {common} OR (times > {common} AND tells)
)
SELECT a.feature AS one, b.feature AS other, a.kind AS kind, count(*) AS shared
FROM telling a JOIN telling b USING (kind, band, sketch)
JOIN alike_groups g ON g.feature = a.feature JOIN alike_groups h ON h.feature = b.feature
WHERE a.feature < b.feature AND g.own <> h.own AND (a.times <= {common} OR a.feature = a.first) GROUP BY ALL ORDER BY shared DESC, one, other LIMIT {pairs}
"""
_CORRELATIONS = """
WITH placed AS (
    SELECT row, feature, value, rank() OVER (PARTITION BY feature ORDER BY value)
           + (count(*) OVER (PARTITION BY feature, value) - 1) / 2 AS place
    FROM alike_numbers
)
SELECT one, other, corr(a.value, b.value) AS linear, corr(a.place, b.place) AS monotone, count(*) AS rows,
       bool_and(a.value = b.value)
FROM alike_pairs JOIN placed a ON a.feature = one JOIN placed b ON b.feature = other AND b.row = a.row
GROUP BY one, other HAVING isfinite(linear) AND isfinite(monotone) ORDER BY one, other
"""
_AGREEMENTS = """
WITH joined AS (
    SELECT one, other, a.value AS first, b.value AS second
    FROM alike_pairs JOIN alike_texts a ON a.feature = one JOIN alike_texts b ON b.feature = other AND b.row = a.row
), firsts AS (
    SELECT one, other, first AS value, count(*) AS times FROM joined GROUP BY ALL
), seconds AS (
    SELECT one, other, second AS value, count(*) AS times FROM joined GROUP BY ALL
), chance AS (
    SELECT one, other, sum(f.times * s.times) AS products FROM firsts f JOIN seconds s USING (one, other, value) GROUP BY ALL
), shares AS (
    SELECT one, other, count(*) AS rows, avg((first = second)::INTEGER) AS same, bool_and(first = second) AS is_equal
    FROM joined GROUP BY ALL
)
SELECT one, other, (same - products / rows ** 2) / nullif(1 - products / rows ** 2, 0) AS kappa, rows, is_equal
FROM shares JOIN chance USING (one, other) ORDER BY one, other
"""
