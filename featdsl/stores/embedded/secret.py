"""The secret of an embedded store. It seals the caches beside the store and has no other use."""

from __future__ import annotations

import secrets
from pathlib import Path

from featdsl.project import permissions

_FILE = "secret"


def read(folder: Path) -> str:
    """Return the secret in hexadecimal; empty if there is none or this user may not read it."""
    try:
        return (folder / _FILE).read_bytes().hex()
    except OSError:
        return ""


def make(folder: Path) -> None:
    """Create the secret if there is none. Losing it only loses the caches. Raises OSError."""
    if read(folder):
        return
    partial = folder / f"{_FILE}.partial"
    partial.unlink(missing_ok=True)
    partial.touch(mode=0o600)
    partial.write_bytes(secrets.token_bytes(32))
    permissions.share(partial)
    partial.replace(folder / _FILE)
