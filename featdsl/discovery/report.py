"""Report how an environment's features are used: who uses whose, what nobody uses and costs, what is built twice or neglected."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from featdsl.definitions import durations
from featdsl.definitions.catalog import Catalog
from featdsl.definitions.json_format import versioned
from featdsl.definitions.kinds import Definition, FeatureDefinition, PolicyDefinition, address
from featdsl.definitions.names import did_you_mean
from featdsl.definitions.snapshot import Snapshot
from featdsl.definitions.stored_tables import Reading
from featdsl.discovery import duplicates, freshness
from featdsl.discovery.alike_values import ValueComparison
from featdsl.discovery.consumers import FeatureUsage
from featdsl.discovery.duplicates import SameMeaning
from featdsl.errors import Problem, RequestError


@dataclass(frozen=True, kw_only=True)
class TeamUse:
    """How many features of `owner` a team uses: in its sets, in its models' sets, and as inputs of its derived features."""

    team: str
    owner: str
    features: int


@dataclass(frozen=True, kw_only=True)
class SharedFeature:
    """A feature that other teams use: these teams, and the set versions, models and features that use it directly."""

    feature: str
    owner: str
    teams: tuple[str, ...]
    sets: tuple[str, ...]
    models: tuple[str, ...]
    derived: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class UnusedFeature:
    """A feature that no set version needs, with its share of its table: bytes, and seconds of the last build."""

    feature: str
    owner: str
    bytes: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class StaleGroup:
    """A group whose values were last computed at this time, in UTC: longer ago than the report allows."""

    group: str
    owner: str
    computed_at: str
    features: int


@dataclass(frozen=True, kw_only=True)
class NeglectedDefinition:
    """A definition that lacks an owner or a description."""

    kind: str
    address: str
    owner: str


@dataclass(frozen=True, kw_only=True)
class Report:
    """The use and the state of an environment's features, of all teams or of one `team`.

    `values` is None unless values were compared.
    """

    project: str
    environment: str
    serial: int
    made_at: str
    team: str | None
    stale_after: str
    features: int
    uses: tuple[TeamUse, ...]
    shared: tuple[SharedFeature, ...]
    unused: tuple[UnusedFeature, ...]
    duplicates: tuple[SameMeaning, ...]
    values: ValueComparison | None
    stale: tuple[StaleGroup, ...]
    ownerless: tuple[NeglectedDefinition, ...]
    undocumented: tuple[NeglectedDefinition, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the report as `featdsl report --format json` prints it."""
        return versioned(asdict(self))


@dataclass(frozen=True, kw_only=True)
class ReportInputs:
    """What a report is made from.

    `applied` has the time of each state of the store, `readings` when the sources of each table were read, `teams` the declared
    teams of the project. Values that were computed before `now - stale_after` are stale.
    """

    snapshot: Snapshot
    project: str
    now: datetime
    teams: frozenset[str] = frozenset()
    applied: Mapping[int, str] = field(default_factory=dict)
    readings: Mapping[str, Reading] = field(default_factory=dict)
    stale_after: timedelta = timedelta(days=30)
    values: ValueComparison | None = None


def duration(text: str) -> timedelta:
    """Return a duration of fixed length. Raises RequestError."""
    try:
        return timedelta(seconds=durations.seconds(text))
    except ValueError as error:
        raise RequestError(Problem("Invalid duration", f"{error}.", fix="Write it as 30 days or 12 hours.")) from None


def report(inputs: ReportInputs, team: str | None = None) -> Report:
    """Return the report on all teams, or on the features that `team` owns and uses. Raises RequestError for an unknown team."""
    catalog, snapshot = inputs.snapshot.catalog, inputs.snapshot
    _refuse_unknown(team, {each.owner for each in catalog} | inputs.teams)
    usage = FeatureUsage(snapshot)
    owned = [each for each in catalog.features.values() if team in {None, each.owner}]
    doubles = duplicates.of_one_meaning(catalog)
    return Report(
        project=inputs.project,
        environment=snapshot.environment,
        serial=snapshot.head.serial,
        made_at=inputs.now.isoformat(timespec="seconds"),
        team=team,
        stale_after=durations.written_of(inputs.stale_after),
        features=len(owned),
        uses=tuple(
            TeamUse(team=user, owner=owner, features=count)
            for (user, owner), count in usage.by_team().items()
            if team in {None, user, owner}
        ),
        shared=tuple(sorted(_shared(usage, owned), key=_most_shared)),
        unused=tuple(sorted(_unused(snapshot, usage, owned), key=_most_costly)),
        duplicates=tuple(each for each in doubles if team is None or team in each.owners),
        values=_of_team(inputs.values, doubles, team),
        stale=tuple(_stale(inputs, team)),
        ownerless=tuple(_ownerless(inputs, team)),
        undocumented=tuple(_undocumented(catalog, team)),
    )


def _shared(usage: FeatureUsage, features: Iterable[FeatureDefinition]) -> Iterator[SharedFeature]:
    for each in features:
        others = [team for team in usage.teams(each.address) if team != each.owner]
        if others:
            yield SharedFeature(
                feature=each.address,
                owner=each.owner,
                teams=tuple(others),
                sets=tuple(usage.sets.get(each.address, ())),
                models=tuple(usage.models.get(each.address, ())),
                derived=tuple(usage.derived.get(each.address, ())),
            )


def _refuse_unknown(team: str | None, teams: Collection[str]) -> None:
    if team is not None and team not in teams:
        what = f'No team "{team}" owns a definition.'
        fix = did_you_mean(team, teams) or f"Teams: {', '.join(sorted(teams))}."
        raise RequestError(Problem("Unknown team", what, fix=fix))


def _of_team(
    values: ValueComparison | None, doubles: Iterable[SameMeaning], team: str | None
) -> ValueComparison | None:
    """Return the pairs of alike values of a team that do not have one meaning, which the report lists already."""
    if values is None:
        return None
    of = {name: at for at, each in enumerate(doubles) for name in each.features}
    kept = [
        each
        for each in values.pairs
        if team in {None, *each.owners} and of.get(each.features[0], -1) != of.get(each.features[1], -2)
    ]
    return replace(values, pairs=tuple(kept))


def _most_shared(each: SharedFeature) -> tuple[int, int, str]:
    return -len(each.teams), -len(each.sets) - len(each.models) - len(each.derived), each.feature


def _unused(snapshot: Snapshot, usage: FeatureUsage, features: Iterable[FeatureDefinition]) -> Iterator[UnusedFeature]:
    for each in features:
        if each.address in usage.needed:
            continue
        table = snapshot.tables.get(each.table)
        together = sum(one.table == each.table for one in snapshot.catalog.members_of(each.group))
        yield UnusedFeature(
            feature=each.address,
            owner=each.owner,
            bytes=table.bytes // together if table else 0,
            seconds=round(table.seconds / together, 3) if table else 0.0,
        )


def _most_costly(each: UnusedFeature) -> tuple[int, float, str]:
    return -each.bytes, -each.seconds, each.feature


def _stale(inputs: ReportInputs, team: str | None) -> Iterator[StaleGroup]:
    """Yield the groups whose oldest table is stale, the stalest first."""
    catalog, tables = inputs.snapshot.catalog, inputs.snapshot.tables
    found = []
    for name, group in catalog.groups.items():
        stored = [tables[table] for table in catalog.tables_of(name) if table in tables]
        if not stored or team not in {None, group.owner}:
            continue
        computed = min(freshness.computed_at(each, inputs.applied, inputs.readings.get(each.name)) for each in stored)
        if computed < inputs.now - inputs.stale_after:
            at = computed.isoformat(timespec="seconds")
            found.append(StaleGroup(group=name, owner=group.owner, computed_at=at, features=len(group.members)))
    yield from sorted(found, key=lambda each: (each.computed_at, each.group))


def _ownerless(inputs: ReportInputs, team: str | None) -> Iterator[NeglectedDefinition]:
    """Yield the definitions in no team's folder: their owner is the project itself."""
    for each in inputs.snapshot.catalog:
        if each.owner == each.project and each.owner not in inputs.teams:
            yield from _neglected(each, team)


def _undocumented(catalog: Catalog, team: str | None) -> Iterator[NeglectedDefinition]:
    for each in catalog:
        if each.kind in {"feature", "group"} and not each.description.strip():
            yield from _neglected(each, team)


def _neglected(each: Definition, team: str | None) -> Iterator[NeglectedDefinition]:
    if not isinstance(each, PolicyDefinition) and team in {None, each.owner}:
        yield NeglectedDefinition(kind=each.kind, address=address(each), owner=each.owner)
