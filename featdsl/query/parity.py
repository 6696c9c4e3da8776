"""Compare values that are served from the tables with training values."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from featdsl.definitions.names import literal, quote
from featdsl.definitions.snapshot import Snapshot
from featdsl.engines.lookups import ROW, Spine, Want
from featdsl.engines.reading import KeyRows, Reader
from featdsl.query import latest_values
from featdsl.query.selection import Selection, members


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A feature whose served value differs from its training value, for one entity at one time.

    With an online store, `served` is its value, `tables` the value from the tables, `at` the time of the read in UTC, and
    `differing` names the one that differs from the two others, or all three.
    """

    feature: str
    keys: Mapping[str, Any]
    served: Any
    trained: Any
    at: datetime | None = None
    tables: Any = None
    differing: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Parity:
    """The number of compared values, and those that differ; `skipped` features need request-time data, which is not stored.

    `moments` is the largest number of times at which an entity's values were compared. `unpublished` has the published columns
    that are read from the tables all the same, with the reason.
    """

    values: int
    differences: tuple[Difference, ...]
    skipped: tuple[str, ...] = ()
    moments: int = 1
    unpublished: Mapping[str, str] = field(default_factory=dict)


_FLOATS = 1e-9
EXAMPLES = 5


def parity(snapshot: Snapshot, reader: Reader, *, sample: int) -> Parity:
    """Compare online values with training values, for up to `sample` stored entities of each group and set.

    Sets are compared at the definitions that they pin, and groups at the current ones. Both values are read at the same
    time.
    """
    at = datetime.now(UTC).replace(tzinfo=None)
    values = 0
    differences: list[Difference] = []
    skipped: set[str] = set()
    for whole in selections(snapshot):
        selection = without_request(whole)
        skipped.update(want.feature.address for want in whole.wants if want.feature.request)
        if not selection.wants:
            continue
        entities = stored_entities(reader, selection, sample)
        rows = replace(latest_values.key_rows(selection, entities), at=at)
        served = latest_values.values(reader, selection, rows)
        trained = trained_at(reader, selection, rows, [at])
        values += len(entities) * len(selection.columns)
        differences += _differences(selection, entities, served, trained)
    return Parity(values=values, differences=tuple(differences), skipped=tuple(sorted(skipped)))


def selections(snapshot: Snapshot) -> Iterator[Selection]:
    """Yield every group at its current definitions, and every set version at those that it pins."""
    for name in sorted(snapshot.catalog.groups):
        features = snapshot.catalog.members_of(name)
        yield Selection(tuple(Want(feature.name, feature) for feature in features), name)
    for name in sorted(snapshot.catalog.sets):
        yield Selection(tuple(members(snapshot, snapshot.catalog.sets[name])), name)


def without_request(selection: Selection) -> Selection:
    """Return the features that need no request-time data."""
    return Selection(tuple(want for want in selection.wants if not want.feature.request), selection.name)


def stored_entities(reader: Reader, selection: Selection, sample: int) -> list[dict[str, Any]]:
    """Return rows of stored keys. With several entities a row has keys of each; shorter lists of keys are repeated."""
    by_keys: dict[tuple[str, ...], str] = {}
    for want in selection.wants:
        for query in reader.stored_keys(want) if want.roles else ():
            by_keys[tuple(column for _, column in want.roles)] = query
    samples = [_stored_keys(reader, keys, query, sample) for keys, query in by_keys.items()]
    if not samples:
        return [{}]
    length = max(len(rows) for rows in samples)
    cycles = [itertools.cycle(rows or [dict.fromkeys(keys)]) for keys, rows in zip(by_keys, samples, strict=True)]
    return [{name: value for cycle in cycles for name, value in next(cycle).items()} for _ in range(length)]


def _stored_keys(reader: Reader, keys: Sequence[str], query: str, sample: int) -> list[dict[str, Any]]:
    listed = f"SELECT {', '.join(map(quote, keys))} FROM ({query})"
    rows = reader.session.rows(f"SELECT * FROM ({listed}) USING SAMPLE reservoir({sample} ROWS)")
    return [dict(zip(keys, row, strict=True)) for row in rows]


def trained_at(
    reader: Reader, selection: Selection, rows: KeyRows, moments: Sequence[datetime]
) -> list[dict[str, Any]]:
    """Return the values of a training set for each row at each moment, in UTC without a zone: all rows of a moment in turn."""
    times = ", ".join(f"({i}, TIMESTAMP {literal(str(moment))})" for i, moment in enumerate(moments))
    number = f'row_number() OVER (ORDER BY "#number", {quote(ROW)}) AS {quote(ROW)}'
    select = (
        f'SELECT * REPLACE ({number}) FROM {reader.load_rows(rows)} CROSS JOIN (VALUES {times}) t("#number", "#at")'
    )
    reader.session.execute(f"CREATE OR REPLACE TEMP TABLE parity_rows AS {select}")
    spine = Spine(
        sql="parity_rows",
        columns=(),
        keys={name: quote(name) for name in selection.keys},
        time=quote("#at") if selection.timed else None,
        numbered=True,
        ordered=True,
    )
    return reader.session.python_rows(reader.training_query(selection.wants, spine).sql, selection.dtypes)


def _differences(
    selection: Selection,
    rows: Sequence[Mapping[str, Any]],
    served: Sequence[Mapping[str, Any]],
    trained: Sequence[Mapping[str, Any]],
) -> Iterator[Difference]:
    for keys, one, other in zip(rows, served, trained, strict=True):
        for column in selection.columns:
            if not same(one[column], other[column]):
                feature = f"{selection.name}: {column}"
                yield Difference(feature=feature, keys=keys, served=one[column], trained=other[column])


def same(one: Any, other: Any) -> bool:
    """Return whether values are equal and of the same type; floats but for their last bits."""
    match one, other:
        case float(), float():
            # The order of additions varies, and the last bits of a sum with it.
            return math.isclose(one, other, rel_tol=_FLOATS) or (math.isnan(one) and math.isnan(other))
        case list(), list():
            return len(one) == len(other) and all(map(same, one, other))
        case dict(), dict():
            return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    return type(one) is type(other) and bool(one == other)
