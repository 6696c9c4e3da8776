"""Decide whether a plan may run: it must be checked, current and permitted."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from featdsl.definitions.names import did_you_mean
from featdsl.definitions.snapshot import Snapshot
from featdsl.definitions.udfs import Functions
from featdsl.errors import PlanFileError, PolicyError, Problem, StalePlanError
from featdsl.plan import function_uses
from featdsl.plan.document import Plan
from featdsl.project import invocation

_SUMMARIES = {
    "protected": "Protected against removal",
    "deprecated": "Removed too early",
    "pinned": "Still pinned",
    "used": "Still used",
    "gone": "Dependency removed",
}


@dataclass(frozen=True)
class Conditions:
    """The registry, the declared functions by fingerprint, and the approving ones of the known teams.

    `derive` derives a plan from a file anew, because anybody may have edited the file. It is None for a plan of this process.
    """

    snapshot: Snapshot
    functions: Functions
    approved_by: Collection[str] = ()
    teams: Collection[str] = ()
    derive: Callable[[Snapshot], Plan] | None = None


def permitted(plan: Plan, conditions: Conditions) -> Plan:
    """Return the plan that may run, with its blocks and approvals derived anew where it comes from a file.

    Raises PlanFileError for a plan that was edited or whose sources were not all checked, StalePlanError where the store or
    a function has moved on, PolicyError where a guard or a missing approval forbids it.
    """
    _refuse_unchecked(plan)
    _refuse_stale(plan, conditions.snapshot)
    _refuse_other_functions(plan, conditions.functions)
    plan = conditions.derive(conditions.snapshot) if conditions.derive else plan
    permit(plan, conditions.approved_by, teams(conditions.snapshot, plan, conditions.teams))
    return plan


def _refuse_unchecked(plan: Plan) -> None:
    unread = [notice.what for notice in plan.notices if notice.code == "not checked"]
    if unread:
        fix = f"Plan again where they can be read: {invocation.plan_again('featdsl plan --out plan.json')}"
        raise PlanFileError(Problem("Plan was not checked", "\n".join(unread), fix=fix))


def _refuse_stale(plan: Plan, snapshot: Snapshot) -> None:
    if plan.base.lineage not in {"", snapshot.head.lineage}:
        what = f"The plan was made for state {plan.base.serial} of another store."
        raise StalePlanError(Problem("Stale plan", what, fix=f"Plan again, for this store: {invocation.plan_again()}"))
    if plan.base != snapshot.head:
        what = f"The plan was made for state {plan.base.serial} of the store, which is now at {snapshot.head.serial}"
        # Serials do not count applies: refreshes and other environments make states as well.
        what += ": there was an apply since." if snapshot.head.serial > plan.base.serial else "."
        raise StalePlanError(
            Problem("Stale plan", what, fix=f"Plan again and review what has changed: {invocation.plan_again()}")
        )
    # An apply elsewhere does not touch this environment's state, but gc deletes tables for every environment.
    gone = sorted({each.table for each in plan.reused} - snapshot.tables.keys())
    if gone:
        what = f"The plan reuses {', '.join(gone)}, which gc has deleted since."
        raise StalePlanError(Problem("Stale plan", what, fix=f"Plan again: {invocation.plan_again()}"))


def _refuse_other_functions(plan: Plan, functions: Functions) -> None:
    """Refuse a plan whose functions were changed or removed since the review."""
    moved = [
        f"{user} calls {used.name}" for user, used in function_uses.functions(plan) if used.fingerprint not in functions
    ]
    if moved:
        what = "\n".join([*moved, "The project no longer declares this code as it was when the plan was made."])
        raise StalePlanError(
            Problem("Stale plan", what, fix=f"Plan again and review what has changed: {invocation.plan_again()}")
        )


# Blocks and approvals


def teams(snapshot: Snapshot, plan: Plan, declared: Iterable[str]) -> set[str]:
    """Return every known team: of the settings, the registry or the plan."""
    owners = {definition.owner for definition in snapshot.catalog}
    return {*declared, *owners, *(each.change.owner for each in plan.changes)}


def permit(plan: Plan, approved_by: Iterable[str], known: Iterable[str]) -> None:
    """Return if the plan may be applied. Raises PolicyError if it is blocked, lacks an approval, or names an unknown team."""
    approved, existing = set(approved_by), set(known)
    unknown = [
        Problem("Unknown team", f"There is no team {name} to approve the plan.", fix=_teams_hint(name, existing))
        for name in sorted(approved - existing)
    ]
    blocked = [Problem(_SUMMARIES[each.code], each.what, fix=each.fix) for each in plan.blocks]
    because: Mapping[str, tuple[str, ...]] = {each.team: each.because for each in plan.approvals}
    missing = [team for team in plan.unapproved if team not in approved]
    unapproved = [_unapproved(team, because[team], missing, approved - existing) for team in missing]
    if problems := [*unknown, *blocked, *unapproved]:
        raise PolicyError(problems)


def _teams_hint(name: str, known: set[str]) -> str:
    return did_you_mean(name, known) or f"The teams are: {', '.join(sorted(known))}."


def _unapproved(team: str, because: Sequence[str], missing: Sequence[str], unknown: Iterable[str]) -> Problem:
    what = f"{team} has not approved the changes to: {', '.join(because)}."
    options = [word for each in missing for word in ("--approved-by", each)]
    again = (
        invocation.again(*options, without=[("--approved-by", name) for name in unknown])
        or f"declare it in code, and {invocation.command('apply', *options)}"
    )
    return Problem("Approval missing", what, fix=f"Ask {team}. Once they approve: {again}")
