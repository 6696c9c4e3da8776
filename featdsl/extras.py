"""Name the install line where a library of an extra is missing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from featdsl.errors import Problem, RequestError

INSTALL = "Install it into this environment: pip install 'featdsl[frames]'"
_FRAMES = ("pandas", "polars", "pyarrow", "numpy")


@contextmanager
def needed(user: str) -> Iterator[None]:
    """Raise RequestError, with the line that installs it, where `user` needs a library that is not there."""
    try:
        yield
    except ImportError as error:
        name = (error.name or "").partition(".")[0]
        if name not in _FRAMES:
            raise
        what = f"{user} needs {name}, which is not installed."
        raise RequestError(Problem("Missing package", what, mend=INSTALL)) from None
