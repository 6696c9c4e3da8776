"""Find the teams that approve a plan. A project's own command can prove it; a name on the command line cannot."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Collection
from typing import TYPE_CHECKING

from featdsl.errors import PolicyError, Problem

if TYPE_CHECKING:
    from featdsl.plan.document import Plan
    from featdsl.project.settings import Project

_SECONDS = 120
"""The time limit of the command."""


def teams(plan: Plan, project: Project, named: Collection[str]) -> tuple[str, ...]:
    """Return the teams that approve a plan: the `named` ones, or the output of `[policy] approvals_command` if it is set.

    The command reads the plan's approvals as JSON from standard input, and prints one approving team per line. It runs without
    a shell, in the project's folder. Raises PolicyError if it fails, or does not print a named team.
    """
    command = project.settings.policy.approvals_command
    if not command or not (plan.unapproved or named):
        return tuple(named)
    request = {
        "project": plan.project,
        "environment": plan.environment,
        "base": {"lineage": plan.base.lineage, "serial": plan.base.serial},
        "approvals": [{"team": each.team, "because": list(each.because)} for each in plan.approvals],
    }
    try:
        done = subprocess.run(  # noqa: S603 - the project's own command
            shlex.split(command), cwd=project.root, input=json.dumps(request), capture_output=True, text=True,
            timeout=_SECONDS, check=False,
        )  # fmt: skip
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise _failed(command, f"{reason}") from None
    if done.returncode:
        raise _failed(command, (done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"])[-1])
    agreed = tuple(line.strip() for line in done.stdout.splitlines() if line.strip())
    if unproven := sorted(set(named) - set(agreed)):
        what = f"{', '.join(unproven)}: approvals_command in featproject.toml does not say that they agree."
        raise PolicyError(
            Problem("Approval not proven", what, fix="Leave --approved-by out, and have them agree there.")
        )
    return agreed


def _failed(command: str, reason: str) -> PolicyError:
    fix = "Fix the command: approvals_command in [policy] of featproject.toml."
    return PolicyError(Problem("Approvals cannot be asked for", f"{command}: {reason}.", fix=fix))
