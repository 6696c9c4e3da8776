"""Training locks: the origin of a training set, as small JSON to keep beside the model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from featdsl.definitions import text_types
from featdsl.definitions.snapshot import Snapshot
from featdsl.definitions.stored_tables import StoredTable
from featdsl.engines import lookups
from featdsl.errors import LockFileError, Problem
from featdsl.query.selection import Selection

if TYPE_CHECKING:
    from pydantic import TypeAdapter

FORMAT = 2
_FIX = "Take the lock of the training set again: training.lock"


@dataclass(frozen=True, kw_only=True)
class Lock:
    """A lock that was read back: the feature and fingerprint of each column, and the build time of each table.

    `written` has the serial of the state in which each table was last written; locks of older versions lack it.
    """

    set: text_types.SetVersion | None
    environment: text_types.Name
    lineage: str
    serial: int
    snapshot: int | None
    features: Mapping[text_types.AnyColumn, tuple[text_types.Address, str]]
    tables: Mapping[text_types.Name, str]
    written: Mapping[text_types.Name, int]


def made(selection: Selection, snapshot: Snapshot) -> dict[str, Any]:
    """Return the lock of features at a state of the store, with a digest of its content."""
    features = [want.feature for want in selection.wants]
    tables = lookups.tables_of(features, snapshot.versions)
    tables |= {table for each in features if (table := each.table)}
    lock = {
        "format": FORMAT,
        "set": selection.name or None,
        "environment": snapshot.environment,
        "store": _store(snapshot),
        "features": {
            want.column: {"feature": want.feature.address, "fingerprint": want.feature.fingerprint}
            for want in selection.wants
        },
        "tables": {name: snapshot.tables[name].built_at for name in sorted(tables)},
        "written": {name: _written(snapshot.tables[name]) for name in sorted(tables)},
    }
    return {**lock, "digest": _digest(lock)}


def read(text: str, *, name: str) -> Lock:
    """Return the lock in a JSON text. Raises LockFileError with the name of the file if the text is no unchanged lock."""
    try:
        document = json.loads(text)
        digest = document.pop("digest")
        format_ = int(document["format"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise _no_lock(name) from None
    if format_ > FORMAT:
        what = f"{name} has format {format_}; this featdsl reads up to {FORMAT}."
        raise LockFileError(Problem("Lock of a newer format", what, fix="Use the featdsl that wrote it."))
    if digest != _digest(document):
        what = f"{name} was edited after it was made, so it may differ from the data of the model."
        raise LockFileError(Problem("Edited lock", what, fix=f"Restore it, or train again. {_FIX}"))
    try:
        fields = {
            **{key: document[key] for key in ("set", "environment", "tables")},
            "lineage": document["store"]["lineage"],
            "serial": document["store"]["serial"],
            "snapshot": document["store"].get("snapshot"),
            "features": {
                column: (each["feature"], each["fingerprint"]) for column, each in document["features"].items()
            },
            "written": document.get("written", {}),
        }
        return _adapter().validate_python(fields)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise _no_lock(name) from None


@cache
def _adapter() -> TypeAdapter[Lock]:
    from pydantic import TypeAdapter

    return TypeAdapter(Lock)


def _no_lock(name: str) -> LockFileError:
    return LockFileError(Problem("Not a lock", f"{name} is no lock of a training set.", fix=_FIX))


def snapshot_of(lock: Lock) -> int:
    """Return the number of the snapshot in a lock. Raises LockFileError if the lock has none."""
    if lock.snapshot is None:
        what = "The lock names no snapshot: it was made on a store that keeps none."
        raise LockFileError(Problem("Lock without a snapshot", what, fix="Only a team store keeps snapshots."))
    return lock.snapshot


def refuse_other_store(lock: Lock, snapshot: Snapshot) -> None:
    """Raise LockFileError if a lock was made on another store than a snapshot."""
    if lock.lineage != snapshot.head.lineage:
        raise LockFileError(Problem("Lock of another store", "The lock was made on another store than this one."))


def _store(snapshot: Snapshot) -> dict[str, Any]:
    """Return the identity of the store and of its state, with the number of the snapshot if the store keeps snapshots."""
    state: dict[str, Any] = {"lineage": snapshot.head.lineage, "serial": snapshot.head.serial}
    return state if snapshot.stored_as is None else {**state, "snapshot": snapshot.stored_as}


def _written(table: StoredTable) -> int:
    return table.written[-1].serial if table.written else 0


def _digest(lock: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(lock, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
