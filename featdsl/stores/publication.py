"""Whether this process has published a state: a command that Ctrl-C ends says so."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, Literal, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")
W = TypeVar("W")

Progress = Literal["not begun", "under way", "done"]
_progress: Progress = "not begun"


def progress() -> Progress:
    """Return whether this process has begun or finished to publish a state."""
    return _progress


def reset() -> None:
    """Forget earlier publications: a new command begins."""
    global _progress  # noqa: PLW0603 - one process runs one command at a time
    _progress = "not begun"


def tracked(publish: Callable[Concatenate[W, P], R]) -> Callable[Concatenate[W, P], R]:
    """Track a writer's method that publishes. It stays under way if Ctrl-C ends it: the commit may have happened."""

    @wraps(publish)
    def publishing(writer: W, /, *arguments: P.args, **options: P.kwargs) -> R:
        global _progress  # noqa: PLW0603 - one process runs one command at a time
        before = _progress
        _progress = "under way"
        try:
            published = publish(writer, *arguments, **options)
        except Exception:
            _progress = before
            raise
        _progress = "done"
        return published

    return publishing
