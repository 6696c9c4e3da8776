"""Take a plan's approvals from reviews: an approving account speaks for the teams that it owns."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path

from featdsl.ci import JobRun, Provider, PullRequest, owners
from featdsl.errors import Problem, ProviderError
from featdsl.plan import approvals
from featdsl.plan.document import Plan
from featdsl.project.settings import Project

_COMMAND = ["featdsl", "ci", "approvals"]


def agreed(plan: Plan, pull: PullRequest, provider: Provider, project: Project) -> tuple[str, ...]:
    """Return the teams that approve a plan: by reviews, or by the project's own `approvals_command`.

    Raises PolicyError if the command fails.
    """
    command = project.settings.policy.approvals_command
    if command and shlex.split(command) != _COMMAND:
        return approvals.teams(plan, project, ())
    return approving(plan.unapproved, pull, provider, project.root)


def approving(teams: Iterable[str], pull: PullRequest, provider: Provider, root: Path) -> tuple[str, ...]:
    """Return the teams that approve a pull request.

    An approval counts for the newest commit only, and an author does not approve the own pull request. An owner that is an
    e-mail address counts for nobody: providers do not show the addresses of reviewers.
    """
    asked = sorted(set(teams))
    accounts = {
        each.account.casefold()
        for each in (provider.reviews(pull) if asked else ())
        if each.verdict == "approved" and each.commit == pull.head and each.account.casefold() != pull.author.casefold()
    }
    if not accounts:
        return ()
    known = owners.at(root, pull.base)
    return tuple(team for team in asked if _speaks(accounts, known.of(team), provider))


def _speaks(accounts: set[str], named: Iterable[str], provider: Provider) -> bool:
    accounted = [owner for owner in named if owner.startswith("@")]
    if any(owner.removeprefix("@").casefold() in accounts for owner in accounted):
        return True
    return any(accounts & provider.members(owner) for owner in accounted)


def subject(run: JobRun) -> PullRequest:
    """Return the pull request that a job runs for: the event's, the one merged as its commit, or the open one with this head.

    Raises ProviderError if there is none, or several.
    """
    if run.number is not None:
        return run.provider.pull_request(run.number)
    merged = run.provider.merged_as(run.commit)
    if merged is not None:
        return merged
    found = heads(run)
    if len(found) == 1:
        return found[0]
    what = f"{'No' if not found else 'More than one'} pull request has the commit {run.commit[:12]}."
    raise ProviderError(
        Problem("Pull request is unknown", what, fix="Run it in a job of a pull request, or of its merge.")
    )


def open_heads(run: JobRun) -> Sequence[PullRequest]:
    """Return the open pull requests that a comment job runs for.

    Raises ProviderError if there are none: the head has moved on, or somebody closed the pull request meanwhile.
    """
    if run.number is not None:
        found = [each for each in [run.provider.pull_request(run.number)] if each.state == "open"]
    else:
        found = heads(run)
    if not found:
        what = f"No open pull request has the head {run.commit[:12]}. It has a newer commit, or is closed."
        raise ProviderError(Problem("Plan of another commit", what, fix="The run of the newest commit comments on it."))
    return found


def asked(text: str) -> tuple[str, ...]:
    """Return the teams in the request that an apply writes to its approvals command. Raises ProviderError."""
    try:
        return tuple(str(each["team"]) for each in json.loads(text)["approvals"])
    except (ValueError, LookupError, TypeError, RecursionError):
        what = 'Standard input is not a request for approvals: {"approvals": [{"team": "lending"}]}.'
        fix = 'Let apply run it: [policy] approvals_command = "featdsl ci approvals"'
        raise ProviderError(Problem("Not a request for approvals", what, fix=fix)) from None


def heads(run: JobRun) -> list[PullRequest]:
    """Return the open pull requests whose head is the commit of a run."""
    return [each for each in run.provider.open_pull_requests() if each.head == run.commit]
