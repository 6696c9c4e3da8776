"""A plan as a file: JSON that another process, or another machine, applies."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from featdsl.definitions.escaping import in_json
from featdsl.definitions.validation_errors import reason
from featdsl.errors import PlanFileError, Problem
from featdsl.plan.document import FORMAT, Plan
from featdsl.project import invocation

if TYPE_CHECKING:
    from pydantic import TypeAdapter


_OLDER = 2
"""The older format that can still be read, because the registry keeps the plans of past applies."""
_WITH_FIXES = ("blocks", "notices", "steps")


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
    """Return the hash of a plan's values, which does not depend on the order, indentation or spelling of the JSON."""
    import json

    rest = {name: value for name, value in found.items() if name != "digest"}
    return _hash(json.loads(json.dumps(rest), parse_float=_number))


def _hash(plain: dict[str, Any]) -> str:
    """Return the hash of values in which whole numbers are integers."""
    import hashlib
    import json

    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def _number(text: str) -> int | float:
    """Return a number, as an integer if it is whole: some formatters write 1 for 1.0."""
    value = float(text)
    return int(value) if value.is_integer() else value


def from_json(text: str, *, name: str) -> Plan:
    """Return the plan in a file's text.

    Raises PlanFileError, which names the file, if the text is not a plan, has a format that this featdsl does not read, or was
    changed after the plan was made.
    """
    import json

    from pydantic import ValidationError

    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None  # pydantic reports the mistake below
    _refuse_other_format(found, name)
    fix = f"Make it again: {invocation.plan_again('featdsl plan --out plan.json')}"
    try:
        # Validate the values that the digest covers, even if a name appears twice in one object.
        plan = _adapter().validate_json(text if found is None else json.dumps(_as_current(found)))
    except ValidationError as error:
        detail = error.errors()[0]
        where = ".".join(str(part) for part in detail["loc"]) or "the whole file"
        raise PlanFileError(Problem("Not a plan", f"{name}: {where}: {reason(detail)}.", fix=fix)) from None
    if found is None or found.get("digest") != _digest(found):
        what = f"{name}: it was changed after it was made, or is not whole: its digest does not fit."
        raise PlanFileError(Problem("Plan was changed", what, fix=fix))
    return plan


def _as_current(found: Any) -> Any:
    """Return the values of a plan in the current format. Format 2 has `mend` for `fix`."""
    if not isinstance(found, dict) or found.get("format") != _OLDER:
        return found
    named = {name: list(map(_renamed, found[name])) for name in _WITH_FIXES if isinstance(found.get(name), list)}
    return {**found, **named, "format": FORMAT}


def _renamed(each: Any) -> Any:
    if not isinstance(each, dict):
        return each
    return {"fix" if name == "mend" else name: value for name, value in each.items()}


def _refuse_other_format(found: object, name: str) -> None:
    version = found.get("format") if isinstance(found, dict) else None
    is_export = isinstance(found, dict) and "definitions" in found  # its format numbers are its own
    if not isinstance(version, int) or version in {_OLDER, FORMAT} or is_export:
        return
    if version > FORMAT:
        what = f"{name} has format {version}; this featdsl reads {FORMAT}."
        raise PlanFileError(Problem("Plan of a newer format", what, fix="Use the featdsl that wrote it."))
    what = f"{name} was made by an older featdsl: it has format {version}, and this one reads {_OLDER} and {FORMAT}."
    again = invocation.plan_again("featdsl plan --out plan.json")
    raise PlanFileError(Problem("Plan of an older format", what, fix=f"Make it again: {again}"))
