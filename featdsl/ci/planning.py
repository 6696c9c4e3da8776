"""Plan for a pull request, and say it there: the first half, which runs the pull request's code, holds no token of the second."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from featdsl.ci import JobRun, PullRequest, checks, comment, git, reviews
from featdsl.ci.artifacts import plan_name
from featdsl.errors import FeatdslError, PlanFileError, Problem, ProviderError
from featdsl.plan import planfile
from featdsl.plan.document import Plan
from featdsl.project.settings import Project
from featdsl.render import markdown

PLAN, COMMIT = "plan.json", "commit"
"""The files of the artifact: the plan, and the head of the pull request that it is of."""
_PAGE = 900_000
"""The longest plan on the page of a run in bytes; GitHub takes a MiB of each step."""
_AGAIN = "Plan the newest commit: run the plan job of the pull request again."


@dataclass(frozen=True)
class ArtifactPlan:
    """A plan from an artifact, with the digest in its file and the commit that the artifact names."""

    plan: Plan
    digest: str
    commit: str


def planned_commit(run: JobRun, project: Project) -> str:
    """Return the head that a plan job plans. Raises ProviderError if another commit is checked out."""
    here = git.commit_of(project.root)
    if not run.commit or git.is_of(project.root, run.commit):
        return run.commit or here
    what = f"The commit {here[:12]} is checked out, which is neither {run.commit[:12]} of the event nor a merge of it."
    raise ProviderError(Problem("Other commit checked out", what, fix="Check out the commit of the event."))


def artifact(project: Project, files: Mapping[str, str], environment: str) -> ArtifactPlan:
    """Return the plan in an artifact, which a stranger's code may have written.

    Raises PlanFileError if it is none, or a plan of another project or environment.
    """
    if PLAN not in files or COMMIT not in files:
        what = f"It has {', '.join(sorted(files)) or 'no files'}, not {PLAN} and {COMMIT}."
        raise PlanFileError(Problem("Not the artifact of a plan job", what, fix=_AGAIN))
    plan = planfile.from_json(files[PLAN], name=PLAN)
    if (plan.project, plan.environment) != (project.name, environment):
        what = f"It is a plan of {plan.project} in {plan.environment}, not of {project.name} in {environment}."
        raise PlanFileError(Problem("Plan of another project", what, fix="See [project] name of featproject.toml."))
    return ArtifactPlan(plan, str(json.loads(files[PLAN])["digest"]), files[COMMIT].strip())


def folder_files(folder: Path) -> Mapping[str, str]:
    """Return the files of an artifact in a folder. Raises PlanFileError."""
    try:
        return {name: (folder / name).read_text(encoding="utf-8") for name in (PLAN, COMMIT)}
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        what = f"{folder}: {reason}."
        raise PlanFileError(Problem("Plan cannot be read", what, fix="Make it: featdsl ci plan --out DIR")) from None


def summarize(folder: Path, variables: Mapping[str, str]) -> None:
    """Append the plan in an artifact's folder to the page of the run, if the CI has one and the plan could be made."""
    page, file = variables.get("GITHUB_STEP_SUMMARY"), folder / PLAN
    if page and file.exists():
        plan = planfile.from_json(file.read_text(encoding="utf-8"), name=PLAN)
        with Path(page).open("a", encoding="utf-8") as summary:
            summary.write(markdown(plan, _PAGE))


@contextmanager
def showing() -> Iterator[None]:
    """Raise PlanFileError where a plan that a stranger wrote contradicts itself, so that it cannot be shown."""
    try:
        yield
    except (LookupError, ValueError, TypeError, AttributeError):
        what = "Its changes, steps and definitions contradict each other."
        raise PlanFileError(Problem("Plan cannot be shown", what, fix=_AGAIN)) from None


@dataclass(frozen=True)
class PlanReport:
    """Tells a pull request of its plan: by the comment, and by a check of its head."""

    project: Project
    run: JobRun
    environment: str

    def tell(self, pull: PullRequest, files: Mapping[str, str]) -> str:
        """Write the comment and set the check; return a line about it.

        Raises PlanFileError for an artifact that is none, and for a plan of another commit than the head.
        """
        found = artifact(self.project, files, self.environment)
        if found.commit != pull.head:
            what = f"The plan is of the commit {found.commit[:12]}; the head of #{pull.number} is {pull.head[:12]}."
            raise PlanFileError(Problem("Plan of another commit", what, fix=_AGAIN))
        with showing():
            self._comment(pull, found)
        approved = reviews.agreed(found.plan, pull, self.run.provider, self.project)
        with showing():
            status = checks.check(found.plan, approved, self.run.url)
        self.run.provider.set_status(pull.head, status)
        return f"#{pull.number}: {status.state}: {status.text}"

    def _comment(self, pull: PullRequest, found: ArtifactPlan) -> None:
        """Write the comment, unless it shows this plan already. A plan without changes needs none."""
        provider, name = self.run.provider, self.project.name
        existing = comment.own(provider, pull.number, name, self.environment)
        shown = comment.sealed(existing[0].body) if len(existing) == 1 else None
        if shown == comment.SealedPlan(found.commit, found.digest, is_edited=False):
            return
        if existing or not found.plan.empty:
            said = comment.PlanComment(plan=found.plan, digest=found.digest, commit=found.commit, url=self.run.url)
            comment.put(provider, pull.number, said)

    def tell_all(self) -> Iterator[str]:
        """Tell every open pull request whose head is planned. Raises the errors together, after the last one."""
        problems: list[Problem] = []
        report = replace(self, run=replace(self.run, url=""))  # this run has none of the plans
        for pull in self.run.provider.open_pull_requests():
            files = self.run.provider.planned_files(pull, plan_name(self.project.name))
            try:
                yield report.tell(pull, files) if files is not None else f"#{pull.number}: not planned yet"
            except FeatdslError as error:
                problems += error.problems
        if problems:
            raise ProviderError(problems)

    def planned(self, pull: PullRequest) -> Mapping[str, str]:
        """Return the artifact of a pull request's head. Raises PlanFileError if there is none."""
        files = self.run.provider.planned_files(pull, plan_name(self.project.name))
        if files is None:
            what = f"No run left a plan of {pull.head[:12]}, the head of #{pull.number}."
            raise PlanFileError(Problem("Not planned", what, fix=_AGAIN))
        return files
