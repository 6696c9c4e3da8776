"""Say how to install the extra that a missing library belongs to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from featdsl.errors import Problem, RequestError

_INSTALL = "Install it into this environment: pip install 'featdsl[{}]'"
INSTALL = _INSTALL.format("frames")
_FRAMES = ("pandas", "polars", "pyarrow", "numpy")
_SERVE = ("fastapi", "starlette", "uvicorn", "prometheus_client")
_MCP = ("mcp", "mcp_types", "anyio")
_EXTRAS = {"frames": _FRAMES, "serve": _SERVE, "mcp": _MCP}


@contextmanager
def needed(user: str) -> Iterator[None]:
    """Raise RequestError with the install command if `user` needs a library of an extra that is not installed."""
    try:
        yield
    except ImportError as error:
        name = (error.name or "").partition(".")[0]
        extra = next((extra for extra, names in _EXTRAS.items() if name in names), None)
        if extra is None:
            raise
        what = f"{user} needs {name}, which is not installed."
        raise RequestError(Problem("Missing package", what, fix=_INSTALL.format(extra))) from None
