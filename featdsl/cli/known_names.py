"""The applied names that a shell completes, kept in a file beside the store so that a key press opens no database.

The file says which state of the store it was made from. When the store has changed since, the next completion reads the
names again and takes as long as a command. It is a cache: it may be deleted at any time.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
import tomllib
from pathlib import Path
from typing import Any

FILE = "names.json"
_FORMAT = 1
_SETTINGS = "featproject.toml"
_CATALOGUE = "store.duckdb"
_FRESH = 300
"""How many seconds names of a team store, whose changes no file shows, are taken as current."""

Names = dict[str, dict[str, str]]
"""The names of each kind, each with a few words about it."""


def known(directory: Path | None, environment: str) -> Names:
    """Return the names of an environment by kind; `env` has the environments. Raises the errors of reading them."""
    root = _root(directory)
    settings = tomllib.loads((root / _SETTINGS).read_text(encoding="utf-8")).get("store", {})
    folder = root / settings.get("path", ".featdsl")
    stamp = None if settings.get("url") else _stamp(folder)
    kept = _read(folder / FILE)
    if stamp is None and not settings.get("url"):
        return {}  # nothing has been applied
    is_current = kept["stamp"] == stamp if stamp else time.time() - kept["read_at"] < _FRESH
    if not is_current:
        kept = {"format": _FORMAT, "stamp": stamp, "read_at": time.time(), "environments": {}}
    if environment not in kept["environments"]:
        kept["environments"][environment] = _names(root, environment)
        _write(folder / FILE, kept)
    names: Names = kept["environments"][environment]
    return names


def _root(directory: Path | None) -> Path:
    here = (directory or Path.cwd()).resolve()
    return next(folder for folder in (here, *here.parents) if (folder / _SETTINGS).is_file())


def _stamp(folder: Path) -> list[int] | None:
    """Return what changes with every state of a store in a folder; None if it has none."""
    try:
        status = (folder / _CATALOGUE).stat()
    except OSError:
        return None
    return [status.st_mtime_ns, status.st_size, status.st_ino]


def _read(file: Path) -> dict[str, Any]:
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        kept: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        if kept["format"] == _FORMAT and isinstance(kept["read_at"], float) and isinstance(kept["environments"], dict):
            return kept
    return {"stamp": None, "read_at": 0.0, "environments": {}}


def _write(file: Path, kept: dict[str, Any]) -> None:
    """Write the file atomically; leave it out if the folder cannot be written."""
    partial = file.with_name(f"{file.name}.{os.getpid()}.partial")
    with contextlib.suppress(OSError):
        try:
            partial.write_text(json.dumps(kept, separators=(",", ":")), encoding="utf-8")
            partial.replace(file)
        finally:
            partial.unlink(missing_ok=True)


def _names(root: Path, environment: str) -> Names:
    """Read the names from the store."""
    from featdsl.discovery.filters import entries
    from featdsl.project.settings import load
    from featdsl.stores import environments, open_store

    store = open_store(load(root))
    names: Names = {"env": {each.name: f"state {each.serial}" for each in store.environments()}}
    for entry in entries(environments.read(store, environment)):
        about = " ".join([*entry.types, entry.description.partition("\n")[0]]) or f"of {entry.owner}"
        names.setdefault(entry.kind, {})[entry.address] = about
        names.setdefault("tag", {}).update(dict.fromkeys(entry.tags, ""))
    return names
