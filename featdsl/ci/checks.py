"""The check of a plan: a blocked plan fails it, a missing approval keeps it waiting."""

from __future__ import annotations

from collections.abc import Collection

from featdsl.ci import CommitStatus
from featdsl.definitions.snapshot import PROD
from featdsl.plan.document import Plan
from featdsl.render.audience import verdict
from featdsl.render.phrases import some

_TEAMS = 5


def check_name(project: str, environment: str) -> str:
    """Return the name of the check, by which branch protection requires it."""
    return f"featdsl: {project}" if environment == PROD else f"featdsl: {project} in {environment}"


def check(plan: Plan, approved: Collection[str], url: str = "") -> CommitStatus:
    """Return the check of a plan that these teams approve."""
    name = check_name(plan.project, plan.environment)
    if plan.blocks:
        return CommitStatus("failure", name, verdict(plan), url)
    if any(each.code == "not checked" for each in plan.notices):
        return CommitStatus("pending", name, "A new source was not read: plan it with the store.", url)
    missing = [team for team in plan.unapproved if team not in approved]
    if missing:
        return CommitStatus("pending", name, f"Waits for the approval of {some(missing, _TEAMS)}.", url)
    if plan.unapproved:
        return CommitStatus("success", name, f"Approved by {some(list(plan.unapproved), _TEAMS)}.", url)
    return CommitStatus("success", name, verdict(plan), url)
