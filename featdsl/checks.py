"""Look at what is stored: does it still meet every declared rule, and is what is served what was trained on?"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from featdsl import checkrows, clients, selects, serving
from featdsl.definitions import Definition, FeatureDefinition, GroupDefinition, ModelDefinition, SetDefinition
from featdsl.errors import FeatureNotFoundError, Problem
from featdsl.names import literal, quote
from featdsl.plan import CheckRows
from featdsl.pointintime import Spine, Versions, Want, compile_sql
from featdsl.rules import Kind, Severity, told
from featdsl.selection import Selection, find, members
from featdsl.snapshot import CheckResult, Snapshot
from featdsl.stores.lock import user

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What the check of a rule found in a state: so many broken of the stored `rows`; `examples` are some of those."""

    address: str
    owner: str
    kind: Kind
    rule: str
    name: str
    severity: Severity
    broken: int
    rows: int
    serial: int
    examples: tuple[Mapping[str, Any], ...]

    @property
    def told(self) -> str:
        """The rule with its name, and that it only warns."""
        return told(self.rule, self.name, self.severity)


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


def run(snapshot: Snapshot, connection: DuckDBPyConnection, names: Sequence[str] = ()) -> Iterator[Checked]:
    """Yield the check of each rule of each current feature and group, run on the stored rows, in order of group.

    With `names`, only of these features, groups and teams, and of what these sets and models use. Raises
    FeatureNotFoundError for a name of nothing.
    """
    catalog = snapshot.catalog
    wanted = chosen(snapshot, names) if names else {*catalog.groups, *catalog.features}
    for group in sorted(catalog.groups):
        for ruled in checkrows.declared(catalog, group):
            if ruled[0] in wanted and checkrows.can_be_run(ruled[1], "", None):
                step = checkrows.check(catalog, group, ruled, snapshot.versions)
                yield _checked(snapshot, connection, step, catalog.groups[group].owner)


def chosen(snapshot: Snapshot, names: Sequence[str]) -> set[str]:
    """Return the features and groups that names stand for: a group, a set and a model stand for their features too."""
    catalog, found = snapshot.catalog, set[str]()
    for name in names:
        owned = [each.name for each in catalog.groups.values() if each.owner == name]
        pending: list[Definition] = [catalog.groups[each] for each in owned] if owned else [find(snapshot, name)]
        while pending:
            match definition := pending.pop():
                case FeatureDefinition():
                    found.add(definition.address)
                case GroupDefinition():
                    found |= {definition.name, *(member.feature for member in definition.members)}
                case SetDefinition():
                    groups = {member.feature.partition(".")[0] for member in definition.members}
                    found |= {*groups, *(member.feature for member in definition.members)}
                case ModelDefinition():
                    pending.append(catalog.sets[definition.features])
                case _:
                    what = f"{name} is of the kind {definition.kind}, which has no checks of its own."
                    mend = "Name a feature, a group, a set, a model or a team."
                    raise FeatureNotFoundError(Problem("Nothing to check", what, mend=mend))
    return found


def _checked(snapshot: Snapshot, connection: DuckDBPyConnection, step: CheckRows, owner: str) -> Checked:
    assert step.kind != "identity"  # noqa: S101 - which nobody declares
    broken, examples = checkrows.violations(step, connection, most=_EXAMPLES)
    return Checked(
        address=step.address,
        owner=owner,
        kind=step.kind,
        rule=step.rule,
        name=step.name,
        severity=step.severity,
        broken=broken,
        rows=max(snapshot.tables[table].rows for table in step.reads),
        serial=snapshot.newest,
        examples=tuple(examples),
    )


def results(checked: Sequence[Checked], environment: str, now: datetime) -> list[CheckResult]:
    """Return what checks found as the registry keeps it: without rows, which belong to nobody else."""
    return [
        CheckResult(
            environment=environment,
            address=each.address,
            kind=each.kind,
            rule=each.rule,
            name=each.name,
            severity=each.severity,
            broken=each.broken,
            rows=each.rows,
            checked_at=now.isoformat(timespec="milliseconds"),
            serial=each.serial,
            by=user(),
            during="check",
        )
        for each in checked
    ]


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
        rows = _entities(connection, selection, snapshot.versions, sample)
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


def _entities(
    connection: DuckDBPyConnection, selection: Selection, versions: Versions, sample: int
) -> list[dict[str, Any]]:
    """Return rows of keys that are stored; those of several entities are put side by side, the shorter repeated."""
    by_keys: dict[tuple[str, ...], str] = {}
    for want in selection.wants:
        for query in selects.stored_keys(want, versions) if want.roles else ():
            by_keys[tuple(column for _, column in want.roles)] = query
    found = [_stored_keys(connection, keys, query, sample) for keys, query in by_keys.items()]
    if not found:
        return [{}]
    length = max(len(rows) for rows in found)
    turns = [itertools.cycle(rows or [dict.fromkeys(keys)]) for keys, rows in zip(by_keys, found, strict=True)]
    return [{name: value for turn in turns for name, value in next(turn).items()} for _ in range(length)]


def _stored_keys(connection: DuckDBPyConnection, keys: Sequence[str], query: str, sample: int) -> list[dict[str, Any]]:
    listed = f"SELECT {', '.join(map(quote, keys))} FROM ({query})"
    rows = connection.execute(f"SELECT * FROM ({listed}) USING SAMPLE reservoir({sample} ROWS)").fetchall()
    return [dict(zip(keys, row, strict=True)) for row in rows]


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
        numbered=True,
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
