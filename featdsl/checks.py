"""Look at what is stored: does it still meet every declared rule, and is what is served what was trained on?"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from featdsl import clients, engine, selects, serving
from featdsl.definitions import FeatureDefinition
from featdsl.names import literal, quote
from featdsl.pointintime import Spine, Versions, Want, compile_sql
from featdsl.selection import Selection, members
from featdsl.snapshot import Snapshot

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


@dataclass(frozen=True, kw_only=True)
class Checked:
    """A rule, and how many stored rows break it; `examples` are some of those."""

    address: str
    owner: str
    rule: str
    broken: int
    examples: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A value that is served otherwise than it is trained on, at one time."""

    feature: str
    keys: Mapping[str, Any]
    served: Any
    trained: Any


@dataclass(frozen=True, kw_only=True)
class Parity:
    """How many values were compared, and those that differ; `skipped` features need a request, which nothing stored has."""

    values: int
    differences: tuple[Difference, ...]
    skipped: tuple[str, ...] = ()


_FLOATS = 1e-9
_EXAMPLES = 5


def expectations(snapshot: Snapshot, connection: DuckDBPyConnection) -> Iterator[Checked]:
    """Yield each expectation of each current feature, run on the stored rows."""
    for name in sorted(snapshot.catalog.groups):
        features = snapshot.catalog.stored_members_of(name)
        for feature in features:
            for rule in feature.expect:
                query = selects.violations(features, snapshot.versions, rule, feature.name)
                yield _checked(connection, query, feature, rule)


def _checked(connection: DuckDBPyConnection, query: str, feature: FeatureDefinition, rule: str) -> Checked:
    broken, examples = engine.first_rows(connection, query, _EXAMPLES)
    return Checked(address=feature.address, owner=feature.owner, rule=rule, broken=broken, examples=tuple(examples))


def parity(snapshot: Snapshot, connection: DuckDBPyConnection, *, sample: int) -> Parity:
    """Return how what is served compares with what is trained on, for up to `sample` stored entities of each set.

    Sets are compared at the definitions that they pin, and every current feature by itself. Both sides ask at the
    same instant.
    """
    at = f"TIMESTAMP {literal(datetime.now(UTC).replace(tzinfo=None).isoformat(sep=' '))}"
    values = 0
    differences: list[Difference] = []
    skipped: set[str] = set()
    for whole in _selections(snapshot):
        selection = Selection(tuple(want for want in whole.wants if not want.feature.request), whole.name)
        skipped.update(want.feature.address for want in whole.wants if want.feature.request)
        if not selection.wants:
            continue
        rows = _entities(connection, selection, sample)
        served = serving.values(connection, selection, snapshot.versions, rows, time=at)
        trained = _trained(connection, selection, snapshot.versions, rows, at)
        values += len(rows) * len(selection.columns)
        differences += _differences(selection, rows, served, trained)
    return Parity(values=values, differences=tuple(differences), skipped=tuple(sorted(skipped)))


def _selections(snapshot: Snapshot) -> Iterator[Selection]:
    for name in sorted(snapshot.catalog.groups):
        features = snapshot.catalog.members_of(name)
        yield Selection(tuple(Want(feature.name, feature) for feature in features), name)
    for name in sorted(snapshot.catalog.sets):
        yield Selection(tuple(members(snapshot, snapshot.catalog.sets[name])), name)


def _entities(connection: DuckDBPyConnection, selection: Selection, sample: int) -> list[dict[str, Any]]:
    """Return rows of keys that are stored; those of several entities are put side by side, the shorter repeated."""
    by_keys = {tuple(column for _, column in want.roles): want for want in selection.wants if want.roles}
    found = [_stored_keys(connection, want, sample) for want in by_keys.values()]
    if not found:
        return [{}]
    length = max(len(rows) for rows in found)
    turns = [itertools.cycle(rows or [dict.fromkeys(keys)]) for keys, rows in zip(by_keys, found, strict=True)]
    return [{name: value for turn in turns for name, value in next(turn).items()} for _ in range(length)]


def _stored_keys(connection: DuckDBPyConnection, want: Want, sample: int) -> list[dict[str, Any]]:
    listed = ", ".join(f"{quote(key)} AS {quote(column)}" for key, column in want.roles)
    distinct = f"SELECT DISTINCT {listed} FROM tables.{quote(want.feature.table)}"
    rows = connection.execute(f"SELECT * FROM ({distinct}) USING SAMPLE reservoir({sample} ROWS)").fetchall()
    return [dict(zip((column for _, column in want.roles), row, strict=True)) for row in rows]


def _trained(
    connection: DuckDBPyConnection, selection: Selection, versions: Versions, rows: Sequence[Mapping[str, Any]], at: str
) -> list[dict[str, Any]]:
    """Return the values that a training set gives at the same time."""
    keys = selection.keys
    asked = f"CREATE OR REPLACE TEMP TABLE parity AS SELECT * FROM {serving.rows_of_parameters(keys)}"
    connection.execute(asked, serving.as_parameters(keys, rows))
    spine = Spine(
        sql="parity",
        columns=(),
        keys={name: quote(name) for name in keys},
        time=at if selection.timed else None,
        ordered=True,
    )
    found = connection.execute(
        clients.zoneless(compile_sql(selection.wants, spine, versions), selection.dtypes)
    ).fetchall()
    return [clients.python(dict(zip(selection.columns, row, strict=True)), selection.dtypes) for row in found]


def _differences(
    selection: Selection,
    rows: Sequence[Mapping[str, Any]],
    served: Sequence[Mapping[str, Any]],
    trained: Sequence[Mapping[str, Any]],
) -> Iterator[Difference]:
    for keys, one, other in zip(rows, served, trained, strict=True):
        for column in selection.columns:
            if not _same(one[column], other[column]):
                feature = f"{selection.name}: {column}"
                yield Difference(feature=feature, keys=keys, served=one[column], trained=other[column])


def _same(one: Any, other: Any) -> bool:
    match one, other:
        case float(), float():
            # The order in which a sum adds is not fixed, and the last bits of it with that.
            return math.isclose(one, other, rel_tol=_FLOATS) or (math.isnan(one) and math.isnan(other))
        case list(), list():
            return len(one) == len(other) and all(map(_same, one, other))
        case dict(), dict():
            return one.keys() == other.keys() and all(_same(value, other[key]) for key, value in one.items())
    return type(one) is type(other) and bool(one == other)
