"""What earlier plans found out, kept in a file: recalled instead of found out again, and never needed.

A key holds all that its value depends on, but for our code and the libraries, which the file as a whole belongs to. So
what is recalled is what would be found. A file that is damaged, of other versions or not there is an empty memory, and a
place that cannot be written keeps none. The file is sealed with a secret of the store, which whoever can write the file
alone, such as the cache of a CI, does not have; without a store there is no secret, and nothing is remembered.
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
"""Those whose answers are kept."""


class Memory:
    """Values of JSON by kind and key. What is neither recalled nor kept before the next `save` is forgotten by it."""

    def __init__(self, path: Path | None = None, secret: Callable[[], str] = str) -> None:
        self._path, self._secret = path, secret
        self._known = _read(path, secret()) if path else {}
        self._used: dict[str, dict[str, Any]] = {}

    def recall(self, kind: str, key: str) -> Any:
        """Return what was kept, or None."""
        found = self._used.get(kind, {}).get(key)
        if found is None:
            found = self._known.get(kind, {}).get(key)
            if found is not None:
                self._used.setdefault(kind, {})[key] = found
        return found

    def keep(self, kind: str, key: str, value: object) -> None:
        """Keep a value, which is not None."""
        self._used.setdefault(kind, {})[key] = value

    def save(self) -> None:
        """Write what was recalled and kept, whole or not at all; its folder must be there."""
        if self._path is None or not self._path.parent.is_dir() or _same_keys(self._used, self._known):
            return
        secret = self._secret()
        if not secret:
            return
        text = json.dumps(self._used, separators=(",", ":"))
        partial = self._path.with_name(f"{self._path.name}.{os.getpid()}.partial")
        with suppress(OSError):
            try:
                partial.write_text(f"{_seal(text, secret)}\n{text}", encoding="utf-8")
                partial.replace(self._path)
            finally:
                partial.unlink(missing_ok=True)


def _same_keys(one: dict[str, dict[str, Any]], other: dict[str, dict[str, Any]]) -> bool:
    return one.keys() == other.keys() and all(one[kind].keys() == other[kind].keys() for kind in one)


def _read(path: Path, secret: str) -> dict[str, dict[str, Any]]:
    with suppress(OSError, UnicodeDecodeError):
        seal, _, text = path.read_text(encoding="utf-8").partition("\n")
        if secret and hmac.compare_digest(seal.encode(), _seal(text, secret).encode()):
            found: dict[str, dict[str, Any]] = json.loads(text)
            return found
    return {}


def _seal(text: str, secret: str) -> str:
    """Return what a whole file of these versions begins with."""
    return hmac.digest(secret.encode(), f"{_versions()}\n{text}".encode(), "sha256").hex()


@cache
def _versions() -> str:
    """Return a text that differs where any module of ours or a library does."""
    digest = hashlib.sha256()
    for file in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(file.read_bytes())
    return " ".join([digest.hexdigest(), *map(version, _LIBRARIES)])
