"""What a training set was computed from, as small JSON to keep beside the model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from featdsl import pointintime
from featdsl.errors import LockFileError, Problem
from featdsl.selection import Selection
from featdsl.snapshot import Snapshot

FORMAT = 2
_MEND = "Take the lock of the training set again: training.lock"


@dataclass(frozen=True, kw_only=True)
class Lock:
    """A lock that was read back: each column's feature and fingerprint, and when the tables behind were built."""

    set: str | None
    environment: str
    lineage: str
    serial: int
    features: Mapping[str, tuple[str, str]]
    tables: Mapping[str, str]


def made(selection: Selection, snapshot: Snapshot) -> dict[str, Any]:
    """Return the lock of these features at this state of the store, with a digest of its own."""
    features = [want.feature for want in selection.wants]
    tables = pointintime.tables_of(features, snapshot.versions)
    tables |= {table for each in features if (table := each.table)}
    lock = {
        "format": FORMAT,
        "set": selection.name or None,
        "environment": snapshot.environment,
        "store": {"lineage": snapshot.head.lineage, "serial": snapshot.head.serial},
        "features": {
            want.column: {"feature": want.feature.address, "fingerprint": want.feature.fingerprint}
            for want in selection.wants
        },
        "tables": {name: snapshot.tables[name].built_at for name in sorted(tables)},
    }
    return {**lock, "digest": _digest(lock)}


def read(text: str, *, name: str) -> Lock:
    """Return a lock that was kept as JSON. Raises LockFileError, naming the file, for one that is not as it was made."""
    try:
        found = json.loads(text)
        digest = found.pop("digest")
        format_ = int(found["format"])
    except (ValueError, KeyError, TypeError, AttributeError):
        raise LockFileError(Problem("Not a lock", f"{name} is no lock of a training set.", mend=_MEND)) from None
    if format_ > FORMAT:
        what = f"{name} has format {format_}; this featdsl reads up to {FORMAT}."
        raise LockFileError(Problem("Lock of a newer format", what, mend="Use the featdsl that wrote it."))
    if digest != _digest(found):
        what = f"{name} was edited after it was made, so it no longer tells what the model was trained on."
        raise LockFileError(Problem("Edited lock", what, mend=f"Restore it, or train again. {_MEND}"))
    return Lock(
        set=found["set"],
        environment=found["environment"],
        lineage=found["store"]["lineage"],
        serial=found["store"]["serial"],
        features={column: (each["feature"], each["fingerprint"]) for column, each in found["features"].items()},
        tables=found["tables"],
    )


def _digest(lock: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(lock, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
