"""Compare the plan that was reviewed with the plan that the merged code makes."""

from __future__ import annotations

import difflib
from dataclasses import replace

from featdsl.definitions.escaping import shown
from featdsl.definitions.snapshot import NOTHING
from featdsl.plan.document import BuildTable, Plan
from featdsl.plan.verification import act
from featdsl.render import text

_MOST_LINES, _MOST_BYTES, _LONGEST = 60, 12_000, 240
"""The most lines and, about, bytes of a difference, and its longest line in characters: it is part of a comment."""


def says_the_same(reviewed: Plan, fresh: Plan) -> bool:
    """Whether two plans do the same and tell a reviewer the same: changes, effects, blocks, approvals and steps.

    The state that they start from may differ, and what only describes: lines of code, estimates, reasons to build.
    """
    return _essence(reviewed) == _essence(fresh)


def _essence(plan: Plan) -> Plan:
    return replace(
        plan, base=NOTHING, notices=(), untouched=(), kept=(), reused=(), preview=(), repairs=(), lost=(), adhoc=(),
        steps=tuple(map(act, plan.steps)),
    )  # fmt: skip


def difference(reviewed: Plan, fresh: Plan) -> str:
    """Return the lines in which two plans differ, `-` before those that were reviewed; cut if there are many."""
    before, after = (_lines(each) for each in (reviewed, fresh))
    lines = list(difflib.unified_diff(before, after, "reviewed", "merged code", n=1, lineterm=""))
    if not lines:
        return "The plans differ in what is recorded, not in what a plan shows."
    kept: list[str] = []
    for line in lines[:_MOST_LINES]:
        kept.append(shown(line[:_LONGEST]))
        if len("\n".join(kept).encode()) > _MOST_BYTES:
            break
    left = len(lines) - len(kept)
    return "\n".join([*kept, *([f"and {left:,} more lines"] if left else [])])


def _lines(plan: Plan) -> list[str]:
    """Return a plan as text, without the state it starts from and without estimates."""
    plain = tuple(replace(each, estimate=None) if isinstance(each, BuildTable) else each for each in plan.steps)
    return text(replace(plan, base=NOTHING, notices=(), preview=(), steps=plain), sql=True, width=120).splitlines()
