"""The environment of each pull request: `pr_7_shop` is that of #7 in the project shop, as projects may share a store."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from featdsl.ci import JobRun
from featdsl.errors import PolicyError, Problem, ProviderError

_MISSING = 404


def name_of(run: JobRun, project: str) -> str:
    """Return the name of the environment of a run's pull request. Raises ProviderError if the event is of none."""
    if run.number is None:
        what = "The event of this job is of no pull request, so there is no environment of one."
        raise ProviderError(Problem("Pull request is unknown", what, fix="Run it on events of pull requests."))
    return f"pr_{run.number}_{project}"


def environment(run: JobRun, project: str) -> str:
    """Return the environment that a pull request is applied to. Raises PolicyError for one of a fork."""
    name = name_of(run, project)
    if run.provider.pull_request(int(run.number or 0)).is_fork:
        what = f"#{run.number} comes from a fork; to apply it would run its code with the credentials of the job."
        raise PolicyError(Problem("Pull request of a fork", what, fix="Push the branch into this repository instead."))
    return name


def closed(names: Iterable[str], run: JobRun, project: str) -> Iterator[str]:
    """Yield the environments of a project's pull requests that are merged, closed or gone."""
    for name in names:
        found = re.fullmatch(rf"pr_(\d+)_{re.escape(project)}", name)
        if found and not _is_open(run, int(found[1])):
            yield name


def _is_open(run: JobRun, number: int) -> bool:
    try:
        return run.provider.pull_request(number).state == "open"
    except ProviderError as error:
        if error.status != _MISSING:
            raise
        return False
