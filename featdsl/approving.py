"""Ask a command of the project's own which teams agree to a plan: a name on a command line proves nothing."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Collection
from typing import TYPE_CHECKING

from featdsl.errors import PolicyError, Problem

if TYPE_CHECKING:
    from featdsl.plan import Plan
    from featdsl.project import Project

_SECONDS = 120
"""How long the command may take."""


def teams(plan: Plan, project: Project, named: Collection[str]) -> tuple[str, ...]:
    """Return the teams that agree to a plan: those that are `named`, or those that `[policy] approvals_command` prints.

    The command reads the plan's approvals as JSON from standard input, and prints the name of each team that agrees on a line
    of its own. It is run without a shell, in the project's folder. Raises PolicyError where it fails, and for a team that is
    named and that it does not print.
    """
    command = project.settings.policy.approvals_command
    if not command or not (plan.unapproved or named):
        return tuple(named)
    asked = {
        "project": plan.project,
        "environment": plan.environment,
        "base": {"lineage": plan.base.lineage, "serial": plan.base.serial},
        "approvals": [{"team": each.team, "because": list(each.because)} for each in plan.approvals],
    }
    try:
        done = subprocess.run(  # noqa: S603 - the project's own command
            shlex.split(command), cwd=project.root, input=json.dumps(asked), capture_output=True, text=True,
            timeout=_SECONDS, check=False,
        )  # fmt: skip
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        said = error.strerror if isinstance(error, OSError) else str(error)
        raise _failed(command, f"{said}") from None
    if done.returncode:
        raise _failed(command, (done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"])[-1])
    agreed = tuple(line.strip() for line in done.stdout.splitlines() if line.strip())
    if unproven := sorted(set(named) - set(agreed)):
        what = f"{', '.join(unproven)}: approvals_command in featproject.toml does not say that they agree."
        raise PolicyError(
            Problem("Approval not proven", what, mend="Leave --approved-by out, and have them agree there.")
        )
    return agreed


def _failed(command: str, said: str) -> PolicyError:
    mend = "Mend the command: approvals_command in [policy] of featproject.toml."
    return PolicyError(Problem("Approvals cannot be asked for", f"{command}: {said}.", mend=mend))
