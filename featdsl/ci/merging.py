"""Apply after a merge: exactly the plan that was reviewed, or nothing."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from featdsl import pipeline
from featdsl.ci import JobRun, PullRequest, comment, git, planning, reviews
from featdsl.ci.compared import difference, says_the_same
from featdsl.definitions.escaping import in_markdown
from featdsl.definitions.snapshot import PROD
from featdsl.errors import FeatdslError, PolicyError, Problem, ProviderError, StalePlanError
from featdsl.pipeline import Planned
from featdsl.plan.document import Plan
from featdsl.project.settings import Project
from featdsl.stores import Store

CarryOut = Callable[[Planned, Sequence[str]], None]
"""Applies a plan with the teams that approve it."""
_LONGEST = 1000
"""The most characters of a problem in a comment."""
_ATTEMPTS = 3
"""How often to plan: other jobs may apply to the store between the plan and its apply."""


@dataclass(frozen=True)
class MergeJob:
    """The job that follows a merge."""

    project: Project
    store: Store
    run: JobRun

    def apply(self, carry_out: CarryOut) -> str:
        """Apply the reviewed plan and tell its pull request; return a line about it.

        The merged code is planned anew. If that plan says what the reviewed one says, it is applied, whatever the store's state
        is by now. Raises PolicyError if nobody reviewed it, StalePlanError with the difference if it says anything else, and the
        errors of an apply.
        """
        self._refuse_other_commit()
        planned = pipeline.make_plan(self.project, self.store)
        pull = self.run.provider.merged_as(self.run.commit)
        if planned.plan.empty:
            return "The merged code changes nothing: nothing to apply."
        if pull is None:
            raise _unreviewed(f"No merge of a pull request made the commit {self.run.commit[:12]}.")
        reviewed = self._reviewed(pull)
        try:
            applied = self._carry_out(planned, pull, reviewed, carry_out)
        except FeatdslError as error:
            self._tell_failure(pull, reviewed, error)
            raise
        serial = self.store.read().head.serial
        self._tell(pull, reviewed, f"**Applied** as state {serial}, from the commit {self.run.commit[:12]}.")
        return f"Applied the reviewed plan of #{pull.number}{'' if applied.base == reviewed.plan.base else ', planned again'}."

    def _tell_failure(self, pull: PullRequest, reviewed: planning.ArtifactPlan, error: FeatdslError) -> None:
        """Say in the comment why nothing was applied. If that fails too, raise both problems, with the exit code of the first."""
        try:
            self._tell(pull, reviewed, _not_applied(error))
        except FeatdslError as other:
            raise type(error)([*error.problems, *other.problems]) from None

    def _refuse_other_commit(self) -> None:
        here = git.commit_of(self.project.root)
        if here != self.run.commit:
            what = f"The commit {here[:12]} is checked out, not {self.run.commit[:12]} of the event."
            raise ProviderError(Problem("Other commit checked out", what, fix="Check out the commit of the event."))

    def _reviewed(self, pull: PullRequest) -> planning.ArtifactPlan:
        """Return the plan that the comment showed. Raises PolicyError if there is none, or the comment was edited."""
        found = comment.own(self.run.provider, pull.number, self.project.name, PROD)
        shown = comment.sealed(found[0].body) if found else None
        if shown is None:
            raise _unreviewed(f"#{pull.number} has no comment with a plan of {self.project.name}.")
        if shown.is_edited:
            raise _unreviewed(f"The comment with the plan of #{pull.number} was edited.")
        report = planning.PlanReport(self.project, self.run, PROD)
        plan = planning.artifact(self.project, report.planned(pull), PROD)
        if {shown.commit, plan.commit} != {pull.head} or shown.digest != plan.digest:
            what = (
                f"The comment on #{pull.number} shows another plan than the newest one of {pull.head[:12]}, its head."
            )
            raise _unreviewed(what)
        return plan

    def _carry_out(
        self, planned: Planned, pull: PullRequest, reviewed: planning.ArtifactPlan, carry_out: CarryOut
    ) -> Plan:
        """Apply a plan that says what was reviewed, and return it; plan again where the store moves on meanwhile."""
        for attempt in range(1, _ATTEMPTS + 1):
            if not says_the_same(reviewed.plan, planned.plan):
                raise _differs(reviewed.plan, planned.plan, pull)
            try:
                carry_out(planned, self._approving(planned.plan, pull))
            except StalePlanError:
                if attempt == _ATTEMPTS:
                    raise
                planned = pipeline.make_plan(self.project, self.store)
            else:
                break
        return planned.plan

    def _approving(self, plan: Plan, pull: PullRequest) -> Sequence[str]:
        """Return the teams that approve; none if a command of the project is asked for them, which apply does itself."""
        if self.project.settings.policy.approvals_command:
            return ()
        return reviews.approving(plan.unapproved, pull, self.run.provider, self.project.root)

    def _tell(self, pull: PullRequest, reviewed: planning.ArtifactPlan, outcome: str) -> None:
        said = comment.PlanComment(
            plan=reviewed.plan, digest=reviewed.digest, commit=reviewed.commit, url=self.run.url, outcome=outcome
        )
        with planning.showing():
            comment.put(self.run.provider, pull.number, said)


def _not_applied(error: FeatdslError) -> str:
    """Return what a comment says of an apply that failed: the first problem, and a difference as a block."""
    problem = error.problems[0]
    why = problem.what.partition("\n")[0][:_LONGEST]
    lead = f"**Not applied.** {in_markdown(problem.summary)}: {in_markdown(why)}"
    if isinstance(error, _DifferentPlanError):
        longest = max(map(len, re.findall("`+", error.lines)), default=0)
        fence = "`" * max(3, longest + 1)
        return f"{lead}\n\n{fence}diff\n{error.lines}\n{fence}"
    return lead


class _DifferentPlanError(StalePlanError):
    """The merged code makes another plan than the reviewed one; `lines` are the difference."""

    lines: str = ""


def _differs(reviewed: Plan, fresh: Plan, pull: PullRequest) -> _DifferentPlanError:
    with planning.showing():
        lines = difference(reviewed, fresh)
    lead = f"The merged code makes another plan than the one that was reviewed in #{pull.number}."
    fix = "Review what it would do: featdsl plan. Then merge a pull request that has this plan, or apply it by hand."
    error = _DifferentPlanError(Problem("Plan was not reviewed", f"{lead}\n{lines}", fix=fix))
    error.lines = lines
    return error


def _unreviewed(what: str) -> PolicyError:
    fix = "Review what it would do: featdsl plan. Then apply it by hand: featdsl apply"
    return PolicyError(Problem("Plan was not reviewed", what, fix=fix))
