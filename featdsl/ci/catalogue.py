"""Find the export of the registry that the job on the default branch left."""

from __future__ import annotations

from featdsl.ci import JobRun
from featdsl.ci.artifacts import registry_name
from featdsl.errors import PlanFileError, Problem
from featdsl.project.settings import Project

REGISTRY = "registry.json"


def newest_registry(project: Project, run: JobRun) -> str:
    """Return the text of the newest export. Raises PlanFileError if there is none."""
    name = registry_name(project.name)
    found = run.provider.newest_files(name)
    if found is None or REGISTRY not in found:
        what = f"No run of the default branch left the artifact {name} with the file {REGISTRY}."
        fix = "Run the apply job on the default branch once; it keeps artifacts for a limited time."
        raise PlanFileError(Problem("Registry export is missing", what, fix=fix))
    return found[REGISTRY]
