"""The secret of a store in a folder: it seals what is remembered beside the store, and proves nothing to anyone else."""

from __future__ import annotations

import secrets
from pathlib import Path

from featdsl import permissions

_FILE = "secret"


def read(folder: Path) -> str:
    """Return the secret; nothing where there is none, or this user may not read it."""
    try:
        return (folder / _FILE).read_bytes().hex()
    except OSError:
        return ""


def make(folder: Path) -> None:
    """Make a secret where there is none. Who loses it loses what was remembered, and no more. Raises OSError."""
    if read(folder):
        return
    partial = folder / f"{_FILE}.partial"
    partial.unlink(missing_ok=True)
    partial.touch(mode=0o600)
    partial.write_bytes(secrets.token_bytes(32))
    permissions.share(partial)
    partial.replace(folder / _FILE)
