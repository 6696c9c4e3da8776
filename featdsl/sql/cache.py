"""A cache file for results of SQL analysis, so that the next plan need not compute them again.

A key contains everything that its value depends on, except the versions of featdsl and its libraries, which are part of the
file's signature. So a cached value always equals a computed one. If the file is missing, damaged or from other versions, the
cache is empty; if the folder is not writable, nothing is saved. The file is signed with a secret of the store, so that others
who can write the file, such as a CI cache, cannot forge values. Without a store there is no secret and no cache.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

_LIBRARIES = ("duckdb", "jinja2", "sqlglot")
"""The libraries whose results are cached."""


class AnalysisCache:
    """A cache of JSON values by kind and key. `save` drops values that were neither recalled nor kept since loading."""

    def __init__(self, path: Path | None = None, secret: Callable[[], str] = str) -> None:
        self._path, self._secret = path, secret
        self._known = _read(path, secret()) if path else {}
        self._used: dict[str, dict[str, Any]] = {}

    def recall(self, kind: str, key: str) -> Any:
        """Return the cached value, or None."""
        value = self._used.get(kind, {}).get(key)
        if value is None:
            value = self._known.get(kind, {}).get(key)
            if value is not None:
                self._used.setdefault(kind, {})[key] = value
        return value

    def keep(self, kind: str, key: str, value: object) -> None:
        """Cache a value other than None."""
        self._used.setdefault(kind, {})[key] = value

    def save(self) -> None:
        """Write the used values atomically. Does nothing if the folder does not exist or the keys are unchanged."""
        if self._path is None or not self._path.parent.is_dir() or _same_keys(self._used, self._known):
            return
        secret = self._secret()
        if not secret:
            return
        text = json.dumps(self._used, separators=(",", ":"))
        partial = self._path.with_name(f"{self._path.name}.{os.getpid()}.partial")
        with suppress(OSError):
            try:
                partial.write_text(f"{_sign(text, secret)}\n{text}", encoding="utf-8")
                partial.replace(self._path)
            finally:
                partial.unlink(missing_ok=True)


def _same_keys(one: dict[str, dict[str, Any]], other: dict[str, dict[str, Any]]) -> bool:
    return one.keys() == other.keys() and all(one[kind].keys() == other[kind].keys() for kind in one)


def _read(path: Path, secret: str) -> dict[str, dict[str, Any]]:
    with suppress(OSError, UnicodeDecodeError):
        signature, _, text = path.read_text(encoding="utf-8").partition("\n")
        if secret and hmac.compare_digest(signature.encode(), _sign(text, secret).encode()):
            values: dict[str, dict[str, Any]] = json.loads(text)
            return values
    return {}


def _sign(text: str, secret: str) -> str:
    """Return the first line of the file: a signature of its text and of all versions."""
    return hmac.digest(secret.encode(), f"{_versions()}\n{text}".encode(), "sha256").hex()


@cache
def _versions() -> str:
    """Return a text that identifies the code of featdsl and the versions of the libraries."""
    digest = hashlib.sha256()
    for file in sorted(Path(__file__).parents[1].rglob("*.py")):
        digest.update(file.read_bytes())
    return " ".join([digest.hexdigest(), *map(version, _LIBRARIES)])
