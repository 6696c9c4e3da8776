"""The jobs of OpenLineage: one for a command, one for each table that it builds, one for the rules that it checks of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from featdsl.apply.events import RuleChecked
from featdsl.definitions.kinds import FeatureDefinition, GroupDefinition
from featdsl.definitions.sources import Column
from featdsl.integrations.openlineage import facets
from featdsl.integrations.openlineage.column_origins import inputs, origins
from featdsl.integrations.openlineage.datasets import Dataset, of_table, of_view

if TYPE_CHECKING:
    from featdsl.integrations.openlineage.code_location import Repository
    from featdsl.integrations.openlineage.definitions import KnownDefinitions

_HASH = re.compile(r"_[0-9a-f]{8}$")


@dataclass(frozen=True)
class Job:
    """A job: its name in the namespace of the project's jobs, and its facets."""

    namespace: str
    name: str
    facets: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the job as an event has it."""
        return {"namespace": self.namespace, "name": self.name, "facets": self.facets}

    def part(self, name: str, **own: Any) -> Job:
        """Return a job that is a part of this one."""
        return Job(self.namespace, f"{self.name}.{name}", own)


@dataclass(frozen=True)
class WrittenRows:
    """What a run has written to a table; None before the run has published."""

    serial: int
    rows: int
    size: int | None


class TableJobs:
    """The jobs and the datasets of the tables of one run."""

    def __init__(self, command: Job, known: KnownDefinitions, repository: Repository | None) -> None:
        self._command, self._known, self._repository = command, known, repository

    def job(self, table: str) -> Job:
        """Return the job of a table. Its name stays the same when a change of the group makes a new table."""
        features = self._known.of_table.get(table, [])
        if not features:
            return self._command.part(table, jobType=facets.job_type("TABLE"))
        group = self._known.groups[features[0].group]
        is_current = any(each.table == table for each in self._known.members[group.name])
        return self._command.part(_HASH.sub("", table) if is_current else table, **self._facets(group))

    def checks(self, table: str) -> Job:
        """Return the job that checks the rules of a table."""
        job = self.job(table)
        return Job(job.namespace, f"{job.name}.checks", {**job.facets, "jobType": facets.job_type("CHECKS")})

    def _facets(self, group: GroupDefinition) -> dict[str, Any]:
        found = {"jobType": facets.job_type("TABLE"), "ownership": facets.owner(group.owner)}
        if group.description:
            found["documentation"] = facets.documentation(group.description)
        if self._repository and group.project == self._known.project.name:
            place = self._repository
            location = place.url(group.origin), place.address, place.path(group.origin), place.commit
            found["sourceCodeLocation"] = facets.code_location(*location)
        return found

    def inputs(self, table: str) -> list[dict[str, Any]]:
        """Return the datasets that a table is computed from."""
        features = self._known.of_table.get(table, [])
        if not features:
            return []
        group = self._known.groups[features[0].group]
        return [facets.dataset(each) for each in inputs(self._known, group, features)]

    def outputs(self, table: str, written: WrittenRows | None = None) -> list[dict[str, Any]]:
        """Return a table, and the view of its group if the group's current features are in the table."""
        features = self._known.of_table.get(table, [])
        stored = {each.column: each for each in features if each.window is None}
        any_feature = features[0] if features else None
        columns = self._known.columns.get(table, ())
        found = [self._output(of_table(table, self._known.project), columns, stored or _first(any_feature), written)]
        if written is not None:
            statistics = facets.statistics(written.rows, written.size)
            found[0]["outputFacets"] = {"outputStatistics": statistics}
        members = self._known.members.get(any_feature.group, []) if any_feature else []
        if any_feature and any(each.table == table for each in members):
            shown = {each.name: each for each in members if not each.is_rowless}
            view = of_view(self._known.environment, any_feature.group, self._known.project)
            found.append(self._output(view, _view_columns(list(shown.values())), shown, written))
        return found

    def checked(self, table: str, results: Sequence[RuleChecked]) -> list[dict[str, Any]]:
        """Return a table as the input of its checks, with their results."""
        listed = facets.dataset(of_table(table, self._known.project))
        return [{**listed, "inputFacets": {"dataQualityAssertions": facets.assertions(map(_assertion, results))}}]

    def tables_of(self, address: str) -> list[str]:
        """Return the tables that a rule of a group or of a feature is about, sorted."""
        group, _, name = address.partition(".")
        members = [each for each in self._known.members.get(group, []) if not name or each.name == name]
        return sorted({each.table for each in members if each.table})

    def _output(
        self,
        place: Dataset,
        columns: Sequence[Column],
        features: dict[str, FeatureDefinition],
        written: WrittenRows | None,
    ) -> dict[str, Any]:
        group = next((self._known.groups[each.group] for each in features.values()), None)
        fields = origins(self._known, group, features) if group else {}
        names = {each.name for each in columns}
        lineage = {name: {"inputFields": found} for name, found in fields.items() if name in names}
        own = {"schema": facets.schema(columns)} if columns else {}
        own |= {"columnLineage": facets.column_lineage(lineage)} if lineage else {}
        if written is None:
            return facets.dataset(place, **own)
        return facets.dataset(place, **own, version=facets.version(written.serial))


def _first(feature: FeatureDefinition | None) -> dict[str, FeatureDefinition]:
    """Return a windowed feature under a name that is no column: its table has the same keys and times."""
    return {"": feature} if feature else {}


def _view_columns(features: Sequence[FeatureDefinition]) -> list[Column]:
    first = features[0]
    return [*first.keys, *first.bounds, *(Column(name=each.name, dtype=each.dtype) for each in features)]


def _assertion(result: RuleChecked) -> dict[str, Any]:
    column = result.address.partition(".")[2]
    told = {
        "assertion": result.kind,
        "success": not result.broken,
        "severity": result.severity,
        "description": result.rule,
        "actual": str(result.broken),
        "expected": "0",
    }
    return {**told, **({"column": column} if column else {}), **({"name": result.name} if result.name else {})}
