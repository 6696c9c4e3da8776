"""Where the code of a project is: its repository, without credentials, and its commit."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from featdsl.errors import Origin

_OF_SSH = re.compile(r"[\w.-]+@(?P<host>[\w.-]+):(?P<path>(?!//).+)")
_PATIENCE = 5
"""Seconds that git may take."""


@dataclass(frozen=True)
class Repository:
    """The web address of a repository, its commit, and the project's folder in it."""

    address: str
    commit: str
    folder: str

    def path(self, origin: Origin) -> str:
        """Return the path in the repository of a file of the project."""
        return f"{self.folder}/{origin.file}" if self.folder else origin.file

    def url(self, origin: Origin) -> str:
        """Return the web address of a line of the project."""
        return f"{self.address}/blob/{self.commit}/{self.path(origin)}#L{origin.line}"


def repository(root: Path) -> Repository | None:
    """Return the repository of a project's folder; None if it is in none, or if that has no remote on the web."""
    address = web_address(_git(root, "config", "--get", "remote.origin.url"))
    commit = _git(root, "rev-parse", "HEAD") if address else ""
    return Repository(address, commit, _git(root, "rev-parse", "--show-prefix").rstrip("/")) if commit else None


def web_address(remote: str) -> str:
    """Return the web address of a remote, without user, password and port of SSH; "" for a remote that is no server."""
    if match := _OF_SSH.fullmatch(remote):
        host, path = match["host"], match["path"]
    else:
        parts = urlsplit(remote)
        if parts.scheme not in {"http", "https", "ssh", "git"} or not parts.hostname:
            return ""
        port = f":{parts.port}" if parts.port and parts.scheme.startswith("http") else ""
        host, path = f"{parts.hostname}{port}", parts.path
    return f"https://{host}/{path.strip('/').removesuffix('.git')}"


def _git(root: Path, *arguments: str) -> str:
    """Return what git prints, or "" if it fails or is missing."""
    command = ["git", "-C", str(root), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
