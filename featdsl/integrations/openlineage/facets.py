"""The facets of OpenLineage that featdsl sends, each with the version of its schema."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from featdsl import __version__
from featdsl.definitions.sources import Column
from featdsl.integrations.openlineage.datasets import Dataset
from featdsl.integrations.openlineage.parents import RunReference

Facet = dict[str, Any]

PRODUCER = f"urn:featdsl:{__version__}"
EVENT_SCHEMA = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent"
_SCHEMAS = {
    "ColumnLineageDatasetFacet": "1-2-0",
    "DataQualityAssertionsDatasetFacet": "1-1-0",
    "DatasetVersionDatasetFacet": "1-0-1",
    "DocumentationJobFacet": "1-1-0",
    "ErrorMessageRunFacet": "1-0-1",
    "JobTypeJobFacet": "2-0-4",
    "OutputStatisticsOutputDatasetFacet": "1-0-2",
    "OwnershipJobFacet": "1-0-1",
    "ParentRunFacet": "1-2-0",
    "ProcessingEngineRunFacet": "1-1-1",
    "SchemaDatasetFacet": "1-2-0",
    "SourceCodeLocationJobFacet": "1-1-0",
}


def _facet(name: str, /, **fields: Any) -> Facet:
    url = f"https://openlineage.io/spec/facets/{_SCHEMAS[name]}/{name}.json#/$defs/{name}"
    return {"_producer": PRODUCER, "_schemaURL": url, **fields}


def schema(columns: Iterable[Column]) -> Facet:
    """Return the columns of a dataset, with their types in DuckDB."""
    fields = [
        {"name": each.name, "type": each.dtype, "ordinal_position": place}
        for place, each in enumerate(columns, start=1)
    ]
    return _facet("SchemaDatasetFacet", fields=fields)


def column_lineage(fields: Facet) -> Facet:
    """Return from which columns of other datasets each column comes."""
    return _facet("ColumnLineageDatasetFacet", fields=fields)


def assertions(listed: Iterable[Facet]) -> Facet:
    """Return the results of rules that were checked."""
    return _facet("DataQualityAssertionsDatasetFacet", assertions=list(listed))


def version(serial: int) -> Facet:
    """Return the state of the store that a run has published."""
    return _facet("DatasetVersionDatasetFacet", datasetVersion=str(serial))


def statistics(rows: int, size: int | None) -> Facet:
    """Return how many rows and bytes a run has written; the bytes of small tables are not known one by one."""
    known = {"size": size} if size is not None else {}
    return _facet("OutputStatisticsOutputDatasetFacet", rowCount=rows, **known)


def documentation(description: str) -> Facet:
    """Return the description of a job."""
    return _facet("DocumentationJobFacet", description=description)


def job_type(kind: str) -> Facet:
    """Return the kind of a job: a command, a table or checks."""
    return _facet("JobTypeJobFacet", processingType="BATCH", integration="FEATDSL", jobType=kind)


def owner(team: str) -> Facet:
    """Return the team that owns a job."""
    return _facet("OwnershipJobFacet", owners=[{"name": team, "type": "TEAM"}])


def code_location(url: str, repository: str, path: str, commit: str) -> Facet:
    """Return where the code of a job is."""
    known = {"url": url, "repoUrl": repository, "path": path, "version": commit}
    return _facet("SourceCodeLocationJobFacet", type="git", **known)


def parent(each: RunReference, root: RunReference) -> Facet:
    """Return the run that another run is a part of, and the run that all of it is a part of."""
    return _facet("ParentRunFacet", **_reference(each), root=_reference(root))


def _reference(each: RunReference) -> Facet:
    return {"run": {"runId": each.run_id}, "job": {"namespace": each.namespace, "name": each.job}}


def engine() -> Facet:
    """Return that featdsl has computed the run, and its version."""
    return _facet("ProcessingEngineRunFacet", name="featdsl", version=__version__)


def error(message: str) -> Facet:
    """Return why a run has failed."""
    return _facet("ErrorMessageRunFacet", message=message, programmingLanguage="SQL")


def dataset(each: Dataset, **facets: Facet) -> dict[str, Any]:
    """Return a dataset with its facets, as an event lists it."""
    return {"namespace": each.namespace, "name": each.name, "facets": facets}
