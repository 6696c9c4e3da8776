"""Turn a Feast repository into declarations."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from featdsl.importers import feast_on_demand, feast_process, feast_services, feast_sources, feast_views
from featdsl.importers.declarations import ImportedProject
from featdsl.importers.feast_findings import FeastFindings
from featdsl.importers.feast_objects import FeastRepository
from featdsl.importers.feast_sources import CarriedSource
from featdsl.importers.names import valid_name

_ELSEWHERE = {
    "LabelView": "labels are no features: give them as columns of the spine",
    "Permission": "featdsl takes permissions from [teams], CODEOWNERS and the tokens of its server",
}


def imported(folder: Path, root: Path, python: Path | None = None) -> ImportedProject:
    """Return what the Feast repository in a folder declares, for the project in `root`.

    `python` is a Python that has Feast; without it the first one that is found is used. Raises FeastImportError.
    """
    return project_of(feast_process.read(folder, python), root)


def project_of(repository: FeastRepository, root: Path) -> ImportedProject:
    """Return what a repository declares, for the project in `root`."""
    findings = FeastFindings()
    sources, reasons = feast_sources.carried(repository, root, findings)
    views, entities = feast_views.carried(repository, sources, reasons, findings)
    views |= feast_on_demand.carried(repository, views, findings)
    sets = feast_services.carried(repository, views, findings)
    for each in repository.others:
        findings.leave_out(each, _ELSEWHERE.get(each.kind, f"featdsl has no {each.kind}"))
    _unused(repository, sources, findings)
    read = {view.group.source for view in views.values()}
    return ImportedProject(
        name=valid_name(repository.project, prefix="project"),
        origin=f"the Feast repository {repository.project}",
        entities=entities.made,
        sources=tuple(each.source for each in sources.values() if each.source.name in read),
        groups=tuple(view.group for view in views.values()),
        sets=sets,
        left_out=tuple(findings.left_out),
        notes=tuple(findings.notes),
    )


def _unused(repository: FeastRepository, sources: Mapping[str, CarriedSource], findings: FeastFindings) -> None:
    """Add the sources and entities that no feature view has. Those of a view that is left out follow it."""
    read = {view.source for view in repository.views}
    described = {name for view in repository.views for name in view.entities}
    for source in repository.sources:
        if source.name in sources.keys() - read:
            findings.leave_out(source, "no feature view reads it")
    for entity in repository.entities:
        if entity.name not in described:
            findings.leave_out(entity, "no feature view has it")
