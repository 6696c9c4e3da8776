"""A plan as a file: JSON that another process, or another machine, applies."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from featdsl.errors import PlanFileError, Problem
from featdsl.plan import FORMAT, Plan

if TYPE_CHECKING:
    from pydantic import TypeAdapter


@cache
def _adapter() -> TypeAdapter[Plan]:
    from pydantic import TypeAdapter

    return TypeAdapter(Plan)


def to_json(plan: Plan) -> str:
    """Return the plan as JSON text; `from_json` gives an equal plan back."""
    return _adapter().dump_json(plan, indent=2).decode() + "\n"


def from_json(text: str, *, name: str) -> Plan:
    """Return the plan in a file's text. Raises PlanFileError, naming the file, for anything that is no plan."""
    import json

    from pydantic import ValidationError

    try:
        found = json.loads(text)
        newer = isinstance(found, dict) and int(found.get("format", 0)) > FORMAT
    except (ValueError, TypeError):
        found, newer = None, False
    mend = "Make it again: featdsl plan --out plan.json"
    if newer:
        what = f"{name} has format {found['format']}; this featdsl reads up to {FORMAT}."
        raise PlanFileError(Problem("Plan of a newer format", what, mend="Use the featdsl that wrote it."))
    try:
        return _adapter().validate_json(text)
    except ValidationError as error:
        detail = error.errors()[0]
        where = ".".join(str(part) for part in detail["loc"]) or "the whole file"
        raise PlanFileError(Problem("Not a plan", f"{name}: {where}: {detail['msg']}.", mend=mend)) from None
