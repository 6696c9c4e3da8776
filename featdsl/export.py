"""The state of a registry as a file: what a plan needs where nobody may open the store."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from featdsl.definitions import Definition, address
from featdsl.errors import PlanFileError, Problem
from featdsl.inert import in_json
from featdsl.reasons import reason
from featdsl.snapshot import Drift, Head, Snapshot, StoredTable, assemble

if TYPE_CHECKING:
    from pydantic import TypeAdapter

FORMAT = 1
"""The version of the export's JSON. A reader refuses a newer one."""

_MEND = "Make it again, with the store at hand: featdsl export registry.json"


@dataclass(frozen=True, kw_only=True)
class _Content:
    """What the registry has of one environment, of every project: no data, no settings, and so no secrets.

    The lost ones are what the store had lost by then.
    """

    environment: str
    head: Head
    definitions: tuple[Annotated[Definition, Field(discriminator="kind")], ...]
    tables: tuple[StoredTable, ...]
    views: dict[str, str]
    lost_tables: tuple[str, ...]
    lost_views: tuple[str, ...]


@dataclass(frozen=True)
class Exported:
    """A registry as it was when it was exported, and what its store had lost by then."""

    snapshot: Snapshot
    drift: Drift


@cache
def _adapter() -> TypeAdapter[_Content]:
    from pydantic import TypeAdapter

    return TypeAdapter(_Content)


def to_json(snapshot: Snapshot, drift: Drift) -> str:
    """Return a registry as JSON text; `from_json` gives an equal one back. The same state gives the same bytes."""
    others = [each for each in snapshot.catalog if each.kind != "feature"]
    content = _Content(
        environment=snapshot.environment,
        head=snapshot.head,
        definitions=tuple(
            sorted([*others, *snapshot.versions.values()], key=lambda d: (d.kind, address(d), _version(d)))
        ),
        tables=tuple(snapshot.tables[name] for name in sorted(snapshot.tables)),
        views=dict(sorted(snapshot.views.items())),
        lost_tables=tuple(sorted(drift.tables)),
        lost_views=tuple(sorted(drift.views)),
    )
    plain = json.loads(_adapter().dump_json(content))
    whole = {"format": FORMAT, "digest": _digest(plain), **plain}
    return in_json(json.dumps(whole, indent=1, ensure_ascii=False)) + "\n"


def from_json(text: str, *, name: str) -> Exported:
    """Return the registry in a file's text.

    Raises PlanFileError, naming the file, for what is no export, has a newer format, or was edited or cut off.
    """
    from pydantic import ValidationError

    plain = _parsed(text, name)
    try:
        content = _adapter().validate_json(json.dumps(plain))
    except ValidationError as error:
        detail = error.errors()[0]
        where = ".".join(str(part) for part in detail["loc"]) or "the whole file"
        raise PlanFileError(Problem("Not an export", f"{name}: {where}: {reason(detail)}.", mend=_MEND)) from None
    drift = Drift(frozenset(content.lost_tables), frozenset(content.lost_views))
    snapshot = assemble(content.head, content.definitions, content.tables, content.views)
    return Exported(replace(snapshot, environment=content.environment), drift)


def _parsed(text: str, name: str) -> Mapping[str, Any]:
    """Return what an export holds, once its format and its digest are right."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise PlanFileError(Problem("Not an export", f"{name} is no JSON: {error}.", mend=_MEND)) from None
    version = found.pop("format", None) if isinstance(found, dict) else None
    digest = found.pop("digest", None) if isinstance(found, dict) else None
    if not isinstance(version, int) or not isinstance(digest, str) or "definitions" not in found:
        what = f"{name} has no format and digest, which every export of a registry has."
        raise PlanFileError(Problem("Not an export", what, mend=_MEND))
    if version > FORMAT:
        what = f"{name} has format {version}; this featdsl reads up to {FORMAT}."
        raise PlanFileError(Problem("Export of a newer format", what, mend="Use the featdsl that wrote it."))
    if digest != _digest(found):
        what = f"{name} is not what featdsl export wrote: its content does not match its digest."
        raise PlanFileError(Problem("Export was edited", what, mend=_MEND))
    return dict(found)


def _version(definition: Definition) -> str:
    return definition.fingerprint if definition.kind == "feature" else ""


def _digest(plain: Mapping[str, Any]) -> str:
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()
