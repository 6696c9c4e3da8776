"""Write the registry's state to a JSON file and read it back, so that a plan can run without the store."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from featdsl.definitions.escaping import in_json
from featdsl.definitions.kinds import Definition, address
from featdsl.definitions.snapshot import Drift, Head, Snapshot, assemble
from featdsl.definitions.stored_tables import StoredTable
from featdsl.definitions.validation_errors import reason
from featdsl.errors import PlanFileError, Problem

if TYPE_CHECKING:
    from pydantic import TypeAdapter

FORMAT = 1
"""The version of the export's JSON. Readers refuse a newer one."""

_FIX = "Export it again, with access to the store: featdsl export registry.json"


@dataclass(frozen=True, kw_only=True)
class _Content:
    """The registry of one environment, for all projects. Without data and settings, so without secrets.

    `lost_tables` and `lost_views` are the drift at the time of the export.
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
    """A registry and its store's drift, both at the time of the export."""

    snapshot: Snapshot
    drift: Drift


@cache
def _adapter() -> TypeAdapter[_Content]:
    from pydantic import TypeAdapter

    return TypeAdapter(_Content)


def to_json(snapshot: Snapshot, drift: Drift) -> str:
    """Return a registry as JSON text, which `from_json` reads back. Equal states give equal bytes."""
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
    document = {"format": FORMAT, "digest": _digest(plain), **plain}
    return in_json(json.dumps(document, indent=1, ensure_ascii=False)) + "\n"


def from_json(text: str, *, name: str) -> Exported:
    """Return the registry in a file's text. `name` is the file's name in errors.

    Raises PlanFileError if the text is not an export, has a newer format, or was edited or truncated.
    """
    from pydantic import ValidationError

    plain = _parsed(text, name)
    try:
        content = _adapter().validate_json(json.dumps(plain))
    except ValidationError as error:
        detail = error.errors()[0]
        where = ".".join(str(part) for part in detail["loc"]) or "the whole file"
        raise PlanFileError(Problem("Not an export", f"{name}: {where}: {reason(detail)}.", fix=_FIX)) from None
    drift = Drift(frozenset(content.lost_tables), frozenset(content.lost_views))
    snapshot = assemble(content.head, content.definitions, content.tables, content.views)
    return Exported(replace(snapshot, environment=content.environment), drift)


def _parsed(text: str, name: str) -> Mapping[str, Any]:
    """Return the content of an export after checking its format and digest. Raises PlanFileError."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise PlanFileError(Problem("Not an export", f"{name} is not JSON: {error}.", fix=_FIX)) from None
    version = document.pop("format", None) if isinstance(document, dict) else None
    digest = document.pop("digest", None) if isinstance(document, dict) else None
    if not isinstance(version, int) or not isinstance(digest, str) or "definitions" not in document:
        what = f"{name} lacks the format and digest of a registry export."
        raise PlanFileError(Problem("Not an export", what, fix=_FIX))
    if version > FORMAT:
        what = f"{name} has format {version}; this featdsl reads up to {FORMAT}."
        raise PlanFileError(Problem("Export of a newer format", what, fix="Use the featdsl version that wrote it."))
    if digest != _digest(document):
        what = f"{name} was edited or truncated: its content does not match its digest."
        raise PlanFileError(Problem("Export was edited", what, fix=_FIX))
    return dict(document)


def _version(definition: Definition) -> str:
    return definition.fingerprint if definition.kind == "feature" else ""


def _digest(plain: Mapping[str, Any]) -> str:
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()
