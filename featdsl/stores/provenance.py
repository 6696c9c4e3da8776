"""Name the user who runs this process."""

from __future__ import annotations

import getpass
import os


def user() -> str:
    """Return the name of the user who runs this process, or the user's number if there is no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
