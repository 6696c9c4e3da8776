"""A plan as a file: JSON that another process, or another machine, applies."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from featdsl import typed
from featdsl.errors import PlanFileError, Problem
from featdsl.inert import in_json
from featdsl.plan import FORMAT, Plan
from featdsl.reasons import reason

if TYPE_CHECKING:
    from pydantic import TypeAdapter


@cache
def _adapter() -> TypeAdapter[Plan]:
    from pydantic import TypeAdapter

    return TypeAdapter(Plan)


def to_json(plan: Plan) -> str:
    """Return the plan as JSON text, with a digest of all of it; `from_json` gives an equal plan back."""
    import json

    import pydantic_core  # Python's own encoder indents ten times as slowly

    found = json.loads(_adapter().dump_json(plan), parse_float=_number)
    return in_json(pydantic_core.to_json({**found, "digest": _hash(found)}, indent=2).decode()) + "\n"


def _digest(found: dict[str, Any]) -> str:
    """Return the hash of a plan's values: the same however a formatter orders, indents or spells them."""
    import json

    rest = {name: value for name, value in found.items() if name != "digest"}
    return _hash(json.loads(json.dumps(rest), parse_float=_number))


def _hash(plain: dict[str, Any]) -> str:
    """Return the hash of values without whole numbers that are floats."""
    import hashlib
    import json

    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def _number(text: str) -> int | float:
    """Return a number, a whole one as an integer: some formatters write 1 for 1.0."""
    value = float(text)
    return int(value) if value.is_integer() else value


def from_json(text: str, *, name: str) -> Plan:
    """Return the plan in a file's text.

    Raises PlanFileError, naming the file, for anything that is no plan, for a plan of another format, and for one that
    was changed after it was made.
    """
    import json

    from pydantic import ValidationError

    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None  # pydantic says below what is wrong with it
    _refuse_other_format(found, name)
    mend = f"Make it again: {typed.plan_again('featdsl plan --out plan.json')}"
    try:
        # What is read is what the digest is of, also where a name stands twice in one object.
        plan = _adapter().validate_json(text if found is None else json.dumps(found))
    except ValidationError as error:
        detail = error.errors()[0]
        where = ".".join(str(part) for part in detail["loc"]) or "the whole file"
        raise PlanFileError(Problem("Not a plan", f"{name}: {where}: {reason(detail)}.", mend=mend)) from None
    if found is None or found.get("digest") != _digest(found):
        what = f"{name}: it was changed after it was made, or is not whole: its digest does not fit."
        raise PlanFileError(Problem("Plan was changed", what, mend=mend))
    return plan


def _refuse_other_format(found: object, name: str) -> None:
    version = found.get("format") if isinstance(found, dict) else None
    is_export = isinstance(found, dict) and "definitions" in found  # which has a format of its own
    if not isinstance(version, int) or version == FORMAT or is_export:
        return
    if version > FORMAT:
        what = f"{name} has format {version}; this featdsl reads {FORMAT}."
        raise PlanFileError(Problem("Plan of a newer format", what, mend="Use the featdsl that wrote it."))
    what = f"{name} was made by an older featdsl: it has format {version}, and this one reads {FORMAT}."
    again = typed.plan_again("featdsl plan --out plan.json")
    raise PlanFileError(Problem("Plan of an older format", what, mend=f"Make it again: {again}"))
