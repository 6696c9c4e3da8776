"""Make the catalogue of an environment: an entry for each definition, from the registry alone, without a look at the data."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from featdsl.definitions.history import CheckResult, HistoryEntry, Touched
from featdsl.definitions.kinds import (
    Definition,
    FeatureDefinition,
    GroupDefinition,
    Member,
    ModelDefinition,
    SetDefinition,
    address,
)
from featdsl.definitions.snapshot import Drift, Snapshot
from featdsl.definitions.sources import SourceDefinition
from featdsl.definitions.statistics import TableStatistics
from featdsl.definitions.stored_tables import Reading
from featdsl.discovery import freshness, lineage
from featdsl.discovery.catalogue_entries import (
    CatalogueDocument,
    EntityEntry,
    FeatureEntry,
    GroupEntry,
    HistoryItem,
    HistoryReason,
    LineageGraph,
    ModelEntry,
    RuleEntry,
    SetEntry,
    SourceEntry,
    StatisticsRun,
    TableFreshness,
    TeamEntry,
    Use,
)
from featdsl.discovery.describe import definition_fields, is_private
from featdsl.discovery.duplicates import of_one_meaning
from featdsl.discovery.history import Past
from featdsl.discovery.measured_runs import measured_runs, tables_of_groups
from featdsl.discovery.outdated import Outdated
from featdsl.discovery.similar import similar
from featdsl.discovery.usage import Importing, usage
from featdsl.plan import held_versions, rule_checks
from featdsl.plan.document import Kept

_SHOWN_RUNS = 30
"""The maximum number of runs whose statistics an entry has."""
_SHOWN_CHANGES = 200
"""The maximum number of changes in the history of the whole catalogue."""
_EXPLAINED = 200
"""The number of applies whose plans are read for the reasons of their changes."""


@dataclass(frozen=True, kw_only=True)
class CatalogueInputs:
    """What the catalogue is made from: the state of the registry and its records, and facts of the project.

    `past` and `checks` are newest first; `statistics` has the runs of each table, newest first. `contacts` says how to reach
    each team. Values that were computed before `now - stale_after` are stale.
    """

    snapshot: Snapshot
    past: Past
    importing: Importing
    now: datetime
    drift: Drift = field(default_factory=Drift)
    checks: Sequence[CheckResult] = ()
    statistics: Mapping[str, Sequence[TableStatistics]] = field(default_factory=dict)
    readings: Mapping[str, Reading] = field(default_factory=dict)
    outdated: Sequence[Outdated] = ()
    contacts: Mapping[str, str] = field(default_factory=dict)
    stale_after: timedelta = timedelta(days=30)


def catalogue(inputs: CatalogueInputs) -> CatalogueDocument:
    """Return the catalogue of an environment. It reads no table: figures are those that the registry keeps."""
    return _Entries(inputs).document()


class _Entries:
    """Makes the entries of one catalogue, over indexes of the registry that each entry reads."""

    def __init__(self, inputs: CatalogueInputs) -> None:
        self._inputs, self._snapshot = inputs, inputs.snapshot
        self._catalog = inputs.snapshot.catalog
        self._changes = _changes(inputs.past)
        self._similar = similar(self._catalog)
        self._applied = {entry.serial: entry.applied_at for entry in inputs.past.entries}

    def document(self) -> CatalogueDocument:
        """Return the whole catalogue."""
        catalog, head = self._catalog, self._snapshot.head
        return CatalogueDocument(
            project=self._inputs.importing.project,
            environment=self._snapshot.environment,
            serial=head.serial,
            state_at=self._applied.get(head.serial),
            features=tuple(self._feature(each) for _, each in sorted(catalog.features.items())),
            groups=tuple(self._group(each) for _, each in sorted(catalog.groups.items())),
            sets=tuple(self._set(each) for _, each in sorted(catalog.sets.items())),
            models=tuple(self._model(each) for _, each in sorted(catalog.models.items())),
            sources=tuple(self._source(each) for _, each in sorted(catalog.sources.items())),
            entities=tuple(self._entity(name) for name in sorted(catalog.entities)),
            teams=tuple(self._team(name) for name in sorted(self._owners)),
            history=tuple(_items(self._inputs.past.entries))[:_SHOWN_CHANGES],
            lineage=self._lineage(),
        )

    def _common(self, definition: Definition) -> dict[str, Any]:
        """Return the fields that all entries have."""
        changes = self._changes.get((definition.kind, address(definition)), ())
        created = [each.at for each in changes if each.action == "create"]
        return {
            "kind": definition.kind,
            "address": address(definition),
            "name": definition.name,
            "owner": definition.owner,
            "project": definition.project,
            "description": definition.description,
            "declared_at": str(definition.origin),
            "tags": tuple(getattr(definition, "tags", ())),
            "deprecated": self._catalog.deprecation_of(definition),
            "changes": tuple(changes),
            "first_applied": created[-1] if created else None,
        }

    # Features and groups

    def _feature(self, feature: FeatureDefinition) -> FeatureEntry:
        catalog, table = self._catalog, self._snapshot.tables.get(feature.table)
        group = catalog.groups[feature.group]
        shared = sum(each.table == feature.table for each in catalog.members_of(feature.group)) or 1
        return FeatureEntry(
            **self._common(feature),
            group=feature.group,
            entity=feature.entity,
            keys={key.name: key.dtype for key in feature.keys},
            dtype=feature.dtype,
            unit=feature.unit,
            source=group.source,
            private=is_private(catalog, feature),
            adhoc=feature.adhoc,
            freshness=self._freshness(feature.table),
            rows=table.rows if table else None,
            bytes=table.bytes // shared if table else None,
            definition=definition_fields(self._snapshot, feature),
            statistics=tuple(self._statistics(feature)),
            rules=tuple(each for each in self._rules[feature.group] if each.address == feature.address),
            used_in=tuple(self._uses.get(feature.address, ())),
            derived=tuple(sorted(self._derived.get(feature.address, ()))),
            inputs=tuple(dict.fromkeys(name for name, _ in feature.upstream)),
            kept=tuple(self._kept.get(feature.address, ())),
            same=self._same.get(feature.address, ()),
            similar=self._similar.get(feature.address, ()),
            usage=usage(self._snapshot, feature, self._inputs.importing),
        )

    def _group(self, group: GroupDefinition) -> GroupEntry:
        catalog = self._catalog
        names = list(catalog.tables_of(group.name))
        stored = [self._snapshot.tables[name] for name in names if name in self._snapshot.tables]
        return GroupEntry(
            **self._common(group),
            entity=group.entity,
            source=group.source,
            private=is_private(catalog, group),
            adhoc=group.adhoc,
            freshness=self._freshness(names[0] if names else ""),
            rows=sum(each.rows for each in stored) if stored else None,
            bytes=sum(each.bytes for each in stored) if stored else None,
            view=f"{self._snapshot.environment}.{group.name}" if group.name in self._snapshot.views else None,
            features=tuple(member.feature for member in group.members),
            rules=tuple(self._rules[group.name]),
            definition=definition_fields(self._snapshot, group),
        )

    def _freshness(self, table: str) -> TableFreshness:
        if not table:
            return TableFreshness(status="computed when read")
        stored = self._snapshot.tables.get(table)
        if stored is None or table in self._inputs.drift.tables:
            return TableFreshness(status="lost")
        computed = freshness.computed_at(stored, self._applied, self._inputs.readings.get(table))
        runs = self._inputs.statistics.get(table, ())
        is_stale = computed < self._inputs.now - self._inputs.stale_after
        return TableFreshness(
            status="stale" if is_stale else "fresh",
            computed_at=computed.isoformat(timespec="seconds"),
            newest=runs[0].newest if runs else None,
        )

    def _statistics(self, feature: FeatureDefinition) -> Iterable[StatisticsRun]:
        """Yield the statistics of a feature in the last runs."""
        tables = self._tables_of_groups.get(feature.group, ())
        for each in measured_runs(feature, tables, self._inputs.statistics)[:_SHOWN_RUNS]:
            run = each.run
            yield StatisticsRun(
                serial=run.serial, computed_at=run.computed_at, during=run.during, rows=run.rows, column=each.column
            )

    @cached_property
    def _tables_of_groups(self) -> Mapping[str, set[str]]:
        """The stored tables of each group, older ones included."""
        return tables_of_groups(self._snapshot.versions.values())

    @cached_property
    def _rules(self) -> Mapping[str, list[RuleEntry]]:
        """The rules of each group and of its features, with their last results."""
        last: dict[tuple[str, str, str], CheckResult] = {}
        for each in self._inputs.checks:
            last.setdefault((each.address, each.name, each.rule), each)
        return {
            group: [
                RuleEntry(address=name, rule=str(rule), last=last.get((name, rule.name, rule.text)))
                for name, rule in rule_checks.declared(self._catalog, group)
            ]
            for group in self._catalog.groups
        }

    @cached_property
    def _same(self) -> Mapping[str, tuple[str, ...]]:
        """The public features of other groups that compute the same values as each feature."""
        features, same = self._catalog.features, {}
        for found in of_one_meaning(self._catalog):
            public = [name for name in found.features if not is_private(self._catalog, features[name])]
            for name in found.features:
                same[name] = tuple(other for other in public if features[other].group != features[name].group)
        return same

    @cached_property
    def _uses(self) -> Mapping[str, list[Use]]:
        """The uses of each feature in set versions."""
        uses: dict[str, list[Use]] = defaultdict(list)
        for name, each in sorted(self._catalog.sets.items()):
            for member in each.members:
                uses[member.feature].append(
                    Use(
                        feature_set=name,
                        column=member.column,
                        owner=each.owner,
                        models=tuple(self._models_of[name]),
                        is_current=self._is_current(member),
                    )
                )
        return uses

    def _is_current(self, member: Member) -> bool:
        current = self._catalog.features.get(member.feature)
        return current is not None and current.fingerprint == member.fingerprint

    @cached_property
    def _models_of(self) -> Mapping[str, list[str]]:
        """The models that train on each set version."""
        models: dict[str, list[str]] = defaultdict(list)
        for name, model in sorted(self._catalog.models.items()):
            models[model.features].append(name)
        return models

    @cached_property
    def _derived(self) -> Mapping[str, set[str]]:
        """The features that are derived directly from each feature."""
        derived: dict[str, set[str]] = defaultdict(set)
        for feature in self._catalog.features.values():
            for name, _ in feature.upstream:
                derived[name].add(feature.address)
        return derived

    @cached_property
    def _kept(self) -> Mapping[str, list[Kept]]:
        """The old versions of each feature that consumers pin."""
        holders: list[GroupDefinition | SetDefinition] = [*self._catalog.groups.values(), *self._catalog.sets.values()]
        kept: dict[str, list[Kept]] = defaultdict(list)
        for each in held_versions.kept(holders, self._snapshot.versions, self._snapshot.tables):
            kept[each.feature].append(each)
        return kept

    # Sets, models, sources, entities, teams

    def _set(self, each: SetDefinition) -> SetEntry:
        versions = [name for name, other in sorted(self._catalog.sets.items()) if other.name == each.name]
        return SetEntry(
            **self._common(each),
            version=each.version,
            view=f"{self._snapshot.environment}.{each.view}" if each.view in self._snapshot.views else None,
            definition=definition_fields(self._snapshot, each),
            models=tuple(self._models_of[each.address]),
            versions=tuple(versions),
            usage=usage(self._snapshot, each, self._inputs.importing),
        )

    def _model(self, model: ModelDefinition) -> ModelEntry:
        reads = self._catalog.sets.get(model.features)
        moved = [each for found in self._inputs.outdated if found.name == model.name for each in found.moved]
        return ModelEntry(
            **self._common(model),
            feature_set=model.features,
            features=tuple(member.feature for member in reads.members) if reads else (),
            outdated=tuple(f"{each.feature}: {each.code}" for each in moved),
        )

    def _source(self, source: SourceDefinition) -> SourceEntry:
        groups = [name for name, group in sorted(self._catalog.groups.items()) if group.source == source.name]
        return SourceEntry(
            **self._common(source),
            definition=definition_fields(self._snapshot, source),
            groups=tuple(groups),
            readers={
                column: tuple(sorted(names))
                for column, names in sorted(self._column_readers.get(source.name, {}).items())
            },
        )

    @cached_property
    def _column_readers(self) -> Mapping[str, Mapping[str, set[str]]]:
        """The features that read each column of each source, directly or through others."""
        readers: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
        for feature in self._catalog.features.values():
            for root in feature.roots:
                source, _, column = root.partition(".")
                readers[source][column].add(feature.address)
        return readers

    def _entity(self, name: str) -> EntityEntry:
        catalog, entity = self._catalog, self._catalog.entities[name]
        return EntityEntry(
            **self._common(entity),
            keys={key.name: key.dtype for key in entity.keys},
            groups=tuple(each for each, group in sorted(catalog.groups.items()) if group.entity == name),
            features=tuple(each for each, feature in sorted(catalog.features.items()) if feature.entity == name),
        )

    @cached_property
    def _owners(self) -> Mapping[str, Mapping[str, list[str]]]:
        """The addresses that each team owns, by kind."""
        owners: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
        for (kind, name), definition in sorted(self._catalog.by_key.items()):
            if kind != "policy":
                owners[definition.owner][kind].append(name)
        return owners

    def _team(self, name: str) -> TeamEntry:
        owned = self._owners[name]
        sets = [self._catalog.sets[each] for each in owned["set"]]
        members = {member.feature for each in sets for member in each.members}
        own = set(owned["feature"])
        return TeamEntry(
            name=name,
            contact=self._inputs.contacts.get(name, ""),
            groups=tuple(owned["group"]),
            features=tuple(owned["feature"]),
            sets=tuple(owned["set"]),
            models=tuple(owned["model"]),
            sources=tuple(owned["source"]),
            uses=tuple(sorted(members - own)),
        )

    def _lineage(self) -> LineageGraph:
        whole = lineage.everything(self._snapshot)
        return LineageGraph(nodes=whole.nodes, edges=whole.edges)


def _items(entries: Iterable[HistoryEntry]) -> Iterable[HistoryItem]:
    """Yield every change of every apply, newest first, under the name that the definition had then."""
    for entry in entries:
        for each in entry.changes:
            yield _item(entry, each, ())


def _item(entry: HistoryEntry, change: Touched, reasons: Iterable[Mapping[str, str]]) -> HistoryItem:
    return HistoryItem(
        serial=entry.serial,
        at=entry.applied_at,
        by=entry.user,
        commit=entry.commit,
        action=change.action,
        change_class=change.change_class,
        address=change.address,
        reasons=tuple(HistoryReason(code=each["code"], before=each["before"], after=each["after"]) for each in reasons),
    )


def _changes(past: Past) -> Mapping[tuple[str, str], list[HistoryItem]]:
    """Return the changes of each definition, newest first, by kind and present address, across renames."""
    changes: dict[tuple[str, str], list[HistoryItem]] = defaultdict(list)
    for number, (entry, present) in enumerate(past.named()):
        reasons = past.reasons(entry) if number < _EXPLAINED else {}
        for each in entry.changes:
            of_then = reasons.get((each.kind, each.address), ()) if each.action != "create" else ()
            changes[each.kind, present(each.kind, each.address)].append(_item(entry, each, of_then))
    return changes
