"""Read what a CI tells a job by its environment: the provider, the pull request, the commit and the page of the run."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from featdsl.ci import JobRun
from featdsl.ci.files import PlainFiles
from featdsl.ci.github import GitHub
from featdsl.ci.gitlab import GitLab
from featdsl.ci.http import Client
from featdsl.errors import Problem, ProviderError

Variables = Mapping[str, str]

FOLDER = "FEATDSL_CI_FOLDER"
"""The variable that names the folder of the provider of plain files."""


def read(variables: Variables) -> JobRun:
    """Return what the job runs for. Raises ProviderError if this is no job of a known CI, or its event is none."""
    for variable, known in _CIS.items():
        if variables.get(variable):
            return known(variables)
    what = f"None of the variables {', '.join(_CIS)} is set, so there is no pull request to speak of."
    fix = f"Run it in a job of GitHub Actions or GitLab CI, or name a folder of plain files: {FOLDER}=DIR. See docs/ci.md."
    raise ProviderError(Problem("Not a job of a CI", what, fix=fix))


def _files(variables: Variables) -> JobRun:
    folder = Path(variables[FOLDER])
    found = _event(folder / "event.json")
    if not isinstance(found.get("number"), int | None):
        what = f"{folder}/event.json: the number of the pull request is {found['number']!r}, which is no whole number."
        raise ProviderError(Problem("Event cannot be read", what, fix="Write the number of the pull request, or null."))
    return JobRun(PlainFiles(folder), found.get("number"), str(found.get("commit", "")), str(found.get("url", "")))


# GitHub


def _github(variables: Variables) -> JobRun:
    found = _event(Path(_needed(variables, "GITHUB_EVENT_PATH")))
    repository = _needed(variables, "GITHUB_REPOSITORY")
    page = f"{variables.get('GITHUB_SERVER_URL', 'https://github.com')}/{repository}"
    provider = GitHub(
        _github_client(variables, "GITHUB_TOKEN"),
        _github_client(variables, "FEATDSL_TEAMS_TOKEN", "GITHUB_TOKEN"),
        repository,
        variables.get("FEATDSL_CI_ACCOUNT") or "github-actions[bot]",
    )
    number, commit = _github_subject(found, variables.get("GITHUB_SHA", ""))
    run = found.get("workflow_run") or {}
    url = run.get("html_url") or f"{page}/actions/runs/{variables.get('GITHUB_RUN_ID', '')}"
    return JobRun(provider, number, commit, url)


def _github_subject(found: Mapping[str, Any], commit: str) -> tuple[int | None, str]:
    """Return the number of the event's pull request, if it names one, and its commit.

    A run that followed another one names the commit only: the pull requests of forks are not in such an event.
    """
    try:
        if "pull_request" in found:
            return found["pull_request"]["number"], found["pull_request"]["head"]["sha"]
        if "workflow_run" in found:
            return None, found["workflow_run"]["head_sha"]
        return None, found.get("after") or commit
    except (KeyError, TypeError):
        what = "The event names a pull request or a run, but not its commit."
        fix = "Run the job on pull requests, their reviews, runs that follow, or pushes: see docs/ci.md."
        raise ProviderError(Problem("Not an event of GitHub", what, fix=fix)) from None


def _github_client(variables: Variables, *tokens: str) -> Client:
    token = next((variables[name] for name in tokens if variables.get(name)), "")
    headers = {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"}
    headers |= {"Authorization": f"Bearer {token}"} if token else {}
    return Client("GitHub", _address(variables.get("GITHUB_API_URL") or "https://api.github.com"), headers)


# GitLab


def _gitlab(variables: Variables) -> JobRun:
    token = variables.get("FEATDSL_GITLAB_TOKEN")
    headers = {"PRIVATE-TOKEN": token} if token else {}  # the token of a job may not read merge requests
    client = Client("GitLab", _address(_needed(variables, "CI_API_V4_URL")), headers)
    # A merge request of a fork belongs to the project that it was opened in.
    project = variables.get("CI_MERGE_REQUEST_PROJECT_ID") or _needed(variables, "CI_PROJECT_ID")
    number = variables.get("CI_MERGE_REQUEST_IID", "")
    if number and not number.isdigit():
        what = f"CI_MERGE_REQUEST_IID is {number}, which is no number."
        raise ProviderError(Problem("Not a merge request", what, fix="Leave the variable to GitLab, which sets it."))
    commit = variables.get("CI_MERGE_REQUEST_SOURCE_BRANCH_SHA") or variables.get("CI_COMMIT_SHA", "")
    url = variables.get("CI_PIPELINE_URL") or variables.get("CI_JOB_URL", "")
    return JobRun(GitLab(client, project), int(number) if number else None, commit, url)


_CIS: Mapping[str, Callable[[Variables], JobRun]] = {FOLDER: _files, "GITHUB_ACTIONS": _github, "GITLAB_CI": _gitlab}
"""The variable by which each CI is known."""


def _needed(variables: Variables, name: str) -> str:
    if not variables.get(name):
        what = f"The environment variable {name} is not set; the CI sets it in every job."
        raise ProviderError(Problem("Variable of the CI is missing", what, fix=f"Pass {name} on to the job."))
    return variables[name]


def _address(url: str) -> str:
    if not url.startswith(("https://", "http://")):
        what = f"{url} does not begin with https://."
        raise ProviderError(
            Problem("Not an address of an API", what, fix="Leave the variable to the CI, which sets it.")
        )
    return url.rstrip("/")


_EVENT = "The CI writes this file: pass it on to the job as it is. docs/ci.md has the form of event.json."


def _event(path: Path) -> dict[str, Any]:
    """Return the event in a file. Raises ProviderError if it is not a JSON object."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not JSON"
        raise ProviderError(Problem("Event cannot be read", f"{path}: {reason}.", fix=_EVENT)) from None
    if not isinstance(found, dict):
        raise ProviderError(Problem("Event cannot be read", f"{path}: it is not a JSON object.", fix=_EVENT))
    return found
