"""What a training set was computed from, as small JSON to keep beside the model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from featdsl import checkedtext, pointintime
from featdsl.errors import LockFileError, Problem
from featdsl.selection import Selection
from featdsl.snapshot import Snapshot, StoredTable

if TYPE_CHECKING:
    from pydantic import TypeAdapter

FORMAT = 2
_MEND = "Take the lock of the training set again: training.lock"


@dataclass(frozen=True, kw_only=True)
class Lock:
    """A lock that was read back: each column's feature and fingerprint, and when the tables behind were built.

    `written` tells the state of the store in which each table was written last; locks of before refreshes lack it.
    """

    set: checkedtext.SetVersion | None
    environment: checkedtext.Name
    lineage: str
    serial: int
    snapshot: int | None
    features: Mapping[checkedtext.AnyColumn, tuple[checkedtext.Address, str]]
    tables: Mapping[checkedtext.Name, str]
    written: Mapping[checkedtext.Name, int]


def made(selection: Selection, snapshot: Snapshot) -> dict[str, Any]:
    """Return the lock of these features at this state of the store, with a digest of its own."""
    features = [want.feature for want in selection.wants]
    tables = pointintime.tables_of(features, snapshot.versions)
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
    """Return a lock that was kept as JSON. Raises LockFileError, naming the file, for one that is not as it was made."""
    try:
        found = json.loads(text)
        digest = found.pop("digest")
        format_ = int(found["format"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise _no_lock(name) from None
    if format_ > FORMAT:
        what = f"{name} has format {format_}; this featdsl reads up to {FORMAT}."
        raise LockFileError(Problem("Lock of a newer format", what, mend="Use the featdsl that wrote it."))
    if digest != _digest(found):
        what = f"{name} was edited after it was made, so it no longer tells what the model was trained on."
        raise LockFileError(Problem("Edited lock", what, mend=f"Restore it, or train again. {_MEND}"))
    try:
        said = {
            **{key: found[key] for key in ("set", "environment", "tables")},
            "lineage": found["store"]["lineage"],
            "serial": found["store"]["serial"],
            "snapshot": found["store"].get("snapshot"),
            "features": {column: (each["feature"], each["fingerprint"]) for column, each in found["features"].items()},
            "written": found.get("written", {}),
        }
        return _adapter().validate_python(said)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise _no_lock(name) from None


@cache
def _adapter() -> TypeAdapter[Lock]:
    from pydantic import TypeAdapter

    return TypeAdapter(Lock)


def _no_lock(name: str) -> LockFileError:
    return LockFileError(Problem("Not a lock", f"{name} is no lock of a training set.", mend=_MEND))


def snapshot_of(lock: Lock) -> int:
    """Return the number of the snapshot that a lock names. Raises LockFileError for one that names none."""
    if lock.snapshot is None:
        what = "The lock names no snapshot: it was made on a store that keeps none."
        raise LockFileError(Problem("Lock without a snapshot", what, mend="Only a team store keeps snapshots."))
    return lock.snapshot


def refuse_other_store(lock: Lock, snapshot: Snapshot) -> None:
    """Raise LockFileError for a lock that was made on another store than a snapshot."""
    if lock.lineage != snapshot.head.lineage:
        raise LockFileError(Problem("Lock of another store", "The lock was made on another store than this one."))


def _store(snapshot: Snapshot) -> dict[str, Any]:
    """Return which state of which store it is, with the number that a store that keeps snapshots has it under."""
    state: dict[str, Any] = {"lineage": snapshot.head.lineage, "serial": snapshot.head.serial}
    return state if snapshot.stored_as is None else {**state, "snapshot": snapshot.stored_as}


def _written(table: StoredTable) -> int:
    return table.written[-1].serial if table.written else 0


def _digest(lock: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(lock, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
